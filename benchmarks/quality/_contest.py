"""Ours against its rivals by the same figures of the same people, and how long one answer takes.

Used by the models that rank: one array a metric, one value a person (missing where the metric does not apply).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import Facts
from checks import metrics

OURS = "ours"
COVERAGE = "coverage"  # of the catalogue: one figure of all, without an interval
SAMPLES = 2000  # of the bootstrap
TIMED = 500  # answers
Measured = dict[str, npt.NDArray[Any]]  # metric -> one value per person


def compared(results: Mapping[str, Measured], people: str) -> list[Facts]:
    """One row per contestant: how many `people`, the mean of each metric, and the interval of (ours - it) for each."""
    rows = []
    for name, measured in results.items():
        gaps = {
            key: metrics.paired_bootstrap(results[OURS][key], values, SAMPLES, seed=1)
            for key, values in measured.items()
            if name != OURS and key != COVERAGE
        }
        rows.append(
            {
                "name": name,
                people: int(np.isfinite(next(iter(measured.values()))).sum()),
                **{key: round(float(np.nanmean(values)), 4) for key, values in measured.items()},
                "ours_minus_it": {
                    key: [round(gap.low, 4), round(gap.mean, 4), round(gap.high, 4)] for key, gap in gaps.items()
                },
            }
        )
    return rows


def milliseconds(answer: Callable[[Any], object], requests: Iterable[Any]) -> dict[str, float]:
    """Wall time of one request at a time, of the first TIMED."""
    took = []
    for request, _ in zip(requests, range(TIMED), strict=False):
        began = time.perf_counter()
        answer(request)
        took.append(time.perf_counter() - began)
    median, worst = np.quantile(took, [0.5, 0.99]) * 1e3
    return {"median": round(float(median), 2), "p99": round(float(worst), 2)}
