"""The journal of one replica: every answer, before the reply leaves; every feedback; the judged pairs.

Appends to `home/journal/REPLICA/` with one write per answer, which survives kill -9; a thread fsyncs within
`fsync_seconds`, so that only a power failure can lose that much. Full segments are sealed for shipping.
Written by `grownet serve`; read by its counters, by feedback, and by `grownet trace` and `grownet served`.
"""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from checks.prediction_ids import parse
from errors import NotFound, StackError
from records import Answer, Feedback, Record
from stores.segments import (
    OPEN,
    SEALED,
    Entry,
    Place,
    Segment,
    around,
    at,
    changed,
    content,
    entries,
    entry_of,
    line_of,
    minute_of,
    segments,
)

log = logging.getLogger(__name__)
SLACK_MINUTES = 1  # an answer received at the end of a minute may be written in the next


class Found(Record, frozen=True, kw_only=True):
    """All that the journal knows of one answer."""

    answer: Answer
    paired: Answer | None = None
    feedback: Feedback | None = None


class Located(NamedTuple):
    """As `Found`, but only where the lines stand."""

    answer: Place
    paired: Place | None
    fed: bool


class Journal:
    """The one writer of a replica's folder.

    Args:
        folder: `home/journal/REPLICA`; made when missing.
        segment_bytes: a segment of at least this size is sealed.
        fsync_seconds: the longest time a written line is not yet on the disk.

    Raises:
        StackError: when another process writes there.
    """

    def __init__(self, folder: Path, *, segment_bytes: int, fsync_seconds: float) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self.bytes_written = 0
        self.fsync_failures = 0
        self._segment_bytes, self._fsync_seconds = segment_bytes, fsync_seconds
        self._owner = _owned(folder)
        _seal_leftovers(folder)
        old = segments(folder)
        self._number, self._minute = (old[-1].number, old[-1].minute) if old else (0, 0)
        self._paths = {segment.number: segment.path for segment in old}
        self._lock, self._flushing = threading.Lock(), threading.Lock()
        self._retired: list[tuple[int, Path]] = []
        self._dirty = False
        self._open_segment()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sync_forever, name="journal-fsync", daemon=True)
        self._thread.start()

    def append(self, *entries: Entry) -> list[Place]:
        """Writes the entries with one system call; they are all there, or none is.

        Raises:
            OSError: when the disk is full or away; nothing of it stays.
        """
        written = [line_of(entry) for entry in entries]
        data = written[0] if len(written) == 1 else b"".join(written)
        with self._lock:
            if self._size >= self._segment_bytes:
                self._rotate()
            number, offset = self._number, self._size
            self._write(data)
        places = []
        for line in written:
            places.append(Place(number, offset, len(line)))
            offset += len(line)
        return places

    def entry(self, place: Place) -> Entry:
        """The line at a place that `append` or `locate` gave.

        Raises:
            TamperError: when it is not what was written there.
        """
        return at(self._paths[place.segment], place)

    def flush(self) -> None:
        """Brings what was written to the disk; rotated segments are sealed. Each on its own: one that fails keeps no
        other from it, and is tried again by the next flush.

        Raises:
            OSError: the first failure, after all were tried.
        """
        with self._flushing:
            with self._lock:
                retired, self._retired = self._retired, []
                dirty, self._dirty = self._dirty, False
                descriptor = self._descriptor
            failed = _failure(lambda: os.fsync(descriptor)) if dirty else None
            failures = [(one, _failure(functools.partial(_seal, *one))) for one in retired]
            with self._lock:
                self._dirty = self._dirty or failed is not None
                self._retired[:0] = [one for one, error in failures if error is not None]
        for error in (failed, *(error for _, error in failures)):
            if error is not None:
                raise error

    def close(self) -> None:
        """Flushes, seals the open segment and gives the folder free."""
        self._stop.set()
        self._thread.join()
        with self._lock:
            self._retired.append((self._descriptor, self._path))
            self._dirty = False
        try:
            self.flush()
        finally:
            os.close(self._owner)

    def _write(self, data: bytes) -> None:
        try:
            done = os.write(self._descriptor, data)
            if done != len(data):
                raise OSError(f"{self._path}: wrote {done} of {len(data)} bytes")
        except OSError:
            os.ftruncate(self._descriptor, self._size)  # a torn line may stand at the end only
            raise
        self._size += done
        self.bytes_written += done
        self._dirty = True

    def _open_segment(self) -> None:
        self._number += 1
        self._minute = max(self._minute, now_minute())  # never falls, so that ids are found by minute
        self._path = self._paths[self._number] = self.folder / f"{self._number:08d}-{self._minute}{OPEN}"
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        self._size = 0

    def _rotate(self) -> None:
        """The sync thread closes and renames the old one, off the path of the answer."""
        self._retired.append((self._descriptor, self._path))
        self._open_segment()

    def _sync_forever(self) -> None:
        while not self._stop.wait(self._fsync_seconds):
            try:
                self.flush()
            except OSError as error:
                self.fsync_failures += 1
                log.error("journal %s: fsync failed: %s", self.folder, error)


