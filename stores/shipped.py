"""The journal as it stands in the lake: the tables, and how lines that left the replica's disk are read back.

Written by `stores.shipping`; read by `grownet trace` and `served`, the monitor, the bias audit, and by feedback for an old
answer. All lines about one answer stand in one partition (model, day of the answer). Subjects are pseudonyms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from checks.prediction_ids import PredictionId, parse
from errors import NotFound, TamperError
from records import Answer
from stores.lake import Filter, Lake, Layout
from stores.lookup import Found, joined
from stores.segments import Entry, entry_of

ANSWERS, FEEDBACK, ASIDE, SEGMENTS = "journal_answers", "journal_feedback", "journal_quarantine", "journal_segments"
TEXT, NUMBER, UTC_TIME = pa.string(), pa.int64(), pa.timestamp("us", tz="UTC")
PLACE = {"replica": TEXT, "folder": TEXT, "segment": NUMBER}
LINE = {
    "model": TEXT,
    "day": pa.date32(),  # UTC, of the answer that the line is about
    "minute": NUMBER,  # since the epoch, of that answer, as its id has it
    **PLACE,
    "offset": NUMBER,
    "prediction_id": TEXT,
    "event_time": UTC_TIME,
    "received_at": UTC_TIME,
    "line": TEXT,  # as it was journalled, with its checksum
}
ANSWER = {"paired_with": TEXT, "arm": TEXT, "version": NUMBER, "artifact": TEXT, "revision": NUMBER, "subject": TEXT}
COUNTS = ("minute", "bytes", "answers", "feedback", "counters", "aside")
SCHEMAS = {
    ANSWERS: pa.schema({**LINE, **ANSWER, "override": TEXT}),
    FEEDBACK: pa.schema({**LINE, "key": TEXT}),
    ASIDE: pa.schema({**PLACE, "offset": NUMBER, "reason": TEXT, "line": pa.binary(), "found_at": UTC_TIME}),
    SEGMENTS: pa.schema({**PLACE, **dict.fromkeys(COUNTS, NUMBER), "digest": TEXT, "shipped_at": UTC_TIME}),
}
_LINES = Layout(("model", "day"), ("minute", "segment", "event_time", "received_at", "version"))
LAYOUTS = {ANSWERS: _LINES, FEEDBACK: _LINES, ASIDE: Layout((), ("segment",)), SEGMENTS: Layout()}
COLUMNS = ("replica", "segment", "offset", "line")  # what a line is read back from
LINES_OF_ONE = 100  # of an answer, at most: it has one, a score beside it, and feedback once
SEARCHED_AT_ONCE = 500  # ids in one query


class Stood(NamedTuple):
    """The segment a line stood in, and the folder that numbered it."""

    replica: str
    folder: str
    segment: int


class Shipped:
    """What the lake has of the journals.

    Args:
        lake: may be without these tables: then nothing was shipped yet.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    @property
    def begun(self) -> bool:
        """Whether anything was shipped; also False while the folder of the lake is not mounted."""
        return self._lake.exists(ANSWERS)

    def about(self, prediction_id: str) -> list[Entry]:
        """The answer, the score beside it and all feedback, as far as they were shipped.

        Raises:
            NotFound: for what is no prediction id.
            TamperError: when a line is not what was journalled.
        """
        here = _partition(parse(prediction_id))
        looks = ((ANSWERS, "prediction_id"), (ANSWERS, "paired_with"), (FEEDBACK, "prediction_id"))
        found: list[Entry] = []
        for table, name in looks:
            if self._lake.exists(table):
                rows = self._lake.some(table, COLUMNS, [*here, (name, "=", prediction_id)], LINES_OF_ONE)
                found += [_entry(table, row) for row in rows.sort_values(["segment", "offset"]).itertuples()]
        return found

    def found(self, prediction_ids: Sequence[str]) -> dict[str, Found]:
        """The answers among these ids, each with the score beside it and its first feedback; ids of anything else are
        passed over."""
        entries: list[Entry] = []
        for where in _batches(prediction_ids):
            for table, name in ((ANSWERS, "prediction_id"), (ANSWERS, "paired_with"), (FEEDBACK, "prediction_id")):
                entries += self._entries(table, [*where[0], (name, "in", where[1])])
        return joined(entries)

    def newest(self, model: str, where: Sequence[Filter], most: int) -> Iterator[Answer]:
        """What was replied for a model and every filter on a column holds for: day by day from the newest, at most so
        many; of the last day any."""
        if not self._lake.exists(ANSWERS):
            return
        days = sorted((one["day"] for one in self._lake.partitions(ANSWERS, model=model)), reverse=True)
        for day in days:
            here = [("model", "=", model), ("day", "=", date.fromisoformat(day)), ("paired_with", "=", ""), *where]
            rows = self._lake.some(ANSWERS, COLUMNS, here, most)
            most -= len(rows)
            for row in rows.itertuples():
                if isinstance(entry := _entry(ANSWERS, row), Answer):
                    yield entry
            if most <= 0:
                return

    def replied(self, model: str, start: datetime, end: datetime) -> Iterator[Answer]:
        """What was replied for a model with `received_at` in [start, end)."""
        span: list[Filter] = [("day", ">=", start.astimezone(UTC).date()), ("day", "<=", end.astimezone(UTC).date())]
        when: list[Filter] = [("received_at", ">=", start), ("received_at", "<", end)]
        found = self._entries(ANSWERS, [("model", "=", model), *span, *when, ("paired_with", "=", "")])
        return (entry for entry in found if isinstance(entry, Answer))

    def lines(self, table: str, model: str, since: date) -> Iterator[tuple[Stood, bytes]]:
        """The lines about a model's answers of this UTC day and later as they were journalled, in any order; some thousand at
        a time, so that no more is held. What they say is not checked here."""
        if self._lake.exists(table):
            columns = ("replica", "folder", "segment", "line")
            for rows in self._lake.batches(table, columns, [("model", "=", model), ("day", ">=", since)]):
                for replica, folder, segment, line in zip(*(rows[name].to_pylist() for name in columns), strict=True):
                    yield Stood(replica, folder, segment), f"{line}\n".encode()

    def _entries(self, table: str, where: Sequence[Filter]) -> Iterator[Entry]:
        if not self._lake.exists(table):
            return
        rows = self._lake.read(table, columns=COLUMNS, where=where)
        for row in rows.sort_values(["replica", "segment", "offset"]).itertuples():
            yield _entry(table, row)


