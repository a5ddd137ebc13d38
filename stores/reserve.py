"""A file that only holds room: freed when the disk is full, so that the journal can go on while somebody is told.

Kept beside the journal of a replica by `stores.journal`; made again once there is room for it twice.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)


class Reserve:
    """Room of `size` bytes at `path`; 0 for none. `give` and `keep` may be called from different threads."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        self.held = False
        self._lock = threading.Lock()
        self._complaint = ""
        path.unlink(missing_ok=True)  # of a process that died, perhaps of another size
        if size:
            self._make()

    def give(self) -> bool:
        """Frees the room; False when there is none."""
        with self._lock:
            held, self.held = self.held, False
            if held:
                self.path.unlink(missing_ok=True)
                log.critical("%s: the disk is full, the reserve of %d bytes is freed", self.path.parent, self.size)
            return held

    def keep(self) -> None:
        """Makes it anew when it is gone and the disk has room for it twice."""
        if self.held or not self.size:
            return
        room = os.statvfs(self.path.parent)
        if room.f_bavail * room.f_frsize >= 2 * self.size and self._make():
            log.warning("%s: there is room again, the reserve is back", self.path.parent)

    def close(self) -> None:
        """A replica that does not run holds no room."""
        with self._lock:
            self.held = False
            self.path.unlink(missing_ok=True)

    def _make(self) -> bool:
        draft = self.path.with_suffix(".draft")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self.size)
            finally:
                os.close(descriptor)
            with self._lock:
                draft.rename(self.path)
                self.held = True
            self._complaint = ""
        except OSError as error:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            if str(error) != self._complaint:
                log.error("%s: no reserve of %d bytes: %s", self.path.parent, self.size, error)
            self._complaint = str(error)
        return self.held
