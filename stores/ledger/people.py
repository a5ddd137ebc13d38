"""Who may vote and who may act: reviewers with their sealed TOTP secrets, operators with their key ids and secrets.

Written by the release flow (enrolling takes a vote) and, for operators, by whoever holds the key.
One person has one role; a changed role or secret is a new enrolment with its own audit entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from msgspec.structs import replace

from errors import NotFound, ReleaseRefused, TamperError
from records import Record
from stores.ledger import audit, rows
from stores.ledger import tables as t
from stores.ledger.engine import Ledger, Transaction

ENROLLED = "reviewer.enrolled"
ADDED = "operator.added"
CODED = "operator.coded"
NAME_LENGTH = 64


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
    secret: str = ""  # TOTP secret as sealed for the key id; without one the verbs are a matter of the command line


def add_reviewer(ledger: Ledger, new: Reviewer, actor: str, *, first: bool = False) -> None:
    """Enrols a reviewer, or replaces role and secret of one; the same again changes nothing.

    Args:
        first: without a vote, which is only for the first person of a role, who has none yet.

    Raises:
        ReleaseRefused: for a name or address of somebody else, and for one who needs a vote.
    """
    with ledger.write(actor) as transaction:
        transaction.head()  # one at a time, also on Postgres
        others = _reviewers(transaction)
        if first and any(new.role == other.role or new.name == other.name for other in others):
            expected, do = "a role that has nobody, and a new person", "ask for a vote"
            raise ReleaseRefused(f"reviewer {new.name}", expected=expected, got=f"{new.role} is taken", do=do)
        enrol(transaction, new)


def enrol(transaction: Transaction, new: Reviewer) -> None:
    """`add_reviewer` in a running transaction."""
    others = _reviewers(transaction)
    refuse_twin(new, others)
    if new in others:
        return
    row = {"role": new.role, "payload": new.to_json().decode()}
    if any(new.name == other.name for other in others):
        transaction.execute(sa.update(t.reviewers).where(t.reviewers.c.name == new.name).values(**row))
    else:
        transaction.execute(sa.insert(t.reviewers).values(name=new.name, **row))
    detail = {"role": new.role, "enrolled_by": new.enrolled_by, "digest": new.digest}
    transaction.audit(ENROLLED, new.name, detail)


def refuse_twin(new: Reviewer, others: Sequence[Reviewer]) -> None:
    """One person, one role: nobody is enrolled a second time under another name.

    Raises:
        ReleaseRefused: when a name or address of `new` is one of somebody enrolled, in whatever case it is written.
    """
    own = _known_as(new)
    for other in others:
        if other.name != new.name and (same := own & _known_as(other)):
            raise ReleaseRefused(
                f"reviewer {new.name}",
                expected="a person who is not enrolled",
                got=f"{sorted(same)}, which is {other.name} ({other.role})",
                do="one person has one role: enrol somebody else",
            )


def trusted(reader: sa.Connection | Transaction, name: str) -> Reviewer | None:
    """The reviewer of a name, as the audit log says it was enrolled; None for a stranger.

    Raises:
        TamperError: when the row is not the one that was enrolled last.
    """
    payload = reader.execute(sa.select(t.reviewers.c.payload).where(t.reviewers.c.name == name)).scalar()
    if payload is None:
        return None
    found = rows.read(Reviewer, payload, "reviewer", name)
    last = audit.told(reader, ENROLLED, name)[-1:]
    if found.name != name or not last or last[0].detail.get("digest") != found.digest:
        raise TamperError(
            f"reviewer {name}",
            expected="the row that was enrolled, as the audit log has it",
            got="another one" if last else "one that nobody enrolled",
            do="compare the ledger with a backup, and enrol the reviewer anew by vote",
        )
    return found


def verify(ledger: Ledger) -> int:
    """Compares every reviewer with the audit log and returns how many there are.

    Raises:
        TamperError: naming the first one that differs, or that is gone.
    """
    with ledger.read() as connection:
        names = set(connection.execute(sa.select(t.reviewers.c.name)).scalars())
        told = set(connection.execute(sa.select(t.audit.c.subject).where(t.audit.c.action == ENROLLED)).scalars())
        for name in sorted(names | told):
            if trusted(connection, name) is None:
                raise TamperError(f"reviewer {name}", expected="the row that was enrolled", got="none")
    return len(names)


def reviewer(ledger: Ledger, name: str) -> Reviewer:
    """Raises NotFound for a stranger, TamperError for a row that is not the one enrolled."""
    with ledger.read() as connection:
        found = trusted(connection, name)
    if found is None:
        raise NotFound(f"reviewer {name!r}", expected="an enrolled reviewer", do="`grownet reviewers enroll` (by vote)")
    return found


def reviewers(ledger: Ledger) -> list[Reviewer]:
    """All reviewers by name."""
    with ledger.read() as connection:
        return _reviewers(connection)


def add_operator(ledger: Ledger, new: Operator, actor: str) -> None:
    """Registers an operator's key; one who is registered already stays as first registered."""
    with ledger.write(actor) as transaction:
        if transaction.execute(sa.select(t.operators.c.name).where(t.operators.c.name == new.name)).first() is None:
            transaction.execute(
                sa.insert(t.operators).values(name=new.name, key=new.key, payload=new.to_json().decode())
            )
            transaction.audit(ADDED, new.name, {"key": new.key, "added_by": new.added_by})
            if new.secret:
                transaction.audit(CODED, new.name, {"digest": new.digest})


