"""Ranking metrics per subject and the interval of a difference between two models on the same subjects.

Pure arithmetic over arrays; read by the models' `score`, by the gates and by the benchmarks.
A relevance matrix is (subjects x ranks), best first; `relevant` counts what could have been found.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[Any]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Mean of (ours - theirs) over the same subjects, with a percentile bootstrap interval."""

    mean: float
    low: float
    high: float
    subjects: int
    relative: float  # mean / |mean of theirs|, nan when that is zero

    @property
    def decided(self) -> bool:
        """True when the interval excludes zero."""
        return self.low > 0 or self.high < 0


def hit_at(found: npt.NDArray[np.bool_], k: int) -> Floats:
    """1 where any of the first k was relevant. Shape (subjects,)."""
    return np.asarray(found[:, :k].any(axis=1), dtype=np.float64)


def recall_at(found: npt.NDArray[np.bool_], relevant: Counts, k: int) -> Floats:
    """Share of the relevant items among the first k; missing where nothing was relevant."""
    return _share(found[:, :k].sum(axis=1).astype(np.float64), relevant.astype(np.float64))


def ndcg_at(found: npt.NDArray[np.bool_], relevant: Counts, k: int) -> Floats:
    """Binary NDCG (Järvelin and Kekäläinen 2002): gain 1/log2(rank + 1) over the best possible; missing without any."""
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    gained = found[:, :k] @ discounts[: found.shape[1]]
    best = np.append(0.0, np.cumsum(discounts))[np.minimum(relevant, k).astype(np.int64)]
    return _share(gained, best)


def weighted_recall_at(weights: Floats, totals: Floats, k: int) -> Floats:
    """Share of the total weight (revenue, say) among the first k. `weights` is (subjects x ranks), 0 where irrelevant."""
    return _share(weights[:, :k].sum(axis=1), totals)


def coverage(slates: npt.NDArray[np.int64], catalogue: int) -> float:
    """Share of the catalogue that appears in any slate; negative entries are empty places."""
    return len(np.unique(slates[slates >= 0])) / catalogue if catalogue else float("nan")


def paired_bootstrap(
    ours: Floats, theirs: Floats, samples: int = 1000, seed: int = 0, confidence: float = 0.95
) -> Difference:
    """Interval of the mean difference, resampling subjects; pairs with a missing value on either side are left out.

    Percentile bootstrap (Efron 1979). With no pair left all figures are nan, which excludes nothing.
    """
    both = np.isfinite(ours) & np.isfinite(theirs)
    differences, base = (ours - theirs)[both], theirs[both]
    count = len(differences)
    if count == 0:
        nan = float("nan")
        return Difference(mean=nan, low=nan, high=nan, subjects=0, relative=nan)
    means = bootstrap_means(differences, samples, seed)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    level = abs(float(base.mean()))
    mean = float(differences.mean())
    relative = mean / level if level else float("nan")
    return Difference(mean=mean, low=float(low), high=float(high), subjects=count, relative=relative)


def bootstrap_means(values: Floats, samples: int, seed: int) -> Floats:
    """Means of `samples` resamples of `values` with replacement, in blocks that bound the memory."""
    rng = np.random.default_rng(seed)
    block = max(1, 4_000_000 // len(values))
    parts = [
        values[rng.integers(0, len(values), (min(block, samples - start), len(values)))].mean(axis=1)
        for start in range(0, samples, block)
    ]
    return np.concatenate(parts)


def _share(part: Floats, whole: Floats) -> Floats:
    share = np.full(len(part), np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share
