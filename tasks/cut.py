"""Says which batches a source has and gives the rows of one, whether the source comes in batch files or must be cut.

A source with `{batch}` in its URI has one file a batch. Any other is cut by the wall clock of its event time's zone
into months ("2011-08") or days ("2011-08-01"), or is one batch ("whole"). Reads only; called by `tasks.ingest`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from configs.schema import Column, Dataset
from errors import NotFound, SourceError, UsageError
from tasks.database import sql_chunks, sql_times
from tasks.minimise import times
from tasks.sources import BATCH, Chunk, batch_files, file_chunks

WHOLE = "whole"
IDENTITY = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")  # becomes a file name and part of a transaction id
PERIODS = {"month": re.compile(r"\d{4}-(0[1-9]|1[0-2])"), "day": re.compile(r"\d{4}-\d{2}-\d{2}")}
UNITS = {"month": "M", "day": "D"}
FORMS = {"month": "%Y-%m", "day": "%Y-%m-%d"}
EVER = (datetime(1, 1, 1), datetime(9999, 12, 31))  # noqa: DTZ001 - wall-clock time of the source


def batch_ids(dataset: Dataset, now: datetime) -> list[str]:
    """The batches the source has, in order of their ids. A month or day that is not over at `now` is not one yet.

    Raises:
        SourceError: when the source is away, or has no batch at all.
    """
    if BATCH in str(dataset.source.uri):
        found = batch_files(dataset)
    elif dataset.batches == WHOLE:
        found = [WHOLE]
    else:
        zone = dataset.columns[dataset.event_time].timezone or "UTC"
        current = pd.Timestamp(now).tz_convert(zone).strftime(FORMS[dataset.batches])
        found = sorted(period for period in _periods(dataset) if period < current)
    if not found:
        raise SourceError(
            f"source of dataset {dataset.name!r}",
            expected="at least one batch that is complete",
            got="none",
            do="check the source's address, and that its event times can be read",
        )
    return found


def batch_chunks(dataset: Dataset, batch: str) -> Iterator[Chunk]:
    """The rows of one batch as they came, chunk by chunk.

    In a file that is cut, a row without a readable event time belongs to the batch of the row before it: it must not
    vanish, and quarantine is where it is looked for.

    Raises:
        UsageError: for a batch id that cannot be one.
        NotFound: when a file that is cut has no row in that period.
        SourceError, SchemaError: as the source's reader does.
    """
    refuse_bad_id(dataset, batch)
    if BATCH in str(dataset.source.uri):
        yield from file_chunks(dataset, batch)
    elif dataset.source.format == "sql":
        yield from sql_chunks(dataset, *_bounds(dataset, batch))
    elif dataset.batches == WHOLE:
        yield from file_chunks(dataset)
    else:
        yield from _cut(dataset, batch)


def refuse_bad_id(dataset: Dataset, batch: str) -> None:
    """Raises UsageError for an id that is no file name, no month, no day."""
    named = BATCH in str(dataset.source.uri)
    pattern = IDENTITY if named else PERIODS.get(dataset.batches, re.compile(WHOLE))
    valid = bool(pattern.fullmatch(batch)) and (named or dataset.batches != "day" or _is_day(batch))
    if not valid:
        raise UsageError(
            f"batch id of dataset {dataset.name!r}",
            expected="letters, digits, '.', '_' and '-'" if named else f"a {dataset.batches}, such as {_such(dataset)}",
            got=repr(batch[:80]),
        )


def _such(dataset: Dataset) -> str:
    return {"month": "2011-08", "day": "2011-08-01"}.get(dataset.batches, WHOLE)


def _is_day(batch: str) -> bool:
    try:
        datetime.strptime(batch, "%Y-%m-%d")  # noqa: DTZ007 - only whether there is such a day
    except ValueError:
        return False
    return True


def _bounds(dataset: Dataset, batch: str) -> tuple[datetime, datetime]:
    """Wall-clock [start, end) of a batch."""
    if dataset.batches == WHOLE:
        return EVER
    period = pd.Period(batch, UNITS[dataset.batches])
    return period.start_time.to_pydatetime(), (period + 1).start_time.to_pydatetime()


def _cut(dataset: Dataset, batch: str) -> Iterator[Chunk]:
    start, end = (np.datetime64(bound, "us") for bound in _bounds(dataset, batch))
    any_row = False
    for chunk, clock in _dated(dataset):
        wanted = (clock >= start) & (clock < end)
        if wanted.any():
            any_row = True
            yield Chunk(chunk.rows.filter(pa.array(wanted)), chunk.extra)
    if not any_row:
        raise NotFound(
            f"batch {batch!r} of dataset {dataset.name!r}",
            expected="a period in which the source has rows",
            got="no row",
            do="leave the batch out to take in all that are there",
        )


def _periods(dataset: Dataset) -> set[str]:
    """The months or days in which the source has rows."""
    if dataset.source.format == "sql":
        clocks = (_wall_clock(values, dataset) for values in sql_times(dataset, *EVER))
    else:
        clocks = (clock for _, clock in _dated(dataset))
    seen: set[str] = set()
    for clock in clocks:
        known = clock[~np.isnat(clock)].astype(f"datetime64[{UNITS[dataset.batches]}]")
        seen |= {str(period) for period in np.unique(known)}
    return seen


def _dated(dataset: Dataset) -> Iterator[tuple[Chunk, np.ndarray]]:
    """Each chunk with the wall-clock time of its rows; a gap takes the time of the row before it."""
    last = np.datetime64("NaT", "us")
    for chunk in file_chunks(dataset):
        clock = pd.Series(_wall_clock(chunk.rows[dataset.event_time], dataset)).ffill()
        clock = (clock if np.isnat(last) else clock.fillna(last)).bfill()
        filled = clock.to_numpy(dtype="datetime64[us]")
        last = filled[-1] if len(filled) else last
        yield chunk, filled


def _wall_clock(values: pa.ChunkedArray, dataset: Dataset) -> np.ndarray:
    column: Column = dataset.columns[dataset.event_time]
    found, _ = times(values, dataset.event_time, column)
    local = found.to_pandas().dt.tz_convert(column.timezone or "UTC").dt.tz_localize(None)
    return np.asarray(local.to_numpy(dtype="datetime64[us]"))
