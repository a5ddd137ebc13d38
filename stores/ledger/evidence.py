"""Candidates, what is known of them, and which were discarded and why.

Written by training and validation (role flow); a discarded candidate never comes back, its reason stays.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
import sqlalchemy as sa

from errors import LedgerError, NotFound
from records import Candidate, Evidence, utc_now
from stores.ledger import audit, rows
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
    return rows.read(Candidate, payload, "candidate", identity)


def candidate_of_artifact(ledger: Ledger, content: str) -> Candidate | None:
    """The newest candidate with an artifact of this digest: where `grownet trace` goes on from an answer."""
    query = (
        sa.select(t.candidates.c.payload).where(t.candidates.c.artifact == content).order_by(t.candidates.c.at.desc())
    )
    with ledger.read() as connection:
        payload = connection.execute(query.limit(1)).scalar()
    return None if payload is None else rows.read(Candidate, payload, "candidate of artifact", content[:12])


def candidates(ledger: Ledger, model: str) -> list[Candidate]:
    """The candidates of a model, oldest first."""
    query = sa.select(t.candidates).where(t.candidates.c.model == model).order_by(t.candidates.c.at, t.candidates.c.id)
    with ledger.read() as connection:
        return [rows.read(Candidate, row.payload, "candidate", row.id) for row in connection.execute(query)]


def numbers(ledger: Ledger, model: str, artifacts: Collection[str]) -> tuple[frozenset[int], tuple[str, ...]]:
    """The version numbers of the candidates with these artifact digests, and the ids of those nobody can read."""
    query = sa.select(t.candidates.c.id, t.candidates.c.payload)
    found, unreadable = set(), []
    with ledger.read() as connection:
        kept = connection.execute(
            query.where(t.candidates.c.model == model, t.candidates.c.artifact.in_(sorted(artifacts)))
        ).all()
    for row in kept:
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
    return rows.read(Evidence, payload, "evidence", digest[:12])


def evidence_of(ledger: Ledger, candidate_id: str) -> list[Evidence]:
    """All evidence about a candidate, oldest first."""
    query = sa.select(t.evidence).where(t.evidence.c.candidate == candidate_id)
    with ledger.read() as connection:
        found = [rows.read(Evidence, row.payload, "evidence", row.digest[:12]) for row in connection.execute(query)]
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


def verify(ledger: Ledger) -> tuple[int, int]:
    """Compares candidates, evidence and discards with the audit log; how many candidates and evidence there are.

    Raises:
        TamperError: naming the first one that is another, that is gone, or that the log does not tell of.
    """
    with ledger.read() as connection:
        found = _verify_candidates(connection), _verify_evidence(connection)
        kept = {row.candidate: row.reason for row in connection.execute(sa.select(t.discards))}
        told = {str(one.detail.get("candidate")): one for one in audit.told(connection, "candidate.discarded")}
    rows.refuse_missing("discard of", kept.keys(), told.keys())
    for name, reason in sorted(kept.items()):
        if told[name].detail.get("reason") != reason:
            raise rows.differs("discard of", name, expected="the reason that the audit log tells of", got="another")
    return found


def _verify_candidates(connection: sa.Connection) -> int:
    kept = {row.id: row for row in connection.execute(sa.select(t.candidates))}
    told = {str(one.detail.get("candidate")): one for one in audit.told(connection, "candidate")}
    rows.refuse_missing("candidate", kept.keys(), told.keys())
    for name, row in sorted(kept.items()):
        one = rows.refuse_other(Candidate, row.payload, told[name].detail.get("digest", ""), "candidate", name)
        columns = (row.id, row.model, row.artifact, row.at)
        rows.refuse_moved(columns, (one.id, one.model, one.artifact.content, one.created_at), "candidate", name)
    return len(kept)


def _verify_evidence(connection: sa.Connection) -> int:
    kept = {row.digest: row for row in connection.execute(sa.select(t.evidence))}
    told = {str(one.detail.get("digest")) for one in audit.told(connection, "evidence")}
    rows.refuse_missing("evidence", kept.keys(), told)
    for digest, row in sorted(kept.items()):
        one = rows.refuse_other(Evidence, row.payload, digest, "evidence", digest)
        rows.refuse_moved((row.candidate,), (one.candidate,), "evidence", digest)
    return len(kept)
