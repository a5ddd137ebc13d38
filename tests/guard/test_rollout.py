"""The guard on a real ledger, tick by tick: what it does to plans, incidents and the outbox, and what it does not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from checks import plans as moves
from checks.judge import judge, state_of
from errors import ReleaseRefused, RevisionConflict
from guard.rollout import Hand, carry_out, incident_of
from guard.watch import Watch, look
from records import Counter, utc_now
from stores.ledger import audit, leases, plans
from tests.checks.traffic import live, pairs
from tests.guard.town import ROLLOUT, Town, config
from tests.stores.ledger.world import GATES, MODEL, arm

GOOD, WORSE = (0.3, 0.3), (0.15, 0.3)


def content(number: int) -> str:
    artifact = arm(number).artifact
    assert artifact is not None
    return artifact.content


def traffic(number: int, matured: int, rates: tuple[float, float], seed: int = 1) -> list[Counter]:
    """What serving would have counted of so many answers, half of them by the canary."""
    return [
        *pairs(f"salt-{number}", number, matured, rates, seed=seed),
        *live(f"salt-{number}", "canary", number, matured // 2),
    ]


def promoted(town: Town, number: int) -> None:
    """Version `number` to 100 % by the guard itself."""
    town.begin(number)
    guard = town.guard()
    for tick in range(20):
        town.follow()
        guard.tick()  # the replicas have followed: from here the step counts
        town.count(traffic(number, 3000, GOOD, seed=tick))
        guard.tick()
        if town.plan().canary is None:
            break
    assert town.plan().champion.number == number


def test_a_good_canary_goes_from_shadow_to_all_and_every_step_is_signed_and_told(town: Town) -> None:
    promoted(town, 1)
    plan = town.plan()
    assert (plan.champion.number, plan.control_percent, plan.actor) == (1, 2.0, "guard")
    assert plan.control is not None
    assert plan.control.is_rules
    signed = plans.history(town.ledgers["reader"], MODEL)
    assert [one.key for one in signed] == ["release", "guard", "guard"]
    ring = town.signer("guard").ring
    assert [plans.verify(one, ring).revision for one in signed] == [1, 2, 3]
    audit.verify(town.ledgers["reader"])
    names = [event.name for event in town.events()]
    assert names == ["grownet.release.changed"] * 3
    assert [verdict.action for verdict in town.verdicts() if verdict.action != "none"] == ["advance", "promote"]
    assert town.incidents() == []


def test_a_verdict_is_stored_when_it_changes_and_not_at_every_tick(town: Town) -> None:
    town.begin(1)
    guard = town.guard()
    town.follow()
    for _ in range(5):
        guard.tick()
    assert [state_of(verdict) for verdict in town.verdicts()] == ["waiting"]
    town.count(traffic(1, 300, (0.29, 0.3)))
    for _ in range(3):
        guard.tick()
    stored = town.verdicts()
    assert [state_of(verdict) for verdict in stored] == ["waiting", "undecided"]
    assert stored[-1].needed is not None
    assert stored[-1].needed > 0


def test_nothing_moves_until_replicas_have_followed(town: Town) -> None:
    town.begin(1)
    town.count(traffic(1, 3000, GOOD))
    guard = town.guard()
    guard.tick()
    town.follow("replica-1")
    town.follow("replica-2", revision=0)
    guard.tick()
    assert {state_of(verdict) for verdict in town.verdicts()} == {"unconfirmed"}
    town.follow("replica-2")
    guard.tick()
    assert town.plan().step == 1


@pytest.mark.parametrize("kind", ["errors", "late"])
def test_a_failing_canary_is_taken_back_with_incident_and_alert(town: Town, kind: str) -> None:
    promoted(town, 1)
    town.begin(2)
    guard = town.guard()
    town.follow()
    guard.tick()
    town.count(live("salt-2", "canary", 2, 100, **{kind: 60}))
    guard.tick()
    plan = town.plan()
    assert (plan.canary, plan.champion.number) == (None, 1)
    assert plan.rejected == (content(2),)
    [incident] = town.incidents()
    assert (incident.kind, incident.level, incident.status) == (kind, "critical", "open")
    assert incident.failed_requests == (60 if kind == "errors" else 0)
    assert incident.first_bad_at is not None
    assert incident.decided_at is not None
    assert incident.first_bad_at <= incident.detected_at <= incident.decided_at
    assert incident.restored_at is None
    [alert] = town.alerts()
    assert (alert.level, alert.name) == ("critical", "grownet.alert.critical")
    assert "60 of the last 100" in alert.body["what"]
    assert f"revision {plan.revision}" in alert.body["done"]
    assert alert.body["evidence"]["incident"] == incident.id
    assert alert.body["owner"] == "platform@example.org"
    assert alert.body["link"] == f"grownet release show {MODEL}"


def test_a_refused_artifact_is_taken_back_at_once(town: Town) -> None:
    promoted(town, 1)
    town.begin(2)
    town.trip(content(2), at=utc_now() + timedelta(minutes=5))  # by a replica's clock, which is fast
    town.guard().tick()
    assert town.plan().canary is None
    [incident] = town.incidents()
    assert incident.kind == "refused_artifact"
    assert incident.first_bad_at is not None
    assert incident.first_bad_at <= incident.detected_at
    assert "expected hash 12, got 13" in incident.summary


def test_a_worse_canary_is_taken_back_on_its_kpi_and_its_hash_never_comes_again(town: Town) -> None:
    promoted(town, 1)
    town.begin(2)
    town.follow()
    town.count(traffic(2, 4000, WORSE))
    guard = town.guard()
    guard.tick()
    guard.tick()
    assert (town.plan().canary, town.plan().champion.number) == (None, 1)
    [incident] = town.incidents()
    assert incident.kind == "kpi_drop"
    assert incident.evidence["interval to"] < -0.05
    assert incident.evidence["matured answers"] == 4000
    assert incident.owner == "sre@example.org"


def test_a_champion_that_its_control_beats_is_rolled_back_once_and_never_flaps(town: Town) -> None:
    promoted(town, 1)
    promoted(town, 2)
    town.count(pairs("salt-2", 1, 4000, (0.3, 0.15), arm="control"))
    town.follow()
    guard = town.guard()
    guard.tick()
    plan = town.plan()
    assert (plan.champion.number, plan.previous, plan.control, plan.actor) == (1, None, None, "guard")
    assert content(2) not in plan.rejected  # only a failed canary's hash is rejected for good
    town.count(pairs("salt-2", 1, 4000, (0.15, 0.3), arm="control"))
    town.count(live("salt-2", "champion", 1, 1000, errors=900))
    for _ in range(3):
        town.follow()
        guard.tick()
    assert town.plan() == plan
    assert [incident.kind for incident in town.incidents()] == ["kpi_drop"]
    assert len(town.alerts()) == 1


@pytest.mark.parametrize("restarted", [False, True])
def test_a_champion_that_falls_after_a_long_good_time_is_rolled_back_on_what_came_since(
    town: Town, restarted: bool
) -> None:
    promoted(town, 1)
    promoted(town, 2)
    guard = town.guard()
    for seed in range(20):
        if seed == 10 and restarted:
            guard = town.guard()
        town.follow()
        town.count(pairs("salt-2", 1, 500, (0.3, 0.3), arm="control", seed=seed))
        guard.tick()
    since = 0
    while town.plan().champion.number == 2:
        town.count(pairs("salt-2", 1, 100, (0.3, 0.24), arm="control", seed=1000 + since))
        town.follow()
        guard.tick()
        since += 100
    assert since <= 3000  # the whole alone takes 5,000 to outweigh 10,000 equal ones
    assert town.plan().champion.number == 1
    verdict = town.verdicts()[-1] if state_of(town.verdicts()[-1]) == "kpi_drop" else town.verdicts()[-2]
    assert verdict.inputs["later"]["after"] >= 5000 * restarted
    assert f"newest {verdict.matured} matured answers" in verdict.reason
    assert [incident.kind for incident in town.incidents()] == ["kpi_drop"]


def test_missing_answers_hold_the_rollout_and_warn_once(town: Town) -> None:
    quick = replace(ROLLOUT, gates=replace(GATES, missing_seconds=0))
    town.begin(1, quick)
    town.follow()
    guard = town.guard()
    for _ in range(4):
        guard.tick()
    plan = town.plan()
    assert (plan.hold, plan.canary is not None) == (True, True)
    [alert] = town.alerts()
    assert (alert.level, alert.body["owner"]) == ("warning", "sre@example.org")
    assert "on hold" in alert.body["done"]
    assert town.incidents() == []


def test_a_step_that_cannot_decide_waits_for_a_vote(town: Town) -> None:
    """A canary right at the margin: more of its kind never decide, an operator's key alone moves nothing, a ballot does."""
    promoted(town, 1)
    town.begin(2)
    town.follow()
    guard = town.guard()
    guard.tick()
    for tick in range(4):
        town.count(traffic(2, 300, (0.285, 0.3), seed=tick))
        guard.tick()
    assert town.plan().step == 0
    assert state_of(town.verdicts()[-1]) == "undecided"
    assert "more matured answers are needed" in town.verdicts()[-1].reason
    with pytest.raises(ReleaseRefused, match="ballot to advance"):
        town.operate(moves.advance)
    ballot = town.voted("advance", town.plan().revision)
    after = plans.change(
        town.release,
        MODEL,
        lambda plan: moves.advance(plan, at=utc_now(), actor="release", reason="voted"),
        signer=town.signer("release"),
        actor="release",
        ballot=ballot,
    )
    assert (after.step, after.canary_percent) == (1, 50.0)


