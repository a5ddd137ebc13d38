"""What the monitors found: the inputs of the decision table, each with an expiry; append-only.

Written by the monitor flow and by the door (role flow); read by the guard every tick and by `grownet models`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from records import Finding
from stores.ledger import tables as t
from stores.ledger.engine import Ledger, Transaction


def store(transaction: Transaction, finding: Finding) -> None:
    """Writes a finding in a running transaction; an id that is there already is left as it is."""
    if transaction.execute(sa.select(t.findings.c.id).where(t.findings.c.id == finding.id)).first() is not None:
        return
    row = {"model": finding.model, "kind": finding.kind, "at": finding.found_at, "expires_at": finding.expires_at}
    transaction.execute(sa.insert(t.findings).values(id=finding.id, payload=finding.to_json().decode(), **row))


def save(ledger: Ledger, found: Iterable[Finding], actor: str) -> None:
    """Writes findings in one transaction."""
    with ledger.write(actor) as transaction:
        for finding in found:
            store(transaction, finding)


def newest(ledger: Ledger, model: str) -> list[Finding]:
    """The newest finding of each kind about a model, expired or not: who reads it looks at `expires_at`."""
    last = (
        sa.select(t.findings.c.kind, sa.func.max(t.findings.c.at).label("at"))
        .where(t.findings.c.model == model)
        .group_by(t.findings.c.kind)
        .subquery()
    )
    query = (
        sa.select(t.findings.c.kind, t.findings.c.payload)
        .join(last, (t.findings.c.kind == last.c.kind) & (t.findings.c.at == last.c.at))
        .where(t.findings.c.model == model)
        .order_by(t.findings.c.kind, t.findings.c.id)
    )
    with ledger.read() as connection:
        found = dict(connection.execute(query).tuples().all())
    return [Finding.from_json(payload) for payload in found.values()]


def standing(ledger: Ledger, model: str, kind: str, at: datetime) -> list[Finding]:
    """The findings of one kind about a model that have not expired, oldest first."""
    query = (
        sa.select(t.findings.c.payload)
        .where(t.findings.c.model == model, t.findings.c.kind == kind, t.findings.c.expires_at > at)
        .order_by(t.findings.c.at, t.findings.c.id)
    )
    with ledger.read() as connection:
        return [Finding.from_json(payload) for payload in connection.execute(query).scalars()]


def findings(ledger: Ledger, model: str, since: datetime | None = None) -> list[Finding]:
    """Findings about a model, oldest first."""
    query = (
        sa.select(t.findings.c.payload).where(t.findings.c.model == model).order_by(t.findings.c.at, t.findings.c.id)
    )
    query = query if since is None else query.where(t.findings.c.at >= since)
    with ledger.read() as connection:
        return [Finding.from_json(payload) for payload in connection.execute(query).scalars()]


def mark(ledger: Ledger, model: str) -> tuple[int, datetime | None]:
    """How many findings there are about a model, and when the newest was made: the same while nothing was added."""
    query = sa.select(sa.func.count(), sa.func.max(t.findings.c.at)).where(t.findings.c.model == model)
    with ledger.read() as connection:
        count, newest_at = connection.execute(query).one()
    return int(count), newest_at
