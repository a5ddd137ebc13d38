"""The audit chain: every entry covers the hash of the one before, so that nothing is changed or cut unseen.

Written by `Transaction.audit` in the transaction of what it tells; read here by `grownet audit verify`,
`grownet trace` and a replica that asks whether a ledger descends from the one it knew.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from errors import TamperError
from records import Record
from stores.ledger import rows
from stores.ledger.engine import GENESIS, Ledger, Transaction, entry_hash, head_of
from stores.ledger.tables import audit


class Entry(Record, frozen=True, kw_only=True):
    """One entry of the chain."""

    sequence: int
    at: datetime
    actor: str
    role: str
    action: str
    subject: str
    detail: dict[str, Any]
    previous: str
    hash: str


def verify(ledger: Ledger) -> int:
    """Walks the whole chain and returns how many entries it has.

    Raises:
        TamperError: naming the first entry that does not fit, or the head when the end was cut off.
    """
    sequence, previous = 0, GENESIS
    with ledger.read() as connection:
        for row in _chain(connection):
            sequence += 1
            if row["sequence"] != sequence or row["previous"] != previous or entry_hash(dict(row)) != row["hash"]:
                raise TamperError(
                    f"audit entry {sequence}",
                    expected="an entry that fits the chain before it",
                    got=f"entry {row['sequence']} {row['action']!r} that does not",
                    do="compare the ledger with a backup; do not release until it is explained",
                )
            previous = row["hash"]
        last = head_of(connection)
    if last != (sequence, previous):
        raise TamperError(
            "audit head",
            expected=f"entry {last[0]} as the last one",
            got=f"entry {sequence}",
            do="the end of the chain was cut off: compare the ledger with a backup",
        )
    return sequence


def entries(ledger: Ledger, subject: str = "") -> list[Entry]:
    """The entries about a subject (a model, a ballot, a candidate ...), or all, oldest first."""
    query = sa.select(audit).order_by(audit.c.sequence)
    with ledger.read() as connection:
        found = connection.execute(query.where(audit.c.subject == subject) if subject else query).mappings()
        return [_entry(row) for row in found]


def told(reader: sa.Connection | Transaction, action: str, subject: str = "") -> list[Entry]:
    """The entries of an action (about a subject), oldest first, read in a running transaction."""
    query = sa.select(audit).where(audit.c.action == action).order_by(audit.c.sequence)
    query = query.where(audit.c.subject == subject) if subject else query
    return [_entry(row) for row in reader.execute(query).mappings()]


def descends(ledger: Ledger, head: str) -> bool:
    """True when this ledger has the entry of that hash: a plan's `audit_head`. An empty head is before all history."""
    with ledger.read() as connection:
        return head == "" or connection.execute(sa.select(audit.c.hash).where(audit.c.hash == head)).first() is not None


def _chain(connection: sa.Connection) -> Iterator[sa.RowMapping]:
    """The rows from the first on. One whose time is none is named here, since it cannot be read at all."""
    found, number = iter(connection.execute(sa.select(audit).order_by(audit.c.sequence)).mappings()), 1
    while True:
        try:
            row = next(found, None)
        except TamperError as error:
            raise rows.differs("audit", f"entry {number}", expected="a row that can be read", got=error) from error
        if row is None:
            return
        yield row
        number += 1


def _entry(row: sa.RowMapping) -> Entry:
    return Entry(**{**row, "detail": rows.detail(row["detail"], row["sequence"])})
