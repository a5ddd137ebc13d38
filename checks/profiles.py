"""Profiles: what a window of answers looked like, counted into the bins of one stored reference. Profiles add up.

A reference is made once, in training, from blocks of history (weeks, say), and kept with the artifact; the counts of
each block stay apart, so that later windows can be judged by how such blocks differ without any drift. A profile holds
no value of anybody: counts, sums and two extremes for each column. Read by `checks.shifts` and `checks.corruption`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from checks import drift
from errors import UsageError
from records import Record

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Parts = npt.NDArray[np.int64]
NAMES_MOST, NAMES_LEAST = 50, 0.005  # names with a bin of their own, and the share of rows one needs for it
TAIL = 0.005  # share of the reference at either end that counts as unusual
HUGE = 1e100  # larger numbers are cut for the moments, whose squares would not be numbers any more


class Watched(Protocol):
    """What is said of a column: a `Feature` of a model, for one."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> Literal["string", "int64", "float64", "timestamp", "bool", "list"]: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


class Counted(Record, frozen=True, kw_only=True):
    """One column of a profile."""

    counts: tuple[int, ...]  # per bin of the reference; the last holds missing and mistyped values
    mistyped: int = 0
    outside: int = 0  # of the declared range, or infinite
    total: float = 0.0
    squares: float = 0.0
    least: float | None = None  # of the numbers
    most: float | None = None

    @property
    def rows(self) -> int:
        return sum(self.counts)

    @property
    def missing(self) -> int:
        return self.counts[-1] - self.mistyped

    @property
    def mean(self) -> float | None:
        """Of the numbers; None for names and for nothing."""
        present = self.rows - self.counts[-1]
        return self.total / present if present and self.least is not None else None


class Column(Record, frozen=True, kw_only=True):
    """What a window's column is compared with."""

    name: str
    dtype: Literal["string", "int64", "float64", "bool"]
    input: bool  # seen by the model before it answers; the others are what it said and what came of it
    low: float | None = None
    high: float | None = None
    tails: tuple[float, float] | None = None  # of a number: all but TAIL of the reference at either end lies within
    reference: drift.Reference
    blocks: tuple[tuple[int, ...], ...]  # counts of each block
    counted: Counted  # the whole reference as a profile has it


class References(Record, frozen=True, kw_only=True):
    """The training reference of one artifact."""

    columns: tuple[Column, ...]
    rows: int
    anomalies: int  # rows that `profile` would call unusual

    def column(self, name: str) -> Column:
        """Raises UsageError for a column it does not have."""
        for column in self.columns:
            if column.name == name:
                return column
        raise UsageError("reference", expected=f"one of {[column.name for column in self.columns]}", got=name)


class Profile(Record, frozen=True, kw_only=True):
    """A window, or any sum of them. A column nobody looked at is not there, which is not the same as missing values."""

    rows: int = 0  # of which inputs were seen
    anomalies: int = 0  # of those, with an input out of range, in a tail of the reference, or a name it does not know
    columns: dict[str, Counted]


EMPTY = Profile(columns={})


def reference(
    blocks: Sequence[pd.DataFrame], features: Sequence[Watched], bins: int, *, inputs: bool = True
) -> References:
    """The reference of some columns, from blocks of history in order of time.

    Args:
        blocks: one frame a block, each with all columns of `features`; further ones are ignored.
        bins: of a number, before heavy values get bins of their own.
        inputs: whether these are what the model sees; anomalies are counted over such columns only.

    Raises:
        UsageError: without a row, without a column, or for a type that has no bins.
    """
    rows = sum(len(block) for block in blocks)
    if not rows or not features:
        raise UsageError("reference", expected="rows and columns", got=f"{rows} rows, {len(features)} columns")
    whole = pd.concat([block[[one.name for one in features]] for block in blocks], ignore_index=True)
    columns = tuple(_column(one, whole[one.name], [b[one.name] for b in blocks], bins, inputs) for one in features)
    bare = References(columns=columns, rows=rows if inputs else 0, anomalies=0)
    return References(columns=columns, rows=bare.rows, anomalies=profile(bare, whole).anomalies)


