"""The intervals under continuous peeking: false alarms, power, and why answers are the wrong unit. All vectorised, seeded."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, sqrt

import numpy as np
import numpy.typing as npt
import pytest
from scipy.integrate import quad
from scipy.stats import binom, norm

from checks import sequential
from checks.sequential import Array, side

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]
BUCKETS, ALPHA, TUNED = 200, 0.05, 1000.0


@dataclass(frozen=True)
class World:
    """A population of subjects who come again and again, each with hit rates of its own under either arm."""

    rate: float = 0.3
    effect: float = 0.0  # true relative effect
    personal: float = 0.2  # 0: all subjects alike, 1: a subject always or never hits
    shared: float = 0.7  # share of subjects whose taste is the same under both arms, and of answers that agree
    subjects: int = 800

    def draw(self, runs: int, ticks: int, per_tick: int, seed: int) -> tuple[Array, Array, Ints]:
        """KPI of each answer under (arm, control) and its bucket, each of shape (runs, ticks, per_tick)."""
        rng = np.random.default_rng(seed)
        shape = (runs, ticks, per_tick)
        strength = (1 - self.personal) / self.personal
        tastes = rng.beta(self.rate * strength, (1 - self.rate) * strength, (2, runs, self.subjects))
        same = rng.random((runs, self.subjects)) < self.shared
        taste_arm = np.where(same, tastes[1], tastes[0]) * (1 + self.effect)
        who = rng.integers(0, self.subjects, shape)
        run = np.arange(runs)[:, None, None]
        luck = rng.random(shape)
        luck_arm = np.where(rng.random(shape) < self.shared, luck, rng.random(shape))
        arm = (luck_arm < taste_arm[run, who]).astype(float)
        control = (luck < tastes[1][run, who]).astype(float)
        bucket = rng.integers(0, BUCKETS, (runs, self.subjects))[run, who]
        return arm, control, bucket


def running(values: Floats, bucket: Ints) -> Array:
    """Bucket sums after each tick, shape (runs, ticks, BUCKETS)."""
    runs, ticks, _ = values.shape
    cell = (np.arange(runs)[:, None, None] * ticks + np.arange(ticks)[None, :, None]) * BUCKETS + bucket
    sums = np.bincount(cell.ravel(), values.ravel(), runs * ticks * BUCKETS)
    return np.cumsum(sums.reshape(runs, ticks, BUCKETS), axis=1)


def looks(world: World, runs: int, ticks: int, per_tick: int, seed: int) -> list[list[sequential.Effect]]:
    """What the guard would see at each tick of each run, paired."""
    arm, control, bucket = world.draw(runs, ticks, per_tick, seed)
    sums = running(arm, bucket), running(control, bucket)
    return [
        [
            sequential.paired(sums[0][r, t], sums[1][r, t], (t + 1) * per_tick, alpha=ALPHA, tuned_at=TUNED)
            for t in range(ticks)
        ]
        for r in range(runs)
    ]


def ever_wrong(seen: list[list[sequential.Effect]], truth: float) -> int:
    return sum(any(not look.low <= truth <= look.high for look in run) for run in seen)


def at_most(wrong: int, runs: int, alpha: float = ALPHA) -> bool:
    """True unless so many would come by chance less than once in a thousand when the rate is alpha."""
    return wrong <= int(binom.ppf(0.999, runs, alpha))


@pytest.mark.parametrize(
    "world",
    [
        World(),
        World(personal=0.001, subjects=5000),  # hardly any repeats
        World(rate=0.05),
        World(personal=0.5, subjects=100),  # half of the buckets hold nobody
        World(effect=-0.05),  # at the margin itself, where a false drop is likeliest
    ],
    ids=["usual", "independent", "rare", "few", "margin"],
)
def test_looking_at_every_tick_keeps_the_stated_rate(world: World) -> None:
    runs = 300
    seen = looks(world, runs, ticks=60, per_tick=40, seed=11)
    assert all(isfinite(run[-1].low) for run in seen)  # it did say something
    assert at_most(ever_wrong(seen, world.effect), runs)
    drops = sum(any(sequential.decide(look, 0.05, 0.05) == "drop" for look in run) for run in seen)
    assert at_most(drops, runs)


def test_a_fixed_sample_interval_would_not_survive_the_looking() -> None:
    """The check above can fail: the usual 1.96 standard errors, looked at every tick, are wrong far too often."""
    arm, control, bucket = World().draw(300, 60, 40, seed=11)
    rest = running(arm, bucket) - running(control, bucket)
    scores = rest.sum(axis=2) / np.sqrt((rest**2).sum(axis=2))
    wrong = int((np.abs(scores[:, 2:]) > 1.96).any(axis=1).sum())
    assert not at_most(wrong, 300)
    assert wrong > 60


def test_answers_as_units_would_be_over_confident_with_repeating_subjects() -> None:
    """The same boundary over answers instead of buckets is wrong too often once subjects repeat and differ."""
    world = World(personal=0.6, shared=0.4, subjects=200)
    runs, ticks, per_tick = 300, 60, 40
    arm, control, bucket = world.draw(runs, ticks, per_tick, seed=5)
    single = arm - control
    total, squares = np.cumsum(single.sum(axis=2), axis=1), np.cumsum((single**2).sum(axis=2), axis=1)
    limits = [sequential.multiplier((t + 1) * per_tick, ALPHA, TUNED) for t in range(ticks)]
    by_answers = int((np.abs(total) > np.array(limits) * np.sqrt(squares)).any(axis=1).sum())
    rest = running(arm, bucket) - running(control, bucket)
    by_buckets = int((np.abs(total) > np.array(limits) * np.sqrt((rest**2).sum(axis=2))).any(axis=1).sum())
    assert not at_most(by_answers, runs)
    assert at_most(by_buckets, runs)


def test_a_real_drop_is_found_and_a_good_arm_passes() -> None:
    worse = looks(World(effect=-0.3, personal=0.05), 100, ticks=50, per_tick=100, seed=2)
    same = looks(World(effect=0.0, personal=0.05, shared=0.95), 100, ticks=50, per_tick=100, seed=3)
    dropped = sum(any(sequential.decide(look, 0.05, 0.05) == "drop" for look in run) for run in worse)
    passed = sum(any(sequential.decide(look, 0.05, 0.05) == "pass" for look in run) for run in same)
    false = sum(any(sequential.decide(look, 0.05, 0.05) == "pass" for look in run) for run in worse)
    assert dropped >= 95
    assert passed >= 90
    assert false == 0


def test_arms_that_agreed_so_far_are_not_certain_to_agree() -> None:
    """An arm that loses a twentieth of the control's hits and nothing else: it may not have lost one of the first fifty."""
    rng = np.random.default_rng(14)
    runs, ticks, per_tick = 120, 40, 25
    hits = rng.random((runs, ticks, per_tick)) < 0.3
    bucket = rng.integers(0, BUCKETS, hits.shape)
    sums = running(1.0 * (hits & (rng.random(hits.shape) < 0.95)), bucket), running(1.0 * hits, bucket)
    wrong = {1.0: 0, 0.0: 0}  # by what a hit is worth: nothing switches the least variance off
    for unit in wrong:
        for r in range(runs):
            seen = [
                sequential.paired(
                    sums[0][r, t], sums[1][r, t], (t + 1) * per_tick, alpha=ALPHA, tuned_at=TUNED, unit=unit
                )
                for t in range(ticks)
            ]
            wrong[unit] += any(sequential.decide(look, 0.05, 0.05) == "pass" for look in seen)
    assert at_most(wrong[1.0], runs)
    assert wrong[0.0] > 15


