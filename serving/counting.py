"""Counters as a fold over the journal: read from a watermark, added to the ledger together with the next watermark.

So a killed replica loses no count and counts nothing twice, and a ledger that is away costs nothing but time: the
backlog is the journal itself. Called by `serving.reporter` twice a second.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from records import Answer, Counter
from serving.pairs import hour_of
from stores.ledger import counters
from stores.ledger.engine import Ledger
from stores.ledger.tables import COUNTED, SUMMED
from stores.segments import Entry, content, entry_of, lines, segments

log = logging.getLogger(__name__)
SUMS = (*COUNTED, *SUMMED)


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
    for entries, mark, broken in _chunks(folder, Mark.parse(counters.watermark(ledger, folder.name))):
        bad += broken
        counters.add(ledger, fold(entries), folder.name, source=folder.name, position=str(mark))
    return bad


def fold(entries: Iterable[Entry]) -> list[Counter]:
    """The counters of some journal entries, one for each (model, salt, arm, version, bucket, hour)."""
    sums: dict[tuple[object, ...], Counter] = {}
    for row in filter(None, map(_counted, entries)):
        key = (row.model, row.salt, row.arm, row.version, row.bucket, row.hour)
        known = sums.get(key)
        sums[key] = row if known is None else _added(known, row)
    return list(sums.values())


def _counted(entry: Entry) -> Counter | None:
    """An answer that left counts for the arm that was asked, failed or not; scores beside it bring their own counter."""
    if isinstance(entry, Counter):
        return entry if entry.salt else None
    if not isinstance(entry, Answer) or entry.paired_with or not entry.salt:
        return None
    return Counter(
        model=entry.model,
        salt=entry.salt,
        arm=entry.failed_arm or entry.arm,
        version=entry.failed_version if entry.failed_arm else entry.version,
        bucket=entry.bucket,
        hour=hour_of(entry.event_time),
        answers=1,
        errors=int(entry.override == "error"),
        late=int(entry.override == "deadline"),
    )


def _added(one: Counter, other: Counter) -> Counter:
    return msgspec.structs.replace(one, **{name: getattr(one, name) + getattr(other, name) for name in SUMS})


def _chunks(folder: Path, mark: Mark) -> Iterator[tuple[list[Entry], Mark, int]]:
    """The entries of each segment beyond the mark, with the mark behind them and the number of bad lines."""
    known = segments(folder)
    if known and known[-1].number < mark.segment:
        log.error("journal %s: counted up to %s, but it ends before: it was replaced, counting it anew", folder, mark)
        mark = Mark()
    for segment in known:
        if segment.number < mark.segment:
            continue
        start = mark.offset if segment.number == mark.segment else 0
        found = [(offset + len(line), entry_of(line)) for offset, line in lines(content(segment.path, start))]
        if found:
            entries = [entry for _, entry in found if entry is not None]
            yield entries, Mark(segment.number, start + found[-1][0]), len(found) - len(entries)
