"""Did the KPI of both fall, the champion's and that of the version beside it, below what was known when the release began?

Pure arithmetic; sums of matured answers by window in, an answer out. Read by `tasks.level`. What weeks differ by without any
cause is taken from the weeks the level is known from, so neither the days of a week nor a bad week are a fall.

How the bound is found
- A block is a whole week of windows (one window where that is longer). What a block has is compared with what its answers
  would have had at the level of the same days in the other blocks, so neither the days' own levels nor their traffic count.
- The logarithms of these shares, each block against the others, spread about 0. Their spread, and the variance of the newest
  block's own answers over buckets of subjects, bound the newest block: the prediction interval of one more draw, by Student's t.
- Each window that ends begins another look, and neighbours share all but one window. The stated rate is shared among two looks
  a week (Bonferroni): exact where a window is a week, calibrated by simulation where it is a day (benchmarks/judging/level.py).
"""

from __future__ import annotations

from math import inf, log, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from records import Answered

Floats = npt.NDArray[np.float64]
QUARTER_WEEKS, LOOKS_A_WEEK = 13, 2
MIN_BLOCKS = 4  # below these a spread means nothing
HALF = 0.5  # of a hit is added to both sides, so that a block without any has a logarithm


class Sums(NamedTuple):
    """KPI and matured answers by window of the week: both of shape (windows,), or (blocks, windows)."""

    totals: Floats
    answers: Floats


class Level(NamedTuple):
    """What was known: the KPI of each window of the week, and how blocks differ from it."""

    rates: Floats  # KPI of an answer, shape (windows,); nan where nobody answered
    spread: float  # standard deviation of a block's logarithm
    blocks: int


class Fall(NamedTuple):
    """The newest block against the level: relative change with its bounds; infinite where nothing can be said."""

    change: float | None
    low: float
    high: float
    answers: int


class Said(NamedTuple):
    """Whether both fell, and how far each is from the level."""

    answer: Answered
    champion: Fall
    beside: Fall


NOTHING = Fall(None, -inf, inf, 0)


def level(known: Sums) -> Level | None:
    """The level of some blocks, shape (blocks, windows); None when there are too few of them, or their KPI is none that has a share."""
    totals, answers = known
    if len(totals) < MIN_BLOCKS or float(totals.sum()) <= 0 or float(totals.sum(axis=1).min()) < 0:
        return None
    others = Sums(totals.sum(axis=0) - totals, answers.sum(axis=0) - answers)
    apart = np.array(
        [_apart(Sums(*one), _rates(Sums(*rest))) for one, rest in zip(_each(known), _each(others), strict=True)]
    )
    blocks = len(totals)
    # a block against the mean of the others is further away than from the mean of all, blocks / (blocks - 1) times
    spread = (blocks - 1) / blocks * sqrt(float(apart @ apart) / (blocks - 1))
    return Level(_rates(Sums(totals.sum(axis=0), answers.sum(axis=0))), spread, blocks)


def doubt_of(alpha: float, windows_a_week: int) -> float:
    """The share of a quarter's `alpha` that one look has."""
    return alpha / (QUARTER_WEEKS * min(windows_a_week, LOOKS_A_WEEK))


def fall(known: Level, now: Sums, noise: float, doubt: float) -> Fall:
    """How far a block is below the level, or above it.

    Args:
        now: its windows, shape (windows,).
        noise: relative variance of its sum, see `noise_of`.
        doubt: chance that one more block like the known ones lies below `low`, and above `high`.
    """
    answers = int(now.answers.sum())
    if not answers or float(now.totals.sum()) < 0 or not np.isfinite(known.rates[now.answers > 0]).all():
        return NOTHING
    apart = _apart(now, known.rates)
    reach = -float(stdtrit(known.blocks - 1, doubt)) * sqrt(known.spread**2 * (1 + 1 / known.blocks) + noise)
    change, low, high = (float(np.expm1(one)) for one in (apart, apart - reach, apart + reach))
    return Fall(change, low, high, answers)


def noise_of(totals: Floats, answers: Floats) -> float:
    """Relative variance of a KPI sum, from how buckets of subjects scatter about the mean; both of shape (buckets,)."""
    total, count = float(totals.sum()), float(answers.sum())
    if total <= 0:
        return inf
    rest = totals - total / count * answers
    return float(rest @ rest) * len(rest) / (len(rest) - 1) / total**2


def both(champion: Fall, beside: Fall, margin: float, *, worse: bool = False) -> Said:
    """Yes: both lie below the level by more than the margin, bounds included. No: the champion does not.

    Args:
        worse: the champion is surely worse than what stands beside it, so that going back to that may be all it needs.
    """
    if champion.low > -margin:
        return Said("no", champion, beside)
    fell = max(champion.high, beside.high) < -margin
    return Said("yes" if fell and not worse else "undecided", champion, beside)


def _apart(now: Sums, rates: Floats) -> float:
    """Logarithm of what a block has over what its answers would have at these rates."""
    there = (now.answers > 0) & np.isfinite(rates)
    expected = float(now.answers[there] @ rates[there])
    return log(float(now.totals[there].sum()) + HALF) - log(expected + HALF)


def _rates(sums: Sums) -> Floats:
    nowhere = np.full(sums.totals.shape, np.nan)
    rates: Floats = np.divide(sums.totals, sums.answers, out=nowhere, where=sums.answers > 0)
    return rates


def _each(sums: Sums) -> list[tuple[Floats, Floats]]:
    return list(zip(sums.totals, sums.answers, strict=True))
