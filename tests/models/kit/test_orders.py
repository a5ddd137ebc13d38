"""Cleaning of order lines: one line of tiny data for each thing that is left out, netted or kept on purpose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import SchemaError
from models.kit import orders

START = datetime(2011, 3, 1, 9, tzinfo=UTC)
LATER = START + timedelta(days=100)
NOBODY = None


def line(
    minute: float, item: str = "22423", units: int = 6, customer: str | None = "ada", invoice: str = "", **more: Any
) -> dict[str, Any]:
    return {
        "invoice_no": invoice or f"{536000 + round(minute)}",
        "stock_code": item,
        "description": "a thing",
        "quantity": units,
        "invoice_date": pd.Timestamp(START + timedelta(minutes=minute)),
        "unit_price": 2.5,
        "customer_id": customer,
        "country": "United Kingdom",
        **more,
    }


def cancel(minute: float, **more: Any) -> dict[str, Any]:
    return line(minute, invoice=f"C{536000 + round(minute)}", **more)


def table(*lines: dict[str, Any]) -> pd.DataFrame:
    frame = pd.DataFrame(list(lines), columns=list(line(0)))
    return frame.astype({"customer_id": "str", "stock_code": "str", "invoice_date": "datetime64[us, UTC]"})


def kept(*lines: dict[str, Any], as_of: datetime = LATER) -> list[tuple[str, float]]:
    found = orders.purchases(table(*lines), as_of)
    return list(zip(found["item"].astype("str"), found["units"], strict=True))


NO_PRODUCTS = "POST,DOT,M,m,D,S,B,C2,BANK CHARGES,AMAZONFEE,CRUK,PADS,gift_0001_10,DCGS0003,DCGSSBOY,,1234,123456"


@pytest.mark.parametrize("code", NO_PRODUCTS.split(","))
def test_codes_that_are_no_product_are_left_out(code: str) -> None:
    assert kept(line(0, item=code)) == []


@pytest.mark.parametrize("code", ["22423", "85123A", "85123a", " 85123A ", "15056BL"])
def test_products_are_kept_in_upper_case(code: str) -> None:
    assert kept(line(0, item=code)) == [(code.strip().upper(), 6)]


def test_case_variants_are_one_product() -> None:
    assert kept(line(0, item="85123a"), cancel(5, item="85123A", units=-6)) == []


def test_monster_order_cancelled_minutes_later_leaves_nothing() -> None:
    monster = line(0, units=80_995), cancel(12, units=-80_995)
    assert kept(*monster, line(60, units=3)) == [("22423", 3)]


def test_monster_order_counts_while_nobody_could_know_better() -> None:
    between = START + timedelta(minutes=5)
    assert kept(line(0, units=80_995), cancel(12, units=-80_995), as_of=between) == [("22423", 80_995)]


def test_cancellation_takes_back_the_exact_order_even_when_a_newer_one_is_there() -> None:
    assert kept(line(0, units=6), line(10, units=8), cancel(20, units=-6)) == [("22423", 8)]


def test_part_of_an_order_is_taken_from_the_newest() -> None:
    assert kept(line(0, units=6), line(10, units=8), cancel(20, units=-3)) == [("22423", 6), ("22423", 5)]


def test_a_cancellation_larger_than_the_newest_eats_into_older_ones() -> None:
    assert kept(line(0, units=6), line(10, units=8), cancel(20, units=-10)) == [("22423", 4)]


def test_a_cancellation_is_of_its_own_customer_and_product_only() -> None:
    lines = line(0), line(1, item="20725"), line(2, customer="bob")
    assert len(kept(*lines, cancel(20, units=-6))) == 2


def test_a_cancellation_without_its_purchase_takes_nothing() -> None:
    assert kept(cancel(0, units=-6), line(10)) == [("22423", 6)]


def test_without_a_customer_only_an_exact_quantity_is_believed() -> None:
    assert kept(line(0, customer=NOBODY), cancel(5, units=-6, customer=NOBODY)) == []
    assert kept(line(0, customer=NOBODY), cancel(5, units=-4, customer=NOBODY)) == [("22423", 6)]


def test_nobody_is_not_a_customer_who_cancels_for_others() -> None:
    assert kept(line(0), cancel(5, units=-6, customer=NOBODY)) == [("22423", 6)]


def test_lines_without_a_customer_stay_for_popularity() -> None:
    found = orders.purchases(table(line(0, customer=NOBODY), line(1)), LATER)
    assert found["subject"].isna().tolist() == [True, False]


def test_stock_adjustments_and_write_offs_are_left_out() -> None:
    assert kept(line(0, units=-50, customer=NOBODY), line(1, unit_price=0.0), line(2, unit_price=-11062.06)) == []


def test_exact_duplicates_count_once_and_two_real_lines_stay() -> None:
    assert kept(line(0), line(0)) == [("22423", 6)]
    assert kept(line(0, units=6), line(0, units=2)) == [("22423", 2), ("22423", 6)]


def test_rows_from_as_of_on_are_unknown() -> None:
    assert kept(line(0), line(10), as_of=START + timedelta(minutes=10)) == [("22423", 6)]


def test_nothing_gives_nothing_with_the_same_columns() -> None:
    some, none = orders.purchases(table(line(0)), LATER), orders.purchases(table(), LATER)
    assert none.empty
    assert list(none.columns) == list(some.columns)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(SchemaError, match="unit_price"):
        orders.purchases(table(line(0)).drop(columns="unit_price"), LATER)


lines_of_two_customers = st.lists(
    st.builds(
        lambda minute, item, units, customer, cancelled: (cancel if cancelled else line)(
            minute, item=item, units=-units if cancelled else units, customer=customer
        ),
        st.integers(0, 60),
        st.sampled_from(["22423", "20725", "POST"]),
        st.integers(1, 4),
        st.sampled_from(["ada", "bob", None]),
        st.booleans(),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=40)
@given(lines=lines_of_two_customers, cut=st.integers(1, 60))
def test_a_later_cancellation_changes_nothing_earlier(lines: list[dict[str, Any]], cut: int) -> None:
    """What was known at the cut is the same whether or not the future, cancellations included, is in the table."""
    as_of = START + timedelta(minutes=cut)
    known = [one for one in lines if one["invoice_date"] < as_of]
    pd.testing.assert_frame_equal(
        plain(orders.purchases(table(*lines), as_of)), plain(orders.purchases(table(*known), as_of))
    )


@settings(deadline=None, max_examples=20)
@given(lines=lines_of_two_customers, seed=st.randoms(use_true_random=False))
def test_row_order_does_not_matter_and_units_never_grow(lines: list[dict[str, Any]], seed: Any) -> None:
    first = orders.purchases(table(*lines), LATER)
    shuffled = list(lines)
    seed.shuffle(shuffled)
    pd.testing.assert_frame_equal(plain(orders.purchases(table(*shuffled), LATER)), plain(first))
    bought = {(one["stock_code"], one["customer_id"]): 0.0 for one in lines}
    for one in lines:
        bought[one["stock_code"], one["customer_id"]] += max(one["quantity"], 0)
    for (item, subject), units in (
        first.astype("str").assign(units=first["units"]).groupby(["item", "subject"])["units"].sum().items()
    ):
        assert 0 < units <= bought[item, None if subject == "nan" else subject]


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Categories depend on what else is in the table; values must not."""
    return frame.astype(dict.fromkeys(("invoice", "item", "subject", "country"), "str"))