def give_secret(ledger: Ledger, name: str, sealed: str, actor: str) -> Operator:
    """The operator with another secret; the codes of the one before stop counting. Raises NotFound for a stranger."""
    with ledger.write(actor) as transaction:
        transaction.head()  # one at a time, also on Postgres
        new = replace(_known(transaction, name), secret=sealed)
        changed = {"payload": new.to_json().decode()}
        transaction.execute(sa.update(t.operators).where(t.operators.c.name == name).values(**changed))
        transaction.audit(CODED, name, {"digest": new.digest})
    return new


def operator(ledger: Ledger, name: str) -> Operator:
    """Raises NotFound for a stranger, TamperError when the secret is not the one that was given."""
    with ledger.read() as connection:
        found = _known(connection, name)
        last = audit.told(connection, CODED, name)[-1:]
    _refuse_other_secret(found, last[0].detail.get("digest", "") if last else "")
    return found


def operators(ledger: Ledger) -> list[Operator]:
    """All operators by name."""
    with ledger.read() as connection:
        return [_operator(row) for row in connection.execute(sa.select(t.operators).order_by(t.operators.c.name))]


def verify_operators(ledger: Ledger) -> int:
    """Compares every operator with the audit log and returns how many there are.

    Raises:
        TamperError: naming the first one that is another, that is gone, or that the log does not tell of.
    """
    with ledger.read() as connection:
        found = {row.name: row for row in connection.execute(sa.select(t.operators))}
        told = {entry.subject: entry.detail for entry in audit.told(connection, ADDED)}
        coded = {entry.subject: entry.detail.get("digest", "") for entry in audit.told(connection, CODED)}
    rows.refuse_missing("operator", found.keys(), told.keys())
    for name, row in sorted(found.items()):
        one = _operator(row)
        rows.refuse_moved((row.name, row.key), (one.name, one.key), "operator", name)
        if {"key": one.key, "added_by": one.added_by} != told[name]:
            raise rows.differs("operator", name, expected="the one that the audit log tells of", got="another")
        _refuse_other_secret(one, coded.get(name, ""))
    return len(found)


def _known(reader: sa.Connection | Transaction, name: str) -> Operator:
    row = reader.execute(sa.select(t.operators).where(t.operators.c.name == name)).first()
    if row is None:
        raise NotFound(f"operator {name!r}", expected="a known operator", do="`grownet operators add NAME`")
    return _operator(row)


def _refuse_other_secret(found: Operator, told: str) -> None:
    """An operator without a secret was never given one; any other is as it was when it last was."""
    if told != (found.digest if found.secret else ""):
        expected, do = (
            "the secret that the audit log tells of",
            "`grownet audit verify`; `grownet operators code NAME` makes a new one",
        )
        raise TamperError(f"operator {found.name}", expected=expected, got="another", do=do)


def _operator(row: sa.Row[Any]) -> Operator:
    return rows.read(Operator, row.payload, "operator", row.name)


def _reviewers(reader: sa.Connection | Transaction) -> list[Reviewer]:
    found = reader.execute(sa.select(t.reviewers).order_by(t.reviewers.c.name))
    return [rows.read(Reviewer, row.payload, "reviewer", row.name) for row in found]


def _known_as(one: Reviewer) -> set[str]:
    return {word.strip().casefold() for word in (one.name, *one.identities)}
