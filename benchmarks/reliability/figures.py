"""Figures from a client's record: failures with their exact bound, latencies, how long a fault was felt. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from benchmarks.client.record import Sent

OK = 200
CONFIDENCE = 0.95


def upper_bound(failures: int, requests: int) -> float:
    """The largest failure rate that is not refuted: upper end of the one-sided exact (Clopper-Pearson) 95 % interval.

    1.0 when nothing was asked.
    """
    if requests == 0:
        return 1.0
    test = binomtest(failures, requests, alternative="less")
    return float(test.proportion_ci(CONFIDENCE, method="exact").high)


def latencies(records: Sequence[Sent]) -> dict[str, float]:
    """p50, p99 and the largest in milliseconds, of the requests with an answer, from when each was due."""
    seconds = [one.seconds for one in records if one.status == OK]
    if not seconds:
        return {"p50_ms": float("nan"), "p99_ms": float("nan"), "max_ms": float("nan")}
    p50, p99 = np.percentile(seconds, [50, 99])
    return {"p50_ms": 1e3 * float(p50), "p99_ms": 1e3 * float(p99), "max_ms": 1e3 * max(seconds)}


def counts(records: Sequence[Sent]) -> dict[str, int]:
    """Requests by what came back: a status, or why there is none."""
    kinds: dict[str, int] = {}
    for one in records:
        kind = str(one.status) if one.status else one.error.split(":")[0]
        kinds[kind] = kinds.get(kind, 0) + 1
    return dict(sorted(kinds.items()))


def failures(records: Sequence[Sent]) -> dict[str, Any]:
    """Requests without a 200, over all, with the upper bound of the rate."""
    failed = sum(1 for one in records if one.status != OK)
    return {"requests": len(records), "failures": failed, "upper_95": upper_bound(failed, len(records))}


def felt_seconds(moments: Sequence[float], since: float) -> float:
    """From `since` to the last of these moments after it; 0 when there is none."""
    return max([0.0, *(moment - since for moment in moments if moment >= since)])