def test_two_arms_that_always_agree_pass_when_so_many_hits_say_so() -> None:
    """The least variance at a ratio of 0.95: 0.05 * 0.95 of the hits."""
    size = 2000.0
    needs = sequential.multiplier(size, ALPHA, TUNED) ** 2 * 0.95 / 0.05
    for hits, passes in ((needs * 0.99, False), (needs * 1.01, True)):
        same = np.full(BUCKETS, hits / BUCKETS)
        seen = sequential.paired(same, same, int(size), alpha=ALPHA, tuned_at=TUNED)
        assert seen.effect == 0
        assert (sequential.decide(seen, 0.05, 0.05) == "pass") == passes
        worth = sequential.paired(same * 7, same * 7, int(size), alpha=ALPHA, tuned_at=TUNED, unit=7.0)
        assert (worth.low, worth.high) == pytest.approx((seen.low, seen.high))
    need = sequential.still_needed(
        sequential.paired(same / 2, same / 2, int(size / 2), alpha=ALPHA, tuned_at=TUNED),
        0.05,
        0.05,
        alpha=ALPHA,
        tuned_at=TUNED,
    )
    assert need is not None
    assert need > size / 2


def test_a_split_kpi_near_one_is_not_certain_because_nobody_missed_yet() -> None:
    full = side(np.full(BUCKETS, 1.0), np.full(BUCKETS, 1.0))
    seen = sequential.split(full, full, alpha=ALPHA, tuned_at=TUNED)
    assert seen.low < -0.04
    many = side(np.full(BUCKETS, 100.0), np.full(BUCKETS, 100.0))
    assert sequential.split(many, many, alpha=ALPHA, tuned_at=TUNED).low > -0.002


