from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from errors import NotFound
from stores.lake import Lake
from stores.ledger import batches as registered
from stores.ledger.batches import Batch
from stores.ledger.engine import Ledger
from stores.ledger.versions import versions
from tasks.snapshots import BATCH, latest_snapshot, recover

NOON = datetime(2011, 8, 1, 12, tzinfo=UTC)
ROWS = pa.table({"units": pa.array([1, 2], pa.int64())})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", "flow")
    yield opened
    opened.close()


def batch(name: str, version: int = -1) -> Batch:
    return Batch(
        table="orders",
        id=name,
        digest=name * 8,
        rows=2,
        quarantined=0,
        delta_version=version,
        suite="s",
        newest=NOON,
        at=NOON,
    )


def commit(lake: Lake, name: str) -> Batch:
    """What a run writes before it dies."""
    new = batch(name)
    version = lake.append("orders", ROWS, f"batch:{name}", 1, {BATCH: new.to_json().decode()})
    return msgspec.structs.replace(new, delta_version=version)


def test_nothing_taken_in_is_said(lake: Lake, ledger: Ledger) -> None:
    recover(lake, ledger, "orders")
    with pytest.raises(NotFound, match="run ingest first"):
        latest_snapshot(lake, ledger, "orders")


def test_what_the_lake_holds_and_the_ledger_does_not_is_registered_in_order(lake: Lake, ledger: Ledger) -> None:
    made = [commit(lake, name) for name in ("a", "b")]
    for _ in range(2):  # a second look finds nothing new
        recover(lake, ledger, "orders")
    assert registered.batches(ledger, "orders") == made
    assert [version.name for version in versions(ledger, "data", "orders")] == ["data_v1", "data_v2"]
    snapshot = latest_snapshot(lake, ledger, "orders")
    assert (snapshot.batches, snapshot.rows, snapshot.version.number) == (("a", "b"), 4, 2)
    assert latest_snapshot(lake, ledger, "orders", made[0]).rows == 2


def test_commits_of_others_are_no_batches(lake: Lake, ledger: Ledger) -> None:
    commit(lake, "a")
    lake.append("orders", ROWS, "somebody", 1, {"who": "else"})
    recover(lake, ledger, "orders")
    assert [known.id for known in registered.batches(ledger, "orders")] == ["a"]
    assert latest_snapshot(lake, ledger, "orders").rows == 2


def test_the_order_is_that_of_the_lake(lake: Lake, ledger: Ledger) -> None:
    first, second = commit(lake, "a"), commit(lake, "b")
    for late_to_register in (second, first):
        registered.register(ledger, late_to_register)
    snapshot = latest_snapshot(lake, ledger, "orders")
    assert snapshot.batches == ("a", "b")
    assert snapshot.delta_version == second.delta_version
