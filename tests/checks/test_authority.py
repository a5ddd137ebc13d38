"""Which key may sign which change."""

from typing import Any

import pytest
from msgspec.structs import replace

from checks import plans as moves
from checks.authority import authorise
from errors import ReleaseRefused
from records import Arm, ReleasePlan
from tests.checks.test_plans import approved, promoted, started
from tests.stores.ledger.world import MODEL, NOON, ROLLOUT

WHO: dict[str, Any] = {"at": NOON, "actor": "x", "reason": "r"}
FIRST = moves.initial(MODEL, NOON)
ONE = promoted(FIRST, 1)
CANARY = started(ONE, 2)
STOPS = {
    "freeze": (CANARY, moves.freeze(CANARY, **WHO)),
    "hold": (CANARY, moves.hold(CANARY, **WHO)),
    "take back": (CANARY, moves.take_back(CANARY, **WHO)),
    "rollback": (promoted(ONE, 2), moves.rollback(promoted(ONE, 2), **WHO)),
    "fallback": (CANARY, moves.fallback(CANARY, **WHO)),
}
FROZEN, HELD, RULES = moves.freeze(ONE, **WHO), moves.hold(ONE, **WHO), moves.fallback(ONE, **WHO)
UNDOING = {
    "unfreeze": (FROZEN, moves.unfreeze(FROZEN, **WHO)),
    "resume": (HELD, moves.resume(HELD, **WHO)),
    "restore": (RULES, moves.restore(RULES, **WHO)),
    "promote": (ONE, CANARY),
}


def asked(chosen: Arm) -> Any:
    assert chosen.approval is not None
    return chosen.approval.subject


@pytest.mark.parametrize("name", STOPS)
@pytest.mark.parametrize("key", ["release", "guard", "operator:ada"])
def test_every_key_may_stop_and_go_back(name: str, key: str) -> None:
    authorise(*STOPS[name], key)


@pytest.mark.parametrize("name", UNDOING)
@pytest.mark.parametrize("key", ["release", "guard", "operator:ada"])
def test_undoing_takes_a_ballot(name: str, key: str) -> None:
    with pytest.raises(ReleaseRefused, match=f"an approved ballot to {name}"):
        authorise(*UNDOING[name], key)


@pytest.mark.parametrize("name", ["unfreeze", "resume", "restore"])
def test_the_release_key_undoes_by_the_ballot_of_that_verb(name: str) -> None:
    ballot = replace(asked(approved(2)), verb=name)
    authorise(*UNDOING[name], "release", ballot)
    with pytest.raises(ReleaseRefused):
        authorise(*UNDOING[name], "operator:ada", ballot)
    with pytest.raises(ReleaseRefused):
        authorise(*UNDOING[name], "release", replace(ballot, verb="advance"))


@pytest.mark.parametrize("key", ["release", "guard", "operator:ada"])
def test_rules_mode_ends_by_a_vote_also_where_the_champion_is_the_rules(key: str) -> None:
    with pytest.raises(ReleaseRefused, match="ballot to restore"):
        authorise(FIRST, moves.restore(FIRST, **WHO), key)


def test_an_artifact_comes_in_by_the_ballot_over_it() -> None:
    authorise(ONE, CANARY, "release", asked(approved(2)))
    with pytest.raises(ReleaseRefused, match="the ballot was over"):
        authorise(ONE, CANARY, "release", asked(approved(3)))
    with pytest.raises(ReleaseRefused, match="the ballot was over"):
        authorise(ONE, replace(CANARY, rollout=replace(ROLLOUT, control_percent=9.0)), "release", asked(approved(2)))


def test_the_guard_advances_and_an_operator_needs_a_vote() -> None:
    after = moves.advance(CANARY, **WHO)
    authorise(CANARY, after, "guard")
    authorise(CANARY, after, "release", replace(asked(approved(2)), verb="advance"))
    for key in ("operator:ada", "release"):
        with pytest.raises(ReleaseRefused, match="ballot to advance"):
            authorise(CANARY, after, key)


def test_the_guard_lifts_the_freeze_that_the_ballot_named() -> None:
    plan: ReleasePlan = started(moves.freeze(FIRST, **WHO), 1, freeze=True)
    while plan.canary is not None:
        after = moves.advance(plan, **WHO)
        authorise(plan, after, "guard")
        plan = after


DRIFT = moves.freeze(ONE, what_for="drift", **WHO)
CORRUPT = moves.freeze(ONE, what_for="corruption", **WHO)


def test_the_guard_lifts_a_freeze_for_drift_and_no_other() -> None:
    authorise(DRIFT, moves.unfreeze(DRIFT, **WHO), "guard")
    for plan in (CORRUPT, FROZEN):
        with pytest.raises(ReleaseRefused, match="ballot to unfreeze"):
            authorise(plan, moves.unfreeze(plan, **WHO), "guard")
    for key in ("operator:ada", "release"):
        with pytest.raises(ReleaseRefused, match="ballot to unfreeze"):
            authorise(DRIFT, moves.unfreeze(DRIFT, **WHO), key)


@pytest.mark.parametrize("key", ["guard", "operator:ada", "release"])
@pytest.mark.parametrize("plan", [CORRUPT, FROZEN], ids=["corruption", "operator"])
def test_nobody_makes_a_freeze_weaker_to_lift_it_afterwards(plan: ReleasePlan, key: str) -> None:
    with pytest.raises(ReleaseRefused, match="ballot to unfreeze"):
        authorise(plan, replace(plan, frozen_for="drift"), key)


def test_the_guard_may_not_do_more_while_it_lifts_a_freeze() -> None:
    held = moves.hold(DRIFT, **WHO)
    with pytest.raises(ReleaseRefused, match="ballot to resume"):
        authorise(held, moves.resume(moves.unfreeze(held, **WHO), **WHO), "guard")
    rules = moves.fallback(DRIFT, **WHO)
    with pytest.raises(ReleaseRefused, match="ballot to restore"):
        authorise(rules, moves.restore(moves.unfreeze(rules, **WHO), **WHO), "guard")


def test_an_operator_cannot_alter_what_an_arm_carries() -> None:
    forged = replace(ONE.champion, evidence="0" * 64)
    with pytest.raises(ReleaseRefused):
        authorise(ONE, replace(ONE, champion=forged), "operator:ada")


def test_rejected_stays_rejected() -> None:
    rejected = moves.take_back(CANARY, **WHO)
    with pytest.raises(ReleaseRefused, match="stay rejected"):
        authorise(rejected, replace(rejected, rejected=()), "release")


@pytest.mark.parametrize("key", ["", "serving", "operator", "operator:", "release:x", "guard "])
def test_a_stranger_signs_nothing(key: str) -> None:
    with pytest.raises(ReleaseRefused, match="sign a plan"):
        authorise(ONE, HELD, key)
