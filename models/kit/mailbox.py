"""Labelled messages as tables: the distinct texts among them, and the shape of each. Read by `models/spam.py`.

Two texts are the same when only digits, capitals, blanks and punctuation differ.
"""

from __future__ import annotations

import pandas as pd

from errors import SchemaError
from models.kit import texts

COLUMNS = ("received_at", "text", "is_spam")


def messages(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that count. Raises SchemaError when one is missing."""
    if missing := sorted(set(COLUMNS) - set(table.columns)):
        raise SchemaError("table messages", expected=f"columns {list(COLUMNS)}", got=f"none called {missing}")
    return table[list(COLUMNS)]


def distinct(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per text, digits and punctuation aside: its first writing, how often it came, and how often as spam.

    A text that was reported at least as often as not is spam.
    """
    ordered = rows.assign(subject=rows["text"].map(texts.digest)).sort_values(["received_at", "text"])
    found = ordered.groupby("subject", as_index=False).agg(
        text=("text", "first"), seen=("text", "size"), reported=("is_spam", "sum")
    )
    return found.assign(is_spam=2 * found["reported"] >= found["seen"])


def shaped(given: pd.Series) -> pd.DataFrame:
    """The columns of a text's shape, one row a text."""
    shapes = [texts.shape(text) for text in given]
    return pd.DataFrame(
        {
            "characters": pd.Series([one.characters for one in shapes], dtype="int64"),
            "digits": pd.Series([one.digits for one in shapes], dtype="float64"),
            "capitals": pd.Series([one.capitals for one in shapes], dtype="float64"),
            **{
                name: pd.Series([name in one.signs for one in shapes], dtype="bool")
                for name in ("number", "link", "price")
            },
            "signs": pd.Series([len(one.signs) for one in shapes], dtype="int64"),
        }
    )
