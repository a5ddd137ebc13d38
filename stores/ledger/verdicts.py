"""The guard's verdicts, with the inputs they were concluded from; append-only, so that they can be derived again."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from errors import NotFound
from records import GuardVerdict
from stores.ledger import leases
from stores.ledger import tables as t
from stores.ledger.engine import Ledger


def save(ledger: Ledger, verdict: GuardVerdict, actor: str, epoch: int | None = None) -> None:
    """Writes a verdict; an id that is there already is left as it is.

    Args:
        epoch: of the guard's lease.

    Raises:
        RevisionConflict: when the lease has a newer epoch.
    """
    row = {"id": verdict.id, "model": verdict.model, "at": verdict.at, "payload": verdict.to_json().decode()}
    with ledger.write(actor) as transaction:
        if epoch is not None:
            leases.refuse_stale(transaction, leases.GUARD, epoch)
        if transaction.execute(sa.select(t.verdicts.c.id).where(t.verdicts.c.id == verdict.id)).first() is None:
            transaction.execute(sa.insert(t.verdicts).values(**row))


def verdict(ledger: Ledger, identity: str) -> GuardVerdict:
    """Raises NotFound for an unknown id."""
    with ledger.read() as connection:
        payload = connection.execute(sa.select(t.verdicts.c.payload).where(t.verdicts.c.id == identity)).scalar()
    if payload is None:
        raise NotFound(f"verdict {identity!r}")
    return GuardVerdict.from_json(payload)


def newest(ledger: Ledger, model: str) -> GuardVerdict | None:
    """The newest verdict about a model; None before the first."""
    query = sa.select(t.verdicts.c.payload).where(t.verdicts.c.model == model)
    with ledger.read() as connection:
        last = query.order_by(t.verdicts.c.at.desc(), t.verdicts.c.id.desc()).limit(1)
        payload = connection.execute(last).scalar()
    return None if payload is None else GuardVerdict.from_json(payload)


def verdicts(ledger: Ledger, model: str, since: datetime | None = None) -> list[GuardVerdict]:
    """Verdicts about a model, oldest first."""
    query = (
        sa.select(t.verdicts.c.payload).where(t.verdicts.c.model == model).order_by(t.verdicts.c.at, t.verdicts.c.id)
    )
    query = query if since is None else query.where(t.verdicts.c.at >= since)
    with ledger.read() as connection:
        return [GuardVerdict.from_json(payload) for payload in connection.execute(query).scalars()]
