"""How well scores place people: figures per person whose mean is the known figure of the whole. Ties count half, or their share.

Pure arithmetic over arrays of one moment; read by `models.reputation` and its benchmark.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]


def placed(scores: Floats, valued: Truth) -> Floats:
    """For each valued one, the share of the others placed below it; missing for the others. The mean is the AUC."""
    found = np.full(len(scores), np.nan)
    others = np.sort(scores[~valued])
    if len(others):
        below = np.searchsorted(others, scores[valued], side="left")
        upto = np.searchsorted(others, scores[valued], side="right")
        found[valued] = (below + upto) / (2.0 * len(others))
    return found


def first(scores: Floats, k: int) -> Floats:
    """How far each is among the best k: 1, 0, or for those tied over the border the share of their places inside."""
    k = min(k, len(scores))
    if k < 1:
        return np.zeros(len(scores))
    border = np.sort(scores)[-k]
    above, tied = scores > border, scores == border
    return np.asarray(np.where(tied, (k - above.sum()) / tied.sum(), above), dtype=np.float64)


def precision(scores: Floats, valued: Truth, k: int) -> Floats:
    """The mean is precision@k: each person adds valued x inside x people / k."""
    k = min(k, len(scores))
    return np.asarray(first(scores, k) * valued * (len(scores) / k if k else 0.0), dtype=np.float64)


def spearman(scores: Floats, worth: Floats) -> Floats:
    """The mean is Spearman's rank correlation: the product of both ranks, centred and scaled (Spearman 1904)."""
    return _scaled_ranks(scores) * _scaled_ranks(worth)


def somers(scores: Floats, worth: Floats) -> float:
    """Somers' D of scores given worth (Somers 1962): of the pairs whose worth differs, concordant minus discordant.

    Nan when all are worth the same. Takes (people x distinct worths) of memory.
    """
    levels, at = np.unique(worth, return_inverse=True)
    order, ranks = np.unique(scores, return_inverse=True)
    table = np.zeros((len(levels), len(order) + 1))
    np.add.at(table, (at, ranks + 1), 1.0)
    upto = np.cumsum(table, axis=1)  # of each worth, how many have a score below the next
    lower = np.cumsum(upto, axis=0) - upto  # of all lesser worths
    concordant = lower[at, ranks].sum()
    discordant = (lower[at, -1] - lower[at, ranks + 1]).sum()
    counts = table.sum(axis=1)
    pairs = (len(worth) ** 2 - (counts**2).sum()) / 2
    return float((concordant - discordant) / pairs) if pairs else float("nan")


def _scaled_ranks(values: Floats) -> Floats:
    """Ranks, ties sharing their middle, minus their mean over their deviation; 0 when all are alike."""
    ordered = np.sort(values)
    ranks = (np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")) / 2.0
    deviation = ranks.std() if len(ranks) else 0.0
    return np.asarray((ranks - ranks.mean()) / deviation if deviation > 0 else np.zeros(len(ranks)), dtype=np.float64)
