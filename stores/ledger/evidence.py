"""Candidates, what is known of them, and which were discarded and why.

Written by training and validation (role flow); a discarded candidate never comes back, its reason stays.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
import sqlalchemy as sa

from errors import LedgerError, NotFound
from records import Candidate, Evidence, utc_now
from stores.ledger import tables as t
from stores.ledger.engine import Ledger


def save_candidate(ledger: Ledger, new: Candidate, actor: str = "train") -> None:
    """Writes a candidate; the same one again changes nothing.

    Raises:
        LedgerError: for an id that another candidate has.
    """
    row = {"id": new.id, "model": new.model, "artifact": new.artifact.content, "at": new.created_at}
    payload = new.to_json().decode()
    with ledger.write(actor) as transaction:
        known = transaction.execute(sa.select(t.candidates.c.payload).where(t.candidates.c.id == new.id)).scalar()
        if known is None:
            transaction.execute(sa.insert(t.candidates).values(**row, payload=payload))
            transaction.audit("candidate", new.model, {"candidate": new.id, "digest": new.digest})
        elif known != payload:
            raise LedgerError(f"candidate {new.id!r}", expected="a new id", got="one that another candidate has")


def candidate(ledger: Ledger, identity: str) -> Candidate:
    """Raises NotFound for an unknown id."""
    with ledger.read() as connection:
        payload = connection.execute(sa.select(t.candidates.c.payload).where(t.candidates.c.id == identity)).scalar()
    if payload is None:
        raise NotFound(f"candidate {identity!r}", do="list them with `grownet models`")
    return Candidate.from_json(payload)


def candidate_of_artifact(ledger: Ledger, content: str) -> Candidate | None:
    """The newest candidate with an artifact of this digest: where `grownet trace` goes on from an answer."""
    query = (
        sa.select(t.candidates.c.payload).where(t.candidates.c.artifact == content).order_by(t.candidates.c.at.desc())
    )
    with ledger.read() as connection:
        payload = connection.execute(query.limit(1)).scalar()
    return None if payload is None else Candidate.from_json(payload)


def candidates(ledger: Ledger, model: str) -> list[Candidate]:
    """The candidates of a model, oldest first."""
    query = (
        sa.select(t.candidates.c.payload)
        .where(t.candidates.c.model == model)
        .order_by(t.candidates.c.at, t.candidates.c.id)
    )
    with ledger.read() as connection:
        return [Candidate.from_json(payload) for payload in connection.execute(query).scalars()]


def numbers(ledger: Ledger, model: str, artifacts: Collection[str]) -> tuple[frozenset[int], tuple[str, ...]]:
    """The version numbers of the candidates with these artifact digests, and the ids of those nobody can read."""
    query = sa.select(t.candidates.c.id, t.candidates.c.payload)
    found, unreadable = set(), []
    with ledger.read() as connection:
        rows = connection.execute(
            query.where(t.candidates.c.model == model, t.candidates.c.artifact.in_(sorted(artifacts)))
        ).all()
    for row in rows:
        try:
            found.add(Candidate.from_json(row.payload).number)
        except msgspec.DecodeError:
            unreadable.append(str(row.id))
    return frozenset(found), tuple(unreadable)


def save_evidence(ledger: Ledger, new: Evidence, actor: str = "validate") -> str:
    """Writes evidence and returns its digest; the same again changes nothing."""
    row = {"digest": new.digest, "candidate": new.candidate, "payload": new.to_json().decode()}
    with ledger.write(actor) as transaction:
        known = transaction.execute(sa.select(t.evidence.c.digest).where(t.evidence.c.digest == new.digest))
        if known.first() is None:
            transaction.execute(sa.insert(t.evidence).values(**row))
            detail = {"candidate": new.candidate, "digest": new.digest, "passed": new.passed, "reason": new.reason}
            transaction.audit("evidence", new.model, detail)
    return new.digest


def evidence(ledger: Ledger, digest: str) -> Evidence:
    """Raises NotFound for an unknown digest."""
    with ledger.read() as connection:
        query = sa.select(t.evidence.c.payload).where(t.evidence.c.digest == digest)
        payload = connection.execute(query).scalar()
    if payload is None:
        raise NotFound(f"evidence {digest[:12]!r}")
    return Evidence.from_json(payload)


def evidence_of(ledger: Ledger, candidate_id: str) -> list[Evidence]:
    """All evidence about a candidate, oldest first."""
    query = sa.select(t.evidence.c.payload).where(t.evidence.c.candidate == candidate_id)
    with ledger.read() as connection:
        found = [Evidence.from_json(payload) for payload in connection.execute(query).scalars()]
    return sorted(found, key=lambda one: one.created_at)


def discard(ledger: Ledger, identity: str, reason: str, actor: str = "validate") -> None:
    """Records that a candidate goes no further; the first reason stays.

    Raises:
        NotFound: for an unknown candidate.
    """
    model = candidate(ledger, identity).model
    with ledger.write(actor) as transaction:
        if (
            transaction.execute(sa.select(t.discards.c.reason).where(t.discards.c.candidate == identity)).first()
            is None
        ):
            row = {"candidate": identity, "reason": reason, "actor": actor, "at": utc_now()}
            transaction.execute(sa.insert(t.discards).values(**row))
            transaction.audit("candidate.discarded", model, {"candidate": identity, "reason": reason})


def discarded(ledger: Ledger, identity: str) -> str | None:
    """Why a candidate was discarded, or None when it was not."""
    with ledger.read() as connection:
        return connection.execute(sa.select(t.discards.c.reason).where(t.discards.c.candidate == identity)).scalar()
