"""Whether refreshed features may take the place of those that serve: like them in form, and not much fewer.

Pure; asked by `tasks.refresh` before anything is published. Ranges are those of FEATURES and checked by `tasks.features`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from errors import SchemaError


def refuse_unlike(model: str, new: pd.DataFrame, training: pd.DataFrame) -> None:
    """Refuses a frame whose form is not that of training: columns, dtypes, and the columns that tell rows apart.

    A subject has as many rows as the model wants (one, one a product, one a week), and FEATURES begin with what names
    them. Which columns that takes is read off the training frame: the first ones that tell all its rows apart.

    Raises:
        SchemaError: naming what differs, and how many rows stand for a subject that has one already.
    """
    thing = f"features of {model}"
    expected, got = (dict(frame.dtypes.astype("str").items()) for frame in (training, new))
    if list(expected.items()) != list(got.items()):
        differ = sorted(name for name in expected.keys() | got.keys() if expected.get(name) != got.get(name))
        raise SchemaError(
            thing,
            expected=f"the columns of training, {_typed(expected, differ)}",
            got=_typed(got, differ) or "another order",
        )
    names = key(training)
    if twice := int(new.duplicated(names).sum()):
        raise SchemaError(thing, expected=f"each {', '.join(names)} once", got=f"{twice} rows that repeat one")


def key(frame: pd.DataFrame) -> list[str]:
    """The first columns that tell all rows of a frame apart; all of them when none do."""
    names = list(frame.columns)
    for count in range(1, len(names)):
        if not frame.duplicated(names[:count]).any():
            return names[:count]
    return names


def refuse_collapsed(model: str, rows: int, before: Sequence[int], share: float) -> None:
    """Refuses a frame with less than a share of the rows that any of those before it had.

    Raises:
        SchemaError
    """
    least = share * max(before)
    if rows < least:
        raise SchemaError(
            f"features of {model}",
            expected=f"at least {share:.0%} of {max(before)} rows",
            got=rows,
            do="look at the source; if it is right, lower refresh.min_rows_share",
        )


def _typed(types: dict[str, str], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {types[name]}" for name in names if name in types)
