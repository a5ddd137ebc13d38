"""Randomised tests of packages: one row per package with its click rate relative to its test, and what came of tests.

Reads the table `packages`. Only rates within a test compare: which readers saw a test, and when, moves all its rates.

    relative = log rate - mean log rate of the test, each package weighted by how sure its rate is
    weight   = 1 / (spread^2 + 1 / (clicks + 1)),  the inverse variance of a log rate known from so many clicks
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from errors import SchemaError
from models.kit import headlines
from models.kit.split import before, utc, within

Floats = npt.NDArray[np.float64]
EVENT_TIME = "tested_until"
COLUMNS = ("test_id", "package", EVENT_TIME, "headline", "image", "impressions", "clicks")
SPREAD = (
    0.15  # of log rates within a test beyond chance, about; anything from 0.08 to 0.3 orders as well (search weeks)
)
ONE, SHOWN = 1.0, 50.0  # a click in fifty readers, added to each so that a package without one has a rate
FEWEST = 2  # packages that make a test


def features(table: pd.DataFrame, as_of: datetime, recent_days: int) -> pd.DataFrame:
    """One row per package tested before `as_of`: names, texts, `relative`, `weight`, what else is in its test, and the traits.

    Sorted by test and package. A test of which only one package is known yet is left out.
    """
    known = _tests(before(_checked(table), EVENT_TIME, as_of))
    frame = pd.DataFrame(
        {
            "test": known["test_id"].astype("str"),
            "package": known["package"].astype("str"),
            "headline": known["headline"].astype("str"),
            "image": known["image"].fillna("").astype("str"),
            "recent": known[EVENT_TIME] >= utc(as_of) - timedelta(days=recent_days),
        }
    )
    rate = np.log((known["clicks"] + ONE) / (known["impressions"] + SHOWN)).to_numpy(np.float64)
    frame["weight"] = 1.0 / (SPREAD**2 + 1.0 / (known["clicks"].to_numpy(np.float64) + ONE))
    frame["relative"] = rate - _mean_of(rate, frame["weight"], frame["test"].to_numpy())
    size = frame.groupby("test")["package"].transform("size")
    frame["packages"] = size.astype("int64")
    frame["same_headline"] = frame.groupby(["test", "headline"])["package"].transform("size") / size
    return pd.concat([frame, _traits(frame["headline"])], axis=1)


def _mean_of(values: Floats, weights: pd.Series, groups: npt.NDArray[np.object_]) -> Floats:
    """The weighted mean of the group of each value. Shape (values,)."""
    codes, names = pd.factorize(groups)
    weight = weights.to_numpy(np.float64)
    total = np.bincount(codes, weight * values, minlength=len(names))
    return np.asarray((total / np.bincount(codes, weight, minlength=len(names)))[codes])


def results(table: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
    """Packages of the tests that lie wholly in [start, end): subject (the test), package, headline, image, impressions,
    clicks and the time, sorted by test and package. A test that began earlier is left out, as are tests of one package."""
    checked = _checked(table)
    begun = set(before(checked, EVENT_TIME, start)["test_id"])
    inside = within(checked, EVENT_TIME, start, end)
    found = _tests(inside[~inside["test_id"].isin(begun)]).rename(columns={"test_id": "subject"})
    return found.astype({"subject": "str", "package": "str", "headline": "str", "image": "str"})


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    missing = sorted(set(COLUMNS) - set(table.columns))
    if missing:
        raise SchemaError(
            "table packages", expected=f"the columns {list(COLUMNS)}", got=f"no {missing}", do="see the dataset"
        )
    return table[list(COLUMNS)]


def _tests(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows that readers saw, of tests with at least two such, in an order that tells nothing."""
    seen = rows[rows["impressions"] > 0]
    enough = seen.groupby("test_id")["package"].transform("size") >= FEWEST
    return seen[enough].sort_values(["test_id", "package"]).reset_index(drop=True)


def _traits(texts: pd.Series) -> pd.DataFrame:
    return pd.DataFrame(headlines.traits(list(texts)), columns=list(headlines.NAMES), index=texts.index)
