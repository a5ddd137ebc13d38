"""Which period of a cadence a moment belongs to: a model is trained once for each. Pure; used when a schedule starts training."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

Every = Literal["weekly", "monthly", "seasonal"]


def period_of(cadence: Every, at: datetime) -> str:
    """The period's name, such as "weekly 2026-W47" (ISO 8601 week), "monthly 2026-11" or "seasonal 2026-Q4".

    A year of weeks is the ISO year: 2027-01-01 lies in 2026-W53.
    """
    if cadence == "weekly":
        year, week, _ = at.isocalendar()
        return f"weekly {year}-W{week:02}"
    if cadence == "monthly":
        return f"monthly {at:%Y-%m}"
    return f"seasonal {at:%Y}-Q{(at.month + 2) // 3}"
