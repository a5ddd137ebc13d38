"""Counters added up: who is judged, paired and split, before and after 100 %, and the sample needed."""

from __future__ import annotations

from datetime import timedelta
from math import isfinite
from typing import Any

import pytest
from msgspec.structs import replace

from checks import plans as moves
from checks import tallies
from records import ReleasePlan
from tests.checks.test_plans import promoted, started
from tests.checks.traffic import HOUR, live, pairs, row, split
from tests.stores.ledger.world import GATES, MODEL, NOON, ROLLOUT

WHO: dict[str, Any] = {"at": NOON, "actor": "guard", "reason": "because"}


@pytest.fixture
def second() -> ReleasePlan:
    """Version 2 as canary beside the champion version 1."""
    return started(promoted(moves.initial(MODEL, NOON), 1), 2)


def judged(plan: ReleasePlan) -> tallies.Sides:
    who = tallies.sides(plan)
    assert who is not None
    return who


def test_who_is_judged_against_whom(second: ReleasePlan) -> None:
    assert tallies.sides(moves.initial(MODEL, NOON)) is None
    assert tallies.sides(moves.fallback(second, **WHO)) is None
    who = judged(second)
    assert (who.role, who.arm.number, who.control_role, who.control.number) == ("canary", 2, "champion", 1)
    after = second
    while after.canary is not None:
        after = moves.advance(after, **WHO)
    who = judged(after)
    assert (who.role, who.arm.number, who.control_role, who.control.number) == ("champion", 2, "control", 1)
    assert who.control_percent == 2.0


def test_a_tally_takes_one_arm_and_version() -> None:
    rows = [*live("s", "canary", 2, 400, errors=3, late=5), *live("s", "canary", 1, 999), *live("s", "champion", 2, 50)]
    found = tallies.tally(rows, "canary", 2)
    assert (found.answers, found.errors, found.late, found.matured) == (400, 3, 5, 0)
    later = tallies.Tally(answers=500, errors=4, late=5, matured=9)
    assert later.since(found) == tallies.Tally(answers=100, errors=1, late=0, matured=9)


def test_a_canary_is_compared_on_the_same_requests(second: ReleasePlan) -> None:
    found = tallies.compare(pairs("salt", 2, 4000, (0.2, 0.3)), judged(second), ROLLOUT)
    assert (found.form, found.matured) == ("paired", 4000)
    assert found.kpi == pytest.approx(0.2, abs=0.02)
    assert found.control_kpi == pytest.approx(0.3, abs=0.02)
    assert found.effect.high < -0.2


def test_after_all_the_champion_is_judged_by_the_rows_of_the_control(second: ReleasePlan) -> None:
    after = second
    while after.canary is not None:
        after = moves.advance(after, **WHO)
    found = tallies.compare(pairs("salt", 1, 4000, (0.3, 0.2), arm="control"), judged(after), ROLLOUT)
    assert found.kpi == pytest.approx(0.2, abs=0.02)  # the champion's: `other_total` of the control's rows
    assert found.effect.high < -0.2


def test_a_split_model_is_compared_hour_by_hour(second: ReleasePlan) -> None:
    """The KPI triples while the canary's share grows: pooled, an equal canary would look twice as good."""
    rows = []
    for hours, (rate, canary, champion) in enumerate([(0.1, 500, 9500), (0.3, 5000, 5000)]):
        hour = HOUR + timedelta(hours=hours)
        rows += split("salt", "canary", 2, canary, rate, hour=hour, seed=hours)
        rows += split("salt", "champion", 1, champion, rate, hour=hour, seed=10 + hours)
    found = tallies.compare(rows, judged(second), ROLLOUT)
    assert (found.form, found.matured) == ("split", 5500)
    assert found.effect.low < 0 < found.effect.high
    assert found.effect.high < 0.2


