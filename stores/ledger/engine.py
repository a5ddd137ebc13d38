"""Opens the ledger and runs its transactions: SQL through SQLAlchemy, on SQLite or Postgres.

A `Ledger` has a role; what that role may write is the table `tables.WRITES`, enforced here and nowhere else.
SQLite runs with WAL, synchronous=FULL and immediate write transactions; waiting for a lock is bounded, after which
LedgerUnavailable is raised. Opened by every process of the house; a new ledger is marked as demo or not.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import sqlalchemy as sa

from errors import LedgerError, LedgerUnavailable, RevisionConflict, RoleRefused, TamperError, UsageError, WrongLedger
from records import canonical, utc_now
from stores.ledger.connections import WRITING, connect
from stores.ledger.tables import SCHEMA_VERSION, WRITES, Role, audit, audit_head, meta, metadata, triggers

BUSY_SECONDS = 5.0
# schemas that lack only tables: 1 the monitors' and the guard's, 2 audit's and review's, 3 what people say of incidents, snapshots
ADDED_TO = {"1", "2", "3"}
GENESIS = "0" * 64  # hash before the first audit entry


class Transaction:
    """One write transaction of one role. Everything in it happens, or nothing does."""

    def __init__(self, connection: sa.Connection, role: Role, actor: str) -> None:
        self._connection, self.role, self.actor = connection, role, actor

    def execute(self, statement: sa.Executable, rows: Any = None) -> sa.CursorResult[Any]:
        """Runs a statement built with SQLAlchemy Core.

        Raises:
            RoleRefused: when it writes a table that the role may not write, or is raw text.
        """
        if isinstance(statement, sa.UpdateBase):
            self._refuse_unless(str(getattr(statement.table, "name", "")))
        elif not isinstance(statement, sa.Select):
            raise RoleRefused("ledger statement", expected="a select, insert, update or delete", got=type(statement))
        return self._connection.execute(statement, rows)

    def head(self) -> tuple[int, str]:
        """(sequence, hash) of the newest audit entry, locked until the transaction ends."""
        return head_of(self, lock=True)

    def audit(self, action: str, subject: str, detail: Mapping[str, Any], at: datetime | None = None) -> str:
        """Appends an entry to the hash chain and returns its hash."""
        sequence, previous = self.head()
        entry = {
            "sequence": sequence + 1,
            "at": (at or utc_now()).astimezone(UTC),
            "actor": self.actor,
            "role": self.role,
            "action": action,
            "subject": subject,
            "detail": canonical(detail).decode(),
            "previous": previous,
        }
        entry["hash"] = entry_hash(entry)
        self.execute(sa.insert(audit).values(**entry))
        new = {"sequence": entry["sequence"], "hash": entry["hash"]}
        self.execute(sa.update(audit_head).where(audit_head.c.id == 1).values(**new))
        return str(entry["hash"])

    @property
    def dialect(self) -> str:
        return self._connection.dialect.name

    def _refuse_unless(self, table: str) -> None:
        if table not in WRITES[self.role]:
            roles = sorted(role for role, written in WRITES.items() if table in written)
            raise RoleRefused(f"ledger table {table!r}", expected=f"one of the roles {roles}", got=self.role)


def head_of(reader: sa.Connection | Transaction, lock: bool = False) -> tuple[int, str]:
    """(sequence, hash) of the newest audit entry. Raises TamperError when the row that says it is gone."""
    query = sa.select(audit_head).where(audit_head.c.id == 1)
    row = reader.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise TamperError("audit head", expected="a row", got="none", do="compare the ledger with a backup")
    return int(row.sequence), str(row.hash)


def entry_hash(entry: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of an audit entry without its hash; it covers the hash of the entry before."""
    covered = ("sequence", "at", "actor", "role", "action", "subject", "detail", "previous")
    return hashlib.sha256(canonical({name: entry[name] for name in covered})).hexdigest()


