"""The ledger's tables, who may write which, and the triggers that keep history from being changed.

Read by `engine` (creates them and enforces WRITES) and by the modules beside it, one per group of tables.
Each row keeps its record as canonical JSON in `payload`; the other columns are what is searched or made unique.
All times are UTC, stored as integer microseconds since 1970.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from errors import TamperError

SCHEMA_VERSION = 4
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Role = Literal["flow", "release", "guard", "operator", "serving", "reader"]
metadata = sa.MetaData()


class Moment(sa.types.TypeDecorator[datetime]):
    """An aware datetime, stored as microseconds since 1970 UTC."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time with a zone is needed, got {value!r}")
        return (value - EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is None:
            return None
        try:
            return EPOCH + timedelta(microseconds=int(value))
        except (ValueError, OverflowError) as error:
            raise TamperError("ledger row", expected="a time in microseconds", got=repr(value)) from error


def _text(name: str, **kwargs: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, **kwargs)


def _number(name: str, **kwargs: Any) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, **kwargs)


def _moment(name: str, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, Moment, nullable=nullable)


meta = sa.Table("meta", metadata, _text("name", primary_key=True), _text("value"))

audit = sa.Table(
    "audit",
    metadata,
    _number("sequence", primary_key=True, autoincrement=False),
    _moment("at"),
    _text("actor"),
    _text("role"),
    _text("action"),
    _text("subject", index=True),
    _text("detail"),  # canonical JSON
    _text("previous"),  # hash of the entry before
    _text("hash", unique=True),
)
audit_head = sa.Table("audit_head", metadata, _number("id", primary_key=True), _number("sequence"), _text("hash"))

releases = sa.Table(
    "releases",
    metadata,
    _text("model", primary_key=True),
    _number("revision", primary_key=True, autoincrement=False),
    _moment("at"),
    _text("actor"),
    _text("key"),
    _text("signature"),
    _text("ballot"),  # the ballot this revision carries out, or empty
    _text("audit"),  # hash of the audit entry written with it
    _text("payload"),
)
sa.Index(
    "one_release_per_ballot",
    releases.c.ballot,
    unique=True,
    sqlite_where=releases.c.ballot != "",
    postgresql_where=releases.c.ballot != "",
)

ballots = sa.Table(
    "ballots",
    metadata,
    _text("id", primary_key=True),
    _text("model", index=True),
    _text("status"),
    _moment("closed_at", nullable=True),
    _text("closed_reason"),
    _text("payload"),
)
sa.Index(
    "one_open_ballot",
    ballots.c.model,
    unique=True,
    sqlite_where=ballots.c.status == "open",
    postgresql_where=ballots.c.status == "open",
)

votes = sa.Table(
    "votes",
    metadata,
    _text("ballot", primary_key=True),
    _text("reviewer", primary_key=True),
    _text("role"),
    _text("payload"),
    sa.UniqueConstraint("ballot", "role"),
)
used_codes = sa.Table(
    "used_codes",
    metadata,
    _text("reviewer", primary_key=True),
    _number("time_step", primary_key=True, autoincrement=False),
    _text("ballot"),
)
attempts = sa.Table(  # submissions that were no vote
    "attempts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    _text("ballot", index=True),
    _text("reviewer"),
    _text("reason"),
    _moment("at"),
)
reviewers = sa.Table("reviewers", metadata, _text("name", primary_key=True), _text("role"), _text("payload"))
operators = sa.Table(
    "operators", metadata, _text("name", primary_key=True), _text("key", unique=True), _text("payload")
)

