"""Tells the ledger what happens here: trips, what is loaded, counters. In a thread of its own, twice a second.

Writes counters, trips and replica states only. A ledger that is away stops nobody: trips and states wait here (bounded),
counters wait in the journal.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from pathlib import Path

from errors import LedgerError
from records import ReplicaState, Trip
from serving.counting import Tally, count
from serving.metrics import Metrics
from stores.ledger import counters
from stores.ledger.engine import Ledger

log = logging.getLogger(__name__)
EVERY_SECONDS = 0.5
WAITING_TRIPS = 1000


class Link:
    """The ledger, opened when it is there."""

    def __init__(self, url: str, demo: bool) -> None:
        self._url, self._demo = url, demo
        self._ledger: Ledger | None = None
        self._lock = threading.Lock()

    def ledger(self) -> Ledger:
        """Raises LedgerError while it is away; nothing is made here."""
        with self._lock:
            if self._ledger is None:
                self._ledger = Ledger.open(self._url, "serving", demo=self._demo, create=False)
            return self._ledger

    def close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()


class Reporter:
    """Takes what is to be told and tells it."""

    def __init__(self, link: Link, journal: Path, tally: Tally, metrics: Metrics) -> None:
        self._link, self._journal, self._tally, self._metrics = link, journal, tally, metrics
        self._trips: deque[Trip] = deque(maxlen=WAITING_TRIPS)
        self._states: dict[str, ReplicaState] = {}  # the newest of each model
        self._replica = ""  # that said something
        self._away = False
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def trip(self, trip: Trip) -> None:
        self._trips.append(trip)

    def state(self, state: ReplicaState) -> None:
        self._states[state.model], self._replica = state, state.replica

    def close(self) -> None:
        """Tells what is left, once, and that this replica leaves."""
        self._stop.set()
        if self.thread.ident is not None:
            self.thread.join()
        if not self._away:  # nobody waits at the end for a ledger that is not there
            self._tell()
        if self._replica and not self._away:
            self._leave()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            self._tell()

    def _leave(self) -> None:
        try:
            counters.forget_replica(self._link.ledger(), self._replica, self._replica)
        except LedgerError as error:
            log.warning("not told that %s leaves: %s", self._replica, error)

    def _tell(self) -> None:
        try:
            ledger = self._link.ledger()
            while self._trips:
                counters.add_trip(ledger, self._trips[0], self._trips[0].replica)
                self._trips.popleft()
            for model, state in list(self._states.items()):
                counters.report_replica(ledger, state, state.replica)
                if self._states.get(model) is state:
                    del self._states[model]
            bad = count(ledger, self._journal, self._tally)
        except (LedgerError, OSError) as error:
            self._away = True
            log.warning("not told yet: %s", error)
        except Exception as error:  # noqa: BLE001 - the edge: a thread that ended would tell of no trip any more
            self._away = True
            log.error("not told: %s: %s", type(error).__name__, error)
        else:
            self._away = False
            self._metrics.count("journal_bad_lines", more=bad)
