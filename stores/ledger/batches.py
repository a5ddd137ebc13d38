"""Which batches a table took in: unique (table, batch), with the digest of the bytes it came as.

Written by ingestion after the Delta commit; read before it, because Delta accepts a later repeat.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from errors import BatchConflict
from records import Record
from stores.ledger import tables as t
from stores.ledger.engine import Ledger, Transaction


class Batch(Record, frozen=True, kw_only=True):
    """A batch that was taken in."""

    table: str
    id: str
    digest: str  # SHA-256 of the masked rows that came, in order
    rows: int  # appended to the table
    quarantined: int  # rows that failed a row-level expectation
    delta_version: int
    suite: str  # digest of the expectations that judged it
    newest: datetime | None  # largest event time
    at: datetime


def batch(ledger: Ledger, table: str, identity: str) -> Batch | None:
    """The batch of that id, or None when the table never took it in."""
    with ledger.read() as connection:
        payload = connection.execute(_one(table, identity)).scalar()
    return None if payload is None else Batch.from_json(payload)


def register(ledger: Ledger, new: Batch, actor: str = "ingest") -> Batch:
    """Notes a batch as taken in; the same id and digest again gives what was noted the first time.

    Raises:
        BatchConflict: for an id that was taken in with another digest.
    """
    with ledger.write(actor) as transaction:
        transaction.head()  # one at a time, also on Postgres
        payload = transaction.execute(_one(new.table, new.id)).scalar()
        if payload is not None:
            known = Batch.from_json(payload)
            refuse_other(known, new.digest)
            return known
        _insert(transaction, new)
    return new


def refuse_other(known: Batch, digest: str) -> None:
    """Raises BatchConflict when the digest is not the one this batch id was taken in with."""
    if known.digest != digest:
        raise BatchConflict(
            f"batch {known.id!r} of table {known.table!r}",
            expected=f"digest {known.digest[:12]}, as taken in at {known.at:%Y-%m-%d %H:%M:%S} UTC",
            got=digest[:12],
            do="give corrected rows a batch id of their own",
        )


def batches(ledger: Ledger, table: str) -> list[Batch]:
    """The batches of a table in the order they were taken in."""
    query = sa.select(t.batches.c.payload).where(t.batches.c.table_name == table).order_by(t.batches.c.position)
    with ledger.read() as connection:
        return [Batch.from_json(payload) for payload in connection.execute(query).scalars()]


def _insert(transaction: Transaction, new: Batch) -> None:
    last = transaction.execute(sa.select(sa.func.max(t.batches.c.position)).where(t.batches.c.table_name == new.table))
    row = {"table_name": new.table, "batch": new.id, "digest": new.digest, "payload": new.to_json().decode()}
    transaction.execute(sa.insert(t.batches).values(**row, position=int(last.scalar() or 0) + 1))
    transaction.audit("batch", new.table, {"batch": new.id, "digest": new.digest, "rows": new.rows})


def _one(table: str, identity: str) -> sa.Select[tuple[str]]:
    return sa.select(t.batches.c.payload).where(t.batches.c.table_name == table, t.batches.c.batch == identity)
