"""Reads the journals as the monitor needs them: what stands beyond a watermark, and the answers that feedback is about.

Reads only. What left this disk, or never stood on it, is read from the lake. A torn end is left for the next time; a bad line with good ones after it is counted, and the good ones are
read. A line of a newer release is counted apart: it is no damage. A segment that is there twice is read once. Called by
`tasks.profiling`, `tasks.pages` and `tasks.bias`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from checks.prediction_ids import parse
from configs.schema import Settings
from records import Answer, Feedback
from stores.lake import Filter, Lake
from stores.segments import SEALED, Entry, Segment, content, entry_of, intact, lines, minute_of, segments
from stores.shipped import Shipped

HEAD, TAIL = 256, 4096  # bytes by which what was read is known again: each line has a checksum and an id of its own


class Mark(NamedTuple):
    """How far a segment was read."""

    end: int
    generation: int = 0  # a segment that is another one now is read anew, as the next generation
    ends: str = ""  # checksums of the first and the last bytes of [0, end)


@dataclass(frozen=True)
class Stretch:
    """The lines of one segment from `start` up to its new mark."""

    folder: Path
    segment: str  # the file's name without its suffix, which changes when it is sealed
    start: int
    mark: Mark
    entries: tuple[Entry, ...]
    damaged: int  # lines that do not fit their checksum
    unknown: int  # lines that do, of a kind or with a field that we do not know: a newer replica wrote them

    @property
    def end(self) -> int:
        return self.mark.end

    @property
    def replica(self) -> str:
        return self.folder.name


@dataclass(frozen=True)
class Journals:
    """All that was journalled: on this disk, and in the lake."""

    root: Path  # `home/journal`
    shipped: Shipped

    @property
    def folders(self) -> list[Path]:
        return sorted(path for path in self.root.glob("*") if path.is_dir())


@dataclass(frozen=True)
class Sought:
    """What to ask the lake for: answers of a model, and what else must hold for their columns."""

    model: str
    where: tuple[Filter, ...] = ()


def journals_of(settings: Settings) -> Journals:
    return Journals(settings.home / "journal", Shipped(Lake(settings.lake_uri)))


def once(folder: Path) -> list[Segment]:
    """The segments of a replica, oldest first; of one that is there twice the longer file."""
    longest: dict[str, Segment] = {}
    for segment in segments(folder):
        known = longest.get(segment.path.stem)
        if known is None or len(content(known.path)) < len(content(segment.path)):
            longest[segment.path.stem] = segment
    return list(longest.values())


def stretches(folder: Path, marks: Mapping[str, Mark]) -> Iterator[Stretch]:
    """What each segment has beyond its mark, oldest first; one with nothing new is left out.

    A segment that is not the one that was read (it came cut and was shipped again, or the folder was made anew) is read
    from its first byte, as the next generation. Its length and the bytes at both ends of what was read tell that.
    """
    for segment in once(folder):
        mark = marks.get(segment.path.stem, Mark(0))
        try:
            if _another(segment.path, mark):
                mark = Mark(0, mark.generation + 1)
            found = _stretch(folder, segment, mark)
        except FileNotFoundError:  # a shipper cleared it a moment ago: it had been read
            continue
        if found.end > mark.end:
            yield found


def _another(path: Path, mark: Mark) -> bool:
    """Whether a segment is not what was read; one that is shorter is, as far as that can be seen."""
    pairs = zip(_ends(path, mark.end).split("-"), mark.ends.split("-"), strict=False)
    return any(now and then and now != then for now, then in pairs)


def _ends(path: Path, end: int) -> str:
    """Checksums of the first and the last bytes of [0, end); of bytes that are not there, none."""
    spans = ((0, min(HEAD, end)), (max(0, end - TAIL), min(TAIL, end)))
    parts = [(content(path, start, size), size) for start, size in spans]
    return "-".join(f"{zlib.crc32(data):08x}" if len(data) == size else "" for data, size in parts)


def _stretch(folder: Path, segment: Segment, mark: Mark) -> Stretch:
    start = mark.end
    entries: list[Entry] = []
    end, damaged, waiting, unknown = start, 0, 0, 0
    closed = segment.path.suffix == SEALED  # nobody writes there any more: a whole line that is bad stays bad
    for offset, line in lines(content(segment.path, start)):
        entry, good = entry_of(line), intact(line)
        waiting += not good
        unknown += good and entry is None
        if entry is not None:
            entries.append(entry)
        if good or closed:
            damaged, waiting, end = damaged + waiting, 0, start + offset + len(line)
    reached = Mark(end, mark.generation, _ends(segment.path, end))
    return Stretch(folder, segment.path.stem, start, reached, tuple(entries), damaged, unknown)


def earlier(stretch: Stretch, wanted: Mapping[str, Feedback], shipped: Shipped) -> dict[str, Answer]:
    """The answers that stand before this stretch and had no feedback until then, among those that it has feedback for.

    Args:
        wanted: prediction id -> what the stretch says of it.
    """
    if not wanted:
        return {}
    first, ids = min(parse(identity).minute for identity in wanted), set(wanted)
    known = once(stretch.folder)
    found: dict[str, Answer] = {}
    fed: set[str] = set()
    for at, segment in enumerate(known):
        here = segment.path.stem == stretch.segment
        if here or at + 1 == len(known) or known[at + 1].minute >= first:
            for entry in _entries(segment, stretch.start if here else -1):
                if isinstance(entry, Answer) and entry.prediction_id in ids:
                    found[entry.prediction_id] = entry
                elif isinstance(entry, Feedback) and entry.prediction_id in ids:
                    fed.add(entry.prediction_id)
        if here:
            break
    gone = shipped.found([identity for identity in wanted if identity not in found and identity not in fed])
    found |= {name: one.answer for name, one in gone.items() if one.feedback in (None, wanted[name])}
    return {identity: answer for identity, answer in found.items() if identity not in fed}


def newest(journals: Journals, wanted: Callable[[Answer], bool], sought: Sought, most: int) -> list[Answer]:
    """The newest answers of all replicas that are wanted, at most so many, read from the end backwards."""
    found: dict[str, Answer] = {}
    for folder in journals.folders:
        mine: list[Answer] = []
        for segment in reversed(once(folder)):
            lines_here = [one for one in _entries(segment, -1) if isinstance(one, Answer) and wanted(one)]
            mine = lines_here + mine
            if len(mine) >= most:
                break
        found |= {one.prediction_id: one for one in mine}
    for one in _shipped(journals, sought, most + len(found)) if len(found) < most else ():
        if wanted(one):
            found.setdefault(one.prediction_id, one)
    return sorted(found.values(), key=lambda one: one.received_at)[-most:]


def _shipped(journals: Journals, sought: Sought, most: int) -> Iterator[Answer]:
    return journals.shipped.newest(sought.model, sought.where, most)


def with_outcomes(
    journals: Journals, wanted: Callable[[Answer], bool], sought: Sought, since: datetime, most: int
) -> list[tuple[Answer, Feedback | None]]:
    """The newest answers that are wanted, each with its first feedback if any came, oldest first.

    Args:
        since: by `received_at`; segments that ended before it are not opened.
        most: so many answers in all; of each replica no more are held.
    """
    kept: dict[str, Answer] = {}
    fed: dict[str, Feedback] = {}
    for folder in journals.folders:
        mine = _with_feedback(folder, wanted, since, most)
        kept, fed = kept | mine[0], fed | mine[1]
    if len(kept) < most:
        recent = replace(sought, where=(*sought.where, ("received_at", ">=", since)))
        old = {one.prediction_id: one for one in _shipped(journals, recent, most + len(kept)) if wanted(one)}
        gone = journals.shipped.found([name for name in old if name not in kept])
        fed = {name: one.feedback for name, one in gone.items() if one.feedback is not None} | fed
        kept = old | kept
    found = [(answer, fed.get(identity)) for identity, answer in kept.items()]
    return sorted(found, key=lambda pair: pair[0].received_at)[-most:]


def _with_feedback(
    folder: Path, wanted: Callable[[Answer], bool], since: datetime, most: int
) -> tuple[dict[str, Answer], dict[str, Feedback]]:
    """The newest answers of one replica that are wanted, and first feedback: theirs, and that for answers which are
    not here (any more)."""
    kept: dict[str, Answer] = {}
    fed: dict[str, Feedback] = {}
    known = once(folder)
    for at, segment in enumerate(known):
        if at + 1 < len(known) and known[at + 1].minute < minute_of(since):
            continue
        for entry in _entries(segment, -1):
            if isinstance(entry, Feedback) and (entry.prediction_id in kept or len(fed) < most):
                fed.setdefault(entry.prediction_id, entry)
            elif isinstance(entry, Answer) and entry.received_at >= since and wanted(entry):
                kept[entry.prediction_id] = entry
                if len(kept) > most:
                    oldest = next(iter(kept))
                    del kept[oldest]
                    fed.pop(oldest, None)
    return kept, fed


def _entries(segment: Segment, size: int) -> Iterator[Entry]:
    """The good lines of the first `size` bytes of a segment, of all of it when that is -1."""
    try:
        data = content(segment.path, 0, size)
    except FileNotFoundError:  # shipped and cleared a moment ago
        return
    for _, line in lines(data):
        entry = entry_of(line)
        if entry is not None:
            yield entry
