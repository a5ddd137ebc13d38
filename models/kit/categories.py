"""Puts products into categories by their description: ordered rules, the first with a word of the description decides.

The rules are configuration. A product keeps the category of its first description for good, so a category's past
does not move when a clerk rewrites a name, and nothing that is written later reaches an earlier feature.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from errors import SchemaError
from models.kit import orders, split

OTHER = "other"  # no rule has a word of the description
TOTAL = "total"  # of all categories; no category may be named so
DESCRIPTION = "description"


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Descriptions with any of the words (or phrases) go into the category. Case does not matter, whole words do."""

    category: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    words: Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1)], ...], msgspec.Meta(min_length=1)]

    def __post_init__(self) -> None:
        if self.category in {OTHER, TOTAL}:
            raise ValueError(f"a category may not be named {self.category!r}")


Rules = tuple[Rule, ...]


def names(rules: Rules) -> tuple[str, ...]:
    """Every category there can be, sorted, `other` among them. A category may have several rules."""
    return tuple(sorted({rule.category for rule in rules} | {OTHER}))


def classify(descriptions: Iterable[str], rules: Rules) -> list[str]:
    """The category of each description."""
    category_of = _classifier(rules)
    return [category_of(text) for text in descriptions]


def of_products(table: pd.DataFrame, as_of: datetime, rules: Rules) -> pd.Series:
    """Category of each product sold before `as_of`, by product code, from the first description it was sold under.

    Lines without a price are clerks' notes about stock ("damaged"), not names. A product that was never described
    is `other`.

    Raises:
        SchemaError: when there is no column of descriptions.
    """
    if DESCRIPTION not in table.columns:
        raise SchemaError("table orders", expected=f"a column {DESCRIPTION!r}", got=list(table.columns))
    past = split.before(table, orders.EVENT_TIME, as_of)
    named = past[(past["unit_price"] > 0) & past[DESCRIPTION].notna()]
    earliest = named.groupby("stock_code")[orders.EVENT_TIME].transform("min")
    first = named[named[orders.EVENT_TIME] == earliest]
    first = first.sort_values([orders.EVENT_TIME, "invoice_no", DESCRIPTION], kind="stable")
    first = first.assign(item=[orders.product_code(code) for code in first["stock_code"]]).drop_duplicates("item")
    return pd.Series(classify(list(first[DESCRIPTION]), rules), index=pd.Index(first["item"]), dtype="object")


def codes(items: pd.Series, known: pd.Series, rules: Rules) -> npt.NDArray[np.int64]:
    """The number in `names(rules)` of each item's category; `items` is categorical, `known` from `of_products`."""
    position = {category: at for at, category in enumerate(names(rules))}
    found = known.reindex(items.cat.categories).fillna(OTHER).map(position).to_numpy(np.int64)
    return np.asarray(found[items.cat.codes.to_numpy()])


@functools.lru_cache(maxsize=8)
def _classifier(rules: Rules) -> Callable[[str], str]:
    """Remembers what it was asked: the same few thousand names are classified for every moment of a history."""
    patterns = tuple((rule.category, _pattern(rule.words)) for rule in rules)

    @functools.lru_cache(maxsize=65_536)
    def category_of(description: str) -> str:
        text = description.upper()
        return next((category for category, pattern in patterns if pattern.search(text)), OTHER)

    return category_of


def _pattern(words: Sequence[str]) -> re.Pattern[str]:
    longest_first = sorted((word.upper() for word in words), key=len, reverse=True)
    return re.compile(r"(?<![A-Z0-9])(?:" + "|".join(map(re.escape, longest_first)) + r")(?![A-Z0-9])")
