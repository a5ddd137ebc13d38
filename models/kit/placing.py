"""How good an order of packages is when the click rate of every package is known, as it is after a randomised test.

Pure. Packages that were scored alike share their places: each gets the mean of what stands there, so that no figure
hangs on the order of a file. Gain is the click rate itself, so a test's NDCG does not depend on how busy its week was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
DEPTH = 10
METRICS = ("ndcg_at_10", "best_first", "first_ctr", "first_lift", "kept")


def table(tests: Sequence[str], rates: Floats, scores: Floats) -> pd.DataFrame:
    """Metrics per test (index `subject`, sorted), more is better in each.

    `ndcg_at_10` (Järvelin and Kekäläinen 2002), missing without a click; `best_first`, whether the first is the best;
    `first_ctr`, its click rate; `first_lift`, that over the mean of the test, minus 1: what a random pick lacks; `kept`,
    that over the best rate: 1 minus the relative regret.

    Args:
        tests: of each package. Shape (packages,), as the others.
        rates: clicks over impressions.
        scores: higher is further up.
    """
    frame = pd.DataFrame({"test": list(tests), "rate": rates, "score": scores})
    if frame.empty:
        return pd.DataFrame({name: pd.Series(dtype="float64") for name in METRICS}, index=_named([]))
    frame["best"] = (frame["rate"] == frame.groupby("test")["rate"].transform("max")).astype("float64")
    tied = frame.groupby(["test", "score"])
    frame = frame.assign(gain=tied["rate"].transform("mean"), hit=tied["best"].transform("mean"))
    placed = frame.sort_values(["test", "score"], ascending=[True, False], kind="stable")
    ideal = frame.sort_values(["test", "rate"], ascending=[True, False], kind="stable")
    first = placed.groupby("test").first()
    mean, best = (frame.groupby("test")["rate"].agg(how) for how in ("mean", "max"))
    made = {
        "ndcg_at_10": _discounted(placed, "gain") / _some(_discounted(ideal, "rate")),
        "best_first": first["hit"],
        "first_ctr": first["gain"],
        "first_lift": first["gain"] / _some(mean) - 1.0,
        "kept": first["gain"] / _some(best),
    }
    return pd.DataFrame(made).set_index(_named(list(first.index)))[list(METRICS)]


def _discounted(placed: pd.DataFrame, column: str) -> pd.Series:
    place = placed.groupby("test").cumcount().to_numpy()
    worth = np.where(place < DEPTH, placed[column] / np.log2(place + 2.0), 0.0)
    return pd.Series(worth, index=placed.index).groupby(placed["test"]).sum()


def _some(values: pd.Series) -> pd.Series:
    return values.where(values > 0)


def _named(tests: Sequence[str]) -> pd.Index:
    return pd.Index(tests, name="subject", dtype="str")
