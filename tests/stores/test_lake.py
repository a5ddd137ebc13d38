import threading
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from errors import DataError, NotFound, SchemaError
from stores.lake import Lake

NOON = datetime(2011, 8, 1, 12, tzinfo=UTC)
ROWS = pa.table(
    {
        "code": pa.array(["a", "ü", None]),
        "units": pa.array([1, 2, 3], pa.int64()),
        "at": pa.array([NOON] * 3, pa.timestamp("us", tz="UTC")),
    }
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_rows_come_back_as_they_went_in(lake: Lake) -> None:
    assert not lake.exists("orders")
    version = lake.append("orders", ROWS, "batch:1", 1, {"who": "me"})
    found = lake.read("orders")
    assert lake.exists("orders")
    assert version == lake.version("orders")
    assert lake.rows("orders") == 3
    assert found["units"].tolist() == [1, 2, 3]
    assert found["code"].isna().tolist() == [False, False, True]
    assert found["at"].dt.tz is not None


def test_a_repeat_writes_nothing_and_names_the_version_that_holds_the_rows(lake: Lake) -> None:
    first = lake.append("orders", ROWS, "batch:1", 1)
    lake.append("orders", ROWS, "batch:2", 1)
    assert lake.append("orders", ROWS, "batch:1", 1) == first
    assert lake.rows("orders") == 6


def test_a_higher_transaction_of_the_same_application_is_a_new_one(lake: Lake) -> None:
    lake.append("orders", ROWS, "journal", 1)
    lake.append("orders", ROWS, "journal", 2)
    assert lake.append("orders", ROWS, "journal", 1) == 1
    assert lake.rows("orders") == 6


def test_delta_refuses_a_concurrent_repeat(lake: Lake) -> None:
    """The property `append` rests on: two handles that both looked, of which only one may write."""
    lake.append("orders", ROWS, "batch:0", 1)
    address = f"{lake.uri}/orders"
    handles = [DeltaTable(address), DeltaTable(address)]
    assert [handle.transaction_version("batch:1") for handle in handles] == [None, None]
    same = CommitProperties(app_transactions=[Transaction("batch:1", 1)])
    write_deltalake(handles[0], ROWS, mode="append", commit_properties=same)
    with pytest.raises(CommitFailedError):
        write_deltalake(handles[1], ROWS, mode="append", commit_properties=same)


def test_the_same_append_from_many_threads_at_once_is_one(lake: Lake) -> None:
    barrier, versions = threading.Barrier(4), []

    def append() -> None:
        barrier.wait(30)
        versions.append(lake.append("orders", ROWS, "batch:1", 1))

    threads = [threading.Thread(target=append) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert versions == [1] * 4
    assert lake.rows("orders") == 3


def test_other_appends_at_once_are_all_kept(lake: Lake) -> None:
    threads = [threading.Thread(target=lake.append, args=("orders", ROWS, f"batch:{n}", 1)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert lake.rows("orders") == 12


def test_an_older_version_stays_readable(lake: Lake) -> None:
    first = lake.append("orders", ROWS, "batch:1", 1)
    lake.append("orders", ROWS, "batch:2", 1)
    assert len(lake.read("orders", first)) == lake.rows("orders", first) == 3
    assert len(lake.read("orders")) == 6


def test_reading_may_choose_columns_and_rows(lake: Lake) -> None:
    lake.append("orders", ROWS, "batch:1", 1)
    later = datetime(2011, 8, 2, tzinfo=UTC)
    found = lake.read("orders", columns=["units"], where=[("units", ">", 1), ("at", "<", later)])
    assert list(found.columns) == ["units"]
    assert found["units"].tolist() == [2, 3]
    assert lake.read("orders", where=[("at", "<", NOON)]).empty


def test_a_large_table_is_read_in_batches(lake: Lake) -> None:
    many = pa.table(
        {"item": [f"i{number}" for number in range(10_000)], "price": pa.array(range(10_000), pa.float64())}
    )
    lake.append("prices", many, "once", 1)
    found = list(lake.batches("prices", ["item"], [("price", ">=", 1000.0)]))
    assert len(found) > 1
    assert {batch.schema.names[0] for batch in found} == {"item"}
    assert sorted(name for batch in found for name in batch["item"].to_pylist()) == sorted(
        f"i{number}" for number in range(1000, 10_000)
    )
    with pytest.raises(NotFound):
        list(lake.batches("nothing", ["item"], [("price", ">=", 0.0)]))


def test_commits_say_what_their_writer_said(lake: Lake) -> None:
    lake.append("orders", ROWS, "batch:1", 1, {"grownet": "first"})
    second = lake.append("orders", ROWS, "batch:2", 1, {"grownet": "second"})
    said = [commit.metadata.get("grownet") for commit in lake.commits("orders")]
    assert said == [None, "first", "second"]  # version 0 makes the table
    assert [commit.version for commit in lake.commits("orders", after=1)] == [second]
    assert lake.commits("orders", after=second) == []


def test_another_column_or_type_is_refused_and_nothing_is_written(lake: Lake) -> None:
    lake.append("orders", ROWS, "batch:1", 1)
    longer = ROWS.append_column("extra", pa.array([1, 2, 3]))
    as_text = ROWS.set_column(1, "units", ROWS["units"].cast(pa.string()))  # Delta itself would cast it back
    for number, other in enumerate((longer, as_text, ROWS.drop_columns(["code"]))):
        with pytest.raises(SchemaError, match="units"):
            lake.append("orders", other, f"other:{number}", 1)
    assert lake.version("orders") == 1


def test_large_strings_and_nanoseconds_are_the_same_columns(lake: Lake) -> None:
    lake.append("orders", ROWS, "batch:1", 1)
    frame = pd.DataFrame({"code": ["x"], "units": [1], "at": pd.DatetimeIndex([NOON]).as_unit("ns")})
    lake.append("orders", pa.Table.from_pandas(frame, preserve_index=False), "batch:2", 1)
    assert lake.rows("orders") == 4


def test_what_is_not_there_is_named(lake: Lake) -> None:
    with pytest.raises(NotFound, match="run ingest"):
        lake.read("orders")
    lake.append("orders", ROWS, "batch:1", 1)
    with pytest.raises(NotFound, match="version 99"):
        lake.read("orders", 99)
    with pytest.raises(NotFound, match="lower-case"):
        lake.exists("../vault")


def test_a_file_that_is_spoilt_is_a_data_error(lake: Lake) -> None:
    lake.append("sales", ROWS, "batch:1", 1)
    (path,) = Path(lake.uri).glob("sales/*.parquet")
    path.write_bytes(b"spoilt" * 20)
    with pytest.raises(DataError, match="files that can be read"):
        lake.read("sales")
    with pytest.raises(DataError, match="files that can be read"):
        lake.some("sales", ["code"], [("units", "=", 1)], 1)


def test_a_place_that_cannot_be_written_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file where the folder should be")
    with pytest.raises(DataError, match="orders"):
        Lake(str(tmp_path / "lake")).append("orders", ROWS, "batch:1", 1)
