"""Weekly sales per category, as they were known at any moment: cells by (sold, known), days, weeks, the index.

A week is seven whole days counted back from a moment, so every week has the same weekdays whenever a snapshot is
made, and none is in progress. What is cancelled counts from the moment it was cancelled, in the week it was sold in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from models.kit import categories, orders, split
from models.kit.categories import Rules

DAY = pd.Timedelta(days=1)
INSTANT = pd.Timedelta(microseconds=1)  # the resolution of event times
DAYS = 7  # of a week
MOST_WEEKS = 26  # half a year is more than any input looks back, and bounds the snapshot
VALUES = ("units", "spend", "lines")  # net units, net GBP, purchase lines
CELLS = ("category", "sold", "known", *VALUES)
Floats = npt.NDArray[np.float64]


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """Whole weeks of every category, the newest last; arrays of (categories x weeks)."""

    categories: tuple[str, ...]
    position: Mapping[str, int]
    units: Floats
    spend: Floats
    lines: Floats

    @property
    def weeks(self) -> int:
        return int(self.units.shape[1])


def cells(table: pd.DataFrame, as_of: datetime, rules: Rules, anchor: datetime) -> pd.DataFrame:
    """Movements before `as_of` added up: category number, day sold and day known (whole days after `anchor`, negative
    before it), units, spend (GBP), lines. Ordered by day known.

    Raises:
        SchemaError: when a column is missing.
    """
    moved = orders.movements(table, as_of)
    return added(moved, categories.codes(moved["item"], categories.of_products(table, as_of, rules), rules), anchor)


def added(moved: pd.DataFrame, numbers: npt.NDArray[np.int64], anchor: datetime) -> pd.DataFrame:
    """Movements (of `orders.movements`) added up to the cells of `cells`, by the number of each one's series."""
    each = pd.DataFrame(
        {
            "category": numbers,
            "sold": _day(moved["sold"], anchor),
            "known": _day(moved["known"], anchor),
            "units": moved["units"],
            "spend": moved["units"] * moved["price"],
            "lines": (moved["units"] > 0).astype("float64"),
        }
    )
    return each.groupby(["known", "category", "sold"], as_index=False)[list(VALUES)].sum()[list(CELLS)]


def days(known: pd.DataFrame, count: int, first: int, last: int) -> Floats:
    """Cells as an array (values x categories x days first .. last - 1); `count` is the number of categories."""
    inside = known[(known["sold"] >= first) & (known["sold"] < last)]
    filled = np.zeros((len(VALUES), count, max(0, last - first)))
    for layer, name in zip(filled, VALUES, strict=True):
        np.add.at(layer, (inside["category"].to_numpy(), inside["sold"].to_numpy() - first), inside[name].to_numpy())
    return filled


def weeks(daily: Floats) -> Floats:
    """Days added up to whole weeks that end with the last day; days before the first whole week are left out."""
    whole = daily.shape[-1] // DAYS
    kept = daily[..., daily.shape[-1] - whole * DAYS :]
    return np.asarray(kept.reshape(*daily.shape[:-1], whole, DAYS).sum(axis=-1))


def features(table: pd.DataFrame, as_of: datetime, rules: Rules) -> pd.DataFrame:
    """One row per category and whole week before `as_of`: category, week (1 is the last seven days), values."""
    names = categories.names(rules)
    known = cells(table, as_of, rules, as_of)
    first = max(int(known["sold"].min()), -MOST_WEEKS * DAYS) if len(known) else 0
    weekly = weeks(days(known, len(names), first, 0))
    count = weekly.shape[-1]
    grid = {
        "category": np.repeat(np.array(names, dtype=object), count),
        "week": np.tile(np.arange(count, 0, -1, dtype=np.int64), len(names)),
    }
    frame = pd.DataFrame({**grid, **{name: layer.ravel() for name, layer in zip(VALUES, weekly, strict=True)}})
    return frame.astype({"category": "str"})


