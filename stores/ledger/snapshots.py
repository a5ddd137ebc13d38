"""Feature snapshots that were refreshed for versions which serve: numbered, signed, append-only, told in the audit log.

Written by the refresh flow (role flow) through `publish`; read by every replica, which checks the signature itself, by
`grownet models` and `grownet trace`, and by `grownet audit verify`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa
from msgspec.structs import replace

from errors import TamperError
from records import FeatureSet, Refreshed
from stores.ledger import audit, rows
from stores.ledger import tables as t
from stores.ledger.engine import Ledger, Transaction
from stores.ledger.signing import Ring, Signer

PUBLISHED = "features.refreshed"


def publish(
    ledger: Ledger,
    artifact: str,
    features: FeatureSet,
    *,
    signer: Signer,
    at: datetime,
    actor: str,
    after: int | None = None,
) -> Refreshed | None:
    """Numbers, signs and writes a snapshot for a version; None, and nothing written, when its newest is this one.

    Args:
        artifact: content digest of the version it was built for.
        after: number of the newest one when the building began, 0 for none. When another run has published since,
            nothing is written: that run may have read later rows, and the last word must not be the older one's.
    """
    with ledger.write(actor) as transaction:
        transaction.head()  # one at a time, also on Postgres
        last = _newest(transaction, artifact)
        number = last.number if last else 0
        if (last is not None and last.features == features) or after not in {None, number}:
            return None
        new = Refreshed(
            model=features.model,
            artifact=artifact,
            number=number + 1,
            features=features,
            made_at=at,
            key=signer.id,
        )
        signed = replace(new, signature=signer.sign(new.unsigned()))
        row = {"artifact": artifact, "number": signed.number, "model": signed.model, "content": features.content}
        transaction.execute(sa.insert(t.snapshots).values(**row, at=at, payload=signed.to_json().decode()))
        detail = {"artifact": artifact, "number": signed.number, "content": features.content, "digest": signed.digest}
        transaction.audit(PUBLISHED, signed.model, detail, at)
    return signed


def verify(record: Refreshed, ring: Ring) -> None:
    """Raises TamperError unless a key for snapshots signed exactly this."""
    if not ring.allowed(record.key, "snapshot"):
        raise TamperError(
            "feature snapshot", expected="the signature of a key for snapshots", got=f"key {record.key!r}"
        )
    ring.verify(record.key, record.unsigned(), record.signature)


def newest(ledger: Ledger, artifacts: Collection[str]) -> dict[str, Refreshed]:
    """The newest snapshot of each of these versions, by artifact; not verified.

    Each by its key: every replica asks every two seconds, and versions gather thousands of rows.
    """
    with ledger.read() as connection:
        found = [connection.execute(_last(artifact)).first() for artifact in artifacts]
    return {row.artifact: _read(row) for row in found if row is not None}


def with_content(ledger: Ledger, model: str, content: str) -> list[Refreshed]:
    """The snapshots of a model with these features, oldest first: where `grownet trace` goes on from an answer."""
    query = sa.select(t.snapshots).where(t.snapshots.c.model == model, t.snapshots.c.content == content)
    with ledger.read() as connection:
        return [_read(row) for row in connection.execute(query.order_by(t.snapshots.c.at, t.snapshots.c.number))]


def verify_all(ledger: Ledger, ring: Ring) -> int:
    """Compares every snapshot with the audit log, checks its signature, and returns how many there are.

    Raises:
        TamperError: naming the first one that is another, that is gone, or that the log does not tell of.
    """
    with ledger.read() as connection:
        kept = {_name(row.artifact, row.number): row for row in connection.execute(sa.select(t.snapshots))}
        entries = audit.told(connection, PUBLISHED)
    told = {_name(str(one.detail.get("artifact")), one.detail.get("number")): one.detail for one in entries}
    rows.refuse_missing("feature snapshot", kept.keys(), told.keys())
    for name, row in sorted(kept.items()):
        one = rows.refuse_other(Refreshed, row.payload, told[name].get("digest", ""), "feature snapshot", name)
        columns = (row.artifact, row.number, row.model, row.content, row.at)
        payload = (one.artifact, one.number, one.model, one.features.content, one.made_at)
        rows.refuse_moved(columns, payload, "feature snapshot", name)
        verify(one, ring)
    return len(kept)


def _newest(transaction: Transaction, artifact: str) -> Refreshed | None:
    row = transaction.execute(_last(artifact)).first()
    return _read(row) if row else None


def _last(artifact: str) -> sa.Select[tuple[object, ...]]:
    query = sa.select(t.snapshots).where(t.snapshots.c.artifact == artifact)
    return query.order_by(t.snapshots.c.number.desc()).limit(1)


def _read(row: sa.Row[tuple[object, ...]]) -> Refreshed:
    return rows.read(Refreshed, row.payload, "feature snapshot", _name(row.artifact, row.number))


def _name(artifact: str, number: object) -> str:
    return f"{artifact[:12]} refresh {number}"
