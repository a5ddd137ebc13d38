"""How each customer stands: recency, orders, spend and tenure, now and one horizon ago with what came of it.

The frame has a row per customer known at `as_of` (`days_ago` 0, `bought` "open") and one per customer known a horizon
earlier, whose `bought` says whether an order followed before `as_of`. So a rate of repeat purchases needs nothing else,
and rules can state one without a fitted model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from models.kit import orders, split
from models.kit.orders import Clean

COLUMNS = ("subject", "days_ago", "recency", "orders", "spend", "tenure", "country", "bought")
NUMBERS = ("recency", "orders", "spend", "tenure")
OPEN, YES, NO = "open", "yes", "no"
PRIOR = 5.0  # customers at the rate of all that are added to each group: a group of two has no rate of its own
DAY = pd.Timedelta(days=1)
Floats = npt.NDArray[np.float64]


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Share of customers who bought again within the horizon, by group and of all; None when nobody was there to see."""

    groups: dict[str, float]
    everyone: float | None


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """The customers of now, in order of `subjects`, and the groups that rules put them in."""

    subjects: dict[str, int]
    values: Floats  # (customers x NUMBERS): days, orders, GBP, days
    countries: tuple[str, ...]
    groups: tuple[str, ...]  # by rules
    rates: Rates  # of those groups

    def at(self, subject: str) -> int:
        """The position of a customer, -1 for one never seen."""
        return self.subjects.get(subject, -1)


def standings(table: pd.DataFrame, as_of: datetime, horizon_days: int) -> pd.DataFrame:
    """The frame from raw order lines strictly before `as_of`, by `days_ago`, then subject. Columns as in COLUMNS.

    What was known a horizon ago is what was known then: a cancellation that came later does not count in it.
    """
    earlier = (split.utc(as_of) - pd.Timedelta(days=horizon_days)).to_pydatetime()
    clean = orders.cleaned(table, as_of)
    lines = orders.netted(clean, as_of)
    now = _standing(lines, as_of).assign(days_ago=0, bought=OPEN)
    before = _standing(orders.netted(clean, earlier), earlier)
    again = before["subject"].isin(_customers(split.within(lines, "time", earlier, as_of)))
    before = before.assign(days_ago=horizon_days, bought=np.where(again, YES, NO))
    kinds = {"subject": "str", "days_ago": "int64", "orders": "int64", "country": "str", "bought": "str"}
    return pd.concat([now, before], ignore_index=True)[list(COLUMNS)].astype(kinds)


def buyers(clean: Clean, start: datetime, end: datetime) -> set[str]:
    """Customers with a net purchase in [start, end), seen at `end`; `clean` of `orders.cleaned` at `end` or later."""
    return set(_customers(split.within(orders.netted(clean, end), "time", start, end)))


def known(clean: Clean, as_of: datetime) -> list[str]:
    """Customers with a net purchase before `as_of`, sorted; `clean` of `orders.cleaned` at `as_of` or later."""
    return _customers(orders.netted(clean, as_of))


def waves(start: datetime, end: datetime, days: int) -> list[datetime]:
    """`start` and every `days` after it, before `end`."""
    count = math.ceil((end - start) / timedelta(days=days))
    return [start + timedelta(days=days * at) for at in range(count)]


def numbers(frame: pd.DataFrame) -> Floats:
    """The columns NUMBERS as (rows x 4)."""
    return np.asarray(frame[list(NUMBERS)], dtype=np.float64)


def index(frame: pd.DataFrame, rules: Callable[[Floats], Sequence[str]]) -> Index:
    """The frame arranged for look-up. A row with a missing or infinite number is left out: that customer is unknown.

    Args:
        rules: the group of each row of `numbers`, all rows of one moment at a time.
    """
    whole = frame[np.isfinite(numbers(frame)).all(axis=1)].sort_values("subject", kind="stable")
    now, before = whole[whole["days_ago"] == 0], whole[whole["days_ago"] > 0]
    return Index(
        subjects={subject: at for at, subject in enumerate(now["subject"])},
        values=numbers(now),
        countries=tuple(now["country"]),
        groups=tuple(rules(numbers(now))),
        rates=rates(rules(numbers(before)), (before["bought"] == YES).to_numpy(np.bool_)),
    )


def rates(groups: Iterable[str], bought: npt.NDArray[np.bool_]) -> Rates:
    """The repeat rate of each group, drawn towards that of all by PRIOR customers."""
    if not len(bought):
        return Rates(groups={}, everyone=None)
    everyone = float(bought.mean())
    table = pd.DataFrame({"group": list(groups), "bought": bought}).groupby("group")["bought"].agg(["sum", "size"])
    shrunk = (table["sum"] + PRIOR * everyone) / (table["size"] + PRIOR)
    return Rates(
        groups={str(name): round(float(rate), 6) for name, rate in shrunk.items()}, everyone=round(everyone, 6)
    )


def _customers(lines: pd.DataFrame) -> list[str]:
    """Who bought, sorted; nobody is not a customer."""
    present = lines["subject"].cat.remove_unused_categories()
    return sorted(str(name) for name in present.cat.categories)


def _standing(lines: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """Per customer of net purchases: days since the last and the first order, orders, net GBP, country of the last."""
    lines = lines[lines["subject"].notna()]
    lines = lines.assign(worth=lines["units"] * lines["price"])
    by_order = lines.groupby(["subject", "invoice"], observed=True, sort=True)
    each = by_order.agg(time=("time", "min"), worth=("worth", "sum"), country=("country", "last")).reset_index()
    each = each.sort_values(["subject", "time", "invoice"], kind="stable")
    by_customer = each.groupby("subject", observed=True, sort=True)
    found = by_customer.agg(
        first=("time", "min"),
        last=("time", "max"),
        orders=("time", "size"),
        spend=("worth", "sum"),
        country=("country", "last"),
    ).reset_index()
    moment = split.utc(as_of)
    return found.assign(
        recency=((moment - found["last"]) / DAY).astype("float64"),
        tenure=((moment - found["first"]) / DAY).astype("float64"),
        subject=found["subject"].astype("str"),
    )
