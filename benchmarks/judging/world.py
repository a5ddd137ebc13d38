"""Made-up traffic of a rollout: subjects who come again and again, a week with its own KPI, labels that come late.

Nothing is read or written; each chunk of runs is drawn from a seed. The same answers serve both forms: paired uses both
arms' KPI of a request, split the one of the arm that the subject's place on the unit interval falls to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from checks.assignment import BUCKETS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
SLOTS_A_DAY = 12  # a slot stands for the guard's hour: what is compared with one another, and one look of a split form
WINDOW = 6  # slots after which a label is there at the latest: half a day
CHUNK = 20  # runs drawn at once: what fits the cache
TABLE = 1 << 16  # how finely a draw by weights is done
STEPS = ((0.0, 0.05), (2.04, 0.25), (5.04, 0.5))  # (day, share of the canary): a step begins within a slot


@dataclass(frozen=True)
class World:
    """A population and its fortnight.

    `effect` is relative; `swing` adds that much of it by turns, `swing_days` long. `personal`: 0 when all subjects are
    alike, near 1 when each always or never hits. `tail`: exponent of the Pareto law of visits; infinite when all come
    equally often. `shared`: share of subjects with one taste for both arms, and of requests on which the arms share
    their luck. `misses_wait`: a hit is known soon, a miss when the window is over; one of the canary's after `prompt` of the time. `closed`: the rollout's attribution window
    is set, so a split form counts a slot when its last label is due. For both arms alike: `weekly` is the standard deviation of what weeks
    differ by, `bad_days` the share of days with a third of the usual KPI, and from day `falls_on` on the KPI has changed by `falls`.
    """

    rate: float = 0.4  # of a good day; on workdays `workday` of it
    workday: float = 0.7
    effect: float = 0.0
    swing: float = 0.0
    swing_days: float = 1.0
    personal: float = 0.2
    shared: float = 0.7
    subjects: int = 2000
    tail: float = 1.3
    a_day: int = 250
    days: int = 14
    delay_slots: float = 2.0
    misses_wait: bool = False
    closed: bool = False
    prompt: float = 1.0
    weekly: float = 0.0
    bad_days: float = 0.0
    falls: float = 0.0
    falls_on: int = 0
    steps: tuple[tuple[float, float], ...] = STEPS

    @property
    def slots(self) -> int:
        return self.days * SLOTS_A_DAY

    @property
    def answers(self) -> int:
        return self.a_day * self.days

    def at(self, effect: float) -> World:
        return replace(self, effect=effect)


@dataclass(frozen=True)
class Draw:
    """The answers of some runs, each array of shape (runs, answers), unordered in time."""

    world: World
    time: Floats  # slots since the start
    known: Floats  # when the label came, of a pair
    known_split: Floats  # and of the arm that answered
    bucket: Ints
    mine: Flags  # falls to the canary, where the arms are split
    arm: Floats  # KPI under the canary
    control: Floats
    counts: Flags | None = None  # for a comparison that begins later, of which answers the label counts; None: of all

    @property
    def runs(self) -> int:
        return len(self.time)


def chunks(world: World, runs: int, seed: int) -> Iterator[Draw]:
    """So many runs, a chunk at a time; a chunk depends on the seed and its number only."""
    for number, begin in enumerate(range(0, runs, CHUNK)):
        yield draw(world, min(CHUNK, runs - begin), np.random.default_rng([seed, number]))


def draw(world: World, runs: int, rng: np.random.Generator) -> Draw:
    """The answers of some runs."""
    shape, people = (runs, world.answers), (runs, world.subjects)
    run = np.arange(runs)[:, None]
    who = _visitors(world.subjects, world.tail)[rng.integers(0, TABLE, shape)]
    time = _busy(world.days)[rng.integers(0, TABLE, shape)] + rng.random(shape)
    tastes = _tastes(world, people, rng)
    effect, day = world.effect, np.floor(time / SLOTS_A_DAY)
    swung = effect + world.swing * np.where(np.floor(time / SLOTS_A_DAY / world.swing_days) % 2, -1.0, 1.0)
    factor = np.where(day % 7 >= 5, 1.0, world.workday) * _fortunes(world, runs, rng)[run, day.astype(np.int64)]
    luck = rng.random(shape)
    luck_arm = np.where(rng.random(shape) < world.shared, luck, rng.random(shape))
    arm = (luck_arm < tastes[0][run, who] * factor * (1 + swung)).astype(np.float64)
    control = (luck < tastes[1][run, who] * factor).astype(np.float64)
    mine = rng.random(people)[run, who] < _shares(world.steps, time)
    known = time + np.minimum(rng.exponential(world.delay_slots, shape), WINDOW)
    split = known
    if world.misses_wait:  # in pairs the outcome is the same whoever answered: known early when either arm hits
        soon = time + (known - time) * np.where(mine, world.prompt, 1.0)
        split = np.where(np.where(mine, arm, control) > 0, soon, time + WINDOW)
        known = np.where(np.maximum(arm, control) > 0, known, time + WINDOW)
    bucket = rng.integers(0, BUCKETS, people)[run, who]
    return Draw(world, time, known, split, bucket, mine, arm, control)


def _fortunes(world: World, runs: int, rng: np.random.Generator) -> Floats:
    """What both arms have of their usual KPI on each day, shape (runs, days). Draws nothing where all days are usual."""
    shape = (runs, world.days)
    found: Floats = np.where(np.arange(world.days) >= world.falls_on, 1.0 + world.falls, 1.0) * np.ones(shape)
    if world.weekly:
        found = (
            found
            * np.exp(world.weekly * rng.standard_normal((runs, world.days // 7 + 1)))[:, np.arange(world.days) // 7]
        )
    if world.bad_days:
        found = np.where(rng.random(shape) < world.bad_days, found / 3, found)
    return found


def _tastes(world: World, people: tuple[int, int], rng: np.random.Generator) -> tuple[Floats, Floats]:
    strength = (1 - world.personal) / world.personal
    tastes = rng.beta(world.rate * strength, (1 - world.rate) * strength, (2, *people))
    same = rng.random(people) < world.shared
    return np.where(same, tastes[1], tastes[0]), tastes[1]


def _shares(steps: tuple[tuple[float, float], ...], time: Floats) -> Floats:
    starts = np.array([day * SLOTS_A_DAY for day, _ in steps])
    shares = np.array([share for _, share in steps])
    return shares[np.searchsorted(starts, time, side="right") - 1]


@lru_cache(maxsize=8)
def _visitors(subjects: int, tail: float) -> Ints:
    """A table to draw a visitor from: the n-th of a Pareto law comes in proportion to its quantile."""
    return _table(((np.arange(subjects) + 0.5) / subjects) ** (-1.0 / tail))


@lru_cache(maxsize=8)
def _busy(days: int) -> Ints:
    """A table to draw a slot from: quiet nights, and weekends with half as much again."""
    slot = np.arange(days * SLOTS_A_DAY)
    hour = 1.0 + 0.8 * np.sin(2 * np.pi * (slot % SLOTS_A_DAY) / SLOTS_A_DAY)
    return _table(hour * np.where(slot // SLOTS_A_DAY % 7 >= 5, 1.5, 1.0))


def _table(weights: Floats) -> Ints:
    ends = np.cumsum(weights) / weights.sum()
    return np.searchsorted(ends, (np.arange(TABLE) + 0.5) / TABLE)