def split_looks(world: World, share: float, runs: int, ticks: int, per_tick: int, seed: int) -> int:
    """Runs of a split rollout (subjects fall to one arm) whose interval ever leaves the truth."""
    rng = np.random.default_rng(seed + 1)
    arm, control, bucket = world.draw(runs, ticks, per_tick, seed)
    mine = rng.random(arm.shape) < share
    parts = [running(values, bucket) for values in (arm * mine, 1.0 * mine, control * ~mine, 1.0 * ~mine)]
    wrong = 0
    for r in range(runs):
        for t in range(ticks):
            a, n, c, m = (part[r, t] for part in parts)
            seen = sequential.split(side(a, n), side(c, m), alpha=ALPHA, tuned_at=TUNED)
            if not seen.low <= world.effect <= seen.high:
                wrong += 1
                break
    return wrong


@pytest.mark.parametrize("share", [0.5, 0.05])
@pytest.mark.parametrize("rate", [0.3, 0.03])
def test_the_split_form_keeps_its_rate_too(share: float, rate: float) -> None:
    assert at_most(split_looks(World(rate=rate, personal=0.01), share, 200, 40, 100, seed=8), 200)


def test_periods_with_other_shares_are_compared_period_by_period() -> None:
    """The KPI doubles while the arm's share grows from 5 to 50 %: pooled, an equal arm looks far better than it is."""
    rng = np.random.default_rng(12)
    parts = []
    for rate, share in ((0.1, 0.05), (0.2, 0.5)):
        n_arm = rng.poisson(2000 * share, BUCKETS).astype(float)
        n_control = rng.poisson(2000 * (1 - share), BUCKETS).astype(float)
        hits = [rng.binomial(n.astype(int), rate).astype(float) for n in (n_arm, n_control)]
        parts.append((hits[0], n_arm, hits[1], n_control))
    arm, control = sequential.stratified(parts)
    fair = sequential.split(arm, control, alpha=ALPHA, tuned_at=TUNED)
    pooled = [np.sum([part[place] for part in parts], axis=0) for place in range(4)]
    naive = sequential.split(side(pooled[0], pooled[1]), side(pooled[2], pooled[3]), alpha=ALPHA, tuned_at=TUNED)
    assert fair.low < 0 < fair.high
    assert naive.low > 0.2
    one_period = sequential.stratified(parts[:1])
    same = sequential.split(*one_period, alpha=ALPHA, tuned_at=TUNED)
    plain = sequential.split(side(*parts[0][:2]), side(*parts[0][2:]), alpha=ALPHA, tuned_at=TUNED)
    assert (same.low, same.high, same.size) == pytest.approx((plain.low, plain.high, plain.size))


def test_an_arm_without_a_hit_is_not_certain_in_a_split() -> None:
    """Two hits were expected of 200 answers; none came. Nothing is decided."""
    arm = side(np.zeros(BUCKETS), np.ones(BUCKETS))
    control = side(np.where(np.arange(BUCKETS) % 2, 20.0, 0.0), np.full(BUCKETS, 1000.0))
    seen = sequential.split(arm, control, alpha=ALPHA, tuned_at=TUNED)
    assert seen.effect == -1
    assert sequential.decide(seen, 0.05, 0.05) == "inconclusive"