def index(frame: pd.DataFrame) -> Index:
    """The frame of `features` arranged for look-up; the order of its rows does not matter."""
    names = tuple(sorted(frame["category"].unique()))
    position = {name: at for at, name in enumerate(names)}
    rows = frame["category"].map(position).to_numpy(np.int64) if names else np.zeros(0, np.int64)
    count = int(frame["week"].max()) if names else 0
    filled = np.zeros((len(VALUES), len(names), count))
    for layer, name in zip(filled, VALUES, strict=True):
        layer[rows, count - frame["week"].to_numpy(np.int64)] = frame[name].to_numpy(np.float64)
    return Index(categories=names, position=position, units=filled[0], spend=filled[1], lines=filled[2])


def outcomes(table: pd.DataFrame, start: datetime, end: datetime, rules: Rules) -> pd.DataFrame:
    """What became known in [start, end) by whole week after `start`: subject (category), week (negative for what was
    taken back of earlier weeks), known (week), values. Every category has a row for every whole week.

    A week that is not over at `end` is left out; a window that ends more than a week after the newest row ends with it.
    """
    known = cells(table, end, rules, start)
    known = known[known["known"] >= 0]
    count = whole_weeks(table, start, end)
    names = categories.names(rules)
    grid = pd.MultiIndex.from_product([range(len(names)), range(count)], names=["category", "sold"]).to_frame(
        index=False
    )
    filled = grid.assign(known=grid["sold"], **dict.fromkeys(VALUES, 0.0))
    weekly = known.assign(sold=known["sold"] // DAYS, known=known["known"] // DAYS)
    both = pd.concat([filled, weekly[(weekly["sold"] < count)]], ignore_index=True) if count else filled
    summed = both.groupby(["category", "sold", "known"], as_index=False)[list(VALUES)].sum()
    subject = pd.Series([names[at] for at in summed["category"]], index=summed.index, dtype="str")
    return summed.assign(subject=subject, week=summed["sold"])[["subject", "week", "known", *VALUES]]


def whole_weeks(table: pd.DataFrame, start: datetime, end: datetime) -> int:
    """Weeks after `start` that are over at `end`, or at the newest row when `end` lies more than a week after it."""
    last, seen = split.utc(end), seen_until(split.before(table, orders.EVENT_TIME, end))
    if seen is None:
        return 0
    if last - seen > DAYS * DAY:
        last = seen
    return max(0, int((last - split.utc(start)) // (DAYS * DAY)))


def seen_until(table: pd.DataFrame) -> pd.Timestamp | None:
    """The first moment that is after every row; None without any."""
    return None if table.empty else table[orders.EVENT_TIME].max() + INSTANT


def rolled(known: Index, later: pd.DataFrame, count: int) -> Index:
    """The index `count` weeks later, from `outcomes` that were known by then; later cancellations are not."""
    then = later[(later["known"] < count) & (later["week"] < count) & later["subject"].isin(known.position.keys())]
    rows = then["subject"].map(known.position).to_numpy(np.int64)
    at = then["week"].to_numpy(np.int64) + known.weeks
    inside = at >= 0
    moved = []
    for name, old in zip(VALUES, (known.units, known.spend, known.lines), strict=True):
        layer = np.concatenate([old, np.zeros((len(old), count))], axis=1)
        np.add.at(layer, (rows[inside], at[inside]), then[name].to_numpy(np.float64)[inside])
        moved.append(layer)
    return msgspec.structs.replace(known, units=moved[0], spend=moved[1], lines=moved[2])


def truth(later: pd.DataFrame, names: Sequence[str]) -> Floats:
    """Net units by category and week of `outcomes`, as known at its end: (categories x weeks)."""
    table = later[later["week"] >= 0].pivot_table(index="subject", columns="week", values="units", aggfunc="sum")
    return np.asarray(table.reindex(list(names)).to_numpy(np.float64))


def _day(times: pd.Series, anchor: datetime) -> npt.NDArray[np.int64]:
    """Whole days after the anchor: [0, 1) day is 0, the day before it -1."""
    return np.asarray(((times - split.utc(anchor)) // DAY).to_numpy(np.int64))
