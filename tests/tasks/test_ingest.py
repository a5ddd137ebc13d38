import multiprocessing
import re
from multiprocessing.context import ForkServerContext
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from configs.load import load, settings
from errors import BatchConflict, BatchRefused, NotFound, SchemaError, SourceError
from records import OutboxEvent, Snapshot
from stores.lake import Lake
from stores.ledger import audit, findings, outbox
from tasks.ingest import newest_snapshot, take_in
from tasks.quality_page import DoorReport
from tests.tasks.shop import NAME, Shop, orders, take_and_die, take_together


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def flawed(batch: str = "2011-08") -> pd.DataFrame:
    """A good batch but for two rows that belong in quarantine."""
    rows = orders(batch, 400).assign(stock_code=[str(10_000 + n) for n in range(400)]).astype(object)
    rows.loc[7, ["unit_price", "description"]] = [-1.0, "x" * 300_000]
    rows.loc[9, "quantity"] = "nine"
    return rows


def said_of_batches(shop: Shop) -> list[str]:
    """What the findings tell the readers of the table, oldest first."""
    ledger = shop.ledger()
    try:
        return [one.answer for one in findings.findings(ledger, "recommendation") if one.kind == "batch"]
    finally:
        ledger.close()


def alerts(shop: Shop) -> list[OutboxEvent]:
    ledger = shop.ledger()
    try:
        return outbox.pending(ledger, 100)
    finally:
        ledger.close()


def told(shop: Shop, batch: str) -> DoorReport:
    facts = shop.settings.home / "pages" / "data" / "orders" / f"{batch}.json"
    return msgspec.json.decode(facts.read_bytes(), type=DoorReport)


def test_new_batches_are_taken_in_once_and_in_order(shop: Shop) -> None:
    for month in ("2011-09", "2011-07", "2011-08"):
        shop.send(month, orders(month))
    first = shop.take(until="2011-08")
    assert [snapshot.batches for snapshot in first] == [("2011-07",), ("2011-07", "2011-08")]
    assert [snapshot.version.name for snapshot in first] == ["data_v1", "data_v2"]
    (last,) = shop.take()
    assert (last.batches[-1], last.rows, last.version.number) == ("2011-09", 600, 3)
    assert shop.take() == []
    assert shop.newest() == last
    assert str(last.newest) == "2011-09-28 16:19:00+00:00"  # 17:19 in the shop

    rows = shop.lake.read("orders", last.delta_version)
    assert rows["batch_id"].value_counts().to_dict() == {"2011-07": 200, "2011-08": 200, "2011-09": 200}
    assert rows["customer_id"].str.fullmatch(r"p1_[0-9a-f]{32}").all()
    assert rows["customer_id"].nunique() == 25  # the same people in every month
    assert len(shop.lake.read("orders", first[0].delta_version)) == 200  # an older snapshot stays readable


def test_the_same_rows_again_are_the_same_batch_and_other_rows_a_conflict(shop: Shop) -> None:
    shop.send("2011-07", orders("2011-07"))
    shop.send("2011-08", orders())
    _, taken = shop.take()
    shop.send("2011-08", orders().sample(frac=1, random_state=1)[orders().columns[::-1]])  # sorted otherwise
    assert shop.take("2011-08") == [taken]
    (older,) = shop.take("2011-07")
    assert (older.version.number, older.rows) == (1, 200)

    shop.send("2011-08", orders().replace({"quantity": {6: 7}}))
    with pytest.raises(BatchConflict, match="'2011-08' of table 'orders'"):
        shop.take("2011-08")
    shop.send("2011-09", orders())
    with pytest.raises(BatchConflict, match="exactly the rows of batch '2011-08'"):
        shop.take("2011-09")
    assert shop.newest() == taken
    assert shop.lake.rows("orders") == 400
    assert {event.title for event in alerts(shop)} == {f"orders/2011-0{n} refused at the door" for n in (8, 9)}


