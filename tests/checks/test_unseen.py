"""The shadow of a model that is judged split: its answers have no outcomes, so what it scored is all that counts for its step."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from checks import plans as moves
from checks.case import Seen
from checks.judge import concluded_again, judge, memory_of, state_of
from checks.tallies import UNSEEN
from records import Counter, GuardVerdict, ReleasePlan, Step
from tests.checks.test_judge import plan_at, who
from tests.checks.traffic import live, split
from tests.stores.ledger.world import NOON, ROLLOUT

STEPS = (Step(percent=0, min_seconds=0, min_answers=200), *ROLLOUT.steps[1:])


@pytest.fixture
def shadowing() -> ReleasePlan:
    plan = plan_at(0)
    assert plan.canary is not None
    assert plan.canary_percent == 0
    assert plan.rollout is not None
    return replace(plan, rollout=replace(plan.rollout, steps=STEPS))


def look(
    plan: ReleasePlan, rows: Sequence[Counter], at: datetime = NOON, before: GuardVerdict | None = None
) -> GuardVerdict:
    seen = Seen(plan, tuple(rows), (), True, None, at)
    verdict = judge(seen, memory_of(before) if before else None)
    assert verdict is not None
    return verdict


def scored(plan: ReleasePlan, count: int, errors: int = 0) -> list[Counter]:
    """Scores beside the champion's answers, whose outcomes are known."""
    assert plan.canary is not None
    number = plan.canary.number
    return [
        *live(plan.salt, "canary", number, count, errors=errors),
        *live(plan.salt, UNSEEN, number, count - errors),
        *split(plan.salt, "champion", plan.champion.number, count, 0.3),
    ]


def test_it_goes_on_when_it_has_scored_enough(shadowing: ReleasePlan) -> None:
    few, enough = look(shadowing, scored(shadowing, 150)), look(shadowing, scored(shadowing, 400))
    assert (state_of(few), few.action) == ("waiting", "none")
    assert "50 matured answers" in few.reason
    assert (state_of(enough), enough.action, enough.kpi, enough.effect) == ("scored", "advance", "inconclusive", None)
    assert concluded_again(enough) == {}


def test_it_is_taken_back_for_its_errors(shadowing: ReleasePlan) -> None:
    bad = look(shadowing, scored(shadowing, 400, errors=200))
    assert (state_of(bad), bad.action) == ("errors", "rollback")


def test_idle_traffic_promotes_nobody(shadowing: ReleasePlan) -> None:
    assert look(shadowing, []).action == "none"
    later = look(shadowing, [], NOON + timedelta(days=30), look(shadowing, []))
    assert (state_of(later), later.action) == ("missing", "hold")


def test_it_never_goes_straight_to_everybody(shadowing: ReleasePlan) -> None:
    assert shadowing.rollout is not None
    at_once = replace(shadowing, rollout=replace(shadowing.rollout, steps=(STEPS[0], STEPS[-1])))
    found = look(at_once, scored(at_once, 400))
    assert (state_of(found), found.action) == ("undecided", "none")


def test_its_scores_count_for_nothing_in_the_next_step(shadowing: ReleasePlan) -> None:
    rows = scored(shadowing, 400)
    before = look(shadowing, rows)
    plan = moves.advance(shadowing, **who(NOON))
    found = look(plan, rows, NOON + timedelta(seconds=1), before)
    assert (found.action, found.matured) == ("none", 0)
    assert found.effect is None


def test_where_pairs_have_outcomes_they_alone_count(shadowing: ReleasePlan) -> None:
    """A model that is judged in pairs has no such rows: its shadow waits for outcomes."""
    rows = [row for row in scored(shadowing, 400) if row.arm != UNSEEN]
    assert look(shadowing, rows).action == "none"
