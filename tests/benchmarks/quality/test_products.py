"""The contest over single products on a shop small enough to see by eye: who is on the shelf, and what each Monday knew."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from benchmarks import bundled
from benchmarks.quality import _products as products
from benchmarks.quality.demand import OURS, RIVALS, RULES, compared
from configs.load import load
from models.contract import configure, find
from models.kit.categories import Rule
from models.kit.forecast import HORIZONS

RULES_OF_SHOP = (Rule(category="mugs", words=("mug",)),)
DAILY = {"10001": 5, "10002": 2, "10003": 1}
MOMENT = products.CUT
END = MOMENT + timedelta(weeks=4)


def shop(end: datetime = END, start: datetime = MOMENT - timedelta(weeks=20)) -> pd.DataFrame:
    """Three mugs, sold every noon; the first sells tenfold after MOMENT, three of the second are taken back a week later."""
    days = (end - start).days
    rows = [
        (code, units * (10 if code == "10001" and start + timedelta(days=day) >= MOMENT else 1), day, f"5{day:05d}")
        for day in range(days)
        for code, units in DAILY.items()
    ]
    frame = pd.DataFrame(rows, columns=["stock_code", "quantity", "day", "invoice_no"])
    frame["invoice_date"] = pd.Timestamp(start) + pd.to_timedelta(frame["day"] + 0.5, unit="D")
    at = frame[(frame["stock_code"] == "10002") & (frame["invoice_date"] >= pd.Timestamp(MOMENT))].head(1)
    frame.loc[at.index, "quantity"] = 3
    back = at.assign(quantity=-3, invoice_no="C599999", invoice_date=at["invoice_date"] + pd.Timedelta(days=7))
    whole = pd.concat([frame, back[back["invoice_date"] < pd.Timestamp(end)]], ignore_index=True)
    whole["invoice_date"] = whole["invoice_date"].astype("datetime64[us, UTC]")
    return whole.drop(columns="day").assign(description="RED MUG", unit_price=2.0, customer_id="ada", country="France")


def test_the_shelf_is_ordered_by_what_was_known_at_its_moment() -> None:
    found = products.shelf(shop(), RULES_OF_SHOP, MOMENT, END, 4)
    assert found.items == ("10001", "10002", "10003")
    assert found.sold.tolist() == [[350] * 4, [12, 14, 14, 14], [7] * 4]


def test_a_monday_knows_what_was_known_by_then() -> None:
    found = products.shelf(shop(), RULES_OF_SHOP, MOMENT, END, 4)
    assert found.then[0].units[:, -1].tolist() == [35, 14, 7]
    assert found.then[1].units[:, -1].tolist() == [350, 15, 7]  # taken back only in the week after
    assert found.then[2].units[1, -2:].tolist() == [12, 14]


@pytest.mark.parametrize("origin", [0, 1, 3])
def test_what_is_sold_later_changes_nothing(origin: int) -> None:
    whole = products.shelf(shop(), RULES_OF_SHOP, MOMENT, END, 4)
    until = MOMENT + timedelta(weeks=origin)
    part = products.shelf(shop(until), RULES_OF_SHOP, MOMENT, until, origin + 1)
    assert part.items == whole.items
    np.testing.assert_array_equal(part.then[origin].units, whole.then[origin].units)
    np.testing.assert_array_equal(part.see(part.then[origin]), whole.see(whole.then[origin]))


def test_inputs_are_numbers_also_for_what_never_sold() -> None:
    found = products.shelf(shop(), RULES_OF_SHOP, MOMENT, END, 4)
    empty = found.then[0]
    empty.units[2], empty.lines[2], empty.spend[2] = 0.0, 0.0, 0.0
    seen = found.see(empty)
    assert np.isfinite(seen).all()
    assert len(seen) == 3


def test_everybody_is_asked_about_the_same_weeks() -> None:
    made, sold = products.contest(shop(products.END), RULES_OF_SHOP, RIVALS, ("ours",), seed=1)
    assert set(made) == {*RIVALS, "ours"}
    for horizon in HORIZONS:
        assert sold[horizon].shape == made["ours"][horizon].shape == (products.TARGETS, 3)
    assert made["last week"][4][0].tolist() == [35, 14, 7]  # asked at the cut
    assert made["last week"][1][0].tolist() == [350, 14, 7]  # three weeks later
    small, sold = products.largest(made, sold, 1)
    assert small[RULES][1].shape == sold[1].shape == (products.TARGETS, 1)


@pytest.mark.slow
def test_on_the_real_holdout_it_beats_the_median_on_the_200_largest() -> None:
    """On the 50 largest the lead touches zero (docs/models/demand.md); there it must stay under the figures quoted."""
    recipe = load().models["demand"]
    rules = configure(find("demand"), recipe)[0].rules
    rivals = {RULES: RIVALS[RULES]}
    made, sold = products.contest(bundled("demand")["orders"], rules, rivals, (OURS,), recipe.seed)
    for size, quoted in zip(products.SIZES, ({1: 0.485, 4: 0.514}, {1: 0.528}), strict=True):
        ours = compared(*products.largest(made, sold, size), total=False)[1]
        for horizon, wape in quoted.items():
            assert ours[f"h{horizon}"]["wape"] < wape, (size, horizon)
    for horizon in (1, 2, 3):
        assert ours[f"h{horizon}"]["over categories"][0] > 0, horizon
