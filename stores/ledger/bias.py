"""Bias audits: what was found about what serves, by segment; append-only, each told in the audit log.

Written by the audit flow (role flow), together with the alert that it asks for; read by `grownet audit bias`, by the page
and by the quarterly review, which count only what the audit log tells of, in the order in which it was written: a clock that was
wrong for a while reorders nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

import sqlalchemy as sa

from records import BiasAudit, OutboxEvent
from stores.ledger import audit, outbox, rows
from stores.ledger import tables as t
from stores.ledger.engine import Ledger, Transaction

AUDITED = "bias.audited"
Reader = sa.Connection | Transaction
Tell = Callable[[BiasAudit, BiasAudit | None], OutboxEvent | None]


def save(ledger: Ledger, found: Iterable[BiasAudit], tell: Tell, actor: str) -> list[OutboxEvent]:
    """Writes audits with the alerts that they ask for, all in one transaction; the alerts.

    Args:
        tell: the alert of an audit, given the last one of the same model and source that was decided.
    """
    told: list[OutboxEvent] = []
    with ledger.write(actor) as transaction:
        transaction.head()  # one at a time, also on Postgres
        for one in found:
            before = _decided(transaction, one.model, one.source)
            if _store(transaction, one) and (event := tell(one, before)) is not None:
                told.append(event)
        outbox.queue(transaction, told)
    return told


def newest(ledger: Ledger, model: str, until: datetime | None = None) -> list[BiasAudit]:
    """The audit of each source about a model that was written last, by source; none of after `until`."""
    found = {one.source: one for one in audits(ledger, model, until=until)}
    return [found[source] for source in sorted(found)]


def audits(ledger: Ledger, model: str, since: datetime | None = None, until: datetime | None = None) -> list[BiasAudit]:
    """Audits about a model that the audit log tells of, in the order in which they were written.

    Args:
        until: now, to leave out those that a clock which had jumped ahead dated later.
    """
    with ledger.read() as connection:
        found = _told(connection, model)
    return [
        one for one in found if (since is None or one.found_at >= since) and (until is None or one.found_at <= until)
    ]


def verify(ledger: Ledger) -> int:
    """Compares every audit with the audit log and returns how many there are.

    Raises:
        TamperError: naming the first one that is another, that is gone, or that the log does not tell of.
    """
    with ledger.read() as connection:
        found = {row.id: row for row in connection.execute(sa.select(t.bias_audits))}
        told = {str(entry.detail.get("audit")): entry for entry in audit.told(connection, AUDITED)}
    rows.refuse_missing("bias audit", found.keys(), told.keys())
    for name, row in sorted(found.items()):
        one = rows.refuse_other(BiasAudit, row.payload, told[name].detail.get("digest", ""), "bias audit", name)
        columns = (row.id, row.model, row.source, row.answer, row.at)
        rows.refuse_moved(columns, (one.id, one.model, one.source, one.answer, one.found_at), "bias audit", name)
    return len(found)


def _told(reader: Reader, model: str) -> list[BiasAudit]:
    """In the order of the audit log; a row that it does not tell of, or tells of otherwise, is left to `verify`."""
    query = sa.select(t.bias_audits.c.id, t.bias_audits.c.payload).where(t.bias_audits.c.model == model)
    payloads = {row.id: row.payload for row in reader.execute(query)}
    found = []
    for entry in audit.told(reader, AUDITED, model):
        name, digest = str(entry.detail.get("audit")), entry.detail.get("digest", "")
        if name in payloads and rows.is_told(BiasAudit, payloads[name], digest):
            found.append(rows.read(BiasAudit, payloads[name], "bias audit", name))
    return found


def _store(transaction: Transaction, new: BiasAudit) -> bool:
    """False for one whose id is there already."""
    if transaction.execute(sa.select(t.bias_audits.c.id).where(t.bias_audits.c.id == new.id)).first() is not None:
        return False
    row = {"model": new.model, "source": new.source, "answer": new.answer, "at": new.found_at}
    transaction.execute(sa.insert(t.bias_audits).values(id=new.id, payload=new.to_json().decode(), **row))
    detail = {"audit": new.id, "source": new.source, "answer": new.answer, "digest": new.digest}
    transaction.audit(AUDITED, new.model, detail, new.found_at)
    return True


def _decided(transaction: Transaction, model: str, source: str) -> BiasAudit | None:
    decided = [one for one in _told(transaction, model) if one.source == source and one.answer != "undecided"]
    return decided[-1] if decided else None
