"""The audit chain: every entry covers the hash of the one before, so that nothing is changed or cut unseen.

Written by `Transaction.audit` in the transaction of what it tells; read here by `grownet audit verify`,
`grownet trace` and a replica that asks whether a ledger descends from the one it knew.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from errors import TamperError
from records import Record
from stores.ledger.engine import GENESIS, Ledger, entry_hash
from stores.ledger.tables import audit, audit_head


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
        for row in connection.execute(sa.select(audit).order_by(audit.c.sequence)).mappings():
            sequence += 1
            if row["sequence"] != sequence or row["previous"] != previous or entry_hash(dict(row)) != row["hash"]:
                raise TamperError(
                    f"audit entry {sequence}",
                    expected="an entry that fits the chain before it",
                    got=f"entry {row['sequence']} {row['action']!r} that does not",
                    do="compare the ledger with a backup; do not release until it is explained",
                )
            previous = row["hash"]
        head = connection.execute(sa.select(audit_head)).one()
    if (head.sequence, head.hash) != (sequence, previous):
        raise TamperError(
            "audit head",
            expected=f"entry {head.sequence} as the last one",
            got=f"entry {sequence}",
            do="the end of the chain was cut off: compare the ledger with a backup",
        )
    return sequence


def entries(ledger: Ledger, subject: str = "") -> list[Entry]:
    """The entries about a subject (a model, a ballot, a candidate ...), or all, oldest first."""
    query = sa.select(audit).order_by(audit.c.sequence)
    with ledger.read() as connection:
        rows = connection.execute(query.where(audit.c.subject == subject) if subject else query).mappings().all()
    return [Entry(**{**row, "detail": json.loads(row["detail"])}) for row in rows]


def descends(ledger: Ledger, head: str) -> bool:
    """True when this ledger has the entry of that hash: a plan's `audit_head`. An empty head is before all history."""
    with ledger.read() as connection:
        return head == "" or connection.execute(sa.select(audit.c.hash).where(audit.c.hash == head)).first() is not None
