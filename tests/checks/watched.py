"""Made-up columns for tests of profiles: a number, a name, a flag and a count that piles up at nothing, by the week."""

from __future__ import annotations

import numpy as np
import pandas as pd

from checks import profiles
from checks.profiles import References
from configs.load import load
from configs.schema import MonitorConfig
from models.contract import Feature

FEATURES = (
    Feature(name="amount", dtype="float64", low=-50, high=50, meaning="a number"),
    Feature(name="place", dtype="string", meaning="a name"),
    Feature(name="new", dtype="bool", meaning="a flag"),
    Feature(name="times", dtype="int64", low=0, high=1000, meaning="mostly nothing"),
)
SHARES = (0.4, 0.3, 0.2, 0.1)


def config(**limits: object) -> MonitorConfig:
    """The house's defaults for weeks, with other limits."""
    given = load().models["recommendation"].monitor.model_dump() | {"min_rows": 100, "alpha": 0.01} | limits
    return MonitorConfig.model_validate(given)


def week(seed: int, rows: int = 300, apart: float = 0.0, shift: float = 0.0) -> pd.DataFrame:
    """Rows of one week, whose means lie `apart` (in standard deviations) from those of other weeks; `shift` on top."""
    draw = np.random.default_rng(seed)
    offset = draw.normal(0.0, apart, 3) if apart else np.zeros(3)
    tilted = np.array(SHARES) * np.exp(offset[1] * np.arange(4) / 2)
    return pd.DataFrame(
        {
            "amount": draw.normal(offset[0] + shift, 1, rows),
            "place": draw.choice(list("abcd"), rows, p=tilted / tilted.sum()),
            "new": draw.random(rows) < 0.4 + 0.1 * offset[2],
            "times": draw.poisson(0.5, rows),
        }
    )


def reference(weeks: int = 12, apart: float = 0.0, seed: int = 1000) -> References:
    return profiles.reference([week(seed + n, apart=apart) for n in range(weeks)], FEATURES, 10)