def test_a_corrupt_batch_is_refused_and_the_newest_snapshot_stays(shop: Shop) -> None:
    shop.send("2011-07", orders("2011-07"))
    (before,) = shop.take()
    shop.send("2011-08", orders().assign(unit_price=lambda rows: rows["unit_price"] * 100, customer_id=None))
    shop.send("2011-09", orders("2011-09"))
    for _ in range(2):
        with pytest.raises(BatchRefused, match="price_level: 275") as refused:
            shop.take()
    assert "customers_known_enough" in str(refused.value)
    assert shop.newest() == before
    assert shop.lake.version("orders") == before.delta_version
    assert not shop.lake.exists("orders_quarantine")
    assert [batch.id for batch in shop.registered()] == ["2011-07"]  # nor was anything taken in after it
    assert len(told(shop, "2011-08").refused) == 2

    readers = sorted(name for name, model in shop.config.models.items() if NAME in model.tables.values())
    told_of = alerts(shop)  # two attempts, one alert for each model that reads the table
    assert sorted(event.model for event in told_of) == readers
    assert {event.level for event in told_of} == {"emergency"}
    assert {event.body["owner"] for event in told_of} == {"data-engineering@example.org"}
    assert said_of_batches(shop) == ["yes", "yes"]
    ledger = shop.ledger()
    entries = [entry for entry in audit.entries(ledger, "orders") if entry.action == "batch refused"]
    ledger.close()
    assert len(entries) == 2

    shop.send("2011-08", orders())
    assert [snapshot.batches[-1] for snapshot in shop.take()] == ["2011-08", "2011-09"]
    assert said_of_batches(shop) == ["yes", "yes", "no"]
    assert told(shop, "2011-08").refused == ()


def test_rows_that_fail_go_to_quarantine_with_the_reason(shop: Shop) -> None:
    shop.send("2011-08", flawed())
    seen: list[tuple[DoorReport, Path]] = []
    (snapshot,) = shop.take(publish=lambda report, page: seen.append((report, page)))
    aside = shop.lake.read("orders_quarantine").set_index("place").sort_index()
    assert snapshot.rows == 398
    assert aside["reason"].to_dict() == {
        7: "description_length; price_range",
        9: "quantity is not readable as int64; quantity_given",
    }
    assert aside["description"].str.len().max() == 200
    assert aside["customer_id"].str.startswith("p1_").all()
    assert set(aside["batch_id"]) == {"2011-08"}
    assert shop.registered()[0].quarantined == 2
    assert [(report.quarantined, page.exists()) for report, page in seen] == [(2, True)]


def test_a_late_batch_is_taken_in_and_said_to_be_late(shop: Shop) -> None:
    shop.send("2011-08", orders())
    (newest,) = shop.take()
    shop.send("2011-06", orders("2011-06"))
    (late,) = shop.take()
    assert late.batches == ("2011-08", "2011-06")
    assert late.newest == newest.newest
    assert late.version.number == 2
    assert told(shop, "2011-06").late_seconds == pytest.approx(61 * 86_400)
    assert told(shop, "2011-08").late_seconds == 0


def test_no_customer_number_is_anywhere_in_the_house(shop: Shop) -> None:
    rows = flawed().astype({"customer_id": str})
    rows["customer_id"] = "cust-" + rows["customer_id"]
    rows.loc[11, "unit_price"] = "cust-17001"  # it slipped into another column
    shop.send("2011-08", rows)
    shop.take()
    files = [path for path in shop.settings.home.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if b"cust-17" in path.read_bytes()] == []
    stored = pd.concat([shop.lake.read("orders"), shop.lake.read("orders_quarantine")])
    assert not stored.astype(str).apply(lambda column: column.str.contains("cust-17")).to_numpy().any()


def test_an_empty_file_a_missing_column_a_source_away(shop: Shop) -> None:
    shop.send("2011-08", orders().head(0))
    with pytest.raises(BatchRefused, match="rows_present: 0"):
        shop.take("2011-08")
    shop.send("2011-08", orders().drop(columns="country"))
    with pytest.raises(SchemaError, match="missing: country"):
        shop.take("2011-08")
    assert len({event.body["evidence"]["error"] for event in alerts(shop)}) == 2
    (shop.folder / "2011-08.csv").write_text("")
    with pytest.raises(SourceError, match="an empty file"):
        shop.take("2011-08")
    with pytest.raises(SourceError, match=r"2011-09\.csv"):
        shop.take("2011-09")
    assert len({event.body["evidence"]["error"] for event in alerts(shop)}) == 2  # away is not corrupt
    with pytest.raises(NotFound, match="run ingest first"):
        shop.newest()


