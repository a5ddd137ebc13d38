"""Falls below a known level: days of the week and bad weeks are none, a real one is, and both have to."""

from __future__ import annotations

import numpy as np
import pytest

from checks import level as levels
from checks.level import Fall, Level, Sums

DAYS = np.array([100.0, 100.0, 100.0, 100.0, 100.0, 300.0, 300.0])  # answers
RATES = np.array([0.2, 0.2, 0.2, 0.2, 0.2, 0.4, 0.4])
DOUBT = levels.doubt_of(0.05, 7)


def weeks(*factors: float) -> Sums:
    """Blocks that have so much of the usual KPI of each day."""
    return Sums(np.array([DAYS * RATES * one for one in factors]), np.array([DAYS] * len(factors)))


def known(*factors: float) -> Level:
    found = levels.level(weeks(*factors))
    assert found is not None
    return found


def week(factor: float, answers: float = 1.0) -> Sums:
    return Sums(DAYS * RATES * factor * answers, DAYS * answers)


USUAL = (1.02, 0.98, 1.03, 0.97, 1.01, 0.99, 1.02, 0.98)


def test_the_level_is_that_of_each_day_and_its_spread_that_of_weeks() -> None:
    found = known(*USUAL)
    assert found.rates == pytest.approx(RATES)
    assert found.spread == pytest.approx(float(np.std(np.log(USUAL), ddof=1)), rel=0.02)
    assert found.blocks == 8


def test_a_week_like_the_others_is_no_fall_and_a_real_one_is() -> None:
    usual, fallen = (levels.fall(known(*USUAL), week(one), 1e-6, DOUBT) for one in (0.97, 0.7))
    assert levels.both(usual, usual, 0.05).answer != "yes"
    assert fallen.change == pytest.approx(-0.3, abs=0.01)
    assert fallen.low < -0.3 < fallen.high < -0.05
    assert levels.both(fallen, fallen, 0.05).answer == "yes"


def test_weeks_that_differ_hide_a_fall_of_that_size() -> None:
    wild = known(1.2, 0.8, 1.25, 0.75, 1.1, 0.9, 1.2, 0.8)
    assert levels.fall(wild, week(0.7), 1e-6, DOUBT).high > 0


def test_traffic_that_moves_to_weak_days_is_no_fall() -> None:
    busy = np.where(RATES < 0.3, 900.0, 10.0)
    found = levels.fall(known(*USUAL), Sums(busy * RATES, busy), 1e-6, DOUBT)
    assert found.change == pytest.approx(0.0, abs=0.01)


def test_one_very_bad_day_is_no_fall() -> None:
    now = week(1.0)
    now.totals[2] = 0.0
    found = levels.fall(known(*USUAL), now, 1e-6, DOUBT)
    assert found.high > -0.05


def test_few_answers_of_its_own_widen_the_bounds() -> None:
    sure, unsure = (levels.fall(known(*USUAL), week(0.7), noise, DOUBT) for noise in (1e-6, 0.02))
    assert unsure.low < sure.low < sure.high < unsure.high


def test_only_when_both_fell() -> None:
    fell, stood = (levels.fall(known(*USUAL), week(one), 1e-6, DOUBT) for one in (0.6, 1.0))
    assert levels.both(fell, stood, 0.05).answer == "undecided"
    assert levels.both(fell, fell, 0.05, worse=True).answer == "undecided"  # going back may be all that it needs
    assert levels.both(stood, fell, 0.05).answer == "no" if stood.low > -0.05 else "undecided"
    assert levels.both(fell, levels.NOTHING, 0.05).answer == "undecided"
    assert levels.both(levels.NOTHING, fell, 0.05).answer == "undecided"
    assert levels.both(Fall(0.0, -0.01, 0.01, 5), fell, 0.05).answer == "no"


def test_a_fall_within_the_margin_is_none() -> None:
    sure = known(*(1.001, 0.999) * 4)
    for factor, answer in ((0.97, "no"), (0.93, "yes")):
        found = levels.fall(sure, week(factor), 1e-9, DOUBT)
        assert levels.both(found, found, 0.05).answer == answer


def test_a_fall_that_may_be_within_the_margin_is_undecided() -> None:
    deep, shallow = Fall(-0.2, -0.3, -0.1, 500), Fall(-0.1, -0.18, -0.02, 500)
    assert levels.both(deep, deep, 0.05).answer == "yes"
    assert levels.both(deep, shallow, 0.05).answer == "undecided"
    assert levels.both(shallow, deep, 0.05).answer == "undecided"


@pytest.mark.parametrize("blocks", [weeks(1.0, 1.0, 1.0), weeks(0.0, 0.0, 0.0, 0.0, 0.0), weeks(1.0, 1.0, 1.0, -1.0)])
def test_what_is_no_level(blocks: Sums) -> None:
    assert levels.level(blocks) is None


def test_days_of_which_nothing_is_known_say_nothing() -> None:
    gaps = weeks(*USUAL)
    gaps.totals[:, 3] = gaps.answers[:, 3] = 0.0
    found = levels.level(gaps)
    assert found is not None
    assert levels.fall(found, week(0.5), 1e-6, DOUBT) == levels.NOTHING
    closed = week(0.5)
    closed.totals[3] = closed.answers[3] = 0.0
    assert levels.fall(found, closed, 1e-6, DOUBT).high < -0.05


def test_a_quarter_has_two_looks_a_week_or_one_where_a_window_is_a_week() -> None:
    assert levels.doubt_of(0.05, 7) == pytest.approx(0.05 / 26)
    assert levels.doubt_of(0.05, 1) == pytest.approx(0.05 / 13)


def test_noise_is_that_of_subjects() -> None:
    alone = np.full(200, 10.0)
    hits = np.random.default_rng(1).binomial(10, 0.3, 200).astype(float)
    found = levels.noise_of(hits, alone)
    assert found == pytest.approx(0.7 / (0.3 * 2000), rel=0.25)  # of independent answers
    assert levels.noise_of(np.zeros(200), alone) == float("inf")