def test_the_interval_is_fiellers_and_agrees_with_the_delta_method_when_the_sample_is_large() -> None:
    rng = np.random.default_rng(4)
    control = rng.poisson(300, BUCKETS).astype(float)
    arm = control * 0.9 + rng.normal(0, 15, BUCKETS)
    seen = sequential.paired(arm, control, 200_000, alpha=ALPHA, tuned_at=TUNED)
    ratio = arm.sum() / control.sum()
    error = np.sqrt(((arm - ratio * control) ** 2).sum()) / control.sum()
    reach = sequential.multiplier(200_000, ALPHA, TUNED) * error
    assert seen.effect == pytest.approx(ratio - 1)
    assert seen.low == pytest.approx(ratio - 1 - reach, abs=reach * 0.05)
    assert seen.high == pytest.approx(ratio - 1 + reach, abs=reach * 0.05)
    for end in (seen.low, seen.high):  # the definition: |S| equals the multiplier times its error at each end
        rest = arm - (1 + end) * control
        assert abs(rest.sum()) / sqrt(rest @ rest) == pytest.approx(sequential.multiplier(200_000, ALPHA, TUNED))


def test_no_interval_from_nothing_from_one_subject_or_from_a_control_at_zero() -> None:
    none, one, full = np.zeros(BUCKETS), np.zeros(BUCKETS), np.ones(BUCKETS)
    one[7] = 900.0
    for arm, control, answers in ((none, none, 0), (one * 0.1, one, 900), (full, none, 900), (full, full, 49)):
        seen = sequential.paired(arm, control, answers, alpha=ALPHA, tuned_at=TUNED)
        assert (seen.low, seen.high) == (-inf, inf)
        assert sequential.decide(seen, 0.05, 0.05) == "inconclusive"
        assert sequential.still_needed(seen, 0.05, 0.05, alpha=ALPHA, tuned_at=TUNED) is None
    alone = sequential.split(side(one, one), side(one, one), alpha=ALPHA, tuned_at=TUNED)
    assert (alone.low, alone.high) == (-inf, inf)


def test_an_arm_far_above_a_control_near_zero_passes_though_its_effect_has_no_upper_end() -> None:
    """Three hits of the control, 400 of the arm: nobody can say how many times better, but it is no worse."""
    arm, control = np.full(BUCKETS, 2.0), np.zeros(BUCKETS)
    control[[3, 50, 120]] = 1.0
    seen = sequential.paired(arm, control, 2000, alpha=ALPHA, tuned_at=TUNED)
    assert seen.high == inf
    assert seen.low > 5
    assert sequential.decide(seen, 0.05, 0.05) == "pass"
    spread = sequential.paired(arm * 0 + (np.arange(BUCKETS) % 25 == 0), control, 2000, alpha=ALPHA, tuned_at=TUNED)
    assert (spread.low, spread.high) == (-inf, inf)  # 8 hits against 3: neither can be told from zero


def test_the_sample_needed_leaves_room_for_chance_beside_the_half_width() -> None:
    variance = sequential.hit_variance(0.3, 0.05, agreement=0.7)
    need = sequential.answers_needed(variance, 0.05, alpha=ALPHA, tuned_at=TUNED)
    assert need is not None

    def reach(size: float) -> float:
        return (sequential.multiplier(size, ALPHA, TUNED) + sequential.POWER) * sqrt(variance / size)

    assert reach(need) <= 0.05 < reach(need - 2)
    assert sequential.answers_needed(variance, 0.0, alpha=ALPHA, tuned_at=TUNED) is None
    assert sequential.answers_needed(inf, 0.05, alpha=ALPHA, tuned_at=TUNED) is None
    assert sequential.answers_needed(1e9, 0.001, alpha=ALPHA, tuned_at=TUNED) is None


def test_a_rollout_that_gets_the_sample_needed_usually_decides() -> None:
    world = World(personal=0.001, shared=0.9, subjects=5000)
    seen = looks(world, 100, ticks=1, per_tick=400, seed=21)
    needs = [sequential.still_needed(run[0], 0.05, 0.05, alpha=ALPHA, tuned_at=TUNED) for run in seen]
    assert all(need is not None for need in needs)
    more = int(np.median([need for need in needs if need is not None]))
    later = looks(world, 100, ticks=1, per_tick=400 + more, seed=22)
    decided = sum(sequential.decide(run[0], 0.05, 0.05) == "pass" for run in later)
    assert decided > 80


