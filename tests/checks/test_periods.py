from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from checks.periods import Every, period_of


@pytest.mark.parametrize(
    ("cadence", "day", "period"),
    [
        ("weekly", "2026-11-22", "weekly 2026-W47"),  # a Sunday
        ("weekly", "2026-11-23", "weekly 2026-W48"),
        ("weekly", "2027-01-01", "weekly 2026-W53"),
        ("monthly", "2026-11-22", "monthly 2026-11"),
        ("seasonal", "2026-09-30", "seasonal 2026-Q3"),
        ("seasonal", "2026-10-01", "seasonal 2026-Q4"),
    ],
)
def test_a_moment_lies_in_one_period(cadence: Every, day: str, period: str) -> None:
    assert period_of(cadence, datetime.fromisoformat(day).replace(tzinfo=UTC)) == period


@pytest.mark.parametrize(("cadence", "count"), [("weekly", 53), ("monthly", 12), ("seasonal", 4)])
def test_a_year_has_so_many_and_each_is_one_stretch(cadence: Every, count: int) -> None:
    days = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(365)]
    names = [period_of(cadence, day) for day in days]
    stretches = [name for name, before in zip(names, ["", *names], strict=False) if name != before]
    assert len(stretches) == len(set(stretches)) == count
