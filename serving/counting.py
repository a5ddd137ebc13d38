"""Counters as a fold over the journal: read from a watermark, added to the ledger together with the next watermark.

So a killed replica loses no count and counts nothing twice, and a ledger that is away costs nothing but time: the
backlog is the journal itself. Called by `serving.reporter` twice a second.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime
from operator import add, attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from records import Counter
from serving.pairs import hour_of
from stores.ledger import counters
from stores.ledger.engine import Ledger
from stores.ledger.tables import COUNTED, SUMMED
from stores.segments import ANSWER, COUNTER, body_of, content, lines, segments

log = logging.getLogger(__name__)
NO_KPI = (0.0,) * len(SUMMED)
KEYS, SUMS = ("model", "salt", "arm", "version", "bucket", "hour"), (*COUNTED, *SUMMED)
_keys, _sums = attrgetter(*KEYS), attrgetter(*SUMS)


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


def count(ledger: Ledger, folder: Path) -> int:
    """Adds what the journal has beyond the ledger's watermark; returns how many lines could not be read.

    Raises:
        LedgerError: when the ledger is away; nothing is lost, the next call goes on.
    """
    bad = 0
    for found, mark in _chunks(folder, Mark.parse(counters.watermark(ledger, folder.name))):
        rows, broken = fold(found)
        counters.add(ledger, rows, folder.name, source=folder.name, position=str(mark))
        bad += broken
    return bad


def fold(found: Iterable[bytes]) -> tuple[list[Counter], int]:
    """The counters of some journal lines, one for each of KEYS, and the number of lines that could not be read."""
    sums: dict[tuple[Any, ...], tuple[float, ...]] = {}
    bad = 0
    for line in found:
        try:
            row = _counted(line)
        except (ValueError, msgspec.DecodeError):
            bad += 1
            continue
        if row is not None:
            key, more = row
            sums[key] = tuple(map(add, sums[key], more)) if key in sums else more
    names = (*KEYS, *SUMS)
    return [Counter(**dict(zip(names, (*key, *values), strict=True))) for key, values in sums.items()], bad


def _counted(line: bytes) -> tuple[tuple[Any, ...], tuple[float, ...]] | None:
    """What a line adds: an answer that left counts for the arm that was asked, failed or not; scores beside it bring
    their own counter. Raises ValueError for a torn or changed line."""
    parts = body_of(line)
    if parts is None:
        raise ValueError("not a line of the journal")
    letter, body = parts
    if letter == COUNTER:
        row = _counter(body)
        return (_keys(row), _sums(row)) if row.salt else None
    if letter != ANSWER:
        return None
    one = _answer(body)
    if one.paired_with or not one.salt:
        return None
    arm, version = (one.failed_arm, one.failed_version) if one.failed_arm else (one.arm, one.version)
    failed, late = int(one.override == "error"), int(one.override == "deadline")
    return (one.model, one.salt, arm, version, one.bucket, hour_of(one.event_time)), (1, failed, late, 0, *NO_KPI)


def _chunks(folder: Path, mark: Mark) -> Iterator[tuple[list[bytes], Mark]]:
    """The lines of each segment beyond the mark, with the mark behind them."""
    known = segments(folder)
    if known and known[-1].number < mark.segment:
        log.error("journal %s: counted up to %s, but it ends before: it was replaced, counting it anew", folder, mark)
        mark = Mark()
    for segment in known:
        if segment.number < mark.segment:
            continue
        start = mark.offset if segment.number == mark.segment else 0
        found = [line for _, line in lines(content(segment.path, start))]
        if found:
            yield found, Mark(segment.number, start + sum(map(len, found)))
