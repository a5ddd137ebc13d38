"""Leases with fencing epochs: one holder at a time, and proof of which holder a late write came from.

Taken by the guard and by writers of a lake table. Each time a lease changes hands its epoch grows; a write that
names an older epoch is refused, whatever its author still believes.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from errors import RevisionConflict
from records import utc_now
from stores.ledger.engine import Ledger, Transaction
from stores.ledger.tables import leases

GUARD = "guard"  # the lease whose epoch a plan change of the guard must name


def acquire(
    ledger: Ledger, name: str, holder: str, seconds: float, at: datetime | None = None, *, dead: datetime | None = None
) -> int | None:
    """Takes a free or expired lease and returns its new epoch, or None while somebody else holds it.

    The same holder taking it again gets a new epoch as well, so a restarted process fences its former self.

    Args:
        dead: an expiry that counts as over although it lies ahead: nobody renewed it in time, and clocks lie apart.
    """
    now = at or utc_now()
    with ledger.write(holder) as transaction:
        row = transaction.execute(sa.select(leases).where(leases.c.name == name).with_for_update()).first()
        until = now + timedelta(seconds=seconds)
        if row is None:
            transaction.execute(sa.insert(leases).values(name=name, holder=holder, epoch=1, expires_at=until))
            return 1
        if row.holder != holder and row.expires_at > now and row.expires_at != dead:
            return None
        epoch = int(row.epoch) + 1
        held = {"holder": holder, "epoch": epoch, "expires_at": until}
        transaction.execute(sa.update(leases).where(leases.c.name == name).values(**held))
        return epoch


def renew(ledger: Ledger, name: str, epoch: int, seconds: float, at: datetime | None = None) -> bool:
    """Keeps a lease for longer; False when it is in other hands by now, or was given back."""
    now = at or utc_now()
    mine = sa.update(leases).where(leases.c.name == name, leases.c.epoch == epoch, leases.c.holder != "")
    with ledger.write(f"epoch {epoch}") as transaction:
        return transaction.execute(mine.values(expires_at=now + timedelta(seconds=seconds))).rowcount == 1


def release(ledger: Ledger, name: str, epoch: int, at: datetime | None = None) -> None:
    """Gives a lease back; nothing happens when it is in other hands by now."""
    mine = sa.update(leases).where(leases.c.name == name, leases.c.epoch == epoch)
    with ledger.write(f"epoch {epoch}") as transaction:
        transaction.execute(mine.values(holder="", expires_at=at or utc_now()))


def held(ledger: Ledger, name: str) -> tuple[str, datetime] | None:
    """Who took a lease last (empty when it was given back), and when it is free again unless renewed; None before the first."""
    with ledger.read() as connection:
        row = connection.execute(sa.select(leases.c.holder, leases.c.expires_at).where(leases.c.name == name)).first()
    return (str(row.holder), row.expires_at) if row is not None else None


def refuse_stale(transaction: Transaction, name: str, epoch: int) -> None:
    """Raises RevisionConflict when the lease has another epoch than the one this write names."""
    row = transaction.execute(sa.select(leases).where(leases.c.name == name).with_for_update()).first()
    if row is None or int(row.epoch) != epoch:
        raise RevisionConflict(
            f"lease {name!r}",
            expected=f"epoch {epoch}",
            got=f"epoch {row.epoch} of {row.holder or 'nobody'}" if row else "no such lease",
            do="stop: another process took over; acquire the lease again before writing",
        )