candidates = sa.Table(
    "candidates",
    metadata,
    _text("id", primary_key=True),
    _text("model", index=True),
    _text("artifact", index=True),
    _moment("at"),
    _text("payload"),
)
evidence = sa.Table(
    "evidence", metadata, _text("digest", primary_key=True), _text("candidate", index=True), _text("payload")
)
snapshots = sa.Table(
    "snapshots",
    metadata,
    _text("artifact", primary_key=True),
    _number("number", primary_key=True, autoincrement=False),
    _text("model", index=True),
    _text("content", index=True),
    _moment("at"),
    _text("payload"),
)
discards = sa.Table(
    "discards", metadata, _text("candidate", primary_key=True), _text("reason"), _text("actor"), _moment("at")
)
versions = sa.Table(
    "versions",
    metadata,
    _text("kind", primary_key=True),
    _text("subject", primary_key=True),
    _number("number", primary_key=True, autoincrement=False),
    _text("content"),
    _moment("at"),
    sa.UniqueConstraint("kind", "subject", "content"),
)
batches = sa.Table(
    "batches",
    metadata,
    _text("table_name", primary_key=True),
    _text("batch", primary_key=True),
    _number("position"),  # order in which the table took its batches in, from 1
    _text("digest"),
    _text("payload"),
    sa.UniqueConstraint("table_name", "position"),
)
verdicts = sa.Table(
    "verdicts", metadata, _text("id", primary_key=True), _text("model"), _moment("at"), _text("payload")
)
sa.Index("verdicts_of_a_model", verdicts.c.model, verdicts.c.at)  # a guard that takes over asks for the newest of many
findings = sa.Table(
    "findings",
    metadata,
    _text("id", primary_key=True),
    _text("model", index=True),
    _text("kind"),
    _moment("at"),
    _moment("expires_at"),
    _text("payload"),
)
rulings = sa.Table(
    "rulings", metadata, _text("id", primary_key=True), _text("model", index=True), _moment("at"), _text("payload")
)
bias_audits = sa.Table(
    "bias_audits",
    metadata,
    _text("id", primary_key=True),
    _text("model", index=True),
    _text("source"),
    _text("answer"),
    _moment("at"),
    _text("payload"),
)
review_answers = sa.Table(
    "review_answers",
    metadata,
    _text("quarter", primary_key=True),
    _text("item", primary_key=True),
    _number("number", primary_key=True, autoincrement=False),
    _text("payload"),
)
review_states = sa.Table(
    "review_states",
    metadata,
    _text("quarter", primary_key=True),
    _number("number", primary_key=True, autoincrement=False),
    _text("payload"),
)
incidents = sa.Table(
    "incidents",
    metadata,
    _text("id", primary_key=True),
    _text("model", index=True),
    _text("status"),
    _moment("at"),
    _text("payload"),
)
incident_entries = sa.Table(
    "incident_entries",
    metadata,
    _text("incident", primary_key=True),
    _number("number", primary_key=True, autoincrement=False),
    _text("payload"),
)
outbox = sa.Table(
    "outbox",
    metadata,
    _text("id", primary_key=True),
    _moment("at"),
    _text("payload"),
    _moment("delivered_at", nullable=True),
    _number("failures"),
    _text("last_failure"),
    _moment("not_before"),
)
deliveries = sa.Table(
    "deliveries", metadata, _text("event", primary_key=True), _text("channel", primary_key=True), _moment("at")
)
leases = sa.Table(
    "leases", metadata, _text("name", primary_key=True), _text("holder"), _number("epoch"), _moment("expires_at")
)
COUNTED = ("answers", "errors", "late", "matured")
SUMMED = ("total", "squares", "other_total", "other_squares", "cross")
counters = sa.Table(
    "counters",
    metadata,
    _text("model", primary_key=True),
    _text("salt", primary_key=True),
    _text("arm", primary_key=True),
    _number("version", primary_key=True, autoincrement=False),
    _number("bucket", primary_key=True, autoincrement=False),
    sa.Column("hour", Moment, primary_key=True),
    *(_number(name) for name in COUNTED),
    *(sa.Column(name, sa.Double, nullable=False) for name in SUMMED),
)
watermarks = sa.Table("watermarks", metadata, _text("source", primary_key=True), _text("position"))  # counted up to
trips = sa.Table(
    "trips", metadata, _text("id", primary_key=True), _text("model", index=True), _moment("at"), _text("payload")
)
replicas = sa.Table(
    "replicas",
    metadata,
    _text("replica", primary_key=True),
    _text("model", primary_key=True),
    _moment("at"),
    _text("payload"),
)

