"""Customer groups by rules: the classic RFM scores (Hughes 1994, "Strategic Database Marketing"), without a model library.

Each customer gets 1 to 5 for recency, orders and spend by the fifth of the customers it falls in; 5 is best. Ties share
the middle of their ranks. The scores are read off a small table of names, the same names that `models.kit.groups` gives.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

LOYAL, REGULAR, NEW = "loyal big spenders", "regulars", "new or occasional"
LAPSING, LAPSING_BIG, LOST = "lapsing", "lapsing big spenders", "lost small"
UNKNOWN = "unknown"
FIFTHS = 5
Floats = npt.NDArray[np.float64]


def groups(values: Floats) -> Sequence[str]:
    """The group of each customer of one moment.

    Args:
        values: (customers x 4): recency in days, orders, spend, tenure (not used).
    """
    recent = fifth(-values[:, 0])
    worth = (fifth(values[:, 1]) + fifth(values[:, 2])) / 2
    cases = [
        ((recent >= 4) & (worth >= 4.5), LOYAL),
        ((recent >= 3) & (worth >= 3), REGULAR),
        (recent >= 4, NEW),
        ((recent <= 2) & (worth <= 2), LOST),
    ]
    named = np.select([case for case, _ in cases], [name for _, name in cases], LAPSING)
    return [str(name) for name in named]


def fifth(values: Floats) -> Floats:
    """1 to 5 by rank among `values`, 5 for the largest fifth."""
    if not len(values):
        return np.zeros(0)
    ranks = pd.Series(values).rank(method="average", pct=True).to_numpy(np.float64)
    return np.asarray(np.clip(np.ceil(ranks * FIFTHS), 1, FIFTHS), dtype=np.float64)
