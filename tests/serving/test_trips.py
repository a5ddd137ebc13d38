"""Arms that a replica drops by itself, and what the guard makes of it: a real service, a real guard, one ledger."""

from __future__ import annotations

import pytest

from checks import plans as moves
from guard.lease import Leadership
from guard.loop import Guard
from records import OutboxEvent, Trip
from stores.ledger import counters, incidents, outbox
from tests.serving.inside import BOOM, HANG, SLOW, Inside, hostile, inside
from tests.serving.town import NAME, Town, wait_for

DEADLINE = 0.2
KINDS = {BOOM: ("dropped", "errors"), SLOW: ("late", "late")}  # of the trip, of the incident


def guard_of(town: Town) -> Guard:
    ledger = town.ledgers["guard"]
    return Guard(ledger, town.signer("guard"), town.config, Leadership(ledger, "guard-1", 60))


def dropped(service: Inside, town: Town, arm: str, word: str) -> Trip:
    """The trip of an arm that was asked until the replica dropped it."""
    customer = town.dealt(arm)

    def asked() -> bool:
        service.ask({"customer": customer, "recent": [word]})
        return bool(service.desk.view and service.desk.view.tripped)

    wait_for(asked, 30)
    wait_for(lambda: counters.trips(town.ledgers["reader"], NAME))
    return counters.trips(town.ledgers["reader"], NAME)[-1]


def answered(service: Inside, body: dict[str, object], by: int) -> None:
    """Waits for a reply of this version in time: a busy machine may not manage it at first."""
    wait_for(lambda: (reply := service.ask(body))["override"] == "" and reply["version"] == by)


def alerts(town: Town) -> list[OutboxEvent]:
    return [event for event in outbox.pending(town.ledgers["reader"], 100) if event.kind == "alert"]


@pytest.mark.parametrize("word", [BOOM, SLOW])
def test_a_canary_is_dropped_at_once_and_then_taken_back(
    town: Town, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    town.configure({}, deadline=DEADLINE)
    town.begin(town.candidate(2))
    town.guard(moves.advance)
    hostile(monkeypatch, [2])
    with inside(town) as service:
        service.revision(5)
        other = town.dealt("champion")
        trip = dropped(service, town, "canary", word)
        answered(service, {"customer": other, "recent": [word]}, by=1)  # nobody else is hurt
        assert town.plan().canary is not None  # the guard has not spoken
        guard_of(town).tick()
        service.revision(6)
    assert (trip.arm, trip.kind) == ("canary", KINDS[word][0])
    assert town.plan().canary is None
    [incident] = incidents.incidents(town.ledgers["reader"], NAME)
    assert incident.kind == KINDS[word][1]
    assert incident.first_bad_at is not None
    assert incident.first_bad_at <= trip.at
    assert f"replica replica-1 dropped recommendation-v2: {trip.reason}" in incident.summary


def test_a_slow_champion_is_dropped_here_and_the_guard_says_so(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.configure({}, deadline=DEADLINE)
    hostile(monkeypatch, [1])
    with inside(town) as service:
        service.ready()
        trip = dropped(service, town, "champion", SLOW)
        assert service.ask({"customer": town.dealt("champion")})["version"] == 0
        before = town.plan()
        guard_of(town).tick()
    assert (trip.arm, trip.kind) == ("champion", "late")
    assert f"took longer than the deadline of {DEADLINE:g} s" in trip.reason
    assert town.plan() == before
    [alert] = [one for one in alerts(town) if "replica-1" in one.title]
    assert (alert.level, alert.title) == ("critical", "replica replica-1 dropped recommendation-v1")
    assert alert.body["what"] == trip.reason
    assert "until the next revision" in alert.body["done"]


def test_where_champion_and_control_are_dropped_the_rules_answer_and_an_incident_opens(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a real replica, which tells of it itself; nothing that it counts says more."""
    town.configure({}, deadline=DEADLINE)
    town.begin(town.candidate(2))
    while town.plan().canary is not None:
        town.guard(moves.advance)
    revision = town.plan().revision
    hostile(monkeypatch, [1, 2])
    with inside(town) as service:
        service.revision(revision)
        broken = {"customer": town.dealt("champion"), "recent": [BOOM]}
        desk = service.desk
        wait_for(lambda: service.ask(broken)["arm"] == "rules" and desk.view and len(desk.view.tripped) == 2, 30)
        guard = guard_of(town)

        def ticked() -> bool:
            guard.tick()
            return town.plan().mode == "rules"

        wait_for(ticked, 30)
        service.revision(town.plan().revision)
    [incident] = incidents.incidents(town.ledgers["reader"], NAME)
    assert (incident.kind, incident.level) == ("both_bad", "critical")
    assert "every replica dropped recommendation-v2 and its control recommendation-v1" in incident.summary


def test_a_batch_that_takes_long_is_for_who_sends_it(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.configure({}, deadline=DEADLINE)
    free = hostile(monkeypatch, [1])
    with inside(town) as service:
        view = service.ready().desk.view
        assert view is not None
        customer, runner = town.dealt("champion"), view.loaded_arms["champion"].live
        slow = {"customer": customer, "recent": [HANG]}
        for _ in range(6):
            free.clear()
            answers = service.ask({"requests": [slow, slow]})["answers"]
            assert {one["override"] for one in answers} == {"deadline"}
            free.set()
            wait_for(lambda: not runner._busy_since)  # the call took as long as the reply, and longer
        answered(service, {"customer": customer}, by=1)
        assert service.desk.view is not None
        assert not service.desk.view.tripped
