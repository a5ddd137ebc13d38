"""The journal of one replica: every answer, before the reply leaves; every feedback; the judged pairs.

Appends to `home/journal/REPLICA/` with one write per answer, which survives kill -9; a thread fsyncs within
`fsync_seconds`, so that only a power failure can lose that much. Full and old segments are sealed for shipping. A full
disk first costs the reserve. Written by `grownet serve`; read by its counters and by `stores.lookup`, shipped by `stores.shipping`.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from errors import StackError
from stores.reserve import Reserve
from stores.segments import OPEN, SEALED, Entry, Place, at, line_of, segments

log = logging.getLogger(__name__)
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
RESERVE = ".reserve"
Wrote = Callable[[Sequence[Entry], int, int, int], None]


class Journal:
    """The one writer of a replica's folder.

    Args:
        folder: `home/journal/REPLICA`; made when missing.
        segment_bytes: a segment of at least this size is sealed,
        segment_seconds: and one that was begun so long ago, if there is anything in it.
        fsync_seconds: the longest time a written line is not yet on the disk.
        reserve_bytes: of room that is held back for when the disk is full.
        wrote: told of entries once they are written, in their order: the entries, their segment's number, where they begin and end in it.

    Raises:
        StackError: when another process writes there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int,
        fsync_seconds: float,
        segment_seconds: float = math.inf,
        reserve_bytes: int = 0,
        wrote: Wrote = lambda *_: None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self.bytes_written = self._bytes_synced = 0
        self.fsync_failures = 0
        self._segment_bytes, self._segment_seconds, self._fsync_seconds = segment_bytes, segment_seconds, fsync_seconds
        self._wrote = wrote
        self._owner = _owned(folder)
        _seal_leftovers(folder)
        old = segments(folder)
        self._number, self._minute = (old[-1].number, old[-1].minute) if old else (0, 0)
        self._paths = {segment.number: segment.path for segment in old}
        self._lock, self._flushing = threading.Lock(), threading.Lock()
        self._retired: list[tuple[int, Path]] = []
        self._dirty = self._full = self._unsynced = self._stuck = False
        self._open_segment()
        self._reserve = Reserve(folder / RESERVE, reserve_bytes)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sync_forever, name="journal-fsync", daemon=True)
        self._thread.start()

    def append(self, *entries: Entry) -> list[Place]:
        """Writes the entries with one system call; they are all there, or none is.

        Raises:
            OSError: when the disk is full, the reserve too, or it is away; nothing of the entries stays.
        """
        written = [line_of(entry) for entry in entries]
        data = written[0] if len(written) == 1 else b"".join(written)
        with self._lock:
            try:
                number, offset = self._put(data)
            except OSError as error:
                self._full = error.errno in FULL
                if not self._full or not self._reserve.give():
                    raise
                number, offset = self._put(data)
            self._full = False
            self._wrote(entries, number, offset, offset + len(data))
        places = []
        for line in written:
            places.append(Place(number, offset, len(line)))
            offset += len(line)
        return places

    @property
    def trouble(self) -> str:
        """What is wrong with writing here, for people; empty when nothing is."""
        if self._full:
            return "the journal's disk is full: nothing can be written"
        if self.low:
            return "the journal's disk is nearly full: the reserve is used up"
        return "what was written does not reach the disk: fsync fails" if self._unsynced else ""

    @property
    def full(self) -> bool:
        """Whether the last entry found no room."""
        return self._full

    @property
    def low(self) -> bool:
        """Whether the reserve is used up, or could not be made."""
        return self._reserve.size > 0 and not self._reserve.held

    def entry(self, place: Place) -> Entry:
        """The line at a place that `append` or `locate` gave.

        Raises:
            TamperError: when it is not what was written there.
            FileNotFoundError: when its segment was shipped and left this disk.
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
                descriptor, written = self._descriptor, self.bytes_written
            failed = _failure(lambda: os.fsync(descriptor)) if dirty else None
            failures = [(one, _failure(functools.partial(_seal, *one))) for one in retired]
            with self._lock:
                self._unsynced = failed is not None
                self._dirty = self._dirty or self._unsynced
                self._retired[:0] = [one for one, error in failures if error is not None]
        for error in (failed, *(error for _, error in failures)):
            if error is not None:
                raise error
        self._bytes_synced = written

    @property
    def unsynced_bytes(self) -> int:
        """Written, and not known to be on the disk: what a power failure could take."""
        return self.bytes_written - self._bytes_synced

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
            self._reserve.close()
            os.close(self._owner)

    def _put(self, data: bytes) -> tuple[int, int]:
        """Writes to the open segment: its number and where the data begins."""
        if self._size >= self._segment_bytes and not self._stuck:
            self._rotate()
        number, offset = self._number, self._size
        self._write(data)
        return number, offset

    def _write(self, data: bytes) -> None:
        try:
            done = os.write(self._descriptor, data)
            if done != len(data):
                raise OSError(errno.ENOSPC, f"wrote {done} of {len(data)} bytes", str(self._path))
        except OSError:
            os.ftruncate(self._descriptor, self._size)  # a torn line may stand at the end only
            raise
        self._size += done
        self.bytes_written += done
        self._dirty = True

    def _open_segment(self) -> None:
        number = self._number + 1
        minute = max(self._minute, now_minute())  # never falls, so that ids are found by minute
        path = self.folder / f"{number:08d}-{minute}{OPEN}"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        self._number, self._minute, self._path, self._size = number, minute, path, 0
        self._paths[number], self._begun = path, time.monotonic()

    def _rotate(self) -> None:
        """The sync thread closes and renames the old one, off the path of the answer. Where no new one can be opened,
        the old one grows until the sync thread has it tried again."""
        old = self._descriptor, self._path
        try:
            self._open_segment()
        except OSError as error:
            self._stuck = True
            log.error("journal %s: no new segment: %s", self.folder, error)
        else:
            self._retired.append(old)

    def _rotate_old(self) -> None:
        with self._lock:
            self._minute = max(self._minute, now_minute())  # a clock that was ahead for a while left ids of that time
            self._stuck = False
            if self._size and time.monotonic() - self._begun >= self._segment_seconds:
                self._rotate()

    def _sync_forever(self) -> None:
        while not self._stop.wait(self._fsync_seconds):
            self._rotate_old()
            try:
                self.flush()
                self._reserve.keep()
            except OSError as error:
                self.fsync_failures += 1
                log.error("journal %s: fsync failed: %s", self.folder, error)


def now_minute() -> int:
    return int(time.time() // 60)


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
