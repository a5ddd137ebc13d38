"""Standings on orders small enough to count by hand: netting, what was known then, rates, look-up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from errors import SchemaError, UsageError
from models.kit import orders, standings

NOW = datetime(2011, 6, 1, tzinfo=UTC)
HORIZON = 28


def table(*rows: tuple[str, str, float, int, float]) -> pd.DataFrame:
    """Order lines of (customer, invoice, days before NOW, units, price)."""
    frame = pd.DataFrame(rows, columns=["customer_id", "invoice_no", "days", "quantity", "unit_price"])
    frame["invoice_date"] = pd.Timestamp(NOW) - pd.to_timedelta(frame["days"], unit="D")
    return frame.assign(stock_code="22001", description="thing", country="France").drop(columns="days")


SHOP = table(
    ("ada", "500001", 100, 2, 10.0),
    ("ada", "500002", 10, 1, 5.0),
    ("bob", "500003", 40, 1, 7.0),
    ("cleo", "500004", 5, 3, 1.0),
)


def test_a_row_now_and_a_row_a_horizon_ago() -> None:
    frame = standings.standings(SHOP, NOW, HORIZON)
    assert list(frame.columns) == list(standings.COLUMNS)
    assert list(zip(frame["subject"], frame["days_ago"], frame["bought"], strict=True)) == [
        ("ada", 0, "open"),
        ("bob", 0, "open"),
        ("cleo", 0, "open"),
        ("ada", 28, "yes"),
        ("bob", 28, "no"),
    ]
    ada = frame[frame["subject"] == "ada"]
    assert ada[["recency", "orders", "spend", "tenure"]].to_numpy().tolist() == [[10, 2, 25, 100], [72, 1, 20, 72]]


def test_a_cancelled_order_is_none_and_a_customer_without_one_is_unknown() -> None:
    taken_back = table(("bob", "C500009", 30, -1, 7.0), ("ada", "C500010", 9, -1, 5.0))
    frame = standings.standings(pd.concat([SHOP, taken_back]), NOW, HORIZON)
    now = frame[frame["days_ago"] == 0]
    assert now["subject"].tolist() == ["ada", "cleo"]
    assert now["orders"].tolist() == [1, 1]
    assert frame.loc[frame["days_ago"] == HORIZON, "bought"].tolist() == ["no"]  # ada's order was taken back


def test_a_cancellation_after_the_earlier_moment_does_not_reach_back() -> None:
    taken_back = table(("bob", "C500009", 3, -1, 7.0))
    frame = standings.standings(pd.concat([SHOP, taken_back]), NOW, HORIZON)
    assert "bob" not in set(frame.loc[frame["days_ago"] == 0, "subject"])
    assert "bob" in set(frame.loc[frame["days_ago"] == HORIZON, "subject"])


def test_orders_without_a_customer_are_nobodys() -> None:
    nobody = SHOP.assign(customer_id=None)
    assert standings.standings(nobody, NOW, HORIZON).empty
    assert standings.buyers(orders.cleaned(nobody, NOW), NOW - timedelta(days=99), NOW) == set()


def test_buyers_of_a_window_do_not_include_its_end() -> None:
    assert standings.buyers(orders.cleaned(SHOP, NOW), NOW - timedelta(days=10), NOW - timedelta(days=5)) == {"ada"}
    assert standings.known(orders.cleaned(SHOP, NOW), NOW - timedelta(days=5)) == ["ada", "bob"]


def test_waves_start_at_the_start_and_end_before_the_end() -> None:
    day = timedelta(days=1)
    assert standings.waves(NOW, NOW + 14 * day, 7) == [NOW, NOW + 7 * day]
    assert standings.waves(NOW, NOW + 15 * day, 7) == [NOW, NOW + 7 * day, NOW + 14 * day]
    assert standings.waves(NOW, NOW, 7) == []


def test_rates_are_drawn_towards_everybody() -> None:
    groups, bought = ["a"] * 95 + ["b"], np.array([True] * 19 + [False] * 76 + [True])
    found = standings.rates(groups, bought)
    assert found.everyone == pytest.approx(20 / 96, abs=1e-6)
    assert found.groups["a"] == pytest.approx((19 + 5 * 20 / 96) / 100, abs=1e-6)
    assert 0.2 < found.groups["b"] < 0.4  # one customer who bought is no rate of 1
    assert standings.rates([], np.zeros(0, dtype=np.bool_)) == standings.Rates(groups={}, everyone=None)


def test_a_customer_with_a_broken_number_is_unknown() -> None:
    frame = standings.standings(SHOP, NOW, HORIZON)
    frame.loc[0, "spend"] = np.nan
    frame.loc[1, "recency"] = np.inf
    index = standings.index(frame, lambda values: ["one"] * len(values))
    assert index.subjects == {"cleo": 0}
    assert index.at("ada") == -1
    assert index.rates.groups.keys() == {"one"}


def test_a_table_of_another_shape_and_a_moment_without_a_zone_are_errors() -> None:
    with pytest.raises(SchemaError, match="customer_id"):
        standings.standings(SHOP.drop(columns="customer_id"), NOW, HORIZON)
    with pytest.raises(UsageError, match="time zone"):
        standings.standings(SHOP, NOW.replace(tzinfo=None), HORIZON)
