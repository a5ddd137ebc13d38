"""Ships sealed segments of a replica's journal to the lake, each line exactly once, and clears the disk behind it.

Reads `home/journal/REPLICA`; writes the lake tables of `stores.shipped`. Each commit carries the last segment's number as
a Delta transaction of this folder and is made only where the one before it stands, so a shipper killed at any point, or
two at once, neither lose nor double a line. The row in `journal_segments` comes last: it says that a segment is shipped.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from checks.prediction_ids import parse
from errors import NotFound, StackError
from records import Answer, Counter, Feedback, Record, digest_bytes
from stores.lake import Lake, Step
from stores.segments import Segment, closed, content, entry_of, intact, lines
from stores.shipped import ANSWERS, ASIDE, FEEDBACK, LAYOUTS, SCHEMAS, SEGMENTS, day_of

CHUNK_BYTES = 32 << 20  # of segments in one commit
FOLDER_ID = ".folder-id"
TORN, CHANGED, NEWER = "torn", "changed", "unknown"  # why a line is set aside


class Damage(Record, frozen=True, kw_only=True):
    """Lines of a segment that were set aside, by reason; or a segment that is not the one that was shipped."""

    replica: str
    segment: str
    reasons: dict[str, int]
    lines: int  # of the segment that were good


@dataclass
class Sorted:
    """The lines of one segment as rows of the tables they go to."""

    segment: Segment
    size: int
    digest: str
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {ANSWERS: [], FEEDBACK: [], ASIDE: []})
    counters: int = 0


class Origin(NamedTuple):
    """Whose journal it is. `identity` is of the folder: one made anew numbers its segments from 1 again."""

    replica: str
    identity: str

    @property
    def app_id(self) -> str:
        return f"journal:{self.replica}:{self.identity}"


def ship(lake: Lake, folder: Path, now: datetime, tell: Callable[[Damage], None]) -> int:
    """Ships what is sealed and not shipped; the number of segments.

    Args:
        tell: is told of damage before its segment counts as shipped; the same damage perhaps more than once.

    Raises:
        DataError: when the lake refuses; what is missing is shipped by the next call.
    """
    origin, number = origin_of(folder), 0
    at = lake.position(SEGMENTS, origin.app_id)
    for chunk in _chunks([one for one in closed(folder) if one.number > at]):
        parts = [sorted_out(one, origin, now) for one in chunk]
        for table in (ANSWERS, FEEDBACK, ASIDE):
            _append(lake, table, origin, [(part.segment.number, part.rows[table]) for part in parts])
        for part in parts:
            if part.rows[ASIDE]:
                tell(_damage(part, origin))
        _append(lake, SEGMENTS, origin, [(part.segment.number, [_entry(part, origin, now)]) for part in parts])
        number += len(parts)
    return number


def clear(lake: Lake, folder: Path, until: datetime, used: Callable[[Segment, int], bool]) -> tuple[int, list[Damage]]:
    """Removes segments that were shipped and last written to before `until`.

    The newest one stays, so that numbers go on. One that is not what was shipped under its number stays, and is told of.

    Args:
        used: whether nobody needs this segment (of so many bytes) here any more.

    Returns:
        How many were removed, and the segments that are others.
    """
    origin, removed, others = origin_of(folder), 0, list[Damage]()
    here = closed(folder)[:-1]
    known = _shipped(lake, origin, here[0].number) if here else {}
    for segment in here:
        told = known.get(segment.number)
        if told is None:
            continue
        try:
            same, leaves = _judged(segment, told, until, used)
            if not same:
                others.append(_other(origin, segment))
            elif leaves:
                segment.path.unlink()
                removed += 1
        except FileNotFoundError:  # another shipper was faster
            continue
    return removed, others


def _judged(
    segment: Segment, told: tuple[int, int, str], until: datetime, used: Callable[[Segment, int], bool]
) -> tuple[bool, bool]:
    """Whether a segment is the one that was shipped, and whether it may leave. All of it is read only when nothing
    else keeps it here: a monitor that is away keeps a lot."""
    stat = segment.path.stat()
    if (segment.minute, stat.st_size) != told[:2]:
        return False, False
    if stat.st_mtime >= until.timestamp() or not used(segment, stat.st_size):
        return True, False
    same = digest_bytes(content(segment.path)) == told[2]
    return same, same


def compact(lake: Lake, tables: Iterable[str], most_files: int, keep_hours: int) -> int:
    """Makes few files of many in the fullest partition of each table, if it has more than `most_files`; so many were."""
    done = 0
    for table in tables:
        if lake.exists(table) and (crowded := lake.crowded(table, most_files)):
            lake.compact(table, crowded[0], keep_hours)
            done += 1
    return done


def origin_of(folder: Path) -> Origin:
    """Whose journal a folder is; it gets an identity when it has none."""
    path = folder / FOLDER_ID
    if not path.exists():
        draft = folder / f"{FOLDER_ID}.{secrets.token_hex(4)}"
        try:
            with draft.open("x", encoding="ascii") as file:
                file.write(secrets.token_hex(8))
                file.flush()
                os.fsync(file.fileno())  # before anything is shipped under it
            os.link(draft, path)  # whole, and only if nobody was faster
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
    identity = path.read_text(encoding="ascii")
    if not re.fullmatch("[0-9a-f]{16}", identity):
        do = "put back what the column folder of journal_segments has for this replica; without it all is shipped again"
        raise StackError(
            f"journal {folder.name}, {FOLDER_ID}", expected="16 hex digits", got=repr(identity[:40]), do=do
        )
    return Origin(folder.name, identity)


def sorted_out(segment: Segment, origin: Origin, now: datetime) -> Sorted:
    """Every line of a segment, as a row of the table it goes to. None is left out: what cannot be read is set aside."""
    data = content(segment.path)
    found = Sorted(segment, len(data), digest_bytes(data))
    end = 0
    for offset, line in lines(data):
        end = offset + len(line)
        _sort(found, {**origin_row(origin), "segment": segment.number, "offset": offset}, line, now)
    if end < len(data):  # where a process or a machine died in the middle of a write
        place = {**origin_row(origin), "segment": segment.number, "offset": end}
        found.rows[ASIDE].append({**place, "reason": TORN, "line": data[end:], "found_at": now})
    return found


def origin_row(origin: Origin) -> dict[str, Any]:
    return {"replica": origin.replica, "folder": origin.identity}


def _sort(found: Sorted, place: dict[str, Any], line: bytes, now: datetime) -> None:
    entry = entry_of(line)
    if isinstance(entry, Counter):
        found.counters += 1
        return
    try:
        row = _row(entry, line) if entry is not None else None
    except (NotFound, OverflowError):  # not written by a replica
        row = None
    if row is None:
        reason = NEWER if intact(line) else CHANGED
        found.rows[ASIDE].append({**place, "reason": reason, "line": line, "found_at": now})
    else:
        found.rows[ANSWERS if isinstance(entry, Answer) else FEEDBACK].append({**place, **row})


def _row(entry: Answer | Feedback, line: bytes) -> dict[str, Any]:
    """Raises NotFound when it is about no prediction id, OverflowError for a number no column holds."""
    about = parse((entry.paired_with if isinstance(entry, Answer) else "") or entry.prediction_id)
    names = [name for name in SCHEMAS[ANSWERS if isinstance(entry, Answer) else FEEDBACK].names if hasattr(entry, name)]
    own = {name: getattr(entry, name) for name in names}
    if isinstance(entry, Answer) and max(abs(entry.version), abs(entry.revision)) >= 1 << 63:
        raise OverflowError
    return {**own, "day": day_of(about.minute), "minute": about.minute, "line": line.decode().rstrip("\n")}


def _append(lake: Lake, table: str, origin: Origin, parts: Sequence[tuple[int, list[dict[str, Any]]]]) -> None:
    """The rows of the segments that the table does not have, in one commit; another look when somebody was faster."""
    while True:
        at = lake.position(table, origin.app_id)
        rows = [row for number, mine in parts if number > at for row in mine]
        step = Step(origin.app_id, at, parts[-1][0])
        frame = pa.Table.from_pylist(rows, schema=SCHEMAS[table])
        if not rows or lake.append_after(table, frame, step, LAYOUTS[table]):
            return


def _chunks(waiting: list[Segment]) -> Iterator[list[Segment]]:
    chunk: list[Segment] = []
    size = 0
    for segment in waiting:
        more = segment.path.stat().st_size
        if chunk and size + more > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(segment)
        size += more
    if chunk:
        yield chunk


def _entry(part: Sorted, origin: Origin, now: datetime) -> dict[str, Any]:
    counts = {"answers": ANSWERS, "feedback": FEEDBACK, "aside": ASIDE}
    return {
        **origin_row(origin),
        "segment": part.segment.number,
        "minute": part.segment.minute,
        "bytes": part.size,
        "digest": part.digest,
        **{name: len(part.rows[table]) for name, table in counts.items()},
        "counters": part.counters,
        "shipped_at": now,
    }


def _shipped(lake: Lake, origin: Origin, first: int) -> dict[int, tuple[int, int, str]]:
    """Segments from `first` on that are in the lake: number -> minute, bytes, digest."""
    if not lake.exists(SEGMENTS):
        return {}
    mine = [("replica", "=", origin.replica), ("folder", "=", origin.identity), ("segment", ">=", first)]
    rows = lake.read(SEGMENTS, columns=["segment", "minute", "bytes", "digest"], where=mine)
    return {int(row.segment): (int(row.minute), int(row.bytes), str(row.digest)) for row in rows.itertuples()}


def _damage(part: Sorted, origin: Origin) -> Damage:
    reasons: dict[str, int] = {}
    for row in part.rows[ASIDE]:
        reasons[row["reason"]] = reasons.get(row["reason"], 0) + 1
    good = len(part.rows[ANSWERS]) + len(part.rows[FEEDBACK]) + part.counters
    return Damage(replica=origin.replica, segment=part.segment.path.stem, reasons=reasons, lines=good)


def _other(origin: Origin, segment: Segment) -> Damage:
    return Damage(replica=origin.replica, segment=segment.path.stem, reasons={"not what was shipped": 1}, lines=0)
