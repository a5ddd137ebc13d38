"""Levels and inputs on weeks whose answer is visible by eye."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.kit import levels
from models.kit.weekly import Index


def known(*units: Sequence[float]) -> Index:
    filled = np.array(units, dtype=np.float64)
    names = tuple("abc"[: len(units)])
    position = {name: at for at, name in enumerate(names)}
    return Index(categories=names, position=position, units=filled, spend=filled * 2.0, lines=filled / 10.0)


def test_the_level_lies_between_the_medians_of_a_month_and_of_two() -> None:
    units = np.array([[10, 10, 10, 10, 20, 20, 20, 20], [1, 2, 3, 4, 5, 6, 7, 800]], dtype=np.float64)
    assert levels.level(units).tolist() == [17.5, 5.5]
    assert levels.median(units).tolist() == [15, 4.5]


def test_a_short_history_has_a_level_and_missing_inputs() -> None:
    short = known([5, 7])
    assert levels.level(short.units).tolist() == [6]
    seen = dict(zip(levels.INPUTS, levels.inputs(short)[0], strict=False))
    assert seen["week 1"] > 0
    assert np.isnan(seen["month over month before"])


def test_inputs_do_not_depend_on_the_size_of_a_category() -> None:
    week = [90_000, 80_000, 110_000, 100_000, 120_000, 90_000, 100_000, 150_000]
    big, small = levels.inputs(known(week, [units / 10 for units in week]))
    sized = [levels.INPUTS.index(name) for name in ("level",)]
    keep = [at for at in range(len(big)) if at not in sized]
    np.testing.assert_allclose(big[keep], small[keep], atol=2e-2)
    assert big[sized[0]] > small[sized[0]]


def test_a_category_that_sells_nothing_divides_nothing() -> None:
    assert np.isfinite(levels.inputs(known([0] * 8))).all()


def test_the_trend_is_the_last_month_over_the_one_before() -> None:
    assert levels.trend(np.array([[99.0] * 4 + [199.0] * 4]))[0] == np.log(2)
    assert np.isnan(levels.trend(np.array([[1.0] * 4]))[0])
