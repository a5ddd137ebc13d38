"""The lease of a lake table: one writer at a time, so that a vacuum never runs beside an append.

Reads and writes the ledger's leases. Held for the seconds of an append; one left by a killed process expires.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from errors import LedgerUnavailable
from stores.ledger.engine import Ledger
from stores.ledger.leases import acquire, release

LEASE_SECONDS = 15.0
POLL_SECONDS = 0.1


@contextmanager
def alone(ledger: Ledger, name: str, seconds: float = LEASE_SECONDS) -> Iterator[None]:
    """Holds the lease `name`, waiting for a living holder and for the expiry of a dead one.

    Raises:
        LedgerUnavailable: when somebody else held it for twice as long as a lease lasts.
    """
    holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    deadline = time.monotonic() + 2 * seconds
    while (epoch := acquire(ledger, name, holder, seconds)) is None:
        if time.monotonic() > deadline:
            raise LedgerUnavailable(
                f"lease {name!r}",
                expected=f"free within {2 * seconds:.0f} s",
                got="held by another writer all that time",
                do="run again; if it stays so, look which ingest or vacuum hangs",
            )
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        release(ledger, name, epoch)
