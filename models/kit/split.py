"""Cuts tables by time: what was known before a moment, and what happened in a window after it.

Every model learns and builds features through `before`, so nothing at or after `as_of` can reach either.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from errors import UsageError


def utc(moment: datetime) -> pd.Timestamp:
    """The moment as a UTC timestamp.

    Raises:
        UsageError: for a moment without a time zone, which could mean two different rows.
    """
    if moment.tzinfo is None:
        raise UsageError("as_of", expected="a time with a time zone", got=moment.isoformat(), do="give it in UTC")
    return pd.Timestamp(moment).tz_convert(UTC)


def before(frame: pd.DataFrame, time: str, as_of: datetime) -> pd.DataFrame:
    """Rows whose `time` lies strictly before `as_of`; rows without a time are left out."""
    return frame.loc[frame[time] < utc(as_of)]


def within(frame: pd.DataFrame, time: str, start: datetime, end: datetime) -> pd.DataFrame:
    """Rows with `time` in [start, end)."""
    return frame.loc[(frame[time] >= utc(start)) & (frame[time] < utc(end))]