def test_still_needed_is_zero_when_decided_and_follows_the_estimate_when_it_lies_off() -> None:
    def need(effect: float, low: float, high: float) -> int | None:
        seen = sequential.Effect(effect, low, high, 4000.0, 1.0)
        return sequential.still_needed(seen, 0.05, 0.05, alpha=ALPHA, tuned_at=TUNED)

    assert need(0.0, -0.04, 0.04) == 0
    assert need(-0.2, -0.3, -0.1) == 0
    near, far = need(-0.06, -0.11, -0.01), need(-0.08, -0.13, -0.03)
    assert near is not None
    assert far is not None
    assert near > far > 0
    assert need(-0.05, -0.08, -0.02) is None  # right on the margin


def test_the_multiplier_is_tightest_near_where_it_was_tuned() -> None:
    best = sequential.multiplier(1000, ALPHA, 1000)
    assert best < sequential.multiplier(1000, ALPHA, 50)
    assert best < sequential.multiplier(1000, ALPHA, 20_000)
    assert 2.9 < best < 3.2


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_the_multiplier_is_that_of_the_normal_mixture(alpha: float) -> None:
    """The likelihood ratio of a mean against 0, over a normal prior on it, is 1 / alpha on the boundary (Robbins 1970); and it
    is the margin of Waudby-Smith et al. (2021) in their own form."""
    tuned_at = 1000.0
    rho2 = (-2 * np.log(alpha) + np.log(-2 * np.log(alpha) + 1)) / tuned_at
    for size in (50.0, 1000.0, 40_000.0):
        reach = sequential.multiplier(size, alpha, tuned_at)
        total = reach * sqrt(size)
        weighed = quad(
            lambda mean, total=total, size=size: norm.pdf(mean, scale=sqrt(rho2)) * np.exp(mean * total - size * mean**2 / 2),
            -np.inf, np.inf, points=None,
        )[0]  # fmt: skip
        assert weighed == pytest.approx(1 / alpha, rel=1e-6)
        margin = sqrt(2 * (size * rho2 + 1) * np.log(sqrt(size * rho2 + 1) / alpha) / (size**2 * rho2))
        assert reach / sqrt(size) == pytest.approx(margin)


def ratio_alarms(share: float, true_share: float, runs: int) -> int:
    rng = np.random.default_rng(9)
    who = rng.integers(0, 3000, (runs, 50, 100))
    run = np.arange(runs)[:, None, None]
    mine = (rng.random((runs, 3000)) < true_share)[run, who]
    bucket = rng.integers(0, BUCKETS, (runs, 3000))[run, who]
    arm, others = running(1.0 * mine, bucket), running(1.0 * ~mine, bucket)
    alarms = 0
    for r in range(runs):
        figures = [sequential.sample_ratio(arm[r, t], others[r, t], share, alpha=0.001) for t in range(50)]
        alarms += any(figure > limit for figure, limit in figures)
    return alarms


def test_the_sample_ratio_check_is_quiet_when_the_split_is_right_and_sees_a_wrong_one() -> None:
    assert ratio_alarms(0.25, 0.25, 200) <= 2
    assert ratio_alarms(0.25, 0.18, 50) >= 48
    assert sequential.sample_ratio(np.zeros(BUCKETS), np.zeros(BUCKETS), 0.5, alpha=0.001) == (0.0, inf)


def test_a_small_arm_that_got_nothing_yet_is_not_a_wrong_split() -> None:
    """Of 200 answers 2 % is four, of 2,000 forty: that none came is chance only the first time."""
    none, each = np.zeros(BUCKETS), np.ones(BUCKETS)
    figure, limit = sequential.sample_ratio(none, each, 0.02, alpha=0.001)
    assert 0 < figure < limit
    figure, limit = sequential.sample_ratio(none, each * 10, 0.02, alpha=0.001)
    assert figure > limit


def test_a_small_arm_without_the_heavy_users_is_not_a_wrong_split() -> None:
    """40 of 200 subjects make nearly all of the traffic; a fiftieth of the subjects has none of them by chance."""
    both, mine = np.full(BUCKETS, 10.0), np.arange(BUCKETS) % 50 == 7
    both[::5] = 500.0
    figure, limit = sequential.sample_ratio(both * mine, both * ~mine, 0.02, alpha=0.001)
    assert figure < limit
    figure, limit = sequential.sample_ratio(both * mine, both * ~mine, 0.3, alpha=0.001)
    assert figure > limit
