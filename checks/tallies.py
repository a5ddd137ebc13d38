"""Counters of a rollout, added up: who is judged against whom, how often an arm failed, how the KPI compares.

Pure. Between the rows serving writes and `checks.judge`. A row of a paired model carries the KPI of both arms on the same
requests (in the canary's row, after 100 % in the control's); of a split model each arm has rows of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from checks import sequential
from checks.assignment import BUCKETS
from checks.sequential import Array, Effect
from records import Arm, Counter, Record, ReleasePlan, Rollout

TUNED_AT_LEAST = 200.0  # answers
UNSEEN = "unseen"  # in place of an arm: scores of a shadow that can have no outcome, since the model is judged split


@dataclass(frozen=True)
class Sides:
    """The arm under judgement and what it is compared with."""

    role: Literal["canary", "champion"]
    arm: Arm
    control_role: Literal["champion", "control"]
    control: Arm
    control_percent: float  # of the routing keys that go to the smaller of the two: the canary, or the control


def sides(plan: ReleasePlan) -> Sides | None:
    """Who is judged against whom; None when nothing is judged (no rollout, or the rules answer)."""
    if plan.mode == "rules" or plan.rollout is None:
        return None
    if plan.canary is not None:
        return Sides("canary", plan.canary, "champion", plan.champion, plan.canary_percent)
    if plan.control is not None:
        return Sides("champion", plan.champion, "control", plan.control, plan.control_percent)
    return None


class Tally(Record, frozen=True, kw_only=True):
    """What was counted of one arm. `matured` is the number of answers the comparison rests on."""

    answers: int = 0
    errors: int = 0
    late: int = 0
    matured: int = 0

    def since(self, start: Tally) -> Tally:
        return Tally(
            answers=self.answers - start.answers,
            errors=self.errors - start.errors,
            late=self.late - start.late,
            matured=self.matured - start.matured,
        )


def tally(counters: Iterable[Counter], role: str, version: int) -> Tally:
    """Adds up the rows of one arm and version."""
    rows = rows_of(counters, role, version)
    return Tally(
        answers=sum(row.answers for row in rows),
        errors=sum(row.errors for row in rows),
        late=sum(row.late for row in rows),
        matured=sum(row.matured for row in rows),
    )


def rows_of(counters: Iterable[Counter], role: str, version: int) -> list[Counter]:
    return [row for row in counters if row.arm == role and row.version == version]


@dataclass(frozen=True)
class Comparison:
    """The KPI of the judged arm against the other, and the matured answers it rests on."""

    form: Literal["paired", "split"]
    effect: Effect
    matured: int
    kpi: float | None  # mean of the judged arm
    control_kpi: float | None

    def needed(self, rollout: Rollout) -> int | None:
        """Matured answers still to come before the interval can decide, at the variance seen so far."""
        gates = rollout.gates
        more = sequential.still_needed(
            self.effect, gates.margin_fail, gates.margin_pass, alpha=gates.alpha, tuned_at=tuned_at(rollout)
        )
        if more is None or self.effect.size <= 0:
            return None
        return round(more * max(self.matured / self.effect.size, 1.0))


def compare(counters: Sequence[Counter], who: Sides, rollout: Rollout, now: datetime | None = None) -> Comparison:
    """The relative effect of the judged arm with its always-valid interval.

    Where the arms are split, an hour counts when the attribution window of its last answer is over: labels of hits may come
    first, and an hour of which only the hits are known makes every arm look alike. In pairs both arms are compared on the
    same labels.

    Args:
        counters: rows of the rollout's salt; by hour where the arms are split.
        now: event time; without it, that of the newest hour somebody answered in.
    """
    pairs = pairs_of(counters, who)
    if are_paired(pairs):
        return _paired(pairs, who, rollout)
    closed = due(counters, rollout.gates.attribution_seconds, now)
    arm, control = rows_of(closed, who.role, who.arm.number), rows_of(closed, who.control_role, who.control.number)
    return _split(arm, control, rollout)


def pairs_of(counters: Iterable[Counter], who: Sides) -> list[Counter]:
    """The rows that carry both arms' KPI, if any do: the canary's, or the control's."""
    role, version = ("canary", who.arm.number) if who.role == "canary" else ("control", who.control.number)
    return rows_of(counters, role, version)


def size_of(counters: Sequence[Counter], who: Sides) -> float:
    """Matured answers as `Effect.size` counts them: pairs, or the harmonic size of the arms."""
    pairs = pairs_of(counters, who)
    if are_paired(pairs):
        return float(sum(row.matured for row in pairs))
    arms = (who.role, who.arm.number), (who.control_role, who.control.number)
    one, two = (sum(row.matured for row in rows_of(counters, *arm)) for arm in arms)
    return one * two / (one + two) if one and two else 0.0


