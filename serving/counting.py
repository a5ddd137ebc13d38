"""Counters as a fold over the journal: from a watermark on, added to the ledger together with the next watermark.

So a killed replica loses no count and counts nothing twice, and a ledger that is away costs nothing but time: the
backlog is the journal itself. Lines are folded as they are written (`Tally`), and read back only where that fold does not
begin at the watermark: after a start, and after a ledger that was away. Called by `serving.reporter` twice a second.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from operator import add, attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from records import Answer, Counter
from serving.pairs import hour_of
from stores.ledger import counters
from stores.ledger.engine import Ledger
from stores.ledger.tables import COUNTED, SUMMED
from stores.segments import ANSWER, COUNTER, Entry, body_of, content, lines, segments

log = logging.getLogger(__name__)
NO_KPI = (0.0,) * len(SUMMED)
KEYS, SUMS = ("model", "salt", "arm", "version", "bucket", "hour"), (*COUNTED, *SUMMED)
_keys, _sums = attrgetter(*KEYS), attrgetter(*SUMS)
Key = tuple[Any, ...]  # in the order of KEYS
Sums = tuple[float, ...]  # in the order of SUMS
ANSWERED: dict[str, Sums] = {
    "": (1, 0, 0, 0, *NO_KPI), "error": (1, 1, 0, 0, *NO_KPI), "deadline": (1, 0, 1, 0, *NO_KPI),
}  # fmt: skip


class Line(msgspec.Struct):
    """The part of an answer that is counted; the rest of it is not decoded."""

    model: str
    arm: str
    version: int
    bucket: int
    event_time: datetime
    override: str = ""
    paired_with: str = ""
    salt: str = ""
    failed_arm: str = ""
    failed_version: int = 0


_answer, _counter = msgspec.json.Decoder(Line).decode, msgspec.json.Decoder(Counter).decode


class Mark(NamedTuple):
    """Everything before this place is counted."""

    segment: int = 0
    offset: int = 0

    @classmethod
    def parse(cls, text: str) -> Mark:
        segment, _, offset = text.partition(":")
        return cls(int(segment), int(offset)) if text else cls()

    def __str__(self) -> str:
        return f"{self.segment}:{self.offset}"


class Tally:
    """What the entries written since a place add to the counters. `wrote` is for `stores.journal.Journal`, the rest for one thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: Mark | None = None  # None: nothing was written yet
        self._end = Mark()
        self._sums: dict[Key, Sums] = {}

    def wrote(self, entries: Sequence[Entry], segment: int, begin: int, end: int) -> None:
        """Entries now stand in a segment, between these offsets."""
        with self._lock:
            self._since = self._since or Mark(segment, begin)
            self._end = Mark(segment, end)
            for entry in entries:
                if isinstance(entry, Answer):
                    _sum(self._sums, _answered(entry))
                elif isinstance(entry, Counter):
                    _sum(self._sums, _compared(entry))

    def taken(self, since: Mark) -> tuple[list[Counter], Mark] | None:
        """The counters from this place on, and up to where; from there on it counts anew. None when it began elsewhere."""
        with self._lock:
            if self._since != since:
                return None
            sums, self._sums, self._since = self._sums, {}, self._end
            return _rows(sums), self._end

    def restarted(self) -> Mark | None:
        """Counts anew from here on: the place, or None while nothing was written."""
        with self._lock:
            self._sums.clear()
            if self._since is not None:
                self._since = self._end
            return self._since


def count(ledger: Ledger, folder: Path, tally: Tally | None = None) -> int:
    """Adds what the journal has beyond the ledger's watermark; returns how many lines could not be read.

    Args:
        tally: of the journal that writes there now; without one everything is read back.

    Raises:
        LedgerError: when the ledger is away; nothing is lost, the next call goes on.
    """
    source, tally = folder.name, tally or Tally()
    mark = Mark.parse(counters.watermark(ledger, source))
    if (known := tally.taken(mark)) is not None:
        rows, end = known
        if end != mark:
            counters.add(ledger, rows, source, source=source, position=str(end))
        return 0
    until, bad = tally.restarted(), 0
    for found, end in _chunks(folder, mark, until):
        rows, broken = fold(found)
        counters.add(ledger, rows, source, source=source, position=str(end))
        bad += broken
    if until is not None:  # where the tally goes on: an empty segment has no chunk
        counters.add(ledger, [], source, source=source, position=str(until))
    return bad


def fold(found: Iterable[bytes]) -> tuple[list[Counter], int]:
    """The counters of some journal lines, one for each of KEYS, and the number of lines that could not be read."""
    sums: dict[Key, Sums] = {}
    bad = 0
    for line in found:
        try:
            _sum(sums, _counted(line))
        except (ValueError, msgspec.DecodeError):
            bad += 1
    return _rows(sums), bad


def _sum(sums: dict[Key, Sums], row: tuple[Key, Sums] | None) -> None:
    if row is not None:
        key, more = row
        sums[key] = tuple(map(add, sums[key], more)) if key in sums else more


def _rows(sums: dict[Key, Sums]) -> list[Counter]:
    names = (*KEYS, *SUMS)
    return [Counter(**dict(zip(names, (*key, *values), strict=True))) for key, values in sums.items()]


def _counted(line: bytes) -> tuple[Key, Sums] | None:
    """What a line adds. Raises ValueError for a torn or changed one."""
    parts = body_of(line)
    if parts is None:
        raise ValueError("not a line of the journal")
    letter, body = parts
    if letter == COUNTER:
        return _compared(_counter(body))
    return _answered(_answer(body)) if letter == ANSWER else None


def _compared(row: Counter) -> tuple[Key, Sums] | None:
    return (_keys(row), _sums(row)) if row.salt else None


def _answered(one: Line | Answer) -> tuple[Key, Sums] | None:
    """An answer that left counts for the arm that was asked, failed or not; scores beside it bring their own counter."""
    if one.paired_with or not one.salt:
        return None
    arm, version = (one.failed_arm, one.failed_version) if one.failed_arm else (one.arm, one.version)
    key = (one.model, one.salt, arm, version, one.bucket, hour_of(one.event_time))
    return key, ANSWERED.get(one.override, ANSWERED[""])


def _chunks(folder: Path, mark: Mark, until: Mark | None) -> Iterator[tuple[list[bytes], Mark]]:
    """The lines of each segment beyond the mark, up to `until` (None: all there are), with the mark behind them."""
    known = segments(folder)
    if (known and known[-1].number < mark.segment) or (until is not None and until < mark):
        log.error("journal %s: counted up to %s, but it ends before: it was replaced, counting it anew", folder, mark)
        mark = Mark()
    for segment in known:
        if segment.number < mark.segment or (until is not None and segment.number > until.segment):
            continue
        start = mark.offset if segment.number == mark.segment else 0
        size = until.offset - start if until is not None and segment.number == until.segment else -1
        found = [line for _, line in lines(content(segment.path, start, size))]
        if found:
            yield found, Mark(segment.number, start + sum(map(len, found)))