def test_an_hour_of_a_split_model_counts_when_its_last_label_is_due(second: ReleasePlan) -> None:
    """Hits are told at once and misses after two hours: of the newest hours only hits are known, whoever answered."""
    rows = []
    for hours in range(6):
        hour, whole = HOUR + timedelta(hours=hours), hours < 3
        for arm, version, rate in (("canary", 2, 0.1), ("champion", 1, 0.3)):
            known = split("salt", arm, version, 2000, rate, hour=hour, seed=hours + version)
            rows += known if whole else [replace(one, matured=int(one.total)) for one in known]
    rollout = replace(ROLLOUT, gates=replace(GATES, attribution_seconds=7200))
    fair = tallies.compare(rows, judged(second), rollout)
    assert fair.matured == 6000
    assert fair.effect.high < -0.4
    new = [row for row in rows if row.hour >= HOUR + timedelta(hours=3)]
    eager = tallies.compare(new, judged(second), ROLLOUT)
    assert (eager.kpi, eager.control_kpi) == (1.0, 1.0)
    assert eager.effect.low > -0.05  # it would pass
    assert tallies.compare(new, judged(second), rollout).matured == 0
    later = tallies.compare(rows, judged(second), rollout, HOUR + timedelta(hours=4))
    assert later.matured == 4000  # only what was due by then
    assert tallies.compare(rows[:1], judged(second), rollout).matured == 0


def test_what_a_hit_is_worth_comes_from_the_rows(second: ReleasePlan) -> None:
    """A KPI in cents is judged as the same KPI in euros."""
    euros = pairs("salt", 2, 2000, (0.3, 0.3))
    worth = {"total": 100, "other_total": 100, "squares": 1e4, "other_squares": 1e4, "cross": 1e4}
    cents = [replace(row, **{name: getattr(row, name) * by for name, by in worth.items()}) for row in euros]
    ends = [tallies.compare(rows, judged(second), ROLLOUT).effect for rows in (euros, cents)]
    assert ends[0].low < 0 < ends[0].high
    assert (ends[1].low, ends[1].high) == pytest.approx((ends[0].low, ends[0].high))


def test_nothing_counted_is_no_comparison(second: ReleasePlan) -> None:
    found = tallies.compare([], judged(second), ROLLOUT)
    assert (found.matured, found.kpi, found.effect.effect, found.needed(ROLLOUT)) == (0, None, None, None)
    alone = tallies.compare(split("salt", "canary", 2, 500, 0.3), judged(second), ROLLOUT)
    assert not isfinite(alone.effect.low)


def test_needed_counts_the_answers_of_the_judged_arm(second: ReleasePlan) -> None:
    rows = [*split("salt", "canary", 2, 1000, 0.3), *split("salt", "champion", 1, 19_000, 0.3, seed=2)]
    found = tallies.compare(rows, judged(second), ROLLOUT)
    needed = found.needed(ROLLOUT)
    assert needed is not None
    assert found.effect.size == pytest.approx(950, rel=0.02)
    whole = tallies.sample_needed(ROLLOUT, 0.3, None)
    assert whole is not None
    assert needed == pytest.approx(whole * 1000 / 950 - 1000, rel=0.3)


def test_the_sample_needed_is_known_before_a_rollout() -> None:
    alike, unlike = (tallies.sample_needed(ROLLOUT, 0.3, agreement) for agreement in (0.9, 0.3))
    assert alike is not None
    assert unlike is not None
    assert unlike == pytest.approx(alike * 7, rel=0.2)  # variance goes with 1 - agreement
    wide = replace(ROLLOUT, gates=replace(GATES, margin_pass=0.2))
    assert (tallies.sample_needed(wide, 0.3, 0.9) or 0) < alike / 10


def test_the_sample_ratio_is_of_the_smaller_arm_and_not_asked_of_a_shadow(second: ReleasePlan) -> None:
    assert tallies.sample_ratio([], [], judged(second), 0.001) == (0.0, float("inf"))
    at_5 = judged(moves.advance(second, **WHO))
    fair = [row("s", "canary", 2, place, answers=5 + place % 3 - 1) for place in range(200)]
    fair += [row("s", "champion", 1, place, answers=95 + place % 5 - 2) for place in range(200)]
    figure, limit = tallies.sample_ratio(fair, [], at_5, 0.001)
    assert figure < limit
    short = [row("s", "canary", 2, place, answers=3 + place % 3 - 1) for place in range(200)] + fair[200:]
    figure, limit = tallies.sample_ratio(short, [], at_5, 0.001)
    assert figure > limit
    figure, limit = tallies.sample_ratio(short, short, at_5, 0.001)
    assert figure == 0.0