def due(counters: Sequence[Counter], window: float, now: datetime | None = None) -> Sequence[Counter]:
    """The rows of the hours that are over, attribution window included; all of them where there is none."""
    now = now or max((row.hour for row in counters if row.answers), default=None)
    if window <= 0 or now is None:
        return counters
    last = now - timedelta(hours=1, seconds=window)
    return [row for row in counters if row.hour <= last]


def are_paired(rows: Iterable[Counter]) -> bool:
    """True when rows carry the other arm's KPI of the same requests."""
    return any(row.other_total or row.other_squares or row.cross for row in rows)


def _paired(rows: Sequence[Counter], who: Sides, rollout: Rollout) -> Comparison:
    own, other = by_bucket(rows, "total"), by_bucket(rows, "other_total")
    arm, control = (own, other) if who.role == "canary" else (other, own)
    matured = sum(row.matured for row in rows)
    unit = _unit(sum(row.total + row.other_total for row in rows), sum(row.squares + row.other_squares for row in rows))
    seen = sequential.paired(arm, control, matured, alpha=rollout.gates.alpha, tuned_at=tuned_at(rollout), unit=unit)
    return Comparison("paired", seen, matured, _mean(float(arm.sum()), matured), _mean(float(control.sum()), matured))


def _split(arm: Sequence[Counter], control: Sequence[Counter], rollout: Rollout) -> Comparison:
    matured = sum(row.matured for row in arm)
    others = sum(row.matured for row in control)
    one, two = _by_hour(arm), _by_hour(control)
    seen = sequential.NOTHING
    if hours := sorted(one.keys() & two.keys()):
        sides = sequential.stratified([(*one[hour], *two[hour]) for hour in hours])
        unit = _unit(
            *(sum(getattr(row, name) for side in (arm, control) for row in side) for name in ("total", "squares"))
        )
        seen = sequential.split(*sides, alpha=rollout.gates.alpha, tuned_at=tuned_at(rollout), unit=unit)
    means = _mean(sum(row.total for row in arm), matured), _mean(sum(row.total for row in control), others)
    return Comparison("split", seen, matured, *means)


def _unit(total: float, squares: float) -> float:
    """What a hit is worth, from the sum of the KPI and that of its squares: 1 where it is hit or miss."""
    return squares / total if total > 0 and squares > 0 else 1.0


def _by_hour(rows: Sequence[Counter]) -> dict[datetime, tuple[Array, Array]]:
    """KPI sums and matured answers of each bucket, by hour; each of shape (BUCKETS,)."""
    if not rows:
        return {}
    hours = {hour: number for number, hour in enumerate({row.hour for row in rows})}
    cell = [hours[row.hour] * BUCKETS + row.bucket for row in rows]
    sums = [
        np.bincount(cell, weights, len(hours) * BUCKETS).reshape(-1, BUCKETS)
        for weights in ([row.total for row in rows], [row.matured for row in rows])
    ]
    return {hour: (sums[0][number], sums[1][number]) for hour, number in hours.items()}


def by_bucket(rows: Iterable[Counter], name: Literal["total", "other_total", "matured", "answers"]) -> Array:
    """One column of the rows summed per bucket, shape (BUCKETS,)."""
    sums = np.zeros(BUCKETS)
    if seen := list(rows):
        sums += np.bincount([row.bucket for row in seen], [getattr(row, name) for row in seen], BUCKETS)
    return sums


def _mean(total: float, answers: int) -> float | None:
    return total / answers if answers else None


def tuned_at(rollout: Rollout) -> float:
    """The sample at which the interval is tightest: the largest the steps ask for, fixed with them when they are voted on."""
    return max(TUNED_AT_LEAST, *(float(step.min_answers) for step in rollout.steps))


def sample_needed(rollout: Rollout, rate: float, agreement: float | None) -> int | None:
    """Matured answers with which an arm as good as its control passes nine times in ten, known before the rollout.

    For the release page. Repeats of subjects are not in it and make the true figure larger; for a split model it is the
    harmonic size of the two arms, n_arm * n_control / (n_arm + n_control).

    Args:
        rate: the KPI of the control, a hit rate above 0.
        agreement: correlation of the two arms' hits on the same request (paired), or None (split).
    """
    gates = rollout.gates
    variance = sequential.hit_variance(rate, gates.margin_pass, agreement=agreement)
    return sequential.answers_needed(variance, gates.margin_pass, alpha=gates.alpha, tuned_at=tuned_at(rollout))


def sample_ratio(now: Sequence[Counter], start: Sequence[Counter], who: Sides, alpha: float) -> tuple[float, float]:
    """Chi-square of the smaller arm's share of answers since `start`, and its limit. (0, inf) for a shadow."""
    small, large = ("canary", "champion") if who.role == "canary" else ("control", "champion")
    if who.control_percent <= 0:
        return 0.0, float("inf")
    counts = [
        by_bucket([row for row in now if row.arm == role], "answers")
        - by_bucket([row for row in start if row.arm == role], "answers")
        for role in (small, large)
    ]
    return sequential.sample_ratio(counts[0], counts[1], who.control_percent / 100.0, alpha=alpha)