AUDITED = {"audit", "audit_head"}
WRITES: Mapping[Role, frozenset[str]] = {
    "flow": frozenset(
        {"versions", "batches", "candidates", "evidence", "discards", "findings", "leases", "incidents", "outbox"}
        | {"bias_audits", "review_answers", "review_states", "snapshots", *AUDITED}
    ),
    "release": frozenset(
        {"releases", "ballots", "votes", "used_codes", "attempts", "reviewers", "operators", "discards"}
        | {"incidents", "outbox", *AUDITED}
    ),
    "guard": frozenset(  # ballots: it closes those whose time is over
        {"releases", "ballots", "verdicts", "rulings", "incidents", "outbox", "deliveries", "leases", *AUDITED}
    ),
    "operator": frozenset(
        {"releases", "operators", "incidents", "incident_entries", "outbox", "review_answers", "review_states"}
        | AUDITED
    ),
    "serving": frozenset({"counters", "watermarks", "trips", "replicas"}),
    "reader": frozenset(),
}
APPEND_ONLY = (
    "audit",
    "releases",
    "votes",
    "used_codes",
    "attempts",
    "candidates",
    "evidence",
    "discards",
    "snapshots",
    "versions",
    "batches",
    "verdicts",
    "findings",
    "rulings",
    "trips",
    "bias_audits",
    "review_answers",
    "review_states",
    "incident_entries",
)


def triggers(dialect: str) -> list[str]:
    """The statements that make history unchangeable: also for one who opens the file, as long as the triggers stand."""
    if dialect == "sqlite":
        return [*_sqlite_triggers()]
    return [*_postgres_triggers()]


def _sqlite_triggers() -> list[str]:
    """REPLACE and a second INSERT fire no trigger for DELETE in SQLite, so a key that is there is refused before."""
    made = [
        f"CREATE TRIGGER IF NOT EXISTS {table}_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for table in APPEND_ONLY
        for verb in ("UPDATE", "DELETE")
    ]
    closed = (
        "CREATE TRIGGER IF NOT EXISTS ballots_update BEFORE UPDATE ON ballots "
        "WHEN OLD.status <> NEW.status AND OLD.status NOT IN ('open', 'approved') "
        "OR OLD.status <> NEW.status AND NEW.status = 'open' "
        "OR OLD.id <> NEW.id OR OLD.rowid <> NEW.rowid OR OLD.payload <> NEW.payload "
        "BEGIN SELECT RAISE(ABORT, 'a ballot is closed once and never rewritten'); END"
    )
    kept = (
        "CREATE TRIGGER IF NOT EXISTS ballots_delete BEFORE DELETE ON ballots "
        "BEGIN SELECT RAISE(ABORT, 'ballots are kept'); END"
    )
    return [*made, *map(_once, (*APPEND_ONLY, "ballots")), closed, kept]


def _once(table: str) -> str:
    """Refuses an INSERT that would push out a row: one with its rowid, its key or anything else that is unique."""
    same = " OR ".join(["rowid = NEW.rowid", *map(_same, _unique(metadata.tables[table]))])
    return (
        f"CREATE TRIGGER IF NOT EXISTS {table}_insert BEFORE INSERT ON {table} "  # noqa: S608 - names of our own tables
        f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) "
        f"BEGIN SELECT RAISE(ABORT, 'UNIQUE: {table} is append-only'); END"
    )


def _unique(table: sa.Table) -> list[tuple[list[str], str]]:
    """Columns that are unique together, and the condition under which they are."""
    bound = [one for one in table.constraints if isinstance(one, sa.PrimaryKeyConstraint | sa.UniqueConstraint)]
    found = [([column.name for column in one.columns], "") for one in bound]
    for index in table.indexes:
        if index.unique:
            where = index.dialect_options["sqlite"]["where"]
            said = "" if where is None else str(where.compile(compile_kwargs={"literal_binds": True}))
            found.append(([column.name for column in index.columns], said))
    return found


def _same(unique: tuple[list[str], str]) -> str:
    columns, where = unique
    equal = [f"{name} = NEW.{name}" for name in columns]
    both = [where, re.sub(r"\b\w+\.(?=\w)", "NEW.", where)] if where else []  # of the row there and of the new one
    return "(" + " AND ".join([*equal, *both]) + ")"


def _postgres_triggers() -> list[str]:
    """The same for Postgres (written for it, not run here)."""
    refuse = (
        "CREATE OR REPLACE FUNCTION grownet_append_only() RETURNS trigger AS $$ "
        "BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$ LANGUAGE plpgsql"
    )
    made = [
        f"CREATE OR REPLACE TRIGGER {table}_fixed BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION grownet_append_only()"
        for table in APPEND_ONLY
    ]
    return [refuse, *made]
