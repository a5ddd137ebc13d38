"""Who bought what, arranged two ways: the long feature frame, and an index for looking up one customer.

The frame has one row per (subject, item) bought and one per item of the catalogue, whose subject is empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from models.kit import split

CATALOGUE = ""  # the subject of a catalogue row
DAY = pd.Timedelta(days=1)
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of every product: arrays of one length, in order of `codes`."""

    codes: tuple[str, ...]
    position: dict[str, int]
    days: Floats  # since the last sale
    orders: Floats
    trend: Floats  # orders, halved each half-life
    buyers: Ints


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """The feature frame by customer: `starts[s] : starts[s + 1]` are the rows of customer number s."""

    catalogue: Catalogue
    subjects: dict[str, int]
    starts: Ints
    items: Ints  # positions in the catalogue
    days: Floats  # since the customer's last order of the item
    orders: Floats  # of the customer with the item
    spend: Floats  # of the customer on the item, GBP
    countries: tuple[str, ...]  # of each customer's newest order

    def rows(self, subject: str | None) -> slice:
        """The rows of a customer; none for one never seen."""
        at = self.subjects.get(subject, -1) if subject else -1
        return slice(0, 0) if at < 0 else slice(int(self.starts[at]), int(self.starts[at + 1]))

    def known(self, subject: str | None, codes: Iterable[str]) -> set[int]:
        """Catalogue positions of what the customer bought and of the given codes; unknown ones are ignored."""
        found = {self.catalogue.position.get(code, -1) for code in codes} - {-1}
        return found.union(self.items[self.rows(subject)].tolist())


def features(lines: pd.DataFrame, as_of: datetime, half_life_days: float) -> pd.DataFrame:
    """The long frame from cleaned purchases (see `models.kit.orders`), catalogue first, then by subject and item."""
    days = (split.utc(as_of) - lines["time"]) / DAY
    lines = lines.assign(days=days, spend=lines["units"] * lines["price"], decayed=np.exp2(-days / half_life_days))
    own = _rows(lines[lines["subject"].notna()], ["subject", "item"]).assign(buyers=1)
    catalogue = _rows(lines, ["item"]).assign(subject=CATALOGUE, country="")
    catalogue["buyers"] = own["item"].value_counts().reindex(catalogue["item"]).fillna(0).to_numpy()
    frame = pd.concat([catalogue, own], ignore_index=True)
    return frame.astype({"buyers": "int64", "orders": "int64"})


def _rows(lines: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """One row per key. Several lines of one order count as one order."""
    by_order = lines.groupby([*keys, "invoice"], observed=True, sort=False)
    once = by_order.agg(
        days=("days", "min"),
        units=("units", "sum"),
        spend=("spend", "sum"),
        decayed=("decayed", "max"),
        country=("country", "last"),
    )
    rows = once.groupby(level=keys, observed=True).agg(
        orders=("days", "size"),
        days=("days", "min"),
        units=("units", "sum"),
        spend=("spend", "sum"),
        trend=("decayed", "sum"),
        country=("country", "last"),
    )
    return rows.reset_index().astype({**dict.fromkeys(keys, "str"), "country": "str"})


def index(frame: pd.DataFrame) -> Index:
    """The frame arranged for look-up; the order of its rows does not matter."""
    frame = frame.sort_values(["subject", "item"], kind="stable")
    products, own = frame[frame["subject"] == CATALOGUE], frame[frame["subject"] != CATALOGUE]
    codes = tuple(products["item"])
    position = {code: at for at, code in enumerate(codes)}
    numbers, subjects = pd.factorize(own["subject"])  # in order of appearance, which is sorted
    newest = own.sort_values(["subject", "days"], kind="stable").drop_duplicates("subject")
    return Index(
        catalogue=Catalogue(
            codes=codes,
            position=position,
            days=products["days"].to_numpy(np.float64),
            orders=products["orders"].to_numpy(np.float64),
            trend=products["trend"].to_numpy(np.float64),
            buyers=products["buyers"].to_numpy(np.int64),
        ),
        subjects={subject: at for at, subject in enumerate(subjects)},
        starts=np.searchsorted(numbers, np.arange(len(subjects) + 1)).astype(np.int64),
        items=own["item"].map(position).to_numpy(np.int64),
        days=own["days"].to_numpy(np.float64),
        orders=own["orders"].to_numpy(np.float64),
        spend=own["spend"].to_numpy(np.float64),
        countries=tuple(newest["country"]),
    )
