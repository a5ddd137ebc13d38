import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from configs.schema import Dataset
from errors import ConfigError, SchemaError, SourceError
from tasks.database import sql_chunks, sql_times
from tests.tasks.shop import Shop, orders

QUERY = "SELECT * FROM orders WHERE invoice_date >= :start AND invoice_date < :end ORDER BY invoice_date"
AUGUST = (datetime.fromisoformat("2011-08-01"), datetime.fromisoformat("2011-09-01"))


def shop(folder: Path, monkeypatch: pytest.MonkeyPatch, query: str = QUERY, **source: Any) -> Dataset:
    monkeypatch.setenv("SHOP_DB_URL", f"sqlite:///{folder}/shop.db")
    declared = {"format": "sql", "query": query, "url_variable": "SHOP_DB_URL", **source}
    return Shop(folder, declared).dataset


def fill(folder: Path, rows: pd.DataFrame) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as connection:
        rows.to_sql("orders", connection, index=False)
        connection.commit()


def read(dataset: Dataset) -> pd.DataFrame:
    return pa.concat_tables([chunk.rows for chunk in sql_chunks(dataset, *AUGUST)]).to_pandas()


def test_the_query_gives_a_period_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, pd.concat([orders("2011-08"), orders("2011-09")]))
    dataset = shop(tmp_path, monkeypatch, batch_rows=64)
    chunks = list(sql_chunks(dataset, *AUGUST))
    assert [chunk.rows.num_rows for chunk in chunks] == [64, 64, 64, 8]
    found = read(dataset).sort_values("description").astype(str)
    expected = orders("2011-08").sort_values("description").astype(str)
    assert found.to_dict("list") == expected.to_dict("list")


def test_the_times_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, orders("2011-08"))
    (times,) = sql_times(shop(tmp_path, monkeypatch), *AUGUST)
    assert sorted(times.to_pylist()) == sorted(orders("2011-08")["invoice_date"])


def test_text_where_numbers_belong_travels_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = orders("2011-08").astype({"quantity": object})
    rows.loc[3, "quantity"] = "three"
    fill(tmp_path, rows)
    assert "three" in read(shop(tmp_path, monkeypatch))["quantity"].tolist()


def test_a_database_that_is_away_is_named_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = shop(tmp_path, monkeypatch)
    monkeypatch.setenv("SHOP_DB_URL", f"sqlite:///{tmp_path}/nowhere/secret.db")
    with pytest.raises(SourceError, match="SHOP_DB_URL") as refused:
        read(dataset)
    assert "secret" not in str(refused.value)
    monkeypatch.setenv("SHOP_DB_URL", "nodriver://ann:secret@127.0.0.1/shop")
    with pytest.raises(SourceError, match="SHOP_DB_URL") as refused:
        read(dataset)
    assert "secret" not in str(refused.value)


def test_a_query_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="no such table"):
        read(shop(tmp_path, monkeypatch))


def test_a_column_the_query_does_not_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, orders("2011-08").rename(columns={"unit_price": "price"}))
    with pytest.raises(SchemaError, match="unit_price"):
        read(shop(tmp_path, monkeypatch))


def test_an_address_that_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = shop(tmp_path, monkeypatch)
    monkeypatch.delenv("SHOP_DB_URL")
    with pytest.raises(ConfigError, match="SHOP_DB_URL"):
        read(dataset)
