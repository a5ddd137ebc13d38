"""One-time codes: each counts once for its owner, and what came without a right one is kept and limited in each stretch of time.

Written by the release flow, of votes, and by the flow that operators act through. An owner is a reviewer's name or an operator's key
id: the two share no codes and no attempts.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from errors import CodeRefused
from records import Record
from stores.ledger import tables as t
from stores.ledger.engine import Transaction

TYPED_LENGTH = 64  # what strangers type is cut to this before it is kept
Reader = sa.Connection | Transaction


class Limits(Record, frozen=True, kw_only=True):
    """How often an owner's code may be missed."""

    max_attempts: int  # within
    lock_seconds: float


def spend(transaction: Transaction, owner: str, time_step: int, what: str) -> None:
    """Takes a code whose time step is known, for `what` (a ballot, a run). Raises CodeRefused for one that was used."""
    mine = sa.and_(t.used_codes.c.reviewer == owner, t.used_codes.c.time_step == time_step)
    if transaction.execute(sa.select(t.used_codes.c.ballot).where(mine)).first() is not None:
        raise CodeRefused(
            f"code of {owner}",
            expected="a code that was not used",
            got="a used one",
            do="wait for the next code",
        )
    transaction.execute(sa.insert(t.used_codes).values(reviewer=owner, time_step=time_step, ballot=what))


def missed(transaction: Transaction, what: str, owner: str, reason: str, *, limits: Limits, at: datetime) -> int:
    """Keeps a submission that did not count; returns how many there are of this owner on `what`.

    One that came while the owner was locked was not judged: it is not kept, and does not prolong the lock.
    """
    if not _locked(transaction, owner, limits, at):
        row = {"ballot": what, "reviewer": owner, "reason": reason, "at": at}
        transaction.execute(sa.insert(t.attempts).values(**row))
    return count(transaction, what, owner)


def count(reader: Reader, what: str, owner: str = "") -> int:
    """The submissions on `what` that did not count, of one owner or of all."""
    query = sa.select(sa.func.count()).select_from(t.attempts).where(t.attempts.c.ballot == what)
    query = query.where(t.attempts.c.reviewer == owner) if owner else query
    return int(reader.execute(query).scalar_one())


def refuse_locked(reader: Reader, owner: str, limits: Limits, at: datetime) -> None:
    """Raises CodeRefused when an owner's code was missed too often in the time before `at`, on whatever."""
    if _locked(reader, owner, limits, at):
        minutes = limits.lock_seconds / 60
        raise CodeRefused(
            f"code of {owner}",
            expected=f"at most {limits.max_attempts} attempts in {minutes:g} minutes",
            got="more",
            do="wait, and try again; if it was not you, tell the owner of approvals",
        )


def _locked(reader: Reader, owner: str, limits: Limits, at: datetime) -> bool:
    """True when an owner has spent the attempts: on everything together, so that more ballots or runs give no more guesses."""
    since = at - timedelta(seconds=limits.lock_seconds)
    query = sa.select(sa.func.count()).select_from(t.attempts).where(t.attempts.c.reviewer == owner)
    return int(reader.execute(query.where(t.attempts.c.at > since)).scalar_one()) >= limits.max_attempts
