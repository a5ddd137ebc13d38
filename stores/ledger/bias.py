"""Bias audits: what was found about what serves, by segment; append-only, each told in the audit log.

Written by the audit flow (role flow), together with the alert that it asks for; read by `grownet audit bias`, by the page
and by the quarterly review.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

import sqlalchemy as sa

from records import BiasAudit, OutboxEvent
from stores.ledger import outbox
from stores.ledger import tables as t
from stores.ledger.engine import Ledger, Transaction

Tell = Callable[[BiasAudit, BiasAudit | None], OutboxEvent | None]


def save(ledger: Ledger, found: Iterable[BiasAudit], tell: Tell, actor: str) -> list[OutboxEvent]:
    """Writes audits with the alerts that they ask for, all in one transaction; the alerts.

    Args:
        tell: the alert of an audit, given the last one of the same model and source that was decided.
    """
    told: list[OutboxEvent] = []
    with ledger.write(actor) as transaction:
        transaction.head()  # one at a time, also on Postgres
        for audit in found:
            before = _decided(transaction, audit.model, audit.source)
            if _store(transaction, audit) and (event := tell(audit, before)) is not None:
                told.append(event)
        outbox.queue(transaction, told)
    return told


def newest(ledger: Ledger, model: str) -> list[BiasAudit]:
    """The newest audit of each source about a model, by source."""
    found = {audit.source: audit for audit in audits(ledger, model)}
    return [found[source] for source in sorted(found)]


def audits(ledger: Ledger, model: str, since: datetime | None = None) -> list[BiasAudit]:
    """Audits about a model, oldest first."""
    query = sa.select(t.bias_audits.c.payload).where(t.bias_audits.c.model == model)
    query = query if since is None else query.where(t.bias_audits.c.at >= since)
    with ledger.read() as connection:
        rows = connection.execute(query.order_by(t.bias_audits.c.at, t.bias_audits.c.id)).scalars()
        return [BiasAudit.from_json(row) for row in rows]


def _store(transaction: Transaction, audit: BiasAudit) -> bool:
    """False for one whose id is there already."""
    if transaction.execute(sa.select(t.bias_audits.c.id).where(t.bias_audits.c.id == audit.id)).first() is not None:
        return False
    row = {"model": audit.model, "source": audit.source, "answer": audit.answer, "at": audit.found_at}
    transaction.execute(sa.insert(t.bias_audits).values(id=audit.id, payload=audit.to_json().decode(), **row))
    detail = {"audit": audit.id, "source": audit.source, "answer": audit.answer, "digest": audit.digest}
    transaction.audit("bias.audited", audit.model, detail, audit.found_at)
    return True


def _decided(transaction: Transaction, model: str, source: str) -> BiasAudit | None:
    query = (
        sa.select(t.bias_audits.c.payload)
        .where(t.bias_audits.c.model == model, t.bias_audits.c.source == source, t.bias_audits.c.answer != "undecided")
        .order_by(t.bias_audits.c.at.desc(), t.bias_audits.c.id.desc())
        .limit(1)
    )
    payload = transaction.execute(query).scalar()
    return None if payload is None else BiasAudit.from_json(payload)
