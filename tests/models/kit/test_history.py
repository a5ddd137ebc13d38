"""The long feature frame and its index, on five order lines worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

from models.kit import history

NOW = datetime(2011, 6, 11, tzinfo=UTC)


def lines() -> pd.DataFrame:
    frame = pd.DataFrame(
        [
            ("1", "22001", "ada", "2011-06-01", 2.0, 3.0, "France"),
            ("1", "22001", "ada", "2011-06-01", 1.0, 2.0, "France"),  # a second line of the same order
            ("2", "22001", "ada", "2011-06-06", 4.0, 1.0, "Spain"),
            ("2", "22002", "ada", "2011-06-06", 1.0, 5.0, "Spain"),
            ("3", "22001", None, "2011-05-22", 10.0, 1.0, "France"),
        ],
        columns=["invoice", "item", "subject", "time", "units", "price", "country"],
    )
    frame["time"] = pd.to_datetime(frame["time"], utc=True)
    return frame.astype(dict.fromkeys(("invoice", "item", "subject", "country"), "category"))


@pytest.fixture
def frame() -> pd.DataFrame:
    return history.features(lines(), NOW, half_life_days=5.0)


def row(frame: pd.DataFrame, subject: str, item: str) -> dict[str, object]:
    found = frame[(frame["subject"] == subject) & (frame["item"] == item)]
    assert len(found) == 1
    return dict(found.iloc[0])


def test_a_row_per_customer_and_product_counts_orders_not_lines(frame: pd.DataFrame) -> None:
    got = row(frame, "ada", "22001")
    assert (got["orders"], got["days"], got["units"], got["spend"]) == (2, 5.0, 7.0, 12.0)
    assert got["trend"] == pytest.approx(0.25 + 0.5)  # 10 and 5 days ago, halved each 5
    assert (got["country"], got["buyers"]) == ("Spain", 1)


def test_a_row_per_product_counts_orders_without_a_customer_too(frame: pd.DataFrame) -> None:
    got = row(frame, history.CATALOGUE, "22001")
    assert (got["orders"], got["units"], got["buyers"], got["country"]) == (3, 17.0, 1, "")
    assert got["trend"] == pytest.approx(0.25 + 0.5 + 2**-4)
    assert len(frame) == 4


def test_the_index_finds_a_customer_and_nobody_else(frame: pd.DataFrame) -> None:
    index = history.index(frame)
    codes = index.catalogue.codes
    assert codes == ("22001", "22002")
    assert [codes[at] for at in index.items[index.rows("ada")]] == ["22001", "22002"]
    assert index.orders[index.rows("ada")].tolist() == [2, 1]
    for nobody in ("bob", None, ""):
        assert index.items[index.rows(nobody)].tolist() == []


def test_the_index_does_not_depend_on_the_order_of_rows(frame: pd.DataFrame) -> None:
    first, second = history.index(frame), history.index(frame.iloc[::-1])
    assert first.catalogue.codes == second.catalogue.codes
    assert first.items.tolist() == second.items.tolist()
    assert first.days.tolist() == second.days.tolist()


def test_known_is_history_and_basket_without_the_unknown(frame: pd.DataFrame) -> None:
    index = history.index(frame)
    assert index.known(None, ["22002", "00000"]) == {1}
    assert index.known("ada", []) == {0, 1}


def test_nothing_gives_an_empty_index() -> None:
    index = history.index(history.features(lines().iloc[:0], NOW, 5.0))
    assert index.catalogue.codes == ()
    assert index.known("ada", ["22001"]) == set()