def shipped_to(uri: str) -> Shipped:
    """What the lake at this URI has."""
    return Shipped(Lake(uri))


def day_of(minute: int) -> date:
    return datetime.fromtimestamp(minute * 60, UTC).date()


def _partition(parts: PredictionId) -> list[Filter]:
    return [("model", "=", parts.model), ("day", "=", day_of(parts.minute)), ("minute", "=", parts.minute)]


def _batches(prediction_ids: Sequence[str]) -> Iterator[tuple[list[Filter], list[str]]]:
    """Ids that one query can look for, and where they stand."""
    by_day: dict[tuple[str, date], list[PredictionId]] = {}
    names: dict[tuple[str, date], list[str]] = {}
    for identity in prediction_ids:
        try:
            parts = parse(identity)
        except NotFound:
            continue
        place = parts.model, day_of(parts.minute)
        by_day.setdefault(place, []).append(parts)
        names.setdefault(place, []).append(identity)
    for (model, day), known in by_day.items():
        minutes = [parts.minute for parts in known]
        where: list[Filter] = [("model", "=", model), ("day", "=", day)]
        where += [("minute", ">=", min(minutes)), ("minute", "<=", max(minutes))]
        mine = names[model, day]
        for start in range(0, len(mine), SEARCHED_AT_ONCE):
            yield where, mine[start : start + SEARCHED_AT_ONCE]


def _entry(table: str, row: pd.Series) -> Entry:
    entry = entry_of(f"{row.line}\n".encode())
    if entry is None:
        raise TamperError(
            f"lake table {table!r}, line of {row.replica}, segment {row.segment}, byte {row.offset}",
            expected="a line that fits its checksum",
            got="another",
            do="restore the table to a version before, and find out who wrote there",
        )
    return entry