def test_an_extra_column_is_left_outside_and_told(shop: Shop) -> None:
    shop.send("2011-08", orders().assign(email="ann@example.org"))
    shop.take()
    assert "email" not in shop.lake.read("orders").columns
    assert told(shop, "2011-08").extra == ("email",)


def test_an_unknown_dataset_is_named(shop: Shop) -> None:
    with pytest.raises(NotFound, match="nothing"):
        take_in(shop.settings, shop.config, "nothing")


def test_the_bundled_august_with_its_three_bad_debts(tmp_path: Path) -> None:
    house = settings({"GROWNET_HOME": str(tmp_path)})
    (snapshot,) = take_in(house, load(), NAME, "2011-08")
    assert snapshot.rows == 35_281
    lake = Lake(house.lake_uri)
    aside = lake.read("orders_quarantine")
    assert sorted(aside["invoice_no"]) == ["A563185", "A563186", "A563187"]
    rows = lake.read("orders")
    assert rows["customer_id"].isna().sum() == 7_619
    assert rows["invoice_no"].str.startswith("C").sum() == 668
    assert (rows["unit_price"] >= 0).all()
    assert newest_snapshot(house, "orders") == snapshot


# ---- killed half-way, and two at once --------------------------------------------------------------


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that need not import everything again: forked from a server that did."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.tasks.shop", "tasks.ingest", "great_expectations"])
    return context


def kill(processes: ForkServerContext, shop: Shop, table: str, when: str, batch: str = "2011-08") -> None:
    child = processes.Process(target=take_and_die, args=(str(shop.folder), batch, table, when))
    child.start()
    child.join(120)
    assert child.exitcode == -9


@pytest.mark.parametrize(
    ("table", "when", "held"),
    [
        ("orders_quarantine", "after", False),
        ("orders", "before", False),
        ("orders", "after", True),  # the commit is there and the ledger does not know
    ],
)
def test_a_batch_killed_half_way_ends_as_one_copy(
    processes: ForkServerContext, shop: Shop, table: str, when: str, held: bool
) -> None:
    shop.send("2011-08", flawed())
    kill(processes, shop, table, when)
    assert shop.registered() == []
    assert shop.lake.exists("orders") == held
    (snapshot,) = shop.take()
    assert (snapshot.rows, snapshot.version.number) == (398, 1)
    assert shop.lake.rows("orders") == 398
    assert shop.lake.rows("orders_quarantine") == 2
    assert shop.take("2011-08") == [snapshot]
    assert [batch.id for batch in shop.registered()] == ["2011-08"]


def test_a_killed_batch_is_found_by_the_next_one(processes: ForkServerContext, shop: Shop) -> None:
    shop.send("2011-08", orders())
    kill(processes, shop, "orders", "after")
    shop.send("2011-09", orders("2011-09"))
    (snapshot,) = shop.take("2011-09")
    assert snapshot.batches == ("2011-08", "2011-09")
    assert (snapshot.rows, snapshot.version.number) == (400, 2)


def test_other_rows_for_a_killed_batch_are_a_conflict(processes: ForkServerContext, shop: Shop) -> None:
    shop.send("2011-08", orders())
    kill(processes, shop, "orders", "after")
    shop.send("2011-08", orders().replace({"quantity": {6: 7}}))
    with pytest.raises(BatchConflict, match=re.escape("'2011-08'")):
        shop.take("2011-08")
    assert shop.lake.rows("orders") == 200


def test_the_same_batch_twice_at_once_is_one_copy(processes: ForkServerContext, shop: Shop) -> None:
    shop.send("2011-08", flawed())
    barrier, answers = processes.Barrier(2), processes.Queue()
    children = [
        processes.Process(target=take_together, args=(str(shop.folder), "2011-08", barrier, answers)) for _ in range(2)
    ]
    for child in children:
        child.start()
    found = [Snapshot.from_json(answers.get(timeout=120)) for _ in children]
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    assert found[0] == found[1]
    assert shop.lake.rows("orders") == 398
    assert shop.lake.rows("orders_quarantine") == 2
    assert len(shop.registered()) == 1
    assert shop.take("2011-08") == [found[0]]  # and again later
