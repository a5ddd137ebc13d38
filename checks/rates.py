"""Is an arm's rate of bad answers above its limit? A test that may be looked at every tick, for errors and lateness.

Pure; read by `checks.case` and `checks.findings`. The CUSUM of Page (1954) over likelihood ratios, with the bound of Lorden (1971) on the time
to a false alarm: exact, whatever the size of the sample.
"""

from __future__ import annotations

from math import log

DOUBT = 0.05  # how likely an arm may be said to fail less often that does not, all looks together
LOOKS = 3.2e7  # two rate tests at two looks a second for a quarter: less than one false alarm in that time
CERTAIN = 1e9  # a score beyond any threshold
ABOVE = 3.0  # the threshold a score may be: what is over must not sound for as long as it lasted


def carry_on(before: tuple[float, ...], bad: int, answers: int, limit: float) -> tuple[float, ...]:
    """Carries the rate test on by one look: one score for each rival rate, empty for a limit that cannot be passed.

    A score is the log-likelihood of the rival rate against the limit, summed over looks and never below 0 (Page 1954),
    so that a break after a million good answers shows as quickly as one at the start. Nor does it grow far beyond its
    threshold, which no alarm needs, so that the end of a break shows as well: after some 3 / limit good answers.

    Args:
        before: the scores of the look before, empty at the first.
        bad, answers: of this look only.
    """
    if limit >= 1.0:
        return ()
    if limit <= 0.0:
        return (max(CERTAIN if bad else 0.0, *before, 0.0),)
    rates = rivals(limit)
    good = answers - bad
    steps = [bad * log(rate / limit) + good * log((1 - rate) / (1 - limit)) for rate in rates]
    most = _threshold(len(rates)) + ABOVE
    return tuple(
        min(max(0.0, old) + step, most) for old, step in zip(before or (0.0,) * len(rates), steps, strict=True)
    )


def alarms(scores: tuple[float, ...]) -> bool:
    """True when the rate is above its limit, with less than one false alarm in LOOKS looks even at the limit itself.

    The mean time to a false alarm of one score is at least exp(threshold) looks (Lorden 1971).
    """
    return bool(scores) and max(scores) >= _threshold(len(scores))


def _threshold(scores: int) -> float:
    return log(LOOKS * scores)


def fails_less(bad: int, answers: int, rate: float, limit: float) -> bool:
    """Whether an arm is better than `rate`: its answers are 1 / DOUBT times likelier at the limit than at that rate.

    An arm as bad as `rate` is called better with probability DOUBT at most, however often it is looked at (Ville 1939).

    Args:
        bad, answers: of the arm, since the other one began to fail.
        rate: share of bad answers of the other one, below 1.
    """
    if not answers or not limit < rate < 1.0:
        return False
    if limit <= 0.0 and bad:
        return False
    errors = bad * log(limit / rate) if bad else 0.0
    return errors + (answers - bad) * log((1 - limit) / (1 - rate)) >= -log(DOUBT)


def rivals(limit: float) -> tuple[float, ...]:
    """The rates a limit is tested against: 2, 5 and 20 times as high and one half; for a high limit the middle to 1."""
    rates = tuple(rate for rate in (2 * limit, 5 * limit, 20 * limit, 0.5) if limit < rate < 1.0)
    return rates or ((1.0 + limit) / 2,)