def joined(first: References, second: References) -> References:
    """The columns of both: those of the inputs, and those of the answers, which may come from fewer blocks."""
    rows, anomalies = first.rows + second.rows, first.anomalies + second.anomalies
    return References(columns=(*first.columns, *second.columns), rows=rows, anomalies=anomalies)


def profile(references: References, frame: pd.DataFrame) -> Profile:
    """Counts the rows of a frame; its columns that the reference does not have are ignored. Any dtype is survived."""
    return by_part(references, frame, np.zeros(len(frame), dtype=np.int64), 1)[0]


def by_part(references: References, frame: pd.DataFrame, parts: Parts, count: int) -> list[Profile]:
    """As `profile`, one for each part of the frame, in one pass.

    Args:
        parts: the part of each row, from 0 to `count` - 1, shape (rows,).
    """
    columns: dict[str, list[Counted]] = {}
    unusual = np.zeros(len(frame), dtype=np.bool_)
    seen = False
    for column in references.columns:
        if column.name in frame.columns:
            columns[column.name], strange = _counted(column, frame[column.name], parts, count)
            seen = seen or column.input
            unusual |= strange & column.input
    rows, odd = (np.bincount(part, minlength=count).tolist() for part in (parts, parts[unusual]))
    return [
        Profile(rows=rows[at] if seen else 0, anomalies=odd[at], columns={name: of[at] for name, of in columns.items()})
        for at in range(count)
    ]


def add(first: Profile, second: Profile) -> Profile:
    """Both windows together. Raises UsageError when they were not counted into the same bins."""
    columns = {**first.columns, **second.columns}
    for name in first.columns.keys() & second.columns.keys():
        columns[name] = _sum(name, first.columns[name], second.columns[name])
    return Profile(
        rows=first.rows + second.rows,
        anomalies=first.anomalies + second.anomalies,
        columns={name: columns[name] for name in sorted(columns)},
    )


def anomaly_rate(references: References, window: Profile) -> float | None:
    """Share of unusual rows beyond the reference's share; None without a row."""
    if not window.rows:
        return None
    usual = references.anomalies / references.rows if references.rows else 0.0
    return max(0.0, window.anomalies / window.rows - usual)


def _column(feature: Watched, whole: pd.Series, blocks: Sequence[pd.Series], bins: int, inputs: bool) -> Column:
    match feature.dtype:
        case "timestamp" | "list":
            raise UsageError(f"column {feature.name}", expected="a number, a name or a flag", got=feature.dtype)
        case dtype:
            pass
    values, _ = _typed(dtype, whole)
    tails = None
    if dtype in {"int64", "float64"}:
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        finite = numbers[np.isfinite(numbers)]
        made = drift.reference_of_numbers(values, bins) if len(finite) else drift.unbinned(values)
        tails = (float(np.quantile(finite, TAIL)), float(np.quantile(finite, 1 - TAIL))) if len(finite) else None
    else:
        made = drift.reference_of_names(values, NAMES_MOST, NAMES_LEAST)
    parts = tuple(tuple(drift.count(made, _typed(dtype, block)[0]).tolist()) for block in blocks if len(block))
    bare = Column(
        name=feature.name,
        dtype=dtype,
        input=inputs,
        low=feature.low,
        high=feature.high,
        tails=tails,
        reference=made,
        blocks=parts,
        counted=Counted(counts=made.counts),
    )
    return msgspec.structs.replace(bare, counted=_counted(bare, whole, np.zeros(len(whole), dtype=np.int64), 1)[0][0])


