"""An operator's verbs on plans: what is refused, what is done once, and since when something stands still."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from checks import plans as moves
from checks.operating import RECENT, done_before, since, stop
from checks.plans import RULES_ARM, initial
from errors import ReleaseRefused, RevisionConflict
from records import ReleasePlan
from tests.stores.ledger.world import MODEL, NOON, arm

SOON = NOON + timedelta(seconds=30)
OLGA, OTTO, WHY = "operator:olga", "operator:otto", "rollback: clicks fell"


def plan(**changes: object) -> ReleasePlan:
    """Version 2 answers, version 1 stands behind it, nothing runs."""
    base = replace(initial(MODEL, NOON), revision=7, mode="model", champion=arm(2), previous=arm(1), control=arm(1))
    return replace(base, control_percent=2.0, **changes)


def running(**changes: object) -> ReleasePlan:
    return plan(canary=arm(3), canary_percent=5.0, **changes)


def then(before: ReleasePlan, after: ReleasePlan) -> list[ReleasePlan]:
    """Two revisions, as the ledger has them."""
    return [before, replace(after, revision=before.revision + 1)]


def by(actor: str, verb: str, before: ReleasePlan, at: datetime = NOON) -> ReleasePlan:
    return stop(verb, before, at=at, actor=actor, reason=WHY)


def asked(recent: list[ReleasePlan], actor: str, seen: int | None = None, at: datetime = SOON) -> bool:
    return done_before("rollback", recent, seen=seen, at=at, actor=actor, reason=WHY)


@pytest.mark.parametrize(
    ("verb", "before", "why"),
    [
        ("hold", plan(), "a running one"),
        ("rollback", plan(previous=None), "a previous version"),
        ("rollback", initial(MODEL, NOON), "a previous version"),
        ("hold", initial(MODEL, NOON), "a running one"),
        ("fallback", initial(MODEL, NOON), "a model that was released"),
    ],
)
def test_what_is_impossible_is_refused_with_the_plan_and_what_to_do(verb: str, before: ReleasePlan, why: str) -> None:
    with pytest.raises(ReleaseRefused, match=why) as refused:
        by(OLGA, verb, before)
    assert f"{MODEL}, revision {before.revision}" in str(refused.value)
    assert refused.value.do


@pytest.mark.parametrize("verb", ["freeze", "hold", "fallback"])
def test_what_names_a_state_may_be_said_again(verb: str) -> None:
    once = by(OLGA, verb, running())
    assert by(OTTO, verb, once) is once
    assert not done_before(verb, then(running(), once), seen=None, at=SOON, actor=OLGA, reason=WHY)


def test_rules_mode_is_reached_already_also_where_the_rules_were_champion() -> None:
    first = running(champion=RULES_ARM, previous=None, control=None)
    once = by(OLGA, "fallback", first)
    assert (once.mode, once.champion.is_rules, once.canary) == ("rules", True, None)
    assert by(OLGA, "fallback", once) is once


@pytest.mark.parametrize("before", [running(), plan()], ids=["a canary", "the champion"])
def test_the_same_rollback_again_goes_no_further_back(before: ReleasePlan) -> None:
    recent = then(before, by(OLGA, "rollback", before))
    assert asked(recent, OLGA)
    frozen = replace(by(OLGA, "freeze", recent[-1]), revision=9)
    assert asked([*recent, frozen], OLGA)


@pytest.mark.parametrize("before", [running(), plan()], ids=["a canary", "the champion"])
def test_whoever_comes_second_is_told_what_changed(before: ReleasePlan) -> None:
    recent = then(before, by(OLGA, "rollback", before))
    with pytest.raises(RevisionConflict, match=r"revision 8, written by operator:olga at .*clicks fell") as told:
        asked(recent, OTTO)
    assert ("--revision 8" in told.value.do) == (recent[-1].previous is not None)
    assert not asked(recent, OTTO, seen=8)  # who names the revision has seen it


def test_the_guards_way_back_counts_as_well() -> None:
    taken = moves.take_back(running(), at=NOON, actor="guard", reason="errors: 5 of 5 failed")
    with pytest.raises(RevisionConflict, match="by guard"):
        asked(then(running(), taken), OLGA)


def test_a_way_back_of_long_ago_and_other_changes_do_not_count() -> None:
    recent = then(running(), by(OLGA, "rollback", running()))
    assert not asked(recent, OTTO, at=NOON + RECENT)
    promoted = plan(champion=arm(3), previous=arm(2))
    assert not asked(then(running(), replace(promoted, created_at=NOON)), OLGA)
    assert not asked(then(plan(), by(OTTO, "fallback", plan())), OLGA)
    assert not asked([], OLGA)


def test_a_running_canary_is_what_a_rollback_is_for() -> None:
    earlier = then(running(), by(OTTO, "rollback", running()))
    again = replace(earlier[-1], revision=9, canary=arm(4), canary_percent=5.0)
    assert not asked([*earlier, again], OLGA)


def test_since_when_something_stands_still_survives_later_revisions() -> None:
    frozen = replace(by(OLGA, "freeze", running()), revision=8)
    held = replace(by(OTTO, "hold", frozen), revision=9)
    back = replace(by(OTTO, "fallback", held), revision=10)
    history = [running(), frozen, held, back]
    assert {name: (one.revision, one.actor) for name, one in since(history).items()} == {
        "frozen": (8, OLGA),
        "held": (9, OTTO),
        "rules": (10, OTTO),
    }
    lifted = replace(moves.unfreeze(back, at=NOON, actor="release", reason="voted"), revision=11)
    assert set(since([*history, lifted])) == {"held", "rules"}
    assert since([]) == {}
