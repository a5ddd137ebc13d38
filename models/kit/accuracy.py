"""How good forecasts of several categories are: one row per category whose mean over rows is the figure.

More is better in each column, so errors are negative. Pure arithmetic over arrays (questions x categories), where a
question is one origin and horizon; a question that could not be asked is missing.

    accuracy           mean over categories of 1 - WAPE of the category: each counts the same
    wape_accuracy      1 - WAPE of all together (sum |error| / sum actual); also per horizon, `wape_accuracy_h1` ...
    mae, rmse, mape    mean over categories, negative; MAPE leaves out weeks without a sale
    total_accuracy     1 - WAPE of the sum of all categories; a row is what the category adds to that error or takes off it
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]


def columns(horizons: Sequence[int]) -> list[str]:
    """What `table` has, in order."""
    each = [f"wape_accuracy_h{horizon}" for horizon in horizons]
    return ["accuracy", "wape_accuracy", *each, "mae", "rmse", "mape", "total_accuracy"]


def table(forecasts: Floats, actuals: Floats, asked: Sequence[int], names: Sequence[str]) -> pd.DataFrame:
    """One row per category (index `subject`).

    Args:
        forecasts, actuals: (questions x categories).
        asked: horizon of each question.
        names: of the categories.
    """
    horizons = sorted(set(asked))
    errors = np.abs(forecasts - actuals)
    found = {"accuracy": _accuracy(errors, actuals), "wape_accuracy": _share(errors, actuals)}
    for horizon in horizons:
        rows = np.array(asked) == horizon
        found[f"wape_accuracy_h{horizon}"] = _share(errors[rows], actuals[rows])
    found["mae"], found["rmse"] = -errors.mean(axis=0), -np.sqrt((errors**2).mean(axis=0))
    found["mape"] = -_mean_ratio(errors, actuals)
    gaps = forecasts - actuals
    direction = np.sign(gaps.sum(axis=1, keepdims=True))  # so that the rows of a question add up to |sum of gaps|
    found["total_accuracy"] = _share(gaps * direction, actuals)
    rows = pd.DataFrame(found, index=pd.Index(list(names), name="subject", dtype="str"))
    return rows[columns(horizons)]


def empty(horizons: Sequence[int]) -> pd.DataFrame:
    """`table` without a row."""
    return pd.DataFrame(columns=columns(horizons), index=pd.Index([], name="subject", dtype="str"), dtype="float64")


def _accuracy(errors: Floats, actuals: Floats) -> Floats:
    """1 - WAPE of each column; missing where nothing was sold."""
    sold = actuals.sum(axis=0)
    return _divide(sold - errors.sum(axis=0), sold)


def _share(errors: Floats, actuals: Floats) -> Floats:
    """Rows whose mean is 1 - WAPE of all columns together: each column's errors over what an average column sold."""
    sold = np.full(errors.shape[1], actuals.sum() / errors.shape[1])
    return _divide(sold - errors.sum(axis=0), sold)


def _mean_ratio(errors: Floats, actuals: Floats) -> Floats:
    """Mean of |error| / actual over the questions with a sale; missing without any."""
    sold = actuals > 0
    ratios = np.where(sold, errors / np.where(sold, actuals, 1.0), 0.0)
    return _divide(ratios.sum(axis=0), sold.sum(axis=0).astype(np.float64))


def _divide(over: Floats, under: Floats) -> Floats:
    found = np.full(len(over), np.nan)
    np.divide(over, under, out=found, where=under > 0)
    return found
