"""A run as the guard would see it: the counters that serving had written by a moment, from the same made-up answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from benchmarks.judging.world import Draw, Flags, Floats
from checks.assignment import BUCKETS
from records import Counter

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
MODEL, SALT = "recommendation", "salt"
OLD, NEW = 1, 2  # versions


def pairs(drawn: Draw, run: int, until: float, since: float = 0.0, arm: str = "canary") -> list[Counter]:
    """Rows of a paired model by the slot `until`, of answers since another: the canary's, or the control's after 100 %."""
    here = (drawn.known[run] < until) & (drawn.time[run] >= since)
    given = (drawn.time[run] < until) & (drawn.time[run] >= since)
    own, other = (drawn.arm, drawn.control) if arm == "canary" else (drawn.control, drawn.arm)
    columns = {
        "answers": _sums(drawn, run, given, np.ones(given.shape)),
        "matured": _sums(drawn, run, here, np.ones(given.shape)),
        "total": _sums(drawn, run, here, own[run]),
        "other_total": _sums(drawn, run, here, other[run]),
        "cross": _sums(drawn, run, here, own[run] * other[run]),
    }
    return _rows(columns, arm, NEW if arm == "canary" else OLD, START)


def split(drawn: Draw, run: int, until: float) -> list[Counter]:
    """Rows of a split model, canary and champion, each slot as an hour of its own."""
    rows, slot = list[Counter](), drawn.time[run].astype(np.int64)
    for arm, version, mine in (("canary", NEW, drawn.mine[run]), ("champion", OLD, ~drawn.mine[run])):
        value = drawn.arm[run] if arm == "canary" else drawn.control[run]
        for hour in range(int(until)):
            given = mine & (slot == hour) & (drawn.time[run] < until)
            here = given & (drawn.known_split[run] < until)
            columns = {
                "answers": _sums(drawn, run, given, np.ones(given.shape)),
                "matured": _sums(drawn, run, here, np.ones(given.shape)),
                "total": _sums(drawn, run, here, value),
            }
            rows += _rows(columns, arm, version, START + timedelta(hours=hour))
    return rows


def _sums(drawn: Draw, run: int, which: Flags, values: Floats) -> Floats:
    return np.bincount(drawn.bucket[run][which], values[which], BUCKETS).astype(np.float64)


def _rows(columns: dict[str, Floats], arm: str, version: int, hour: datetime) -> list[Counter]:
    """One row a bucket that has answers; a hit's square is itself."""
    columns = {"squares": columns["total"], **columns}
    if "other_total" in columns:
        columns["other_squares"] = columns["other_total"]
    whole = {"answers", "matured"}
    return [
        Counter(
            model=MODEL,
            salt=SALT,
            arm=arm,
            version=version,
            bucket=int(place),
            hour=hour,
            **{name: int(sums[place]) if name in whole else float(sums[place]) for name, sums in columns.items()},  # type: ignore[arg-type]  # counts are whole numbers
        )
        for place in np.flatnonzero(columns["answers"])
    ]
