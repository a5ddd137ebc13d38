"""Votes: taken once, signed, counted with every signature checked; and submissions that were no vote.

Written by the release flow only. One person, one role, one vote; a code counts once per reviewer; what was no vote
is kept, and limited in each stretch of time.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from msgspec.structs import replace

from checks.ballots import is_author, judge_votes, verify_vote
from errors import AdmissionRefused, ReleaseRefused, TamperError, VoteRefused
from records import Approval, Vote, utc_now
from stores.ledger import audit, codes, people, rows
from stores.ledger import tables as t
from stores.ledger.ballots import Ballot, required, settle
from stores.ledger.engine import Ledger, Transaction
from stores.ledger.people import Reviewer
from stores.ledger.signing import Ring, Signer

CAST = "vote"


def votes(ledger: Ledger, identity: str) -> list[Vote]:
    """The votes of a ballot in the order they were cast."""
    with ledger.read() as connection:
        return _votes(connection, identity)


def approval(ledger: Ledger, identity: str) -> Approval:
    """The leave that an arm carries to wherever it is loaded.

    Raises:
        ReleaseRefused: for a ballot that was not approved.
    """
    with ledger.read() as connection:
        found, cast = required(connection, identity), _votes(connection, identity)
    if found.status not in {"approved", "released"}:
        raise ReleaseRefused(f"ballot {identity}", expected="an approved one", got=found.status, do="ask for a vote")
    return Approval(subject=found.subject, votes=tuple(cast), required_roles=found.question.required_roles)


def record_vote(ledger: Ledger, vote: Vote, time_step: int, *, signer: Signer) -> Ballot:
    """Takes a vote whose code was found right, signs it, spends the code, and decides the ballot when it can.

    Args:
        vote: unsigned; `cast_at` is when the server received it.
        time_step: the TOTP step of its code, from `checks.ballots.matching_step`.
        signer: the release flow's key.

    Returns:
        the ballot, as it stands with this vote.

    Raises:
        VoteRefused: saying why this is no vote; nothing is written then (see `record_invalid`).
    """
    with ledger.write(f"reviewer:{vote.reviewer}") as transaction:
        transaction.head()
        found = required(transaction, vote.ballot)
        reviewer = _reviewer(transaction, vote.reviewer)
        _refuse_late(found, vote)
        _refuse_person(found, reviewer, vote)
        _refuse_repeat(transaction, found, vote)
        codes.refuse_locked(transaction, vote.reviewer, _limits(found), vote.cast_at)
        codes.spend(transaction, vote.reviewer, time_step, vote.ballot)
        signed = replace(vote, key=signer.id, signature=signer.sign(replace(vote, key="", signature="").to_json()))
        row = {"ballot": vote.ballot, "reviewer": vote.reviewer, "role": vote.role}
        transaction.execute(sa.insert(t.votes).values(**row, payload=signed.to_json().decode()))
        transaction.audit(CAST, vote.ballot, {"reviewer": vote.reviewer, "digest": signed.digest}, vote.cast_at)
        return _decided(transaction, found, signer.ring, vote.cast_at)


def record_invalid(ledger: Ledger, identity: str, reviewer: str, reason: str, at: datetime | None = None) -> int:
    """Notes a submission that was no vote; returns how many there are on this ballot in this name.

    One that came while the name was locked was not judged: it stands in the audit log only, and does not prolong the lock.
    """
    name, now = reviewer[: codes.TYPED_LENGTH], at or utc_now()
    with ledger.write("release") as transaction:
        found = required(transaction, identity)
        made = codes.missed(transaction, identity, name, reason, limits=_limits(found), at=now)
        transaction.audit("vote.invalid", identity, {"reviewer": name, "reason": reason}, now)
        return made


def attempts(ledger: Ledger, identity: str, reviewer: str = "") -> int:
    """Submissions on a ballot that were no vote, of one reviewer or of all."""
    with ledger.read() as connection:
        return codes.count(connection, identity, reviewer[: codes.TYPED_LENGTH])


def verify(ledger: Ledger, ring: Ring) -> int:
    """Compares every vote with the audit log, checks its signature over its ballot's subject, and returns how many there are.

    Raises:
        TamperError: naming the first one that is another, that is gone, or that the log does not tell of.
    """
    with ledger.read() as connection:
        found = {f"{row.ballot}/{row.reviewer}": row for row in connection.execute(sa.select(t.votes))}
        entries = audit.told(connection, CAST)
        subjects = {name: required(connection, name).subject for name in {row.ballot for row in found.values()}}
    told = {f"{entry.subject}/{entry.detail.get('reviewer')}": entry.detail.get("digest", "") for entry in entries}
    rows.refuse_missing("vote", found.keys(), told.keys())
    for name, row in sorted(found.items()):
        vote = rows.refuse_other(Vote, row.payload, told[name], "vote", name)
        rows.refuse_moved((row.ballot, row.reviewer, row.role), (vote.ballot, vote.reviewer, vote.role), "vote", name)
        verify_vote(vote, subjects[vote.ballot], ring.verify)
    return len(found)


def refuse_locked(ledger: Ledger, found: Ballot, reviewer: str, at: datetime) -> None:
    """Raises CodeRefused when a name was tried too often in the time before `at`, on whatever ballot."""
    with ledger.read() as connection:
        codes.refuse_locked(connection, reviewer[: codes.TYPED_LENGTH], _limits(found), at)


def _refuse_late(found: Ballot, vote: Vote) -> None:
    if found.status != "open":
        raise VoteRefused(f"ballot {found.id}", expected="an open ballot", got=found.status)
    if vote.cast_at >= found.question.expires_at:
        until = f"{found.question.expires_at:%Y-%m-%d %H:%M:%S} UTC"
        raise VoteRefused(f"ballot {found.id}", expected=f"a vote before {until}", got=f"one at {vote.cast_at}")
    if vote.subject != found.subject.digest:
        raise VoteRefused(
            f"ballot {found.id}",
            expected=f"a vote over {found.subject.digest[:12]}",
            got=vote.subject[:12],
            do="read the page again",
        )


def _refuse_person(found: Ballot, reviewer: Reviewer, vote: Vote) -> None:
    roles = found.question.required_roles
    if vote.role != reviewer.role or vote.role not in roles:
        raise VoteRefused(f"reviewer {vote.reviewer}", expected=f"one of the roles {list(roles)}", got=reviewer.role)
    if is_author([reviewer.name, *reviewer.identities], found.question.barred):
        raise VoteRefused(
            f"reviewer {vote.reviewer}",
            expected="somebody who did not write what is voted on",
            got="an author",
            do="ask another person of the role",
        )


def _refuse_repeat(transaction: Transaction, found: Ballot, vote: Vote) -> None:
    for other in _votes(transaction, found.id):
        if vote.reviewer == other.reviewer or vote.role == other.role:
            raise VoteRefused(
                f"ballot {found.id}",
                expected="a role that has not voted",
                got=f"{vote.role}, for which {other.reviewer} voted {other.decision}",
            )


def _limits(found: Ballot) -> codes.Limits:
    return codes.Limits(max_attempts=found.question.max_attempts, lock_seconds=found.question.lock_seconds)


def refuse_unvoted(transaction: Transaction, found: Ballot, ring: Ring) -> None:
    """Counts an approved ballot again, every signature checked: its status alone is a word in a table.

    Raises:
        TamperError: when its votes do not approve it.
        AdmissionRefused: for a vote that is not signed as it should be.
    """
    cast = _votes(transaction, found.id)
    for vote in cast:
        verify_vote(vote, found.subject, ring.verify)
    verdict = judge_votes(found.subject.digest, cast, found.question.required_roles)
    if verdict != "approved":
        raise TamperError(
            f"ballot {found.id}", expected="votes that approve it", got=verdict, do="run `grownet audit verify`"
        )


def _decided(transaction: Transaction, found: Ballot, ring: Ring, at: datetime) -> Ballot:
    """Counts the votes, each with its signature checked: a row that somebody slipped in decides nothing."""
    cast = _votes(transaction, found.id)
    try:
        for vote in cast:
            verify_vote(vote, found.subject, ring.verify)
    except AdmissionRefused as error:
        raise VoteRefused(f"ballot {found.id}", expected="votes that are all signed", got=str(error)) from error
    verdict = judge_votes(found.subject.digest, cast, found.question.required_roles)
    if verdict == "open":
        return found
    reason = "; ".join(f"{vote.reviewer} ({vote.role}) {vote.decision}: {vote.reason}" for vote in cast)
    return settle(transaction, found, verdict, reason, at)


def _reviewer(transaction: Transaction, name: str) -> Reviewer:
    found = people.trusted(transaction, name)
    if found is None:
        raise VoteRefused(f"reviewer {name[: codes.TYPED_LENGTH]!r}", expected="an enrolled reviewer", got="a stranger")
    return found


def _votes(reader: sa.Connection | Transaction, identity: str) -> list[Vote]:
    found = reader.execute(sa.select(t.votes).where(t.votes.c.ballot == identity))
    cast = [rows.read(Vote, row.payload, "vote", f"{row.ballot}/{row.reviewer}") for row in found]
    return sorted(cast, key=lambda vote: (vote.cast_at, vote.reviewer))
