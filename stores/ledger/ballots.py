"""Ballots: what people are asked, and how it ended. Votes are in `votes`.

Written by the release flow only; one open ballot per model. States: open -> approved | refused | expired | void,
and approved -> released (in the transaction of the plan it brings, see `plans.change`) | void.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from msgspec.structs import replace

from errors import NotFound, ReleaseRefused
from records import BallotSubject, Record, Rollout, digest_of, utc_now
from stores.ledger import audit, leases, rows
from stores.ledger import tables as t
from stores.ledger.engine import Ledger, Transaction

Status = Literal["open", "approved", "refused", "expired", "void", "released"]
OPENED = "ballot.opened"
AFTER: dict[str, frozenset[str]] = {
    "open": frozenset({"approved", "refused", "expired", "void"}),
    "approved": frozenset({"released", "void"}),
}


class Question(Record, frozen=True, kw_only=True):
    """What is fixed when a ballot opens; it never changes."""

    subject: BallotSubject
    rollout: Rollout | None = None  # steps and limits, for a promotion
    page: str  # markdown that the reviewers read
    required_roles: tuple[str, ...]
    candidate: str = ""
    barred: tuple[str, ...] = ()  # authors, who cannot vote
    max_attempts: int = 5  # submissions in one name that were no vote, within lock_seconds
    lock_seconds: float = 1800.0
    opened_by: str
    opened_at: datetime
    expires_at: datetime


class Ballot(Record, frozen=True, kw_only=True):
    """A question and where it stands."""

    id: str
    model: str
    question: Question
    status: Status
    closed_at: datetime | None = None
    closed_reason: str = ""

    @property
    def subject(self) -> BallotSubject:
        return self.question.subject


def open_ballot(ledger: Ledger, question: Question, request: str = "") -> Ballot:
    """Opens a ballot and gives its subject the ballot's id.

    Args:
        question: its `subject.ballot` is empty.
        request: who asks, such as the id of the release run; asked again by the same one, the same ballot is
            returned in whatever state it is by then, so that a flow may run again from its first line.

    Raises:
        ReleaseRefused: while another ballot of the model is open.
    """
    model = question.subject.model
    identity = digest_of([model, request])[:12] if request else uuid.uuid4().hex[:12]
    with ledger.write(question.opened_by) as transaction:
        transaction.head()  # one at a time, also on Postgres
        known = _find(transaction, t.ballots.c.id == identity)
        if known is not None:
            return known
        _refuse_second(transaction, model, question.opened_at)
        bound = replace(question, subject=replace(question.subject, ballot=identity))
        row = {"id": identity, "model": model, "status": "open", "closed_reason": "", "closed_at": None}
        transaction.execute(sa.insert(t.ballots).values(**row, payload=bound.to_json().decode()))
        detail = {"model": model, "verb": bound.subject.verb, "subject": bound.subject.digest, "question": bound.digest}
        transaction.audit(OPENED, identity, detail, question.opened_at)
    return Ballot(id=identity, model=model, question=bound, status="open")


def ballot(ledger: Ledger, identity: str) -> Ballot:
    """Raises NotFound for an unknown id."""
    with ledger.read() as connection:
        return required(connection, identity)


def open_for(ledger: Ledger, model: str) -> Ballot | None:
    """The open ballot of a model, or None."""
    with ledger.read() as connection:
        return _find(connection, sa.and_(t.ballots.c.model == model, t.ballots.c.status == "open"))


def open_models(ledger: Ledger) -> list[str]:
    """What a ballot is open about: names of models, "reviewers"."""
    query = sa.select(t.ballots.c.model).where(t.ballots.c.status == "open").order_by(t.ballots.c.model)
    with ledger.read() as connection:
        return list(connection.execute(query).scalars())


def ballots(ledger: Ledger, model: str = "") -> list[Ballot]:
    """All ballots (of a model), oldest first."""
    query = sa.select(t.ballots).where(t.ballots.c.model == model) if model else sa.select(t.ballots)
    with ledger.read() as connection:
        found = [_ballot(dict(row)) for row in connection.execute(query).mappings()]
    return sorted(found, key=lambda one: (one.question.opened_at, one.id))


def close(
    ledger: Ledger,
    identity: str,
    status: Status,
    reason: str,
    *,
    actor: str,
    at: datetime | None = None,
    epoch: int | None = None,
) -> Ballot:
    """Ends a ballot; ending it the same way again changes nothing.

    Args:
        epoch: of the guard's lease, when the guard closes it.

    Raises:
        ReleaseRefused: when it ended in another way before.
        RevisionConflict: when the lease has a newer epoch.
    """
    with ledger.write(actor) as transaction:
        transaction.head()
        if epoch is not None:
            leases.refuse_stale(transaction, leases.GUARD, epoch)
        return settle(transaction, required(transaction, identity), status, reason, at or utc_now())


def settle(transaction: Transaction, found: Ballot, status: Status, reason: str, at: datetime) -> Ballot:
    """`close` in a running transaction."""
    if found.status == status:
        return found
    if status not in AFTER.get(found.status, frozenset()):
        raise ReleaseRefused(f"ballot {found.id}", expected=f"one that can become {status}", got=found.status)
    row = {"status": status, "closed_at": at, "closed_reason": reason}
    transaction.execute(sa.update(t.ballots).where(t.ballots.c.id == found.id).values(**row))
    transaction.audit(f"ballot.{status}", found.id, {"model": found.model, "reason": reason}, at)
    return replace(found, status=status, closed_at=at, closed_reason=reason)


def required(reader: sa.Connection | Transaction, identity: str) -> Ballot:
    """A ballot, read in a running transaction. Raises NotFound."""
    found = _find(reader, t.ballots.c.id == identity)
    if found is None:
        raise NotFound(f"ballot {identity!r}", do="`grownet release show` names the open ballot")
    return found


def verify(ledger: Ledger) -> int:
    """Compares every ballot with the audit log, its question and how it ended, and returns how many there are.

    Raises:
        TamperError: naming the first one that is another, that is gone, or that the log does not tell of.
    """
    with ledger.read() as connection:
        found = {row.id: row for row in connection.execute(sa.select(t.ballots))}
        opened = {entry.subject: entry for entry in audit.told(connection, OPENED)}
        ended = {entry.subject: entry for entry in _endings(connection)}
    rows.refuse_missing("ballot", found.keys(), opened.keys())
    for name, row in sorted(found.items()):
        question = rows.refuse_other(Question, row.payload, opened[name].detail.get("question", ""), "ballot", name)
        rows.refuse_moved((row.id, row.model), (question.subject.ballot, question.subject.model), "ballot", name)
        _refuse_other_end(row, ended.get(name))
    return len(found)


def _endings(connection: sa.Connection) -> list[audit.Entry]:
    """How ballots ended, oldest first: a ballot that was approved may be released or void after."""
    ends = sorted(AFTER["open"] | AFTER["approved"])
    found = [entry for end in ends for entry in audit.told(connection, f"ballot.{end}")]
    return sorted(found, key=lambda entry: entry.sequence)


def _refuse_other_end(row: sa.Row[Any], told: audit.Entry | None) -> None:
    expected: tuple[object, ...] = ("open", None, "")
    if told is not None:
        expected = (told.action.removeprefix("ballot."), told.at, told.detail.get("reason"))
    if (row.status, row.closed_at, row.closed_reason) != expected:
        raise rows.differs(
            "ballot", row.id, expected=f"one that is {expected[0]}, as the audit log tells", got=row.status
        )


def _refuse_second(transaction: Transaction, model: str, at: datetime) -> None:
    other = _find(transaction, sa.and_(t.ballots.c.model == model, t.ballots.c.status == "open"))
    if other is None:
        return
    if other.question.expires_at <= at:
        settle(transaction, other, "expired", "nobody decided it in time", at)
        return
    raise ReleaseRefused(
        f"{model}: cannot open a ballot",
        expected="no open ballot of this model",
        got=f"ballot {other.id}, opened by {other.question.opened_by} at {other.question.opened_at:%Y-%m-%d %H:%M} UTC",
        do="let it be voted on, or wait until it expires",
    )


def _find(reader: sa.Connection | Transaction, where: sa.ColumnElement[bool]) -> Ballot | None:
    row = reader.execute(sa.select(t.ballots).where(where)).mappings().first()
    return None if row is None else _ballot(dict(row))


def _ballot(row: dict[str, Any]) -> Ballot:
    question = rows.read(Question, row.pop("payload"), "ballot", row["id"])
    return Ballot(question=question, **row)
