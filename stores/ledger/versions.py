"""Numbers that people say for digests that machines check: data_vN, feature_vN, MODEL-vN, pipeline_vN.

Written by ingestion and training. The same digest always has the same number; a new one gets the next.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from records import Version, utc_now
from stores.ledger import tables as t
from stores.ledger.engine import Ledger, Transaction

MODEL = "model"  # the kind whose name carries its subject


def version_for(ledger: Ledger, kind: str, subject: str, content: str, actor: str = "flow") -> Version:
    """The version of a digest: the one it has, or the next number.

    Args:
        kind: "data", "feature", "model" or "pipeline".
        subject: what is numbered: a table, a model; "grownet" for the pipeline.
        content: SHA-256 of what the number stands for.
    """
    with ledger.write(actor) as transaction:
        known = transaction.execute(_of(kind, subject).where(t.versions.c.content == content)).scalar()
        number = int(known) if known is not None else _append(transaction, kind, subject, content)
    return _version(kind, subject, number, content)


def versions(ledger: Ledger, kind: str, subject: str, until: datetime | None = None) -> list[Version]:
    """All versions of a subject (known at `until`), by number."""
    query = (
        sa.select(t.versions)
        .where(t.versions.c.kind == kind, t.versions.c.subject == subject)
        .order_by(t.versions.c.number)
    )
    query = query if until is None else query.where(t.versions.c.at <= until)
    with ledger.read() as connection:
        return [_version(kind, subject, row.number, row.content) for row in connection.execute(query)]


def _append(transaction: Transaction, kind: str, subject: str, content: str) -> int:
    transaction.head()  # one at a time, also on Postgres
    number = int(transaction.execute(_of(kind, subject, sa.func.max(t.versions.c.number))).scalar() or 0) + 1
    row = {"kind": kind, "subject": subject, "number": number, "content": content, "at": utc_now()}
    transaction.execute(sa.insert(t.versions).values(**row))
    transaction.audit("version", subject, {"kind": kind, "number": number, "content": content})
    return number


def _of(kind: str, subject: str, column: sa.ColumnElement[int] | None = None) -> sa.Select[tuple[int]]:
    wanted = t.versions.c.number if column is None else column
    return sa.select(wanted).where(t.versions.c.kind == kind, t.versions.c.subject == subject)


def _version(kind: str, subject: str, number: int, content: str) -> Version:
    name = f"{subject}-v{number}" if kind == MODEL else f"{kind}_v{number}"
    return Version(name=name, number=number, content=content)
