"""Reading back after a switch: when an incident is restored, and who is told when replicas do not follow."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from checks import plans as moves
from guard.watch import confirms, wrong_arms
from records import Incident, ReplicaState, utc_now
from stores.ledger import counters, incidents, outbox
from tests.checks.test_judge import plan_at
from tests.checks.traffic import live
from tests.guard.test_rollout import content, promoted, traffic
from tests.guard.town import Town, config
from tests.stores.ledger.world import MODEL, NOON


def taken_back(town: Town) -> None:
    """Version 2 was a failing canary; the replicas still serve it."""
    promoted(town, 1)
    town.begin(2)
    town.follow("replica-1", "replica-2")
    town.count(live("salt-2", "canary", 2, 100, errors=60))
    town.guard().tick()
    assert town.plan().canary is None


def test_an_incident_is_restored_when_every_replica_serves_the_new_revision(town: Town) -> None:
    taken_back(town)
    guard = town.guard(holder="guard-1")
    town.follow("replica-1")
    guard.tick()
    assert town.incidents()[0].restored_at is None
    town.follow("replica-2")
    guard.tick()
    [incident] = town.incidents()
    assert incident.restored_at is not None
    assert incident.decided_at is not None
    assert incident.switched_at is not None
    assert incident.detected_at <= incident.decided_at <= incident.switched_at <= incident.restored_at
    assert incident.revision == town.plan().revision
    assert incident.status == "open"  # until people explain it
    guard.tick()
    assert town.incidents() == [incident]


def test_an_incident_that_no_plan_answered_is_over_when_the_table_says_so(town: Town) -> None:
    began = utc_now()
    promoted(town, 1)
    town.operate(moves.fallback)
    guard = town.guard()
    town.follow()
    guard.tick()
    incident = replace(opened(began), decided_at=None)
    incidents.save(town.ledgers["guard"], incident, "guard")
    guard.tick()
    assert town.incidents() == [incident]
    town.find(corruption="no", drift="no", kpi="no")
    guard.tick()
    [found] = town.incidents()
    assert found.restored_at == town.rulings()[-1].at
    assert (found.switched_at, found.revision) == (None, 0)


def test_a_restored_incident_that_people_wrote_about_meanwhile_keeps_both(town: Town) -> None:
    taken_back(town)
    guard = town.guard(holder="guard-1")
    [before] = town.incidents()
    incidents.save(town.ledgers["guard"], replace(before, owner="somebody@example.org"), "guard")
    town.follow("replica-1", "replica-2")
    guard.tick()
    [after] = town.incidents()
    assert after.owner == "somebody@example.org"
    assert after.restored_at is not None


def opened(at: datetime) -> Incident:
    return Incident(
        id="i1",
        model=MODEL,
        level="emergency",
        kind="corruption",
        summary="nulls in the stream",
        evidence={},
        first_bad_at=at,
        detected_at=at,
    )


def test_a_drop_stays_open_until_somebody_explains_it(town: Town) -> None:
    promoted(town, 1)
    town.begin(2)
    town.follow()
    town.count(traffic(2, 4000, (0.15, 0.3)))
    guard = town.guard()
    guard.tick()
    town.follow()
    guard.tick()
    [incident] = town.incidents()
    assert incident.restored_at is not None
    assert incident.status == "open"


def test_replicas_that_do_not_follow_are_escalated_once(town: Town) -> None:
    taken_back(town)
    impatient = town.guard(config(readback_seconds=0.0), holder="guard-1")
    impatient.tick()
    impatient.tick()
    told = [alert for alert in town.alerts() if "do not serve" in alert.title]
    assert len(told) == 1
    assert told[0].level == "critical"
    assert told[0].body["owner"] == "platform@example.org"
    behind = town.plan().revision - 1
    assert [said.endswith(f"at revision {behind}") for said in told[0].body["evidence"].values()] == [True, True]
    assert town.incidents()[0].restored_at is None
    town.guard(config(readback_seconds=0.0), holder="guard-1").tick()  # a guard that starts anew
    assert len([alert for alert in town.alerts() if "do not serve" in alert.title]) == 1


def test_a_replica_that_fell_silent_may_still_serve_the_canary(town: Town) -> None:
    taken_back(town)
    town.follow("replica-1")
    town.follow("replica-2", revision=town.plan().revision - 1, at=utc_now() - timedelta(seconds=60))
    guard = town.guard(holder="guard-1")
    guard.tick()
    assert town.incidents()[0].restored_at is None
    town.follow("replica-2", revision=town.plan().revision - 1, at=utc_now() - timedelta(seconds=121))
    guard.tick()
    assert town.incidents()[0].restored_at is not None


def test_a_house_without_any_replica_yet_is_no_reason_for_an_alert(town: Town) -> None:
    town.begin(1)
    town.guard(config(readback_seconds=0.0)).tick()
    assert town.alerts() == []


def test_a_replica_that_refuses_the_champion_is_told_of_and_changes_nothing(town: Town) -> None:
    promoted(town, 1)
    before = town.plan()
    town.follow()
    town.trip(content(1), arm="champion")
    guard = town.guard()
    guard.tick()
    guard.tick()
    assert town.plan() == before
    [alert] = town.alerts()
    assert alert.title == "replica replica-1 refused recommendation-v1"


@pytest.mark.parametrize(("kind", "did"), [("refused", "refused"), ("dropped", "dropped"), ("late", "dropped")])
def test_what_a_replica_did_with_a_control_is_told_once(two: Town, kind: str, did: str) -> None:
    before = two.plan()
    two.follow()
    two.trip(content(1), arm="control", kind=kind, reason="5 calls in a row")
    guard = two.guard()
    guard.tick()
    guard.tick()
    assert two.plan() == before
    [alert] = two.alerts()
    assert (alert.level, alert.title) == ("warning", f"replica replica-1 {did} recommendation-v1")
    assert alert.body["what"] == "5 calls in a row"
    assert ("until the next revision" in alert.body["done"]) is (kind != "refused")


def test_a_replica_that_does_not_follow_is_told_of_with_what_it_said(town: Town) -> None:
    promoted(town, 1)
    town.follow(revision=1)
    town.trip("", arm="plan", reason="expected a signed plan, got another")
    town.guard(config(readback_seconds=0.0)).tick()
    [alert] = [alert for alert in town.alerts() if "do not serve" in alert.title]
    assert alert.body["evidence"]["replica replica-1"].endswith("it said: expected a signed plan, got another")


LOADED = {"champion": content(1), "canary": content(2)}


@pytest.mark.parametrize(
    ("changes", "confirmed"),
    [
        ({}, True),
        ({"revision": 99}, True),
        ({"revision": 0}, False),
        ({"loaded": {**LOADED, "champion": "another hash"}}, False),
        ({"loaded": {"champion": content(1)}}, False),
    ],
    ids=["as planned", "newer", "older", "another hash", "canary not loaded"],
)
def test_what_confirms_a_plan(changes: dict[str, object], confirmed: bool) -> None:
    plan = plan_at(1)
    state = ReplicaState(replica="r", model=MODEL, revision=plan.revision, loaded=LOADED, at=NOON)
    seen = replace(state, **changes)
    assert confirms(plan, (seen,)) is confirmed
    assert confirms(plan, (state, seen)) is confirmed
    assert not confirms(plan, ())


def test_in_rules_mode_no_arm_is_asked_for() -> None:
    plan = replace(plan_at(1), mode="rules")
    state = ReplicaState(replica="r", model=MODEL, revision=plan.revision, loaded={}, at=NOON)
    assert wrong_arms(plan, state) == []
    assert confirms(plan, (state,))


def test_a_replica_that_falls_silent_is_not_waited_for_and_told_of_once(town: Town) -> None:
    taken_back(town)
    long_ago = utc_now() - timedelta(minutes=3)
    town.follow("replica-2", revision=town.plan().revision - 1, at=long_ago)
    guard = town.guard(config(readback_seconds=0.0), holder="guard-1")
    town.follow("replica-1")
    for _ in range(2):
        guard.tick()
    assert town.incidents()[0].restored_at is not None
    [told] = [one for one in outbox.pending(town.ledgers["guard"], 100) if "replica" in one.title]
    assert (told.title, told.level) == ("replica replica-2 is silent", "warning")


def test_a_replica_that_left_is_neither_waited_for_nor_missed(town: Town) -> None:
    taken_back(town)
    town.follow("replica-1")
    counters.forget_replica(town.ledgers["serving"], "replica-2")  # fewer workers than before
    town.guard(config(readback_seconds=0.0), holder="guard-1").tick()
    assert town.incidents()[0].restored_at is not None
    assert [one.title for one in outbox.pending(town.ledgers["guard"], 100) if "replica" in one.title] == []


def test_a_replica_whose_disk_is_full_is_told_of_once(town: Town) -> None:
    promoted(town, 1)
    town.follow("replica-1")
    guard = town.guard()
    town.trip("", id="trip-journal", arm="journal", reason="the journal's disk is full: nothing can be written")
    for _ in range(2):
        guard.tick()
    [told] = [one for one in outbox.pending(town.ledgers["guard"], 100) if "disk is full" in one.title]
    assert (told.level, told.model) == ("critical", MODEL)
    assert "the rules answer" in told.body["done"]
    assert town.plan().champion.number == 1  # nothing is taken back for it


def test_fresh_features_that_a_replica_refused_are_told_once_and_no_version_is_touched(town: Town) -> None:
    promoted(town, 1)
    town.follow("replica-1")
    guard = town.guard()
    town.trip(
        "", id="trip-features", arm="features", reason="features of v1, refresh 2: expected a signature, got none"
    )
    for _ in range(2):
        guard.tick()
    [told] = [one for one in outbox.pending(town.ledgers["guard"], 100) if "fresh features" in one.title]
    assert (told.level, told.body["owner"]) == ("warning", "ml-engineering@example.org")
    assert "refresh 2" in told.body["what"]
    assert town.plan().champion.number == 1
