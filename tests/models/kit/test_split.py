"""Cuts by time are half open, and a moment without a time zone is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

from errors import UsageError
from models.kit import split

DAYS = pd.DataFrame({"time": pd.to_datetime(["2011-01-01", "2011-01-02", "2011-01-03", None], utc=True)})


def day(number: int) -> datetime:
    return datetime(2011, 1, number, tzinfo=UTC)


def test_before_is_strict_and_leaves_out_rows_without_time() -> None:
    assert split.before(DAYS, "time", day(2)).index.tolist() == [0]
    assert split.before(DAYS, "time", day(9)).index.tolist() == [0, 1, 2]


def test_within_has_its_start_and_not_its_end() -> None:
    assert split.within(DAYS, "time", day(2), day(3)).index.tolist() == [1]


def test_before_and_within_share_no_row() -> None:
    both = set(split.before(DAYS, "time", day(2)).index) & set(split.within(DAYS, "time", day(2), day(9)).index)
    assert both == set()


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(UsageError, match="time zone"):
        split.before(DAYS, "time", datetime(2011, 1, 2))  # noqa: DTZ001 - that is what is tested
