"""Delta tables on a path or an object-store URI: the lake.

Reads and writes `<lake uri>/<table>`; the ingest, feature and training tasks call it. A commit carries an
application transaction and our own metadata, so what a killed process left behind can be told from the log alone.
The log keeps smallest and largest values of columns: only pseudonyms may stand in a column about people.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from errors import DataError, NotFound, SchemaError
from records import Record

Filter = tuple[str, str, Any]  # column, operator ("=", "!=", "<", "<=", ">", ">=", "in", "not in"), value
TABLE = re.compile(r"[a-z][a-z0-9_]*")
ATTEMPTS = 5  # of a commit that lost a race against another writer
RECENT = 20
SEARCHED = WriterProperties(compression="ZSTD", max_row_group_size=4096)  # so that looking for one row reads few others
LITTLE_AT_A_TIME: dict[str, Any] = {
    "batch_size": 4096, "batch_readahead": 1, "fragment_readahead": 1, "use_threads": False,
}  # fmt: skip
Done = TypeVar("Done")


class Step(NamedTuple):
    """A transaction of an application that must follow the one it is at; 0 before its first."""

    app_id: str
    after: int
    version: int


class Layout(NamedTuple):
    """How a table is laid out when it is made.

    `statistics`: the columns whose smallest and largest values may stand in the log; all when empty.
    """

    partition_by: tuple[str, ...] = ()
    statistics: tuple[str, ...] = ()


PLAIN = Layout()


class Commit(Record, frozen=True, kw_only=True):
    """One version of a table, with what its writer said about it."""

    version: int
    metadata: dict[str, str]


class Lake:
    """The tables below one URI.

    Args:
        uri: a local folder or an object-store URI; credentials come from the store's own environment.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")

    def exists(self, table: str) -> bool:
        return bool(DeltaTable.is_deltatable(self._address(table)))

    def version(self, table: str) -> int:
        """The newest version. Raises NotFound."""
        return int(self._open(table).version())

    def rows(self, table: str, version: int | None = None) -> int:
        """Rows of a version (the newest by default), counted from the log."""
        return int(self._open(table, version).count())

    def append(
        self, table: str, frame: pa.Table, app_id: str, transaction: int, metadata: Mapping[str, str] | None = None
    ) -> int:
        """Appends once: a repeat of (app_id, transaction) writes nothing, whether it comes later or at the same time.

        Returns:
            The version that holds the rows.

        Raises:
            SchemaError: when the table was made with other columns.
            DataError: when the store refuses, or other writers win every attempt.
        """
        said = {**(metadata or {}), "app_id": app_id, "transaction": str(transaction)}
        rows = _plain(frame)
        properties = CommitProperties(custom_metadata=said, app_transactions=[Transaction(app_id, transaction)])
        _attempted(table, lambda: self._append_unless_there(table, rows, properties))
        return self._holding(table, app_id, transaction)

    def position(self, table: str, app_id: str) -> int:
        """The newest transaction of an application; 0 when it wrote none, or there is no such table."""
        return int(self._open(table).transaction_version(app_id) or 0) if self.exists(table) else 0

    def append_after(self, table: str, frame: pa.Table, step: Step, layout: Layout) -> bool:
        """Appends if the application is at `step.after`; False, and nothing is written, when it is not (any more).

        Raises:
            SchemaError: when the table was made with other columns.
            DataError: when the store refuses, or other writers win every attempt.
        """
        rows = _plain(frame)

        def append() -> bool:
            handle = self._open_or_create(table, rows.schema, layout)
            _same_schema(table, handle, rows.schema)
            if (handle.transaction_version(step.app_id) or 0) != step.after:
                return False
            done = CommitProperties(app_transactions=[Transaction(step.app_id, step.version)])
            write_deltalake(handle, rows, mode="append", commit_properties=done, writer_properties=SEARCHED)
            return True

        return _attempted(table, append)

    def crowded(self, table: str, most: int) -> list[dict[str, str]]:
        """The partitions of more than `most` files, the fullest first; a table without any is one, of no name."""
        handle = self._open(table)
        names = [f"partition.{name}" for name in handle.metadata().partition_columns]
        if not names:
            return [{}] if len(handle.file_uris()) > most else []
        files = pa.table(handle.get_add_actions(flatten=True)).select(names).to_pandas()
        counts = files.groupby(names).size().sort_values(ascending=False)
        return [
            dict(zip(handle.metadata().partition_columns, map(str, place), strict=True))
            for place, count in counts.items()
            if count > most
        ]

    def compact(self, table: str, partition: Mapping[str, str], keep_hours: int) -> None:
        """Makes few files of the many of a partition; those it replaces are removed once they are `keep_hours` old.

        Raises:
            DataError: when the store refuses, or other writers win every attempt.
        """
        where = [(name, "=", value) for name, value in partition.items()]
        _attempted(
            table,
            lambda: self._open(table).optimize.compact(partition_filters=where or None, writer_properties=SEARCHED),
        )
        _attempted(table, lambda: self._open(table).vacuum(retention_hours=keep_hours, dry_run=False))

    def read(
        self,
        table: str,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        where: Sequence[Filter] | None = None,
    ) -> pd.DataFrame:
        """Rows of a version (the newest by default) for which every filter holds. The order of rows is not promised.

        Raises:
            NotFound: for a table or a version that is not there.
            DataError: when a file of it cannot be read.
        """
        handle = self._open(table, version)
        wanted = list(columns) if columns else None
        with _readable(table):
            return handle.to_pyarrow_table(columns=wanted, filters=list(where or ()) or None).to_pandas()

    def some(self, table: str, columns: Sequence[str], where: Sequence[Filter], most: int) -> pd.DataFrame:
        """Any rows for which every filter holds, at most so many; no more of the table is held than that takes. Raises
        as `read`."""
        handle = self._open(table)
        with _readable(table):
            rows = handle.to_pyarrow_dataset()
            found = rows.scanner(columns=list(columns), filter=_expression(where), **LITTLE_AT_A_TIME)
            return found.head(most).to_pandas()

    def batches(self, table: str, columns: Sequence[str], where: Sequence[Filter]) -> Iterator[pa.RecordBatch]:
        """All rows for which every filter holds, some thousand at a time, in any order; no more of the table is held than
        that. Raises as `read`."""
        handle = self._open(table)
        with _readable(table):
            rows = handle.to_pyarrow_dataset()
            scanner = rows.scanner(columns=list(columns), filter=_expression(where), **LITTLE_AT_A_TIME)
            yield from scanner.to_batches()

    def partitions(self, table: str, **where: str) -> list[dict[str, str]]:
        """The partitions there are, as the table's paths name them."""
        filters = [(name, "=", value) for name, value in where.items()]
        return [dict(one) for one in self._open(table).partitions(file_pruning_predicate=filters or None)]

    def commits(self, table: str, after: int = -1) -> list[Commit]:
        """The commits with a version above `after`, oldest first."""
        handle = self._open(table)
        wanted = handle.version() - after
        entries = handle.history(wanted) if wanted > 0 else []
        found = [
            Commit(version=entry["version"], metadata={k: v for k, v in entry.items() if isinstance(v, str)})
            for entry in entries
        ]
        return sorted(found, key=lambda commit: commit.version)

    def _address(self, table: str) -> str:
        if not TABLE.fullmatch(table):
            raise NotFound(f"lake table {table!r}", expected="lower-case letters, digits and _", got=table)
        return f"{self.uri}/{table}"

    def _open(self, table: str, version: int | None = None) -> DeltaTable:
        address = self._address(table)
        try:
            return DeltaTable(address, version=version)
        except TableNotFoundError:
            raise NotFound(f"lake table {table!r}", expected=f"a Delta table at {address}", do="run ingest") from None
        except DeltaError as error:
            wanted = "newest" if version is None else version
            raise NotFound(f"lake table {table!r}", expected=f"version {wanted}", got=str(error)) from error

    def _append_unless_there(self, table: str, rows: pa.Table, properties: CommitProperties) -> None:
        # the handle that looks is the handle that writes: a commit in between is then a conflict
        handle = self._open_or_create(table, rows.schema)
        _same_schema(table, handle, rows.schema)
        (wanted,) = properties.app_transactions or []
        if (handle.transaction_version(wanted.app_id) or 0) < wanted.version:
            write_deltalake(handle, rows, mode="append", commit_properties=properties)

    def _open_or_create(self, table: str, schema: pa.Schema, layout: Layout = PLAIN) -> DeltaTable:
        address = self._address(table)
        if not DeltaTable.is_deltatable(address):
            if "://" not in address:
                Path(address).mkdir(parents=True, exist_ok=True)
            # without "no retries" two writers at once both create it, the second one as version 1 or later
            first = CommitProperties(max_commit_retries=0)
            try:
                DeltaTable.create(
                    address,
                    schema=schema,
                    mode="ignore",
                    name=table,
                    partition_by=list(layout.partition_by),
                    configuration=_settings_of(layout),
                    commit_properties=first,
                )
            except DeltaError:
                if not DeltaTable.is_deltatable(address):  # else another writer made it in between
                    raise
        return self._open(table)

    def _holding(self, table: str, app_id: str, transaction: int) -> int:
        """The version that carries a transaction; the newest one when the log no longer goes back that far."""
        wanted = {"app_id": app_id, "transaction": str(transaction)}
        newest = self.version(table)
        for after in (newest - RECENT, -1):  # nearly always among the newest
            for commit in reversed(self.commits(table, after)):
                if wanted.items() <= commit.metadata.items():
                    return commit.version
        return newest


