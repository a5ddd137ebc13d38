"""Incidents: what went wrong, when it was seen, decided and mended.

Written by guard, operators and flows (in the transaction of a plan change, or alone); every change is audited.
"""

from __future__ import annotations

import sqlalchemy as sa

from errors import NotFound
from records import Incident
from stores.ledger import tables as t
from stores.ledger.engine import Ledger, Transaction


def store(transaction: Transaction, incident: Incident) -> None:
    """Writes or replaces an incident in a running transaction; writing the same again changes nothing."""
    payload = incident.to_json().decode()
    known = transaction.execute(sa.select(t.incidents.c.payload).where(t.incidents.c.id == incident.id)).scalar()
    if known == payload:
        return
    row = {"model": incident.model, "status": incident.status, "at": incident.detected_at, "payload": payload}
    if known is None:
        transaction.execute(sa.insert(t.incidents).values(id=incident.id, **row))
    else:
        transaction.execute(sa.update(t.incidents).where(t.incidents.c.id == incident.id).values(**row))
    detail = {"incident": incident.id, "kind": incident.kind, "status": incident.status, "digest": incident.digest}
    transaction.audit("incident.opened" if known is None else "incident.changed", incident.model, detail)


def save(ledger: Ledger, incident: Incident, actor: str) -> None:
    """Writes or replaces an incident."""
    with ledger.write(actor) as transaction:
        store(transaction, incident)


def incident(ledger: Ledger, identity: str) -> Incident:
    """Raises NotFound for an unknown id."""
    with ledger.read() as connection:
        payload = connection.execute(sa.select(t.incidents.c.payload).where(t.incidents.c.id == identity)).scalar()
    if payload is None:
        raise NotFound(f"incident {identity!r}", do="list them with `grownet incident`")
    return Incident.from_json(payload)


def incidents(ledger: Ledger, model: str = "", status: str = "") -> list[Incident]:
    """Incidents of a model (or all) in this status (or any), oldest first."""
    query = sa.select(t.incidents.c.payload).order_by(t.incidents.c.at, t.incidents.c.id)
    query = query.where(t.incidents.c.model == model) if model else query
    query = query.where(t.incidents.c.status == status) if status else query
    with ledger.read() as connection:
        return [Incident.from_json(payload) for payload in connection.execute(query).scalars()]
