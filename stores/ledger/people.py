"""Who may vote and who may act: reviewers with their sealed TOTP secrets, operators with their key ids.

Written by the release flow (enrolling takes a vote) and, for operators, when a key is first used.
One person has one role; a changed role or secret is a new enrolment with its own audit entry.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from errors import NotFound
from records import Record
from stores.ledger import tables as t
from stores.ledger.engine import Ledger


class Reviewer(Record, frozen=True, kw_only=True):
    """A person who may vote in one role."""

    name: str
    role: str
    secret: str  # TOTP secret as sealed by `Vault.seal_code`
    identities: tuple[str, ...] = ()  # names or addresses in commits and configuration; an author cannot vote
    enrolled_by: str  # ballot id, or who did it when nobody could vote yet
    at: datetime


class Operator(Record, frozen=True, kw_only=True):
    """A person who may use the four verbs."""

    name: str
    key: str  # "operator:NAME", in the public ring
    added_by: str
    at: datetime


def add_reviewer(ledger: Ledger, new: Reviewer, actor: str) -> None:
    """Enrols a reviewer, or replaces role and secret of one; the same again changes nothing."""
    row = {"role": new.role, "payload": new.to_json().decode()}
    with ledger.write(actor) as transaction:
        known = transaction.execute(sa.select(t.reviewers.c.payload).where(t.reviewers.c.name == new.name)).scalar()
        if known == row["payload"]:
            return
        if known is None:
            transaction.execute(sa.insert(t.reviewers).values(name=new.name, **row))
        else:
            transaction.execute(sa.update(t.reviewers).where(t.reviewers.c.name == new.name).values(**row))
        detail = {"role": new.role, "enrolled_by": new.enrolled_by, "digest": new.digest}
        transaction.audit("reviewer.enrolled", new.name, detail)


def reviewer(ledger: Ledger, name: str) -> Reviewer:
    """Raises NotFound for a stranger."""
    with ledger.read() as connection:
        payload = connection.execute(sa.select(t.reviewers.c.payload).where(t.reviewers.c.name == name)).scalar()
    if payload is None:
        raise NotFound(f"reviewer {name!r}", expected="an enrolled reviewer", do="`grownet reviewers enroll` (by vote)")
    return Reviewer.from_json(payload)


def reviewers(ledger: Ledger) -> list[Reviewer]:
    """All reviewers by name."""
    with ledger.read() as connection:
        rows = connection.execute(sa.select(t.reviewers.c.payload).order_by(t.reviewers.c.name)).scalars().all()
    return [Reviewer.from_json(row) for row in rows]


def add_operator(ledger: Ledger, new: Operator, actor: str) -> None:
    """Registers an operator's key; one who is registered already stays as first registered."""
    with ledger.write(actor) as transaction:
        if transaction.execute(sa.select(t.operators.c.name).where(t.operators.c.name == new.name)).first() is None:
            transaction.execute(
                sa.insert(t.operators).values(name=new.name, key=new.key, payload=new.to_json().decode())
            )
            transaction.audit("operator.added", new.name, {"key": new.key, "added_by": new.added_by})


def operators(ledger: Ledger) -> list[Operator]:
    """All operators by name."""
    with ledger.read() as connection:
        rows = connection.execute(sa.select(t.operators.c.payload).order_by(t.operators.c.name)).scalars().all()
    return [Operator.from_json(row) for row in rows]