@contextmanager
def _readable(table: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, DeltaError, OSError) as error:
        do = "look at the store; a file that is gone or spoilt comes from a backup"
        raise DataError(f"lake table {table!r}", expected="files that can be read", got=str(error), do=do) from error


def _attempted(table: str, do: Callable[[], Done]) -> Done:
    """The result of a commit, tried again while other writers are faster."""
    problem: Exception | None = None
    for _ in range(ATTEMPTS):
        try:
            return do()
        except CommitFailedError as error:
            problem = error
        except (DeltaError, OSError) as error:
            problem = error
            break
    raise DataError(
        f"lake table {table!r}",
        expected=f"a commit within {ATTEMPTS} attempts",
        got=str(problem),
        do="run it again: nothing of it was written",
    ) from problem


def _expression(where: Sequence[Filter]) -> pc.Expression:
    return pq.filters_to_expression(list(where))


def _settings_of(layout: Layout) -> dict[str, str | None] | None:
    return {"delta.dataSkippingStatsColumns": ",".join(layout.statistics)} if layout.statistics else None


def _plain(frame: pa.Table) -> pa.Table:
    """The same rows in the types Delta gives back: plain strings, timestamps in microseconds."""
    fields = []
    for field in frame.schema:
        kind = field.type
        if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            kind = pa.string()
        elif pa.types.is_timestamp(kind):
            kind = pa.timestamp("us", tz=kind.tz)
        fields.append(pa.field(field.name, kind, field.nullable))
    return frame.cast(pa.schema(fields))


def _same_schema(table: str, handle: DeltaTable, given: pa.Schema) -> None:
    """Delta would cast silently; a column that changed its type is somebody's mistake."""
    made = {field.name: str(field.type) for field in pa.schema(handle.schema().to_arrow())}
    got = {field.name: str(field.type) for field in given}
    if made != got:
        raise SchemaError(
            f"lake table {table!r}",
            expected=", ".join(f"{name} {kind}" for name, kind in made.items()),
            got=", ".join(f"{name} {kind}" for name, kind in got.items()),
            do="write the columns the table was made with, or begin a new table",
        )
