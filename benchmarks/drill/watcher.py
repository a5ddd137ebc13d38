"""Looks at the ledger while a drill goes on: every plan and everything a replica said, with when it was first seen.

The ledger keeps only what each replica said last, so somebody has to look often. Reads only; a thread of the harness.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime

from benchmarks.reliability.oracle import Change, Timeline
from benchmarks.reliability.village import MODEL
from errors import LedgerUnavailable
from records import ReleasePlan, ReplicaState
from stores.ledger import counters, plans
from stores.ledger.engine import Ledger

LOOK_SECONDS = 0.05


def monotonic(moment: datetime) -> float:
    """A time of the wall clock by the machine's monotonic one."""
    return moment.timestamp() - wall(0.0)


def wall(moment: float) -> float:
    """A time of the monotonic clock by the wall clock, in seconds since 1970."""
    return moment + time.time() - time.monotonic()


class Watcher:
    """Everything seen since it was started."""

    def __init__(self, url: str) -> None:
        self.changes: list[Change] = []
        self.states: list[ReplicaState] = []
        self._ledger = Ledger.open(url, "reader")
        self._last: dict[str, ReplicaState] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def __enter__(self) -> Watcher:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._ledger.close()

    def since(self, moment: float) -> Timeline:
        """The plans that may have answered from a monotonic time on: the one current then, and all after it."""
        changes = list(self.changes)
        first = max((at for at, one in enumerate(changes) if one.after <= moment), default=0)
        return Timeline(changes[first:])

    def plan(self, revision: int) -> ReleasePlan:
        return next(one.plan for one in self.changes if one.plan.revision == revision)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self._look()
            except LedgerUnavailable:  # that it is away is what some drills are about
                continue

    def _look(self) -> None:
        known = self.changes[-1].plan.revision if self.changes else 0
        for release in plans.releases(self._ledger, MODEL, after=known):
            plan, now = release.signed.plan, time.monotonic()
            self.changes.append(Change(plan, min(monotonic(plan.created_at), now), now))
        for state in counters.replicas(self._ledger, MODEL):
            if self._last.get(state.replica) != state:
                self._last[state.replica] = state
                self.states.append(state)