class Ledger:
    """An open ledger. Use `Ledger.open`; safe to share between threads."""

    def __init__(self, url: sa.URL, role: Role, demo: bool, busy_seconds: float) -> None:
        self.url, self.role, self.demo = url, role, demo
        self.busy_seconds = busy_seconds
        self._file = Path(url.database) if url.drivername.startswith("sqlite") and url.database else None
        self._inode: tuple[int, int] | None = None
        self._engine = connect(url, busy_seconds)

    @classmethod
    def open(
        cls, url: str, role: Role, *, demo: bool = False, create: bool = True, busy_seconds: float = BUSY_SECONDS
    ) -> Ledger:
        """Opens a ledger, and makes it when it is new and `create` is given (a reader never makes one).

        Raises:
            LedgerUnavailable: when it is locked, away, no ledger, or new and not to be made.
            WrongLedger: for a demo ledger outside the demo, and the other way round.
        """
        if role not in get_args(Role):
            raise RoleRefused("ledger role", expected=f"one of {get_args(Role)}", got=role)
        parsed = sa.make_url(url)
        if parsed.drivername.startswith("sqlite") and parsed.database in {None, "", ":memory:"}:
            raise UsageError("ledger URL", expected="a file: sqlite:///path/ledger.db", got=url)
        ledger = cls(parsed, role, demo, busy_seconds)
        try:
            ledger._prepare(create and role != "reader")
        except BaseException:
            ledger.close()
            raise
        return ledger

    @contextmanager
    def write(self, actor: str) -> Iterator[Transaction]:
        """One immediate transaction; it commits when the block ends and rolls back when it raises.

        Raises:
            LedgerUnavailable: when the lock was not given in time, or the ledger is away.
            RevisionConflict: when a unique row was written by somebody else first.
        """
        with self._translated(), self._connected(write=True) as connection, connection.begin():
            yield Transaction(connection, self.role, actor)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One consistent view; writing through it is refused by the database.

        Raises:
            LedgerUnavailable: when the ledger is away.
        """
        with self._translated(), self._connected(write=False) as connection, connection.begin():
            yield connection

    def close(self) -> None:
        self._engine.dispose()

    @property
    def id(self) -> str:
        """The identity a ledger was given when it was made."""
        with self.read() as connection:
            return str(connection.execute(sa.select(meta.c.value).where(meta.c.name == "id")).scalar_one())

    def _prepare(self, create: bool) -> None:
        if self._file is not None and not self._file.exists():
            if not create:
                raise self._away("no file")
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise self._away(str(error)) from error
        if create and not self._begun():
            with self._translated(), self._connected(write=True, present=False) as connection, connection.begin():
                if not sa.inspect(connection).has_table(meta.name):  # another process may have been faster
                    _create(connection, self.demo)
        if self.role != "reader":
            self._migrate()
        with self._translated(), self._connected(write=False, present=False) as connection, connection.begin():
            self._check_marks(connection)
        self._inode = self._seen()

    def _begun(self) -> bool:
        with self._translated(), self._connected(write=False, present=False) as connection, connection.begin():
            return sa.inspect(connection).has_table(meta.name)

    def _migrate(self) -> None:
        """Brings an older ledger up to date where that only adds tables; the first writer that opens it does so."""
        if self._begun() and self._old():
            with self._translated(), self._connected(write=True, present=False) as connection, connection.begin():
                _add_missing(connection)

    def _old(self) -> bool:
        """Whether tables are to be added; never to a ledger that is refused."""
        with self._translated(), self._connected(write=False, present=False) as connection, connection.begin():
            marks = _marks(connection)
        self._refuse_mixed(marks)
        return marks.get("schema") in ADDED_TO

    def _check_marks(self, connection: sa.Connection) -> None:
        if not sa.inspect(connection).has_table(meta.name):
            raise self._away("a database without a ledger in it")
        marks = _marks(connection)
        if marks.get("schema") != str(SCHEMA_VERSION):
            raise LedgerError(
                f"ledger {self._name}",
                expected=f"schema {SCHEMA_VERSION}",
                got=marks.get("schema"),
                do=_older(marks.get("schema")),
            )
        self._refuse_mixed(marks)

    def _refuse_mixed(self, marks: Mapping[str, str]) -> None:
        if marks.get("demo") != _mark(self.demo):
            raise WrongLedger(
                f"ledger {self._name}",
                expected=f"a {_mark(self.demo)} ledger",
                got=f"a {marks.get('demo')} one",
                do="set GROWNET_HOME (and GROWNET_DEMO) to what you mean; a demo never mixes with real releases",
            )

    @contextmanager
    def _connected(self, write: bool, present: bool = True) -> Iterator[sa.Connection]:
        if present:
            self._refuse_absent()
        options = {WRITING: write, "postgresql_readonly": not write}
        with self._engine.connect().execution_options(**options) as connection:
            yield connection

    def _refuse_absent(self) -> None:
        """SQLite would go on with a deleted file as if nothing had happened: look whether it is still there."""
        if self._file is None or (seen := self._seen()) == self._inode:
            return
        self._engine.dispose()
        if seen is None:
            raise self._away("no file")
        self._prepare(create=False)  # another file under the same name, say a restored one

    def _seen(self) -> tuple[int, int] | None:
        try:
            stat = self._file.stat() if self._file is not None else None
        except OSError:
            return None
        return (stat.st_dev, stat.st_ino) if stat else None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.IntegrityError as error:
            raise RevisionConflict(
                f"ledger {self._name}", got=str(error.orig), do="read again and decide again"
            ) from error
        except (sa.exc.ProgrammingError, sa.exc.DataError):
            raise  # a mistake in our own statement, not a ledger that is away
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            raise self._away(str(getattr(error, "orig", error))) from error

    def _away(self, got: str) -> LedgerUnavailable:
        return LedgerUnavailable(
            f"ledger {self._name}",
            expected=f"an answer within {self.busy_seconds:g} s",
            got=got,
            do="see that its file or server is there and that nothing holds its lock",
        )

    @property
    def _name(self) -> str:
        return self.url.render_as_string(hide_password=True)


def _create(connection: sa.Connection, demo: bool) -> None:
    _add_missing(connection)
    marks = {
        "id": uuid.uuid4().hex,
        "schema": str(SCHEMA_VERSION),
        "demo": _mark(demo),
        "created_at": utc_now().isoformat(),
    }
    connection.execute(sa.insert(meta), [{"name": name, "value": value} for name, value in marks.items()])
    connection.execute(sa.insert(audit_head).values(id=1, sequence=0, hash=GENESIS))


def _marks(connection: sa.Connection) -> dict[str, str]:
    return {row.name: row.value for row in connection.execute(sa.select(meta))}


def _mark(demo: bool) -> str:
    return "demo" if demo else "real"


def _add_missing(connection: sa.Connection) -> None:
    """Makes the tables and triggers that are not there, and says which schema it is now. Doing it twice changes nothing."""
    metadata.create_all(connection)
    for statement in triggers(connection.dialect.name):
        connection.exec_driver_sql(statement)
    connection.execute(sa.update(meta).where(meta.c.name == "schema").values(value=str(SCHEMA_VERSION)))


def _older(schema: str | None) -> str:
    return (
        "start the guard once: it adds what is missing"
        if schema in ADDED_TO
        else "open it with the version that wrote it"
    )
