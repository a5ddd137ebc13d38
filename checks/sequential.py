"""Always-valid intervals for the relative effect of an arm, and the other sequential tests of a rollout.

Pure arithmetic: bucket sums of matured answers in, interval out. The guard looks after every tick, so each interval and
test here holds at all looks together. Buckets of subjects, not answers, are the unit of variance, because one subject
answers many times. Read by `checks.judge` and by the release page.

Sources
- The multiplier is the two-sided normal mixture of the asymptotic confidence sequences of Waudby-Smith, Arbour, Sinha,
  Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences" (2021, arXiv:2103.06476),
  theorem 2.2 and its appendix on choosing rho; Howard, Ramdas, McAuliffe, Sekhon (2021) give the boundary itself.
- The ratio is inverted after Fieller (1954): S(r) = arm - r * control is tested for each r, and the r not refused are
  the interval. The delta method is its limit; this form also holds while the control's sum is small.
- As in the interval of Wilson (1927) for a share, the variance at r is never below the least that two hit-or-miss arms
  with that ratio can have: arms that agreed so far would otherwise look certain to agree for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite, log, sqrt
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Kpi = Literal["drop", "pass", "inconclusive"]
MIN_ANSWERS = 50  # below these two a variance from buckets means nothing, and there is no interval
MIN_BUCKETS = 20
RATIO_TUNED_AT = 500.0  # a wrong split should show early, and then only grows
POWER = 1.2816  # normal quantile of 0.9: a sample "needed" decides nine times in ten
UNREACHABLE = 10**9  # more answers than this are reported as "cannot be said"


@dataclass(frozen=True)
class Effect:
    """(arm - control) / control with its interval; infinite ends while nothing can be said.

    `size` is the number of answers the interval rests on (for a split form the harmonic size of the two arms), and
    `variance` the relative variance of one such answer, repeats of subjects included: the half-width is about
    `multiplier(size) * sqrt(variance / size)`. At a distance d from no effect the variance is at least `least * d`.
    """

    effect: float | None
    low: float
    high: float
    size: float
    variance: float
    least: float = 0.0


NOTHING = Effect(None, -inf, inf, 0.0, inf)


def multiplier(size: float, alpha: float, tuned_at: float) -> float:
    """How many standard errors the interval reaches at `size` answers, valid at all sizes together.

    `tuned_at` is the size at which it is tightest; it must be fixed before the first answer. At ten times that size
    the interval is 7 % wider than it could be, at a tenth of it 27 %.
    """
    reach = -2.0 * log(alpha)
    scaled = size * (reach + log(reach + 1.0)) / tuned_at
    return sqrt(2.0 * (scaled + 1.0) / scaled * (0.5 * log(scaled + 1.0) - log(alpha)))


@dataclass(frozen=True)
class _Moments:
    """What an interval is made of: sums or means of (arm, control), their variance and covariance (arm, both, control),
    and the least variance of arm - r * control, by r * |1 - r|, for r (below, above) 1."""

    sums: tuple[float, float]
    squares: tuple[float, float, float]
    least: tuple[float, float]


def paired(arm: Array, control: Array, answers: int, *, alpha: float, tuned_at: float, unit: float = 1.0) -> Effect:
    """The effect when both arms were scored on the same requests.

    Args:
        arm: KPI sum of each bucket under the arm, shape (buckets,).
        control: the same requests under the control.
        answers: matured answers in all buckets.
        unit: what a hit is worth; for a KPI that is not hit or miss, its mean square over its mean.
    """
    # buckets where either arm hit: fewer than those with answers, so the start is later rather than earlier
    filled = int(np.count_nonzero((arm != 0) | (control != 0)))
    sums = float(arm.sum()), float(control.sum())
    return _fieller(
        _Moments(
            sums, (float(arm @ arm), float(arm @ control), float(control @ control)), (unit * sums[1], unit * sums[1])
        ),
        float(answers) if filled >= MIN_BUCKETS and answers >= MIN_ANSWERS else 0.0,
        alpha,
        tuned_at,
    )


@dataclass(frozen=True)
class Side:
    """One arm of a split form: KPI sums and matured answers of each bucket, both of shape (buckets,).

    `noise` is the sum of the answers' squared weights: their number while each counts once.
    """

    totals: Array
    answers: Array
    noise: float


def side(totals: Array, answers: Array) -> Side:
    """An arm whose answers count once each."""
    return Side(totals, answers, float(answers.sum()))


def stratified(parts: Sequence[tuple[Array, Array, Array, Array]]) -> tuple[Side, Side]:
    """(arm, control) over periods in which their shares differed, weighted as by Mantel and Haenszel (1959).

    A canary grows from 5 to 50 % while the KPI has its own week; pooled, the arms would be compared over other times.

    Args:
        parts: per period the arm's totals and answers and the control's totals and answers, each of shape (buckets,).
    """
    sums = [np.zeros_like(values) for values in parts[0]]
    noise = [0.0, 0.0]
    for part in parts:
        sizes = float(part[1].sum()), float(part[3].sum())
        if min(sizes) > 0:
            weight = sizes[0] * sizes[1] / (sizes[0] + sizes[1])
            for place, values in enumerate(part):
                sums[place] += values * (weight / sizes[place // 2])
            noise = [noise[0] + weight**2 / sizes[0], noise[1] + weight**2 / sizes[1]]
    return Side(sums[0], sums[1], noise[0]), Side(sums[2], sums[3], noise[1])


def split(arm: Side, control: Side, *, alpha: float, tuned_at: float, unit: float = 1.0) -> Effect:
    """The effect when each request was answered by one arm only.

    An arm's variance is never taken smaller than the control's would be at the arm's size: an arm that has not hit yet
    would otherwise look certain.

    Args:
        unit: as in `paired`.
    """
    sizes = float(arm.answers.sum()), float(control.answers.sum())
    filled = min(int(np.count_nonzero(one.answers)) for one in (arm, control))
    if filled < MIN_BUCKETS or min(sizes) <= 0:
        return NOTHING
    size = 1.0 / (arm.noise / sizes[0] ** 2 + control.noise / sizes[1] ** 2)
    if size < MIN_ANSWERS / 2:  # the harmonic size of two equal arms is half of either
        return NOTHING
    spread_control = _spread(control)
    spread_arm = max(_spread(arm), spread_control * arm.noise / control.noise)
    means = float(arm.totals.sum()) / sizes[0], float(control.totals.sum()) / sizes[1]
    squares = spread_arm / sizes[0] ** 2, 0.0, spread_control / sizes[1] ** 2
    least = unit * means[1] * arm.noise / sizes[0] ** 2, unit * means[1] * control.noise / sizes[1] ** 2
    return _fieller(_Moments(means, squares, least), size, alpha, tuned_at)


def _spread(one: Side) -> float:
    """Variance of an arm's KPI sum, from how its buckets scatter about the arm's mean."""
    mean = float(one.totals.sum() / one.answers.sum())
    rest = one.totals - mean * one.answers
    return float(rest @ rest) * len(rest) / (len(rest) - 1)


def _fieller(seen: _Moments, size: float, alpha: float, tuned_at: float) -> Effect:
    """All ratios r with (arm - r control)^2 <= c^2 (squares of arm - r control): the roots of a quadratic in r. And those
    that the least variance lets through as well."""
    (arm, control), squares = seen.sums, seen.squares
    if size <= 0 or control <= 0:
        return Effect(None, -inf, inf, size, inf)
    ratio = arm / control
    noise = squares[0] - 2 * ratio * squares[1] + ratio**2 * squares[2]
    variance = size * max(noise, 0.0) / control**2
    square = multiplier(size, alpha, tuned_at) ** 2
    a = control**2 - square * squares[2]
    b = arm * control - square * squares[1]
    c = arm**2 - square * squares[0]
    root = sqrt(max(b * b - a * c, 0.0))
    # where the control cannot be told from zero no ratio is too high, and some are too low if the arm can be told from it
    low = (b - root) / a if a > 0 or (a < 0 < c) else -inf
    high = (b + root) / a if a > 0 else inf
    lows, highs = zip((low, high), *_least(seen, square), strict=True)
    return Effect(ratio - 1, min(lows) - 1, max(highs) - 1, size, variance, size * max(seen.least) / control**2)


def _least(seen: _Moments, square: float) -> Iterator[tuple[float, float]]:
    """The ratios with (arm - r control)^2 <= c^2 r |1 - r| least, below 1 and above it: roots of a quadratic in r again."""
    arm, control = seen.sums
    for least, sign in zip(seen.least, (1.0, -1.0), strict=True):
        more = sign * square * least
        a, b, inner = control**2 + more, arm * control + more / 2, more * (arm * (control - arm) + more / 4)
        if a == 0 or inner < 0:
            continue
        low, high = (b - sqrt(inner)) / a, (b + sqrt(inner)) / a if a > 0 else inf
        if sign > 0 and low <= 1:
            yield low, min(high, 1.0)
        elif sign < 0 and high >= 1:
            yield max(low, 1.0), high


def decide(effect: Effect, margin_fail: float, margin_pass: float) -> Kpi:
    """Drop when the whole interval is below -margin_fail, pass when it is above -margin_pass, else inconclusive."""
    if effect.high < -margin_fail:
        return "drop"
    return "pass" if effect.low > -margin_pass else "inconclusive"


def answers_needed(variance: float, distance: float, *, alpha: float, tuned_at: float) -> int | None:
    """Matured answers with which the interval decides nine times in ten; None when that is out of reach.

    Args:
        variance: relative variance of one answer, as in `Effect.variance` or from `hit_variance`.
        distance: how far the effect is believed to be from the margin; the margin itself for an arm that is no worse.
    """
    if distance <= 0 or not isfinite(variance):
        return None

    def short(size: float) -> bool:
        return (multiplier(size, alpha, tuned_at) + POWER) * sqrt(variance / size) > distance

    low, high = 1.0, float(MIN_ANSWERS)
    while short(high):
        low, high = high, high * 2
        if high > UNREACHABLE:
            return None
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (middle, high) if short(middle) else (low, middle)
    return max(ceil(high), MIN_ANSWERS)


def still_needed(
    effect: Effect, margin_fail: float, margin_pass: float, *, alpha: float, tuned_at: float
) -> int | None:
    """Answers (of the kind `Effect.size` counts) to go before a decision, at the variance seen so far.

    Reckons with an arm that is as good as the control while that is possible and not yet enough, afterwards with the
    effect as it stands. None when nothing can be said: no interval yet, or an effect right on the margin.
    """
    if effect.effect is None or not isfinite(effect.variance):
        return None
    if decide(effect, margin_fail, margin_pass) != "inconclusive":
        return 0
    equal = answers_needed(_at(effect, margin_pass), margin_pass, alpha=alpha, tuned_at=tuned_at)
    if effect.low < 0 < effect.high and equal is not None and equal > effect.size:
        return ceil(equal - effect.size)
    passes = effect.effect + margin_pass >= -margin_fail - effect.effect
    distance = effect.effect + margin_pass if passes else -margin_fail - effect.effect
    variance = _at(effect, margin_pass if passes else margin_fail)
    there = answers_needed(variance, distance, alpha=alpha, tuned_at=tuned_at)
    return None if there is None else max(ceil(there - effect.size), 1)


def _at(effect: Effect, margin: float) -> float:
    """The variance with which a margin is tested."""
    return max(effect.variance, effect.least * margin)


def hit_variance(rate: float, margin: float, *, agreement: float | None = None) -> float:
    """Relative variance of one answer for a KPI that is hit or miss at `rate`, for planning before any answer is there.

    Args:
        margin: what is tested; arms that agree on all but so much of their hits are not told apart sooner than others.
        rate: hit rate of the control, above 0.
        agreement: correlation of the two arms' hits on the same request; None for a split form, where `size` is the
            harmonic size of the arms. Repeats of subjects are not in it: they make the true figure larger.
    """
    one = (1.0 - rate) / rate
    return max(one if agreement is None else 2.0 * one * (1.0 - agreement), margin / rate)


def sample_ratio(arm: Array, others: Array, share: float, *, alpha: float) -> tuple[float, float]:
    """Chi-square (one degree of freedom) of an arm's share of the answers, and the limit it must stay below.

    Answers of one subject all fall to one arm, so the variance is taken across buckets (shape (buckets,)), and the
    limit is that of an always-valid test. A figure above the limit means the arms did not get what the plan says.

    The variance is at least what the share makes of subjects as large as the buckets' sizes tell, and of answers drawn one by
    one: a small arm that got none of the heavy users yet would look certain.
    """
    both = arm + others
    rest = arm - share * both
    answers = float(both.sum())
    apart = float(both @ both) - answers**2 / len(both)  # the squares of the subjects' answers, but for chance
    noise = max(float(rest @ rest), share * (1.0 - share) * max(apart, answers))
    if noise == 0 or answers < MIN_ANSWERS or np.count_nonzero(rest) < MIN_BUCKETS:
        return 0.0, inf
    return float(rest.sum()) ** 2 / noise, multiplier(answers, alpha, RATIO_TUNED_AT) ** 2
