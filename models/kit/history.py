"""Who bought what, arranged two ways: the long feature frame, and an index for looking up one customer.

The frame has one row per (subject, item) and one per catalogue item (subject empty); column names are fixed here.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from models.kit import split

CATALOGUE = ""  # the subject of a catalogue row
DAY = pd.Timedelta(days=1)


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of every product, arrays of one length in order of `codes`."""

    codes: npt.NDArray[np.object_]
    position: dict[str, int]
    days: npt.NDArray[np.float64]  # since the last sale
    trend: npt.NDArray[np.float64]  # decayed number of orders
    buyers: npt.NDArray[np.int64]


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """The feature frame by customer. `start[s] : start[s + 1]` are the rows of customer `subjects[s]`."""

    catalogue: Catalogue
    subjects: dict[str, int]
    starts: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]  # positions in the catalogue
    days: npt.NDArray[np.float64]
    orders: npt.NDArray[np.int64]

    def rows(self, subject: str | None) -> slice:
        """The rows of a customer; an empty slice for one never seen."""
        at = self.subjects.get(subject, -1) if subject else -1
        return slice(0, 0) if at < 0 else slice(int(self.starts[at]), int(self.starts[at + 1]))


def features(lines: pd.DataFrame, as_of: datetime, half_life_days: float) -> pd.DataFrame:
    """The long frame from cleaned purchases (see `models.kit.orders`), sorted by subject and item."""
    now = split.utc(as_of)
    lines = lines.assign(days=(now - lines["time"]) / DAY, spend=lines["units"] * lines["price"])
    lines["decayed"] = np.exp2(-lines["days"] / half_life_days)
    own = _rows(lines[lines["subject"].notna()], ["subject", "item"])
    catalogue = _rows(lines, ["item"])
    catalogue["subject"], catalogue["country"] = CATALOGUE, ""
    buyers = own.groupby("item").size()
    catalogue["buyers"] = buyers.reindex(catalogue["item"]).fillna(0).to_numpy()
    own["buyers"] = 1
    frame = pd.concat([catalogue, own], ignore_index=True)
    return frame.astype({"buyers": "int64", "orders": "int64", "subject": "str", "item": "str", "country": "str"})


def _rows(lines: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    once = lines.groupby([*keys, "invoice"], observed=True).agg(
        days=("days", "min"),
        units=("units", "sum"),
        spend=("spend", "sum"),
        decayed=("decayed", "max"),
        country=("country", "last"),
    )
    return (
        once.groupby(level=keys, observed=True)
        .agg(
            orders=("days", "size"),
            days=("days", "min"),
            units=("units", "sum"),
            spend=("spend", "sum"),
            trend=("decayed", "sum"),
            country=("country", "last"),
        )
        .reset_index()
    )


def index(frame: pd.DataFrame) -> Index:
    """The frame arranged for look-up; the order of its rows does not matter."""
    frame = frame.sort_values(["subject", "item"], kind="stable")
    products, own = frame[frame["subject"] == CATALOGUE], frame[frame["subject"] != CATALOGUE]
    codes = products["item"].to_numpy(dtype=object)
    position = {code: at for at, code in enumerate(codes)}
    subjects, starts = np.unique(own["subject"].to_numpy(dtype=object), return_index=True)
    return Index(
        catalogue=Catalogue(
            codes=codes,
            position=position,
            days=products["days"].to_numpy(np.float64),
            trend=products["trend"].to_numpy(np.float64),
            buyers=products["buyers"].to_numpy(np.int64),
        ),
        subjects={subject: at for at, subject in enumerate(subjects)},
        starts=np.append(starts, len(own)).astype(np.int64),
        items=own["item"].map(position).to_numpy(np.int64),
        days=own["days"].to_numpy(np.float64),
        orders=own["orders"].to_numpy(np.int64),
    )
