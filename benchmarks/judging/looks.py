"""The guard's interval at every look of many runs at once; the arithmetic of `checks.sequential` and `checks.tallies`.

Paired: a look after every answer that matured. Split: one after every slot, weighted slot by slot. A test holds both
to `checks.tallies.compare` on the same counters. The same sums give the judges that ours is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.judging.world import WINDOW, Draw, Flags, Floats, Ints
from checks.assignment import BUCKETS
from checks.sequential import MIN_ANSWERS, MIN_BUCKETS

Squares = tuple[Floats, Floats, Floats]
Ends = tuple[Floats, Floats]
AGES = WINDOW + 2  # a slot's last label is there after WINDOW slots, and known to be the last in the next


@dataclass(frozen=True)
class Looks:
    """What is known at each look, each array of shape (runs, looks).

    `arm` and `control` are sums (paired) or means (split), `by_bucket` and `by_answer` their second moments (arm, both,
    control) with buckets and with answers as the unit, `least` as in `checks.sequential`. `size` is 0 where the guard says
    nothing yet.
    """

    arm: Floats
    control: Floats
    by_bucket: Squares
    by_answer: Squares
    least: tuple[Floats, Floats]
    size: Floats
    matured: Floats  # answers the comparison rests on: pairs, or those of the canary
    time: Floats  # slots since the start


def multiplier(size: Floats, alpha: float, tuned_at: float) -> Floats:
    """`checks.sequential.multiplier` of many sizes."""
    reach = -2.0 * np.log(alpha)
    scaled = np.maximum(size, 1e-9) * (reach + np.log(reach + 1.0)) / tuned_at
    spread: Floats = np.sqrt(2.0 * (scaled + 1.0) / scaled * (0.5 * np.log(scaled + 1.0) - np.log(alpha)))
    return spread


def interval(seen: Looks, reach: Floats | float, squares: Squares, *, least: bool = False) -> Ends:
    """(low, high) of the relative effect, as `checks.sequential` inverts it; `least` with its least variance."""
    square = reach**2
    a = seen.control**2 - square * squares[2]
    b = seen.arm * seen.control - square * squares[1]
    c = seen.arm**2 - square * squares[0]
    root = np.sqrt(np.maximum(b * b - a * c, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.where((a > 0) | ((a < 0) & (c > 0)), (b - root) / a, -np.inf)
        high = np.where(a > 0, (b + root) / a, np.inf)
        if least:
            for sign in (1.0, -1.0):
                first, last = _least(seen, square, sign)
                low, high = np.fmin(low, first), np.fmax(high, last)
    silent = (seen.size <= 0) | (seen.control <= 0)
    return np.where(silent, -np.inf, low - 1), np.where(silent, np.inf, high - 1)


def _least(seen: Looks, square: Floats | float, sign: float) -> Ends:
    """The ratios below 1 (sign 1) or above it (-1) that the least variance lets through; nan where there are none."""
    more = sign * square * seen.least[0 if sign > 0 else 1]
    a, b = seen.control**2 + more, seen.arm * seen.control + more / 2
    inner = more * (seen.arm * (seen.control - seen.arm) + more / 4)
    root = np.sqrt(np.where(inner < 0, np.nan, inner))
    low, high = (b - root) / a, np.where(a > 0, (b + root) / a, np.where(inner < 0, np.nan, np.inf))
    there = low <= 1 if sign > 0 else high >= 1
    ends = (low, np.minimum(high, 1.0)) if sign > 0 else (np.maximum(low, 1.0), high)
    return np.where(there, ends[0], np.nan), np.where(there, ends[1], np.nan)


def paired(drawn: Draw) -> Looks:
    """A look after every matured answer, in the order the labels came; those after the end are not seen."""
    order = np.argsort(drawn.known, axis=1)
    known, bucket = np.take_along_axis(drawn.known, order, 1), np.take_along_axis(drawn.bucket, order, 1)
    seen = known < drawn.world.slots
    if drawn.counts is not None:
        seen &= np.take_along_axis(drawn.counts, order, 1)
    arm, control = (np.take_along_axis(one, order, 1) * seen for one in (drawn.arm, drawn.control))
    grouped = np.argsort(bucket.astype(np.uint8), axis=1, kind="stable")
    mine, its, hits = (_before(one, bucket, grouped) for one in (arm, control, np.maximum(arm, control)))
    by_bucket = (
        np.cumsum(2 * mine * arm + arm**2, axis=1),
        np.cumsum(mine * control + its * arm + arm * control, axis=1),
        np.cumsum(2 * its * control + control**2, axis=1),
    )
    by_answer = (np.cumsum(arm**2, axis=1), np.cumsum(arm * control, axis=1), np.cumsum(control**2, axis=1))
    filled = np.cumsum((hits == 0) & (np.maximum(arm, control) > 0), axis=1)
    matured = np.cumsum(seen, axis=1).astype(np.float64)
    size = np.where((filled >= MIN_BUCKETS) & (matured >= MIN_ANSWERS), matured, 0.0)
    sums = np.cumsum(arm, axis=1), np.cumsum(control, axis=1)
    return Looks(*sums, by_bucket, by_answer, (sums[1], sums[1]), size, matured, known)


def _before(values: Floats, bucket: Ints, grouped: Ints) -> Floats:
    """Of each answer, the sum of the earlier ones of its bucket."""
    ordered = np.take_along_axis(values, grouped, 1)
    sums = np.cumsum(ordered, axis=1) - ordered
    place = np.take_along_axis(bucket, grouped, 1)
    first = np.ones(place.shape, dtype=np.bool_)
    first[:, 1:] = place[:, 1:] != place[:, :-1]
    start = np.maximum.accumulate(np.where(first, np.arange(place.shape[1]), 0), axis=1)
    result = np.empty_like(values)
    np.put_along_axis(result, grouped, sums - np.take_along_axis(sums, start, 1), 1)
    return result


@dataclass(frozen=True)
class _Ages:
    """Answers of each slot that matured by so many slots after it, shape (runs, slots, AGES), and their weights."""

    sizes: tuple[Floats, Floats]  # canary, champion
    scales: tuple[Floats, Floats]  # what each answer counts, as in `stratified`


def split(drawn: Draw) -> Looks:
    """A look at the end of every slot."""
    slot = drawn.time.astype(np.int64)
    lag = np.full_like(slot, AGES - 1) if drawn.world.closed else drawn.known_split.astype(np.int64) - slot
    value = np.where(drawn.mine, drawn.arm, drawn.control)
    ages = _ages(drawn, slot, lag)
    totals, answers = _bucket_sums(drawn, (slot, lag, value), ages)
    noise = [_by_look(scale**2 * size) for scale, size in zip(ages.scales, ages.sizes, strict=True)]
    size = [one.sum(axis=2) for one in answers]
    filled = np.minimum(*(np.count_nonzero(one > 0, axis=2) for one in answers))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = [np.where(n > 0, total.sum(axis=2) / n, 0.0) for total, n in zip(totals, size, strict=True)]
        harmonic = 1.0 / (noise[0] / size[0] ** 2 + noise[1] / size[1] ** 2)
        spread = [_spread(*one) for one in zip(totals, answers, mean, strict=True)]
        spread[0] = np.maximum(spread[0], spread[1] * noise[0] / noise[1])
        alone = [_alone(drawn, (slot, lag, value), ages, which, mean[which]) for which in (0, 1)]
        least = tuple(np.nan_to_num(mean[1] * one / n**2) for one, n in zip(noise, size, strict=True))
        squares = [
            tuple(np.nan_to_num(part / size[at] ** 2) for at, part in enumerate(both)) for both in (spread, alone)
        ]
    spoken = (filled >= MIN_BUCKETS) & (np.minimum(*size) > 0) & (harmonic >= MIN_ANSWERS / 2)
    nothing = np.zeros_like(mean[0])
    return Looks(
        mean[0],
        mean[1],
        (squares[0][0], nothing, squares[0][1]),
        (squares[1][0], nothing, squares[1][1]),
        least,
        np.where(spoken, harmonic, 0.0),
        _by_look(ages.sizes[0]),
        np.broadcast_to(np.arange(1.0, drawn.world.slots + 1), mean[0].shape),
    )


def _ages(drawn: Draw, slot: Ints, lag: Ints) -> _Ages:
    sizes = tuple(
        np.cumsum(_counted(drawn, slot, lag, which.astype(np.float64)), axis=2) for which in (drawn.mine, ~drawn.mine)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.nan_to_num(sizes[0] * sizes[1] / (sizes[0] + sizes[1]))
        scales = tuple(np.nan_to_num(weight / size, posinf=0.0) for size in sizes)
    return _Ages((sizes[0], sizes[1]), (scales[0], scales[1]))


def _counted(drawn: Draw, slot: Ints, lag: Ints, weights: Floats) -> Floats:
    shape = (drawn.runs, drawn.world.slots, AGES)
    cell = (np.arange(drawn.runs)[:, None] * shape[1] + slot) * shape[2] + lag
    weights = weights if drawn.counts is None else weights * drawn.counts
    return np.bincount(cell.ravel(), weights.ravel(), int(np.prod(shape))).reshape(shape).astype(np.float64, copy=False)


def _by_look(figures: Floats) -> Floats:
    """The sum over slots at each look, of figures that each slot has by age: shape (runs, looks)."""
    more = np.diff(figures, axis=2, prepend=0.0)
    slots = figures.shape[1]
    sums = np.zeros(figures.shape[:2])
    for age in range(min(AGES, slots)):
        sums[:, age:] += more[:, : slots - age, age]
    return np.cumsum(sums, axis=1)


def _bucket_sums(
    drawn: Draw, parts: tuple[Ints, Ints, Floats], ages: _Ages
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Weighted totals and answers of each bucket at each look, of (canary, champion): each (runs, looks, BUCKETS).

    An answer counts from its own age on, and its weight changes as long as others of its slot mature.
    """
    slot, lag, value = parts
    runs, slots = drawn.runs, drawn.world.slots
    run = np.arange(runs)[:, None]
    scale = np.where(drawn.mine[..., None], ages.scales[0][run, slot], ages.scales[1][run, slot])
    there = np.arange(AGES) >= lag[..., None]
    more = np.diff(scale * there, axis=2, prepend=0.0)
    look = slot[..., None] + np.arange(AGES)
    cell = ((np.where(drawn.mine, 0, runs) + run)[..., None] * slots + look) * BUCKETS + drawn.bucket[..., None]
    kept: Flags = (more != 0) & (look < slots)
    if drawn.counts is not None:
        kept &= drawn.counts[..., None]
    place, weight = cell[kept], more[kept]
    values = np.broadcast_to(value[..., None], more.shape)[kept]
    sums = [
        np.cumsum(np.bincount(place, one, 2 * runs * slots * BUCKETS).reshape(2, runs, slots, BUCKETS), axis=2)
        for one in (weight * values, weight)
    ]
    return (sums[0][0], sums[0][1]), (sums[1][0], sums[1][1])


def _spread(totals: Floats, answers: Floats, mean: Floats) -> Floats:
    rest = totals - mean[..., None] * answers
    found: Floats = np.einsum("rtb,rtb->rt", rest, rest) * BUCKETS / (BUCKETS - 1)
    return found


def _alone(drawn: Draw, parts: tuple[Ints, Ints, Floats], ages: _Ages, which: int, mean: Floats) -> Floats:
    """The variance of an arm's weighted sum if each answer were a subject of its own."""
    slot, lag, value = parts
    mine = drawn.mine if which == 0 else ~drawn.mine
    hits = np.cumsum(_counted(drawn, slot, lag, mine * value), axis=2)  # hit or miss: its square is itself
    square = ages.scales[which] ** 2
    of_hits, of_all = _by_look(square * hits), _by_look(square * ages.sizes[which])
    return of_hits * (1 - 2 * mean) + mean**2 * of_all
