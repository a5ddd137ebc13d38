"""Cleans raw order lines (table `orders` of the lake) into net purchases; shared by the retail models.

What is left out or netted, on purpose:
- lines at or after `as_of`, before anything else, so that a later cancellation cannot change an earlier feature;
- codes that are no product (POST, DOT, M, D, BANK CHARGES, AMAZONFEE, CRUK, PADS, gift_*, DCGS*): a product is
  five digits and up to three letters, after stripping and upper-casing (the source has case variants);
- lines repeated exactly, which are kept once;
- cancellations (invoice C...): netted against the purchase they take back, so an order of 80,995 units that is
  cancelled minutes later leaves nothing; a cancellation whose purchase lies before the data is left out;
- negative quantities that are no cancellation (stock adjustments) and prices of zero or less (write-offs, gifts).
Lines without a customer stay, with `subject` missing: they count for a product's popularity, not for a customer.
"""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from errors import SchemaError
from models.kit import split

COLUMNS = ("invoice_no", "stock_code", "quantity", "invoice_date", "unit_price", "customer_id", "country")
PRODUCT_CODE = re.compile(r"[0-9]{5}[A-Z]{0,3}")
EVENT_TIME = "invoice_date"


def product_code(code: str) -> str:
    """A stock code as the catalogue writes it."""
    return code.strip().upper()


def is_product(codes: pd.Series) -> pd.Series:
    """True where a normalised code names a product (five digits, up to three letters)."""
    return codes.str.fullmatch(PRODUCT_CODE).fillna(False).astype(bool)


def purchases(orders: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """Net purchase lines strictly before `as_of`.

    Returns:
        invoice, item, subject (missing for none), time (UTC), units (> 0, net of cancellations),
        price (GBP a unit), country; ordered by time, then invoice, item and units.
    """
    lines = _tidy(split.before(orders, EVENT_TIME, as_of))
    lines = lines[is_product(lines["item"]) & (lines["price"] > 0)]
    cancelled = lines["invoice"].str.startswith("C")
    bought = lines[~cancelled & (lines["units"] > 0)].reset_index(drop=True)
    taken_back = lines[cancelled & (lines["units"] < 0)]
    bought["units"] = net(bought, taken_back)
    return bought[bought["units"] > 0].reset_index(drop=True)


def net(bought: pd.DataFrame, taken_back: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Units of each purchase (ordered by time) that were not cancelled later by the same subject.

    A cancellation takes back the newest earlier purchase of exactly its quantity; failing that it eats into the
    newest earlier ones. Without a customer only an exact quantity of the same item is believed.
    """
    units: npt.NDArray[np.float64] = bought["units"].to_numpy(dtype=np.float64, copy=True)
    times = bought["time"].to_numpy()
    keys = _keys(bought)
    concerned = np.flatnonzero(keys.isin(set(_keys(taken_back))))
    rows_of = {key: concerned[at] for key, at in keys.iloc[concerned].groupby(keys.iloc[concerned]).indices.items()}
    ordered = taken_back.sort_values("time", kind="stable")
    for key, time, amount, subject in zip(
        _keys(ordered), ordered["time"].to_numpy(), -ordered["units"].to_numpy(), ordered["subject"], strict=True
    ):
        rows = rows_of.get(key)
        if rows is not None:
            earlier = rows[: np.searchsorted(times[rows], time, side="right")]
            _take_back(units, earlier[units[earlier] > 0], amount, exact_only=pd.isna(subject))
    return units


def _take_back(
    units: npt.NDArray[np.float64], open_rows: npt.NDArray[np.intp], amount: float, *, exact_only: bool
) -> None:
    exact = open_rows[units[open_rows] == amount]
    if len(exact):
        units[exact[-1]] = 0.0
    elif not exact_only:
        for row in open_rows[::-1]:
            taken = min(units[row], amount)
            units[row] -= taken
            amount -= taken
            if amount <= 0:
                return


def _keys(lines: pd.DataFrame) -> pd.Series:
    return lines["subject"].fillna("") + "/" + lines["item"]


def _tidy(orders: pd.DataFrame) -> pd.DataFrame:
    """Fixed names and types, exact duplicates once, ordered by time and content so that row order cannot matter."""
    missing = [name for name in COLUMNS if name not in orders.columns]
    if missing:
        raise SchemaError("table orders", expected=f"columns {list(COLUMNS)}", got=f"none named {missing}")
    tidy = pd.DataFrame(
        {
            "invoice": orders["invoice_no"].astype("str").str.strip().str.upper(),
            "item": orders["stock_code"].astype("str").str.strip().str.upper(),
            "subject": orders["customer_id"].astype("str"),
            "time": orders["invoice_date"],
            "units": orders["quantity"].astype("float64"),
            "price": orders["unit_price"].astype("float64"),
            "country": orders["country"].astype("str"),
        }
    ).drop_duplicates()
    return tidy.sort_values(["time", "invoice", "item", "units", "price", "country", "subject"], kind="stable")
