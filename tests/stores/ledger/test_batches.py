import threading

import pytest
from msgspec.structs import replace

from errors import BatchConflict
from stores.ledger import audit, batches
from stores.ledger.engine import Ledger
from tests.stores.ledger.world import NOON, World

JANUARY = batches.Batch(
    table="orders",
    id="2011-01",
    digest="a" * 64,
    rows=10,
    quarantined=1,
    delta_version=0,
    suite="s",
    newest=NOON,
    at=NOON,
)


def test_a_batch_is_taken_in_once(world: World) -> None:
    flow = world.ledgers["flow"]
    assert batches.batch(flow, "orders", "2011-01") is None
    assert batches.register(flow, JANUARY) == JANUARY
    later = replace(JANUARY, delta_version=7)
    assert batches.register(flow, later) == JANUARY  # what was noted the first time
    assert batches.batch(flow, "orders", "2011-01") == JANUARY
    assert audit.verify(flow) == 1


def test_the_same_id_with_other_bytes_is_an_error(world: World) -> None:
    flow = world.ledgers["flow"]
    batches.register(flow, JANUARY)
    with pytest.raises(BatchConflict, match=r"2011-01.*aaaaaaaaaaaa.*bbbbbbbbbbbb"):
        batches.register(flow, replace(JANUARY, digest="b" * 64))
    assert batches.register(flow, replace(JANUARY, table="returns", digest="b" * 64)).table == "returns"


def test_batches_keep_the_order_they_came_in(world: World) -> None:
    flow = world.ledgers["flow"]
    for identity in ("2011-02", "2010-12", "2011-01"):
        batches.register(flow, replace(JANUARY, id=identity))
    assert [batch.id for batch in batches.batches(flow, "orders")] == ["2011-02", "2010-12", "2011-01"]


def test_the_same_batch_twice_at_once_is_one(world: World) -> None:
    seen: list[batches.Batch] = []

    def run(rows: int) -> None:
        ledger = Ledger.open(world.url, "flow")
        seen.append(batches.register(ledger, replace(JANUARY, rows=rows)))
        ledger.close()

    threads = [threading.Thread(target=run, args=(rows,)) for rows in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(seen) == 4
    assert len({batch.rows for batch in seen}) == 1
    assert batches.batches(world.ledgers["flow"], "orders") == seen[:1]