@pytest.mark.parametrize("verb", [moves.hold, moves.freeze, moves.fallback])
def test_what_people_said_is_respected(town: Town, verb: Any) -> None:
    town.begin(1)
    after = town.operate(verb)
    town.follow()
    town.count(traffic(1, 4000, GOOD))
    guard = town.guard()
    for _ in range(3):
        guard.tick()
    assert town.plan() == after


def test_a_guard_that_starts_anew_goes_on_where_the_last_one_was(town: Town) -> None:
    """In the second step 400 answers came before the restart and 400 after: together they are the 500 it asks for."""
    town.begin(1)
    town.follow()
    town.count(traffic(1, 3000, GOOD))
    first = town.guard()
    first.tick()
    assert town.plan().step == 1
    town.follow()
    first.tick()
    town.count(traffic(1, 400, GOOD, seed=2))
    first.tick()
    assert town.plan().step == 1
    second = town.guard(holder="guard-1")
    second.tick()
    assert town.plan().step == 1
    town.count(traffic(1, 400, GOOD, seed=3))
    second.tick()
    assert town.plan().champion.number == 1


def test_a_write_under_an_epoch_that_is_over_changes_nothing(town: Town) -> None:
    town.begin(1)
    town.follow()
    town.count(traffic(1, 3000, WORSE))
    ledger = town.ledgers["guard"]
    old = leases.acquire(ledger, leases.GUARD, "sleeper", 60)
    new = leases.acquire(ledger, leases.GUARD, "sleeper", 60)
    assert old is not None
    assert new is not None
    before = town.plan()
    hand = Hand(ledger, town.signer("guard"), config().defaults, old)
    watch = Watch(MODEL)
    view = look(ledger, town.signer("guard").ring, watch, utc_now(), 10)
    assert view is not None
    verdict = judge(view.seen, None)
    assert verdict is not None
    assert verdict.action == "rollback"
    with pytest.raises(RevisionConflict, match="epoch"):
        carry_out(hand, watch, view, verdict)
    watch.saved = verdict  # it slept between saying so and doing it
    with pytest.raises(RevisionConflict, match="epoch"):
        carry_out(hand, watch, view, verdict)
    assert town.plan() == before
    assert town.incidents() == []
    assert town.alerts() == []
    with pytest.raises(RevisionConflict, match="epoch"):
        hand.tell()
    with pytest.raises(RevisionConflict, match="epoch"):
        hand.restored(incident_of(verdict, view, hand.defaults, ""), utc_now())


def test_a_plan_that_people_changed_in_between_is_looked_at_again(town: Town) -> None:
    town.begin(1)
    town.follow()
    town.count(traffic(1, 3000, GOOD))
    ledger = town.ledgers["guard"]
    epoch = leases.acquire(ledger, leases.GUARD, "me", 60)
    assert epoch is not None
    watch = Watch(MODEL)
    view = look(ledger, town.signer("guard").ring, watch, utc_now(), 10)
    assert view is not None
    verdict = judge(view.seen, None)
    assert verdict is not None
    assert verdict.action == "advance"
    held = town.operate(moves.hold)
    with pytest.raises(RevisionConflict, match="operator:ada"):
        carry_out(Hand(ledger, town.signer("guard"), config().defaults, epoch), watch, view, verdict)
    assert town.plan() == held
    guard = town.guard(holder="me")
    guard.tick()
    assert town.plan() == held


def test_an_old_replica_state_is_no_living_replica(town: Town) -> None:
    town.begin(1)
    town.count(traffic(1, 3000, GOOD))
    town.follow(at=utc_now() - timedelta(minutes=5))
    town.guard().tick()
    assert town.plan().step == 0