def _counted(column: Column, given: pd.Series, parts: Parts, count: int) -> tuple[list[Counted], Flags]:
    """The counts of a column in each part, and which of its rows are unusual."""
    values, mistyped = _typed(column.dtype, given)
    bins, places = column.reference.bins, drift.places(column.reference, values)
    counts = np.bincount(parts * bins + places, minlength=count * bins).reshape(count, bins).tolist()
    bad = np.bincount(parts[mistyped], minlength=count).tolist()
    if column.reference.kind == "name":
        strange = places == bins - 2  # the bin before the last holds the names it does not know
        return [Counted(counts=tuple(counts[at]), mistyped=bad[at]) for at in range(count)], np.asarray(strange)
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    outside = _beyond(numbers, column.low, column.high) | np.isinf(numbers)
    strange = outside | (_beyond(numbers, *column.tails) if column.tails else False)
    present = ~np.isnan(numbers)
    moments = _moments(np.clip(numbers[present], -HUGE, HUGE), parts[present], count)
    beyond = np.bincount(parts[outside], minlength=count).tolist()
    found = [
        Counted(counts=tuple(counts[at]), mistyped=bad[at], outside=beyond[at], **moments[at]) for at in range(count)
    ]
    return found, np.asarray(strange, dtype=np.bool_)


def _moments(numbers: Floats, parts: Parts, count: int) -> list[dict[str, Any]]:
    """Sum, sum of squares and extremes of each part; no extremes where there is no number."""
    total, squares = (np.bincount(parts, weights=what, minlength=count) for what in (numbers, numbers * numbers))
    least, most = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(least, parts, numbers)
    np.maximum.at(most, parts, numbers)
    return [
        {"total": float(total[at]), "squares": float(squares[at])}
        | ({"least": float(least[at]), "most": float(most[at])} if least[at] <= most[at] else {})
        for at in range(count)
    ]


def _beyond(numbers: Floats, low: float | None, high: float | None) -> Flags:
    """False for what is missing."""
    under = numbers < low if low is not None else np.zeros(len(numbers), dtype=np.bool_)
    over = numbers > high if high is not None else np.zeros(len(numbers), dtype=np.bool_)
    return np.asarray(under | over, dtype=np.bool_)


def _typed(dtype: str, given: pd.Series) -> tuple[pd.Series, Flags]:
    """The values of the declared type, all others missing; and which were there, but of another type."""
    present = given.notna().to_numpy(dtype=np.bool_)
    kind = "b" if isinstance(given.dtype, pd.BooleanDtype) else given.dtype.kind
    if dtype in {"int64", "float64"}:
        good = _each(given, _is_number) if kind in {"O", "U", "S"} else np.full(len(given), kind in {"i", "u", "f"})
        values = given.where(good).astype("float64") if good.any() else pd.Series(np.nan, index=given.index)
    elif dtype == "bool":
        good = _each(given, lambda value: isinstance(value, bool)) if kind == "O" else np.full(len(given), kind == "b")
        values = given.astype("object").where(good, None)
    else:
        good = _each(given, _is_name) if kind in {"O", "U"} else np.zeros(len(given), bool)
        values = given.astype("object").where(good, None)
    return values, np.asarray(present & ~good, dtype=np.bool_)


def _each(given: pd.Series, test: Callable[[object], bool]) -> Flags:
    return np.fromiter((test(value) for value in given), dtype=np.bool_, count=len(given))


def _is_number(value: object) -> bool:
    """False for a whole number that no float can hold, too."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= sys.float_info.max
    return isinstance(value, float | np.integer | np.floating)


def _is_name(value: object) -> bool:
    """False for half a surrogate pair: no character, and not to be written anywhere."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sum(name: str, first: Counted, second: Counted) -> Counted:
    if len(first.counts) != len(second.counts):
        bins = f"{len(first.counts)} bins in both"
        raise UsageError(f"profile of {name}", expected=bins, got=len(second.counts), do="use one reference for both")
    extremes = [value for one in (first, second) for value in (one.least, one.most) if value is not None]
    return Counted(
        counts=tuple(a + b for a, b in zip(first.counts, second.counts, strict=True)),
        mistyped=first.mistyped + second.mistyped,
        outside=first.outside + second.outside,
        total=first.total + second.total,
        squares=first.squares + second.squares,
        least=min(extremes, default=None),
        most=max(extremes, default=None),
    )
