import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from configs.load import load
from configs.schema import Dataset
from errors import NotFound, SourceError, UsageError
from tasks.cut import batch_chunks, batch_ids
from tests.tasks.shop import NAME, Shop, orders

NOW = datetime(2026, 11, 21, tzinfo=UTC)
BUNDLED = load().datasets[NAME]


def whole_file(folder: Path, rows: pd.DataFrame, batches: str = "month", chunk: int = 64) -> Dataset:
    path = folder / "all.csv"
    rows.to_csv(path, index=False)
    return Shop(folder, {"format": "csv", "uri": str(path), "batch_rows": chunk}, batches=batches).dataset


def lines(dataset: Dataset, batch: str) -> pd.DataFrame:
    return pa.concat_tables([chunk.rows for chunk in batch_chunks(dataset, batch)]).to_pandas()


def test_the_bundled_file_is_cut_into_its_months() -> None:
    found = batch_ids(BUNDLED, NOW)
    assert found == ["2010-12", *(f"2011-{month:02d}" for month in range(1, 13))]
    assert len(lines(BUNDLED, "2011-08")) == 35_284
    assert len(lines(BUNDLED, "2011-12")) == 25_525


def test_every_line_of_a_cut_file_is_in_one_batch(tmp_path: Path) -> None:
    rows = pd.concat([orders("2011-08"), orders("2011-09"), orders("2011-08").assign(stock_code="late")])
    dataset = whole_file(tmp_path, rows)
    assert batch_ids(dataset, NOW) == ["2011-08", "2011-09"]
    assert [len(lines(dataset, month)) for month in ("2011-08", "2011-09")] == [400, 200]


def test_days_and_the_whole(tmp_path: Path) -> None:
    by_day = whole_file(tmp_path, orders("2011-08"), "day")
    assert len(batch_ids(by_day, NOW)) == 28
    assert set(lines(by_day, "2011-08-01")["invoice_date"].str[:10]) == {"2011-08-01"}
    whole = whole_file(tmp_path, orders("2011-08"), "whole")
    assert batch_ids(whole, NOW) == ["whole"]
    assert len(lines(whole, "whole")) == 200


def test_a_month_is_cut_at_midnight_of_the_shop_and_not_of_utc(tmp_path: Path) -> None:
    rows = orders("2011-08", lines=2)
    rows["invoice_date"] = ["2011-08-01 00:30:00", "2011-07-31 23:30:00"]  # both in July by UTC
    dataset = whole_file(tmp_path, rows)
    assert len(lines(dataset, "2011-08")) == 1
    assert len(lines(dataset, "2011-07")) == 1


def test_a_line_without_a_readable_time_stays_with_the_line_before_it(tmp_path: Path) -> None:
    rows = pd.concat([orders("2011-08"), orders("2011-09")], ignore_index=True)
    rows.loc[[0, 64, 199, 250], "invoice_date"] = [
        "",
        "soon",
        None,
        "??",
    ]  # first of all, first of a chunk, last of a month
    dataset = whole_file(tmp_path, rows)
    assert [len(lines(dataset, month)) for month in ("2011-08", "2011-09")] == [200, 200]


def test_a_month_that_is_not_over_is_no_batch_yet(tmp_path: Path) -> None:
    dataset = whole_file(tmp_path, pd.concat([orders("2011-08"), orders("2011-09")]))
    # half past midnight in London, still August by UTC
    assert batch_ids(dataset, datetime(2011, 8, 31, 23, 30, tzinfo=UTC)) == ["2011-08"]
    with pytest.raises(SourceError, match="at least one batch that is complete"):
        batch_ids(dataset, datetime(2011, 8, 31, 22, 30, tzinfo=UTC))


def test_a_file_without_any_readable_time_is_not_silently_empty(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="event times"):
        batch_ids(whole_file(tmp_path, orders("2011-08").assign(invoice_date="soon")), NOW)
    with pytest.raises(SourceError, match="event times"):
        batch_ids(whole_file(tmp_path, orders("2011-08").head(0)), NOW)


def test_no_batch_files_at_all_is_not_silently_empty(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="address"):
        batch_ids(Shop(tmp_path).dataset, NOW)


def test_batch_files_need_no_calendar(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.send("delivery-7", orders("2011-08"))
    assert batch_ids(shop.dataset, NOW) == ["delivery-7"]
    assert len(lines(shop.dataset, "delivery-7")) == 200


def test_an_sql_source_is_cut_by_its_query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DB_URL", f"sqlite:///{tmp_path}/shop.db")
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        pd.concat([orders("2011-08"), orders("2011-10")]).to_sql("orders", connection, index=False)
    query = "SELECT * FROM orders WHERE invoice_date >= :start AND invoice_date < :end"
    source = {"format": "sql", "query": query, "url_variable": "SHOP_DB_URL"}
    dataset = Shop(tmp_path, source).dataset
    assert batch_ids(dataset, NOW) == ["2011-08", "2011-10"]
    assert len(lines(dataset, "2011-10")) == 200


@pytest.mark.parametrize("batch", ["2011-13", "2011-8", "../2011-08", "2011-08\n", "", "august", "2011-08-01"])
def test_an_id_that_is_no_month(batch: str) -> None:
    with pytest.raises(UsageError, match="such as 2011-08"):
        list(batch_chunks(BUNDLED, batch))


@pytest.mark.parametrize("batch", ["../secret", "a/b", ".hidden", "", "x" * 65, "a b"])
def test_an_id_that_is_no_file_name(tmp_path: Path, batch: str) -> None:
    with pytest.raises(UsageError, match="letters, digits"):
        list(batch_chunks(Shop(tmp_path).dataset, batch))


def test_an_id_that_is_no_day(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="such as 2011-08-01"):
        list(batch_chunks(whole_file(tmp_path, orders(), "day"), "2011-02-30"))


def test_a_month_the_file_does_not_have() -> None:
    with pytest.raises(NotFound, match="2015-01"):
        list(batch_chunks(BUNDLED, "2015-01"))
