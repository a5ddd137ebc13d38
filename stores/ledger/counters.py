"""What serving reports: counters of the arms, trips, and what each replica has loaded.

Written by replicas only, without audit (they are many and small); read by the guard. Counters add up: a row of the
same model, salt, arm, version, bucket and hour is summed into.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from records import Counter, ReplicaState, Trip
from stores.ledger import tables as t
from stores.ledger.engine import Ledger, Transaction
from stores.ledger.tables import COUNTED, SUMMED, counters, watermarks

KEYS = ("model", "salt", "arm", "version", "bucket", "hour")
SUMS = (*COUNTED, *SUMMED)
JOURNAL = "journal"  # in place of an arm: a trip about a replica's disk
FEATURES = "features"  # the same: about a feature snapshot


def add(
    ledger: Ledger, rows: Sequence[Counter], actor: str = "serving", *, source: str = "", position: str = ""
) -> None:
    """Adds rows to what is counted already, all or none.

    Args:
        source: where the rows were counted from (a replica's journal); `watermark` gives back its `position`.
        position: how far it was counted; written in the same transaction, so nothing is lost or counted twice.
    """
    if not rows and not source:
        return
    with ledger.write(actor) as transaction:
        if rows:
            insert = _insert(transaction, counters)
            more = {name: counters.c[name] + insert.excluded[name] for name in SUMS}
            statement = insert.on_conflict_do_update(index_elements=list(KEYS), set_=more)
            transaction.execute(statement, [msgspec.structs.asdict(row) for row in rows])
        if source:
            mark = _insert(transaction, watermarks).values(source=source, position=position)
            moved = {"position": mark.excluded.position}
            transaction.execute(mark.on_conflict_do_update(index_elements=["source"], set_=moved))


def watermark(ledger: Ledger, source: str) -> str:
    """How far a source was counted; empty when nothing of it was."""
    with ledger.read() as connection:
        query = sa.select(watermarks.c.position).where(watermarks.c.source == source)
        return connection.execute(query).scalar() or ""


def totals(ledger: Ledger, model: str, salt: str, by_hour: bool = False) -> list[Counter]:
    """The counters of one rollout, one per (arm, version, bucket), and per hour when asked.

    Summed over hours, `hour` is the first one.
    """
    groups = [counters.c[name] for name in KEYS[:-1]] + ([counters.c.hour] if by_hour else [])
    hour = sa.func.min(counters.c.hour, type_=counters.c.hour.type).label("hour")
    sums = [sa.func.sum(counters.c[name]).label(name) for name in SUMS]
    query = sa.select(*groups[:5], hour, *sums).where(counters.c.model == model, counters.c.salt == salt)
    with ledger.read() as connection:
        rows = connection.execute(query.group_by(*groups).order_by(*groups)).mappings().all()
    return [Counter(**_typed(dict(row))) for row in rows]


def by_hour(ledger: Ledger, model: str, salt: str) -> list[Counter]:
    """The counters of one rollout, one per (arm, version, hour), all buckets in `bucket` 0, by hour."""
    groups = [counters.c[name] for name in ("model", "salt", "arm", "version", "hour")]
    sums = [sa.func.sum(counters.c[name]).label(name) for name in SUMS]
    query = sa.select(*groups, *sums).where(counters.c.model == model, counters.c.salt == salt).group_by(*groups)
    with ledger.read() as connection:
        rows = connection.execute(query.order_by(counters.c.hour, counters.c.arm)).mappings().all()
    return [Counter(bucket=0, **_typed(dict(row))) for row in rows]


def add_trip(ledger: Ledger, trip: Trip, actor: str = "serving") -> None:
    """Notes that a replica dropped an arm; an id that is there already is left as it is."""
    row = {"id": trip.id, "model": trip.model, "at": trip.at, "payload": trip.to_json().decode()}
    with ledger.write(actor) as transaction:
        if transaction.execute(sa.select(t.trips.c.id).where(t.trips.c.id == trip.id)).first() is None:
            transaction.execute(sa.insert(t.trips).values(**row))


def trips(ledger: Ledger, model: str, since: datetime | None = None) -> list[Trip]:
    """Trips about a model, oldest first."""
    query = sa.select(t.trips.c.payload).where(t.trips.c.model == model).order_by(t.trips.c.at, t.trips.c.id)
    query = query if since is None else query.where(t.trips.c.at >= since)
    with ledger.read() as connection:
        return [Trip.from_json(payload) for payload in connection.execute(query).scalars()]


def report_replica(ledger: Ledger, state: ReplicaState, actor: str = "serving") -> None:
    """Notes what a replica serves for a model, in place of what it said before."""
    row = {"replica": state.replica, "model": state.model, "at": state.at, "payload": state.to_json().decode()}
    with ledger.write(actor) as transaction:
        insert = _insert(transaction, t.replicas).values(**row)
        fresh = {"at": insert.excluded.at, "payload": insert.excluded.payload}
        transaction.execute(insert.on_conflict_do_update(index_elements=["replica", "model"], set_=fresh))


def forget_replica(ledger: Ledger, replica: str, actor: str = "serving") -> None:
    """Takes back what a replica said, because it leaves: nobody waits for it, and nobody misses it."""
    with ledger.write(actor) as transaction:
        transaction.execute(sa.delete(t.replicas).where(t.replicas.c.replica == replica))


def replicas(ledger: Ledger, model: str, since: datetime | None = None) -> list[ReplicaState]:
    """What each replica said last about a model (those that said something since then)."""
    query = sa.select(t.replicas.c.payload).where(t.replicas.c.model == model).order_by(t.replicas.c.replica)
    query = query if since is None else query.where(t.replicas.c.at >= since)
    with ledger.read() as connection:
        return [ReplicaState.from_json(payload) for payload in connection.execute(query).scalars()]


def _insert(transaction: Transaction, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if transaction.dialect == "sqlite" else postgresql.insert(table)


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    """Postgres sums integers to decimals."""
    return {name: int(value) if name in COUNTED else value for name, value in row.items()}
