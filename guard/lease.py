"""Which guard leads: one holds the lease `guard` in the ledger, the others stand by and take it when it runs out.

The epoch of the lease is named in every write of the leader, so that one that slept through its lease is refused.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime

from errors import RevisionConflict
from records import utc_now
from stores.ledger import leases
from stores.ledger.engine import Ledger

log = logging.getLogger("grownet.guard")


class Leadership:
    """The lease as this process knows it. `keep` is called every tick: a write each third of the lease, a read
    while standing by."""

    def __init__(self, ledger: Ledger, holder: str, seconds: float) -> None:
        self._ledger, self._holder, self._seconds = ledger, holder, seconds
        self._epoch: int | None = None
        self._asked = float("-inf")  # monotonic
        self._seen: tuple[str, datetime] | None = None  # who holds it until when, as last read,
        self._since = 0.0  # and since when that is the same (monotonic)

    def keep(self) -> int | None:
        """Takes or renews the lease: the epoch to write under, or None while another guard leads."""
        before = self._epoch
        if before is None and not self._free():
            return None
        if before is not None and time.monotonic() - self._asked < self._seconds / 3:
            return before
        if before is None or not leases.renew(self._ledger, leases.GUARD, before, self._seconds):
            self._epoch = None
            dead = self._seen[1] if self._seen is not None and self._dead else None
            self._epoch = leases.acquire(self._ledger, leases.GUARD, self._holder, self._seconds, dead=dead)
        self._asked = time.monotonic()  # only now: a ledger that was away is asked again at the next tick
        if self._epoch is None and before is not None:
            log.warning("another guard leads now")
        elif self._epoch is not None and self._epoch != before:
            log.info("leading under epoch %d", self._epoch)
        return self._epoch

    def _free(self) -> bool:
        """Whether nobody else holds the lease now; asked at every tick, so a stand-by leads with the first after it ran out."""
        found = leases.held(self._ledger, leases.GUARD)
        if found != self._seen:
            self._seen, self._since = found, time.monotonic()
        return found is None or found[0] == self._holder or found[1] <= utc_now() or self._dead

    @property
    def _dead(self) -> bool:
        """Whether nobody renewed the lease for as long as it lasts, by this clock: the one that wrote its end may be ahead."""
        return self._seen is not None and time.monotonic() - self._since > self._seconds

    def refused(self, conflict: RevisionConflict) -> None:
        """A write met a newer epoch or revision: ask for the lease again before the next one."""
        log.warning("a write was refused: %s", conflict)
        self._asked = float("-inf")

    def give_back(self) -> None:
        """Lets the next guard lead at once."""
        if self._epoch is not None:
            leases.release(self._ledger, leases.GUARD, self._epoch)
            self._epoch = None
