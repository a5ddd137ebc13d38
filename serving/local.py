"""What a replica watches on its own machine, ledger or no ledger: the break-glass file, API keys and when they were used,
the journal's disk, hanging arms, and its own threads.

`home/serving/REPLICA/force-rules` (its content is the reason) makes this replica answer by the rules at once, whatever
the plan says; replies, trips and `/readyz` tell of it until the file is removed.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from errors import ConfigError
from serving.desk import Desk
from serving.house import House
from serving.issuing import USE, note_use
from serving.keys import Ring
from stores.ledger.counters import JOURNAL

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.1
USE_SECONDS = 60.0
FILE = "force-rules"
REASON_CHARACTERS = 500


class Local:
    """Looks every LOOK_SECONDS, in a thread of its own."""

    def __init__(self, house: House, desks: Iterable[Desk], ring: Ring, folder: Path) -> None:
        self._house, self._desks, self._ring = house, list(desks), ring
        self._path, self._uses = folder / FILE, folder / USE
        self._keys_problem = self._journal_problem = ""
        self._noted_at = time.monotonic()
        self.threads: list[threading.Thread] = []  # that must live
        self._mourned: tuple[str, ...] = ()
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._run, name="local", daemon=True)

    def look(self) -> None:
        """One round."""
        self._break_glass()
        self._keys()
        self._journal()
        if time.monotonic() - self._noted_at > USE_SECONDS:
            self._note_use()
        for desk in self._desks:
            desk.look_for_hangs()
        if (dead := self.dead) != self._mourned:
            log.critical("threads that died, restart this replica: %s", ", ".join(dead))
            self._mourned = dead

    @property
    def dead(self) -> tuple[str, ...]:
        """The threads that should live and do not; this one too, which cannot say so itself."""
        own = [self.thread] if self.thread.ident is not None and not self._stop.is_set() else []
        return tuple(thread.name for thread in (*self.threads, *own) if not thread.is_alive())

    def close(self) -> None:
        self._stop.set()
        if self.thread.ident is not None:
            self.thread.join()
        self._note_use()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self.look()

    def _break_glass(self) -> None:
        reason = self._reason()
        if bool(reason) == bool(self._house.forced):
            return
        self._house.forced = reason
        log.critical("break glass: %s", reason or "the file is gone, the plan answers again")
        for desk in self._desks if reason else ():
            desk.report("rules", "", f"break glass: {reason}", kind="dropped")

    def _reason(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8", errors="replace").strip()[:REASON_CHARACTERS] or "no reason"
        except FileNotFoundError:
            return ""
        except (
            OSError
        ) as error:  # what it says cannot be read; without a descriptor left, neither can what is not there
            return str(error) if os.path.lexists(self._path) else ""

    def _journal(self) -> None:
        """The guard hears of it by way of one model: it is the same disk for all."""
        problem, self._journal_problem = self._journal_problem, self._house.journal.trouble
        if self._journal_problem != problem:
            log.critical("%s", self._journal_problem or f"over: {problem}")
            for desk in self._desks[:1] if self._journal_problem else ():
                desk.report(JOURNAL, "", self._journal_problem, kind="dropped")

    def _keys(self) -> None:
        try:
            self._ring.reload()
        except ConfigError as error:
            if str(error) != self._keys_problem:
                log.error("API keys not read again, the old ones stay: %s", error)
            self._keys_problem = str(error)

    def _note_use(self) -> None:
        self._noted_at = time.monotonic()
        try:
            if self._ring.used:
                note_use(self._uses, self._ring.used)
        except OSError as error:
            log.warning("not noted when API keys were last used: %s", error)
