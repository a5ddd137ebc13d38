"""Weeks as they were known at a moment: whole, counted back from it, and never with a cancellation of later."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.kit import weekly
from models.kit.categories import Rule
from tests.models.kit.test_orders import START, cancel, line, table

RULES = (Rule(category="mugs", words=("mug",)),)
DAY = 24 * 60  # minutes
NOW = START + timedelta(days=21)


def mug(day: float, units: int = 10, **more: Any) -> dict[str, Any]:
    return line(day * DAY, units=units, description="RED MUG", **more)


def mugs(frame: pd.DataFrame) -> list[float]:
    return list(frame[frame["category"] == "mugs"].sort_values("week", ascending=False)["units"])


def test_weeks_end_with_the_moment_and_half_a_week_is_left_out() -> None:
    lines = table(mug(0), mug(7, 20), mug(13.9, 30), mug(14, 40), mug(20.99, 50))
    assert mugs(weekly.features(lines, NOW, RULES)) == [10, 50, 90]
    assert mugs(weekly.features(lines, NOW + timedelta(days=3), RULES)) == [20, 70, 50]


def test_every_category_has_every_week() -> None:
    frame = weekly.features(table(mug(0)), NOW, RULES)
    assert sorted(zip(frame["category"], frame["week"], strict=True)) == [
        (name, week) for name in ("mugs", "other") for week in (1, 2, 3)
    ]
    assert frame["units"].sum() == 10
    assert frame["spend"].sum() == 25.0
    assert frame["lines"].sum() == 1


def test_nothing_known_is_an_empty_frame_and_an_index_without_weeks() -> None:
    frame = weekly.features(table(mug(0)), START, RULES)
    assert frame.empty
    assert weekly.index(frame).weeks == 0


def test_a_cancellation_counts_in_the_week_of_the_sale_once_it_is_known() -> None:
    lines = table(mug(0, 1), mug(1, 80_000), mug(2, 5), cancel(15 * DAY, units=-80_000))
    assert mugs(weekly.features(lines, NOW - timedelta(days=7), RULES)) == [80_006, 0]
    assert mugs(weekly.features(lines, NOW, RULES)) == [6, 0, 0]


def test_the_index_rolls_forward_to_what_was_known_then() -> None:
    """Monster order in the second week, cancelled in the third: seen in between, gone after."""
    lines = table(mug(0.1, 7), mug(8, 80_000), mug(9, 5), cancel(15 * DAY, units=-80_000), mug(16, 9))
    start = START + timedelta(days=7)
    known = weekly.index(weekly.features(lines, start, RULES))
    later = weekly.outcomes(lines, start, NOW, RULES)
    at = known.position["mugs"]
    assert known.units[at].tolist() == [7]
    assert weekly.rolled(known, later, 0).units[at].tolist() == [7]
    assert weekly.rolled(known, later, 1).units[at].tolist() == [7, 80_005]
    assert weekly.rolled(known, later, 2).units[at].tolist() == [7, 5, 9]
    assert weekly.truth(later, known.categories)[at].tolist() == [5, 9]


def test_rolling_forward_gives_what_building_then_gives() -> None:
    draw = np.random.default_rng(3)
    lines = []
    for number, day in enumerate(np.sort(draw.uniform(0, 41, 200))):
        made = mug(float(day), int(draw.integers(1, 30)), invoice=f"{700000 + number}")
        lines.append(made)
        if draw.random() < 0.3:
            lines.append({**made, "invoice_no": f"C{700000 + number}", "quantity": -made["quantity"], "invoice_date": made["invoice_date"] + pd.Timedelta(days=9)})  # fmt: skip
    frame, start = table(*lines), START + timedelta(days=14)
    known = weekly.index(weekly.features(frame, start, RULES))
    later = weekly.outcomes(frame, start, START + timedelta(days=42), RULES)
    for weeks in range(4):
        then = weekly.index(weekly.features(frame, start + timedelta(days=7 * weeks), RULES))
        np.testing.assert_allclose(weekly.rolled(known, later, weeks).units[:, -then.weeks :], then.units)


@pytest.mark.parametrize(
    ("end", "weeks"),
    [
        (NOW, 3),
        (NOW - timedelta(microseconds=1), 2),  # a week that is not over
        (NOW + timedelta(days=2), 3),
        (datetime.fromisoformat("2100-01-01T00:00:00+00:00"), 2),  # ends with the newest row, a minute before NOW
    ],
)
def test_only_weeks_that_are_over_are_counted(end: datetime, weeks: int) -> None:
    lines = table(mug(0), mug(21 - 1 / DAY))
    assert weekly.whole_weeks(lines, START, end) == weeks
    assert weekly.outcomes(lines, START, end, RULES)["week"].nunique() == weeks