def test_movements_known_before_a_moment_are_the_purchases_as_of_it() -> None:
    """The whole table at once shows every week as it was seen at the time."""
    lines = table(
        line(0, units=6), line(5, units=80_995), cancel(17, units=-80_995), line(30, units=4),
        line(40, units=9), cancel(50, units=-11), cancel(60, units=-1, item="99999"),
    )  # fmt: skip
    moved = orders.movements(lines, LATER)
    for minute in range(0, 70, 5):
        moment = START + timedelta(minutes=minute)
        seen = moved[moved["known"] < pd.Timestamp(moment)].groupby("sold")["units"].sum()
        then = orders.purchases(lines, moment).groupby("time")["units"].sum()
        assert seen[seen > 0].to_dict() == then.to_dict(), minute
    assert (moved["known"] >= moved["sold"]).all()


@pytest.mark.parametrize("minutes", [0, 1, 15, 30, 31, 50, 10_000])
def test_cleaned_once_any_earlier_moment_is_what_it_was(minutes: float) -> None:
    """Cancellations, repeated lines and an item that comes late: sliced after cleaning as cleaned after slicing."""
    whole = table(
        line(0), line(0), line(10, units=4), cancel(30, units=-4), line(20, item="85123a", customer=None),
        line(40, item="99999"), cancel(50, units=-6), line(15, customer="bob", country="France"),
    )  # fmt: skip
    as_of = START + timedelta(minutes=minutes)
    sliced, alone = orders.netted(orders.cleaned(whole, LATER), as_of), orders.purchases(whole, as_of)
    kinds = dict.fromkeys(("invoice", "item", "subject", "country"), "str")
    pd.testing.assert_frame_equal(sliced.astype(kinds), alone.astype(kinds))
