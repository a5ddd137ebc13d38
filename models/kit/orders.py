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
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from errors import SchemaError
from models.kit import split

COLUMNS = ("invoice_no", "stock_code", "quantity", "invoice_date", "unit_price", "customer_id", "country")
PRODUCT_CODE = re.compile(r"[0-9]{5}[A-Z]{0,3}")
EVENT_TIME = "invoice_date"
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]


def product_code(code: str) -> str:
    """A stock code as the catalogue writes it."""
    return code.strip().upper()


def purchases(orders: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """Net purchase lines strictly before `as_of`.

    Returns:
        invoice, item, subject (missing for none), country (all categorical), time (UTC), units (> 0, net of
        cancellations), price (GBP a unit); ordered by time, then invoice, item, units and price.

    Raises:
        SchemaError: when a column is missing.
    """
    return netted(cleaned(orders, as_of), as_of)


class Clean(NamedTuple):
    """Clean purchases until a moment and what was taken back of them: any earlier moment can be read off."""

    bought: pd.DataFrame  # gross, ordered by time
    rows: Rows  # of `bought`, each time something is taken back
    known: pd.Series  # when it was (UTC)
    amounts: Floats  # units, > 0


def cleaned(orders: pd.DataFrame, as_of: datetime) -> Clean:
    """Lines strictly before `as_of` cleaned, and their cancellations matched: who looks at many moments does it once.

    Raises:
        SchemaError: when a column is missing.
    """
    missing = [name for name in COLUMNS if name not in orders.columns]
    if missing:
        raise SchemaError("table orders", expected=f"columns {list(COLUMNS)}", got=f"none named {missing}")
    bought, taken_back = _sides(_tidy(split.before(orders, EVENT_TIME, as_of)))
    rows, by, amounts = _takings(bought, taken_back)
    return Clean(bought, rows, taken_back["time"].iloc[by].reset_index(drop=True), amounts)


def netted(clean: Clean, as_of: datetime) -> pd.DataFrame:
    """`purchases`, from what `cleaned` gave for `as_of` or later.

    A cancellation takes from purchases before it only, and in order of time, so what was taken later changes nothing.
    """
    lines = split.before(clean.bought, "time", as_of)
    units: Floats = lines["units"].to_numpy(dtype=np.float64, copy=True)
    then = (clean.known < split.utc(as_of)).to_numpy(dtype=np.bool_)
    np.subtract.at(units, clean.rows[then], clean.amounts[then])
    left = units > 0
    return lines[left].assign(units=units[left]).reset_index(drop=True)


def movements(orders: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """Purchases and what was taken back of them, strictly before `as_of`, each with the time it became known.

    What is known before an earlier moment, summed, is what `purchases` gives as of that moment: one pass shows
    every week as it was seen at the time.

    Returns:
        item (categorical), sold and known (UTC; equal for a purchase), units (negative for what is taken back),
        price (GBP a unit); purchases by time first, then what is taken back by the time it was.

    Raises:
        SchemaError: when a column is missing.
    """
    clean = cleaned(orders, as_of)
    gross = clean.bought[["item", "time", "units", "price"]].rename(columns={"time": "sold"})
    back = gross.iloc[clean.rows].assign(units=-clean.amounts, known=clean.known.array)
    return pd.concat([gross.assign(known=gross["sold"]), back], ignore_index=True)


def _sides(lines: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of clean lines the purchases with their gross units, and the cancellations."""
    cancelled = _flag(lines["invoice"], lambda invoice: invoice.startswith("C"))
    bought = lines[~cancelled & (lines["units"] > 0)].reset_index(drop=True)
    return bought, lines[cancelled & (lines["units"] < 0)]


def _takings(bought: pd.DataFrame, taken_back: pd.DataFrame) -> tuple[Rows, Rows, Floats]:
    """What each cancellation takes from which purchase: rows of `bought`, rows of `taken_back`, units (> 0).

    A cancellation takes back the newest earlier purchase of the same subject of exactly its quantity; failing that it
    eats into the newest earlier ones. Without a customer only an exact quantity of the same item is believed.
    Both frames are ordered by time.
    """
    units: Floats = bought["units"].to_numpy(dtype=np.float64, copy=True)
    times = bought["time"].dt.tz_localize(None).to_numpy()
    keys, cancelled_keys = _keys(bought), _keys(taken_back)
    concerned = np.flatnonzero(np.isin(keys, cancelled_keys))
    by_key = concerned[np.argsort(keys[concerned], kind="stable")]
    first = np.searchsorted(keys[by_key], cancelled_keys, side="left")
    last = np.searchsorted(keys[by_key], cancelled_keys, side="right")
    cancellations = zip(
        first,
        last,
        taken_back["time"].dt.tz_localize(None).to_numpy(),
        (-taken_back["units"]).tolist(),
        taken_back["subject"].isna().tolist(),
        strict=True,
    )
    taken: list[tuple[int, int, float]] = []
    for number, (start, end, time, amount, nobody) in enumerate(cancellations):
        rows = by_key[start:end]
        earlier = rows[: np.searchsorted(times[rows], time, side="right")]
        took = _take_back(units, earlier[units[earlier] > 0], amount, exact_only=nobody)
        taken += [(row, number, part) for row, part in took]
    table = np.array(taken, dtype=np.float64).reshape(-1, 3)
    return table[:, 0].astype(np.intp), table[:, 1].astype(np.intp), table[:, 2]


def _take_back(units: Floats, open_rows: Rows, amount: float, *, exact_only: bool) -> list[tuple[int, float]]:
    """Takes `amount` out of `units`; the rows it came from with what each gave."""
    exact = open_rows[units[open_rows] == amount]
    if len(exact):
        units[exact[-1]] = 0.0
        return [(int(exact[-1]), amount)]
    took: list[tuple[int, float]] = []
    for row in () if exact_only else open_rows[::-1]:
        part = float(min(units[row], amount))
        units[row] -= part
        amount -= part
        took.append((int(row), part))
        if amount <= 0:
            break
    return took


def _keys(lines: pd.DataFrame) -> npt.NDArray[np.int64]:
    """One number for each (subject, item); nobody is a subject of its own."""
    subjects = lines["subject"].cat.codes.to_numpy(np.int64) + 1
    return np.asarray(subjects * len(lines["item"].cat.categories) + lines["item"].cat.codes.to_numpy(np.int64))


def _tidy(orders: pd.DataFrame) -> pd.DataFrame:
    """Product lines with fixed names and types, exact duplicates once, in an order that input order cannot change."""
    tidy = pd.DataFrame(
        {
            "invoice": _coded(orders["invoice_no"]),
            "item": _coded(orders["stock_code"]),
            "subject": _coded(orders["customer_id"], upper=False),
            "country": _coded(orders["country"], upper=False),
            "time": orders[EVENT_TIME].array,
            "units": orders["quantity"].to_numpy(np.float64),
            "price": orders["unit_price"].to_numpy(np.float64),
        }
    )
    tidy = tidy[_flag(tidy["item"], lambda item: bool(PRODUCT_CODE.fullmatch(item))) & (tidy["price"] > 0)]
    order = ["time", "invoice", "item", "units", "price", "country", "subject"]
    return tidy.drop_duplicates().sort_values(order, kind="stable", ignore_index=True)


def _coded(column: pd.Series, *, upper: bool = True) -> pd.Categorical:
    """The column as a categorical of stripped names in sorted order; null stays null."""
    codes, raw = pd.factorize(column)
    names = [str(name).strip().upper() if upper else str(name) for name in raw.tolist()]
    categories = sorted(set(names))
    position = {name: at for at, name in enumerate(categories)}
    lookup = np.array([position[name] for name in names] + [-1], dtype=np.int64)
    return pd.Categorical.from_codes(lookup[codes], categories=pd.Index(categories, dtype="str"))


def _flag(column: pd.Series, test: Callable[[str], bool]) -> npt.NDArray[np.bool_]:
    """`test` of each value, asked once for each category; null is False."""
    answers = np.array([test(name) for name in column.cat.categories.tolist()] + [False], dtype=np.bool_)
    return np.asarray(answers[column.cat.codes.to_numpy()])
