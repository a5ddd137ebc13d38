"""Incidents: what went wrong, when it was seen, decided and mended; and what people say of them, append-only and signed.

Opened by the guard in the transaction of what it does; notes and causes are written by people (role operator), and the
agreement that closes one. Every change is told in the audit log. Read by `grownet incident` and `grownet models`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from msgspec.structs import replace

from checks.incidents import refuse_entry
from errors import NotFound
from records import Incident, IncidentEntry
from stores.ledger import audit, rows
from stores.ledger import tables as t
from stores.ledger.engine import Ledger, Transaction
from stores.ledger.signing import Ring
from stores.ledger.statements import Witness, refuse_unsigned, refuse_untold

OPENED, CHANGED, SAID = "incident.opened", "incident.changed", "incident.said"
Reader = sa.Connection | Transaction


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
    transaction.audit(OPENED if known is None else CHANGED, incident.model, detail)


def save(ledger: Ledger, incident: Incident, actor: str) -> None:
    """Writes or replaces an incident."""
    with ledger.write(actor) as transaction:
        store(transaction, incident)


def restored(transaction: Transaction, identity: str, at: datetime) -> None:
    """Notes when an incident was over; what was noted first stays, and so does what people wrote meanwhile."""
    transaction.head()  # one at a time, also on Postgres
    found = _required(transaction, identity)
    if found.restored_at is None:
        store(transaction, replace(found, restored_at=at))


def say(ledger: Ledger, entry: IncidentEntry, actor: str) -> Incident:
    """Appends what a person says; an agreement closes the incident in the same transaction. The incident as it is then.

    Raises:
        NotFound: for an unknown incident.
        RevisionConflict: when somebody else wrote first.
        UsageError, RoleRefused: for an entry that is impossible now (`checks.incidents`).
    """
    with ledger.write(actor) as transaction:
        transaction.head()  # one at a time, also on Postgres
        found = _required(transaction, entry.incident)
        refuse_entry(found, _entries(transaction, entry.incident), entry)
        row = {"incident": entry.incident, "number": entry.number, "payload": entry.to_json().decode()}
        transaction.execute(sa.insert(t.incident_entries).values(**row))
        detail = {"kind": entry.kind, "by": entry.key, "digest": entry.digest}
        transaction.audit(SAID, _subject(entry), detail, entry.at)
        if entry.kind == "agreed":
            found = replace(found, status="closed", closed_at=entry.at)
            store(transaction, found)
    return found


def incident(ledger: Ledger, identity: str) -> Incident:
    """Raises NotFound for an unknown id."""
    with ledger.read() as connection:
        return _required(connection, identity)


def incidents(ledger: Ledger, model: str = "", status: str = "") -> list[Incident]:
    """Incidents of a model (or all) in this status (or any), oldest first."""
    query = sa.select(t.incidents).order_by(t.incidents.c.at, t.incidents.c.id)
    query = query.where(t.incidents.c.model == model) if model else query
    query = query.where(t.incidents.c.status == status) if status else query
    with ledger.read() as connection:
        return [rows.read(Incident, row.payload, "incident", row.id) for row in connection.execute(query)]


def entries(ledger: Ledger, identity: str, ring: Ring) -> list[IncidentEntry]:
    """What people said of an incident, oldest first, each checked.

    Raises:
        TamperError: for one that its key did not sign, or that the audit log does not tell of.
    """
    with ledger.read() as connection:
        found = _entries(connection, identity)
        for entry in found:
            _verify(connection, entry, ring)
    return found


def verify(ledger: Ledger, ring: Ring) -> int:
    """Checks every incident against what the audit log told of it last, and every entry; how many incidents there are.

    Raises:
        TamperError: naming the first row that is another, that is gone, or that the log does not tell of.
    """
    with ledger.read() as connection:
        found = {row.id: row for row in connection.execute(sa.select(t.incidents))}
        last = {entry.detail.get("incident"): entry.detail for entry in _told(connection)}
        rows.refuse_missing("incident", found.keys(), {str(name) for name in last})
        for name, row in sorted(found.items()):
            one = rows.refuse_other(Incident, row.payload, str(last[name].get("digest")), "incident", name)
            columns = (row.id, row.model, row.status, row.at)
            rows.refuse_moved(columns, (one.id, one.model, one.status, one.detected_at), "incident", name)
        said = [_entry(row) for row in connection.execute(sa.select(t.incident_entries))]
        for entry in said:
            _verify(connection, entry, ring)
        subjects = {entry.subject for entry in audit.told(connection, SAID)}
    rows.refuse_missing("entry", {_subject(entry) for entry in said}, subjects)
    return len(found)


def _told(reader: Reader) -> Sequence[audit.Entry]:
    """What the log tells of incidents, in its order: later ones replace earlier ones."""
    return sorted([*audit.told(reader, OPENED), *audit.told(reader, CHANGED)], key=lambda entry: entry.sequence)


def _required(reader: Reader, identity: str) -> Incident:
    payload = reader.execute(sa.select(t.incidents.c.payload).where(t.incidents.c.id == identity)).scalar()
    if payload is None:
        raise NotFound(f"incident {identity!r}", do="list them with `grownet incident list --all`")
    return rows.read(Incident, payload, "incident", identity)


def _entries(reader: Reader, identity: str) -> list[IncidentEntry]:
    query = sa.select(t.incident_entries).where(t.incident_entries.c.incident == identity)
    return [_entry(row) for row in reader.execute(query.order_by(t.incident_entries.c.number))]


def _entry(row: sa.Row[Any]) -> IncidentEntry:
    """An entry counts for the incident that it was written about: the row only says where to look."""
    name = f"{row.incident}/{row.number}"
    found = rows.read(IncidentEntry, row.payload, "entry", name)
    rows.refuse_moved((row.incident, row.number), (found.incident, found.number), "entry", name)
    return found


def _verify(reader: Reader, entry: IncidentEntry, ring: Ring) -> None:
    told = Witness(SAID, "entry", _subject(entry), "operator")
    refuse_untold(reader, entry, told)
    refuse_unsigned(entry, told, ring, "incident")


def _subject(entry: IncidentEntry) -> str:
    return f"{entry.incident}/{entry.number}"
