"""The ledger on a file: marks, roles, bounded waiting, and a process killed in the middle."""

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import get_args

import pytest
import sqlalchemy as sa

from errors import LedgerError, LedgerUnavailable, RevisionConflict, RoleRefused, UsageError, WrongLedger
from stores.ledger import audit, leases, versions
from stores.ledger import tables as t
from stores.ledger.engine import Ledger
from stores.ledger.tables import WRITES, Role
from tests.stores.ledger.world import NOON

BUSY = 0.3


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/ledger.db"


@contextmanager
def opened(folder: Path, role: Role = "flow", **options: bool) -> Iterator[Ledger]:
    ledger = Ledger.open(url(folder), role, busy_seconds=BUSY, **options)
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    other = sqlite3.connect(folder / "ledger.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_a_ledger_is_durable_before_it_answers(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger, ledger.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


class TestMarks:
    @pytest.mark.parametrize("demo", [True, False])
    def test_a_demo_ledger_and_a_real_one_do_not_mix(self, tmp_path: Path, demo: bool) -> None:
        with opened(tmp_path, demo=demo) as ledger:
            first = ledger.id
        with pytest.raises(WrongLedger, match="demo"), opened(tmp_path, demo=not demo):
            pass
        with opened(tmp_path, demo=demo) as ledger:
            assert ledger.id == first

    def test_an_old_ledger_of_the_other_kind_is_refused_as_it_is(self, tmp_path: Path) -> None:
        with opened(tmp_path):
            pass
        raw = sqlite3.connect(tmp_path / "ledger.db")
        raw.executescript("DROP TABLE rulings; UPDATE meta SET value = '2' WHERE name = 'schema';")
        with pytest.raises(WrongLedger), opened(tmp_path, "guard", demo=True):
            pass
        assert raw.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone() == ("2",)
        assert raw.execute("SELECT name FROM sqlite_master WHERE name = 'rulings'").fetchone() is None
        raw.close()

    def test_a_ledger_of_another_schema_is_refused(self, tmp_path: Path) -> None:
        with opened(tmp_path):
            pass
        raw = sqlite3.connect(tmp_path / "ledger.db")
        raw.execute("UPDATE meta SET value = '999' WHERE name = 'schema'")
        raw.commit()
        raw.close()
        with pytest.raises(LedgerError, match="schema"), opened(tmp_path):
            pass

    def test_a_ledger_of_the_first_schema_gets_what_it_lacks_from_the_first_writer(self, tmp_path: Path) -> None:
        with opened(tmp_path) as ledger:
            first = ledger.id
            with ledger.write("a test") as transaction:
                transaction.audit("noted", "before", {})
        raw = sqlite3.connect(tmp_path / "ledger.db")
        raw.executescript("DROP TABLE findings; DROP TABLE rulings; UPDATE meta SET value = '1' WHERE name = 'schema';")
        raw.close()
        with pytest.raises(LedgerError, match="start the guard once"), opened(tmp_path, "reader"):
            pass
        with opened(tmp_path, "guard", create=False) as ledger:
            assert ledger.id == first
            assert audit.verify(ledger) == 1
        with opened(tmp_path, "reader") as ledger, ledger.read() as connection:
            assert connection.execute(sa.select(t.findings)).all() == []
            triggers = connection.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars()
            assert {"findings_update", "rulings_delete", "rulings_insert"} <= set(triggers)

    def test_a_ledger_of_the_second_schema_gets_audits_and_reviews_and_keeps_all_it_had(self, tmp_path: Path) -> None:
        with opened(tmp_path) as ledger:
            number = versions.version_for(ledger, "data", "orders", "before").number
        raw = sqlite3.connect(tmp_path / "ledger.db")
        for table in ("bias_audits", "review_answers", "review_states"):
            raw.execute(f"DROP TABLE {table}")
        raw.execute("UPDATE meta SET value = '2' WHERE name = 'schema'")
        raw.commit()
        raw.close()
        with pytest.raises(LedgerError, match="start the guard once"), opened(tmp_path, "reader"):
            pass
        for _ in range(2):  # doing it again changes nothing
            with opened(tmp_path, "operator", create=False) as ledger:
                assert audit.verify(ledger) == 1
        with opened(tmp_path, "reader") as ledger, ledger.read() as connection:
            assert versions.versions(ledger, "data", "orders")[0].number == number
            assert connection.execute(sa.select(t.review_answers)).all() == []
            triggers = connection.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars()
            assert {"bias_audits_update", "review_answers_delete", "review_states_insert"} <= set(triggers)

    def test_a_ledger_of_the_third_schema_gets_feature_snapshots_and_entries_of_incidents(self, tmp_path: Path) -> None:
        with opened(tmp_path) as ledger:
            number = versions.version_for(ledger, "data", "orders", "before").number
        raw = sqlite3.connect(tmp_path / "ledger.db")
        raw.executescript("DROP TABLE snapshots; DROP TABLE incident_entries;")
        raw.executescript("UPDATE meta SET value = '3' WHERE name = 'schema';")
        raw.close()
        with pytest.raises(LedgerError, match="start the guard once"), opened(tmp_path, "reader"):
            pass
        with opened(tmp_path, "guard", create=False) as ledger:
            assert audit.verify(ledger) == 1
        with opened(tmp_path, "reader") as ledger, ledger.read() as connection:
            assert versions.versions(ledger, "data", "orders")[0].number == number
            assert connection.execute(sa.select(t.snapshots)).all() == []
            triggers = connection.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars()
            assert {"snapshots_update", "snapshots_delete", "snapshots_insert", "incident_entries_update"} <= set(
                triggers
            )

    def test_many_open_a_new_ledger_at_once(self, tmp_path: Path) -> None:
        seen: list[str] = []

        def start() -> None:
            ledger = Ledger.open(url(tmp_path), "flow", busy_seconds=60.0)
            seen.append(ledger.id)
            ledger.close()

        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
        assert len(seen) == 8
        assert len(set(seen)) == 1


class TestRoles:
    @pytest.mark.parametrize("role", get_args(Role))
    def test_a_role_writes_its_tables_and_no_other(self, tmp_path: Path, role: Role) -> None:
        with opened(tmp_path):
            pass
        written = set()
        with opened(tmp_path, role) as ledger, ledger.write("test") as transaction:
            for name, table in t.metadata.tables.items():
                with suppress(RoleRefused):
                    transaction.execute(sa.delete(table).where(sa.false()))
                    written.add(name)
        assert written == WRITES[role]

    def test_every_table_but_the_marks_has_a_writer(self) -> None:
        assert {"meta"} == set(t.metadata.tables) - set().union(*WRITES.values())

    def test_raw_text_is_refused(self, tmp_path: Path) -> None:
        with opened(tmp_path) as ledger, ledger.write("test") as transaction, pytest.raises(RoleRefused):
            transaction.execute(sa.text("DELETE FROM releases"))

    def test_reading_cannot_write(self, tmp_path: Path) -> None:
        statement = sa.insert(t.leases).values(name="x", holder="x", epoch=1, expires_at=NOON)
        with (
            opened(tmp_path, "guard") as ledger,
            pytest.raises(LedgerUnavailable, match="readonly"),
            ledger.read() as connection,
        ):
            connection.execute(statement)

    def test_an_unknown_role_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(RoleRefused):
            Ledger.open(url(tmp_path), "root")  # type: ignore[arg-type]  # what a caller without types might do


class TestHistory:
    @pytest.mark.parametrize("table", t.APPEND_ONLY)
    @pytest.mark.parametrize("verb", ["UPDATE", "DELETE"])
    def test_append_only_also_for_one_who_opens_the_file(self, tmp_path: Path, table: str, verb: str) -> None:
        with opened(tmp_path):
            pass
        raw = sqlite3.connect(tmp_path / "ledger.db")
        columns = [row[1] for row in raw.execute(f"PRAGMA table_info({table})")]
        raw.execute(f"INSERT INTO {table} VALUES ({','.join('1' for _ in columns)})")
        change = f"UPDATE {table} SET {columns[-1]} = '2'" if verb == "UPDATE" else f"DELETE FROM {table}"
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw.execute(change)
        raw.close()

    @pytest.mark.parametrize("table", [*t.APPEND_ONLY, "ballots"])
    @pytest.mark.parametrize("by", ["key", "rowid"])
    def test_no_row_is_replaced(self, tmp_path: Path, table: str, by: str) -> None:
        with opened(tmp_path):
            pass
        raw = sqlite3.connect(tmp_path / "ledger.db")
        columns = [row[1] for row in raw.execute(f"PRAGMA table_info({table})")]
        raw.execute(f"INSERT INTO {table} VALUES ({','.join('1' for _ in columns)})")
        keys = [column.name for column in t.metadata.tables[table].primary_key]
        values = {name: "1" if by == "key" and name in keys else "2" for name in columns}
        if by == "rowid" and table != "attempts":  # whose key is the rowid
            values["rowid"] = str(raw.execute(f"SELECT rowid FROM {table}").fetchone()[0])
        names, given = ", ".join(values), ", ".join(values.values())
        if not (by == "rowid" and table == "attempts"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                raw.execute(f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({given})")
        fresh = ", ".join("3" for _ in columns)
        raw.execute(f"INSERT OR REPLACE INTO {table} VALUES ({fresh})")
        assert raw.execute(f"SELECT count(*) FROM {table}").fetchone() == (2,)
        raw.close()

    @pytest.mark.parametrize(
        ("table", "there", "new"),
        [
            ("votes", "'b', 'ada', 'dev_ops', 'yes'", "'b', 'eve', 'dev_ops', 'no'"),
            (
                "releases",
                "'m', 1, 1, 'a', 'k', 's', 'ballot', 'x', '{}'",
                "'m', 2, 1, 'a', 'k', 's', 'ballot', 'x', '{}'",
            ),
            ("ballots", "'b1', 'm', 'open', NULL, '', '{}'", "'b2', 'm', 'open', NULL, '', '{}'"),
        ],
    )
    def test_nor_pushed_out_by_another_key_that_is_unique(
        self, tmp_path: Path, table: str, there: str, new: str
    ) -> None:
        with opened(tmp_path):
            pass
        raw = sqlite3.connect(tmp_path / "ledger.db")
        raw.execute(f"INSERT INTO {table} VALUES ({there})")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw.execute(f"INSERT OR REPLACE INTO {table} VALUES ({new})")
        raw.close()


class TestAway:
    def test_a_missing_ledger_is_not_made_unless_asked(self, tmp_path: Path) -> None:
        with pytest.raises(LedgerUnavailable, match="no file"), opened(tmp_path, create=False):
            pass
        with pytest.raises(LedgerUnavailable, match="no file"), opened(tmp_path, "reader"):
            pass
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("content", [b"", b"this is no database at all" * 100])
    def test_a_file_that_is_no_ledger(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "ledger.db").write_bytes(content)
        with pytest.raises(LedgerUnavailable), opened(tmp_path, create=False):
            pass
        assert (tmp_path / "ledger.db").read_bytes() == content or content == b""

    def test_a_folder_that_cannot_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(LedgerUnavailable):
            Ledger.open(f"sqlite:///{tmp_path}/file/ledger.db", "flow")

    def test_a_ledger_in_memory_is_refused(self) -> None:
        with pytest.raises(UsageError, match="file"):
            Ledger.open("sqlite://", "flow")

    def test_a_locked_ledger_refuses_writes_in_bounded_time_and_reads_on(self, tmp_path: Path) -> None:
        with opened(tmp_path) as ledger:
            with locked(tmp_path):
                start = time.monotonic()
                with pytest.raises(LedgerUnavailable, match="locked"), ledger.write("test"):
                    pass
                assert time.monotonic() - start < 20  # what it waits for is a third of a second
                assert audit.verify(ledger) == 0
                with opened(tmp_path, "guard") as late:  # at start, too
                    assert late.id == ledger.id
            assert leases.acquire(ledger, "x", "me", 1) == 1

    def test_a_new_ledger_that_is_locked_at_start(self, tmp_path: Path) -> None:
        sqlite3.connect(tmp_path / "ledger.db").close()
        with locked(tmp_path):
            start = time.monotonic()
            with pytest.raises(LedgerUnavailable, match="locked"), opened(tmp_path):
                pass
            assert time.monotonic() - start < 20  # what it waits for is a third of a second

    def test_a_deleted_ledger_is_noticed_and_a_restored_one_found(self, tmp_path: Path) -> None:
        with opened(tmp_path) as ledger:
            leases.acquire(ledger, "x", "me", 1)
            with ledger.read() as connection:  # a checkpoint, so that the file alone is the whole ledger
                known = connection.execute(sa.select(t.leases.c.epoch)).scalar()
            raw = sqlite3.connect(tmp_path / "ledger.db")
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            raw.close()
            kept = (tmp_path / "ledger.db").read_bytes()
            for path in tmp_path.glob("ledger.db*"):
                path.unlink()
            with pytest.raises(LedgerUnavailable, match="no file"), ledger.write("test"):
                pass
            with pytest.raises(LedgerUnavailable, match="no file"), ledger.read():
                pass
            assert list(tmp_path.iterdir()) == []
            (tmp_path / "ledger.db").write_bytes(kept)
            with ledger.read() as connection:
                assert connection.execute(sa.select(t.leases.c.epoch)).scalar() == known == 1

    def test_a_demo_ledger_put_in_the_place_of_a_real_one_is_refused(self, tmp_path: Path) -> None:
        other = tmp_path / "demo"
        other.mkdir()
        with opened(other, demo=True):
            pass
        with opened(tmp_path) as ledger:
            for path in tmp_path.glob("ledger.db*"):
                path.unlink()
            (other / "ledger.db").replace(tmp_path / "ledger.db")
            with pytest.raises(WrongLedger), ledger.read():
                pass


def test_nothing_of_a_failed_transaction_stays(tmp_path: Path) -> None:
    def fail(ledger: Ledger) -> None:
        with ledger.write("test") as transaction:
            transaction.audit("something", "x", {})
            raise RuntimeError("half-way")

    with opened(tmp_path) as ledger:
        with pytest.raises(RuntimeError, match="half-way"):
            fail(ledger)
        assert audit.verify(ledger) == 0


def test_a_row_that_is_there_already_is_a_conflict(tmp_path: Path) -> None:
    row = {"name": "x", "holder": "x", "epoch": 1, "expires_at": NOON}
    with (
        opened(tmp_path) as ledger,
        pytest.raises(RevisionConflict, match="UNIQUE"),
        ledger.write("test") as transaction,
    ):
        transaction.execute(sa.insert(t.leases), [row, row])


def test_a_time_without_a_zone_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger, pytest.raises(sa.exc.StatementError, match="zone"):
        leases.acquire(ledger, "x", "me", 1, at=NOON.replace(tzinfo=None))


KILLED = """
import sys, time
import sqlalchemy as sa
from records import utc_now
from stores.ledger import tables as t
from stores.ledger.engine import Ledger
ledger = Ledger.open(sys.argv[1], "flow")
with ledger.write("victim") as transaction:
    for number in range(2, 400):  # more pages than SQLite keeps in memory, so that some are on disk already
        row = {"kind": "data", "subject": "orders", "number": number, "content": f"{number} " * 4000, "at": utc_now()}
        transaction.execute(sa.insert(t.versions).values(**row))
        transaction.audit("version", "orders", {"number": number})
    print("half-way", flush=True)
    time.sleep(120)
"""


def test_a_process_killed_in_the_middle_leaves_nothing_half_way(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        versions.version_for(ledger, "data", "orders", "before")
    with subprocess.Popen([sys.executable, "-c", KILLED, url(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half-way\n"
        assert (tmp_path / "ledger.db-wal").stat().st_size > 1_000_000
        child.kill()
    with opened(tmp_path) as ledger:
        assert [version.number for version in versions.versions(ledger, "data", "orders")] == [1]
        assert audit.verify(ledger) == 1
        assert versions.version_for(ledger, "data", "orders", "after").number == 2
        assert audit.verify(ledger) == 2