def now_minute() -> int:
    return int(time.time() // 60)


def sealed(folder: Path) -> list[Path]:
    """The segments of a replica that will not change any more, oldest first: what may be shipped."""
    return [segment.path for segment in segments(folder) if segment.path.suffix == SEALED]


def read(root: Path, prediction_id: str) -> Found:
    """What the journals below `root` (`home/journal`) know of one answer.

    Raises:
        NotFound: for no id of ours, and when no journal here has it.
        TamperError: when one of its lines was changed.
    """
    folder = root / parse(prediction_id).replica
    entries = {role: entry for role, _, entry in _about(folder, prediction_id)}
    answer, paired, feedback = (entries.get(role) for role in ("answer", "paired", "feedback"))
    if not isinstance(answer, Answer):
        raise NotFound(
            f"answer {prediction_id}",
            expected=f"its line in {folder}",
            got="none",
            do="look on the machine of that replica, or in what was shipped",
        )
    return Found(
        answer=answer,
        paired=paired if isinstance(paired, Answer) else None,
        feedback=feedback if isinstance(feedback, Feedback) else None,
    )


def locate(folder: Path, prediction_id: str) -> Located | None:
    """Where the answer and the score made beside it stand in a replica's folder, and whether feedback came; None
    when the answer is not there."""
    places = {role: place for role, place, _ in _about(folder, prediction_id)}
    if "answer" not in places:
        return None
    return Located(answer=places["answer"], paired=places.get("paired"), fed="feedback" in places)


def answers(root: Path, model: str, start: datetime, end: datetime) -> Iterator[Answer]:
    """What was replied for a model with `received_at` in [start, end), by all replicas whose journal is here."""
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        for segment in _since(folder, minute_of(start)):
            if segment.minute > minute_of(end) + SLACK_MINUTES:
                break
            for _, entry in entries(segment.path):
                if not isinstance(entry, Answer) or entry.model != model or entry.paired_with:
                    continue
                if start <= entry.received_at < end:
                    yield entry


def _about(folder: Path, prediction_id: str) -> Iterator[tuple[str, Place, Entry]]:
    """Every line about one answer: its role, its place and what it says. The last of a role comes last."""
    for segment in _since(folder, parse(prediction_id).minute):
        for offset, line in around(content(segment.path), prediction_id.encode()):
            entry = entry_of(line)
            if entry is None:
                raise changed(segment.path, offset)
            role = _role(entry, prediction_id)
            if role:
                yield role, Place(segment.number, offset, len(line)), entry


def _role(entry: Entry, prediction_id: str) -> str:
    if isinstance(entry, Answer):
        if entry.prediction_id == prediction_id:
            return "answer"
        return "paired" if entry.paired_with == prediction_id else ""
    return "feedback" if isinstance(entry, Feedback) and entry.prediction_id == prediction_id else ""


def _since(folder: Path, minute: int) -> list[Segment]:
    """The segments that can hold lines of this minute or later: all but those whose successor had begun before."""
    known = segments(folder)
    return [one for n, one in enumerate(known) if n + 1 == len(known) or known[n + 1].minute >= minute]


def _owned(folder: Path) -> int:
    """A lock that only one process can hold, and that goes when it dies."""
    descriptor = os.open(folder / ".writer", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StackError(
            f"journal {folder.name}",
            expected="one writer",
            got="another process that writes there",
            do="give each replica a name of its own (GROWNET_REPLICA)",
        ) from None
    return descriptor


def _failure(do: Callable[[], None]) -> OSError | None:
    try:
        do()
    except OSError as error:
        return error
    return None


def _seal(descriptor: int, path: Path) -> None:
    os.fsync(descriptor)
    path.rename(path.with_suffix(SEALED))
    os.close(descriptor)


def _seal_leftovers(folder: Path) -> None:
    """What a dead process left open gets no more lines; a torn last line stays as it is."""
    for segment in segments(folder):
        if segment.path.suffix == OPEN:
            segment.path.rename(segment.path.with_suffix(SEALED))
