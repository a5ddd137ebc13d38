"""Comparisons that begin later than the rollout: how often they say a false drop, and how soon they say a true one after a good time.

The arithmetic of `checks.later` over many runs at once, beside the comparison of the whole rollout alone; a test holds it to
`checks.later` on the same counters. The canary is as good as its control (or just good enough), and in the second half worse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.judging import looks
from benchmarks.judging.delay import of_all
from benchmarks.judging.judges import ALPHA, FORMS, MARGIN, TUNED_AT, share
from benchmarks.judging.looks import AGES, Looks
from benchmarks.judging.world import SLOTS_A_DAY, Draw, Flags, Floats, Ints, World, chunks
from checks import later

EFFECTS = (-0.2, -0.3)
GOOD_DAYS = (1, 4, 10)
A_DAY = 3200
OFTEN = TUNED_AT / 8
PEOPLE = 5  # subjects for each of them
ALONE, BESIDE = "the whole alone", "with later ones"


@dataclass(frozen=True)
class Part:
    """A later comparison of many runs: of which answers the label counts, and at which looks it stands."""

    number: int
    counts: Flags  # shape (runs, answers)
    stands: Flags  # shape (runs, looks)


def parts(drawn: Draw, form: str, tuned_at: float) -> Iterator[Part]:
    """Every later comparison that some run begins."""
    reached = _reached(drawn, form, tuned_at)  # how many were begun by each look
    before = np.concatenate((np.zeros((drawn.runs, 1), np.int64), reached[:, :-1]), axis=1)
    for number in range(1, int(reached.max(initial=0)) + 1):
        begun = (reached == number) & (before < number)  # at this look, or never where two were due at once
        at = np.where(begun.any(axis=1), begun.argmax(axis=1), reached.shape[1])
        over = next(more for more in range(number + 1, 4 * number + 2**later.AGES) if number not in later.ages(more))
        look = np.arange(reached.shape[1])
        stands = (look > at[:, None]) & (reached < over)
        if stands.any():
            yield Part(number, _since(drawn, form, at[:, None]), stands)


def _reached(drawn: Draw, form: str, tuned_at: float) -> Ints:
    """How many later comparisons were due by each look, shape (runs, looks)."""
    if form == "paired":
        there = (np.sort(drawn.known, axis=1) < drawn.world.slots).cumsum(axis=1)
        return np.asarray(there // int(tuned_at), dtype=np.int64)
    slots, run = drawn.world.slots, np.arange(drawn.runs)[:, None]
    slot = drawn.time.astype(np.int64)
    known = slot + AGES - 1 if drawn.world.closed else drawn.known_split.astype(np.int64)
    cell = (run * (slots + 1) + np.minimum(known, slots)).ravel()
    counted = [
        np.bincount(cell, mine.ravel().astype(np.float64), drawn.runs * (slots + 1))
        for mine in (drawn.mine, ~drawn.mine)
    ]
    one, two = (np.cumsum(by_look.reshape(drawn.runs, -1)[:, :slots], axis=1) for by_look in counted)
    return np.asarray(one * two / np.maximum(one + two, 1) // tuned_at, dtype=np.int64)


def _since(drawn: Draw, form: str, at: Ints) -> Flags:
    """Labels that came after the look `at`; of a split form those of the slots after the newest that counts then."""
    if form == "paired":
        rank = np.argsort(np.argsort(drawn.known, axis=1), axis=1)
        return np.asarray(rank > at)
    newest = at - (AGES - 1) if drawn.world.closed else at
    return np.asarray(drawn.time.astype(np.int64) > newest)


def highest(drawn: Draw, form: str, part: Part, tuned_at: float) -> Floats:
    """The upper end of a later comparison at each look; infinite where it does not stand."""
    seen = FORMS[form](replace(drawn, counts=part.counts))
    reach = looks.multiplier(seen.size, later.rate(part.number, ALPHA), tuned_at)
    found: Floats = np.where(part.stands, looks.interval(seen, reach, seen.by_bucket, least=True)[1], np.inf)
    return found


@dataclass
class Said:
    """What is said without and with later comparisons: false drops, exclusions of the truth, and when a drop came."""

    runs: int = 0
    drops: int = 0
    excluded: int = 0
    days: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)

    def add(self, low: Floats, high: Floats, seen: Looks, world: World, fell: float) -> None:
        """`fell`: the slot in which the KPI fell; what was said before it was false."""
        said = high < -MARGIN
        self.runs += len(said)
        self.excluded += int(((low > world.effect) | (high < world.effect)).any(axis=1).sum())
        for run in np.flatnonzero(said.any(axis=1)):
            at = int(said[run].argmax())
            if seen.time[run, at] < fell:
                self.drops += 1
                continue
            before = float(seen.matured[run][seen.time[run] < fell].max(initial=0.0))
            self.days.append((float(seen.time[run, at]) - fell) / SLOTS_A_DAY)
            self.answers.append(float(seen.matured[run, at]) - before)

    def facts(self) -> dict[str, Any]:
        known = self.runs - self.drops
        return {
            "runs": self.runs,
            "drops": share(self.drops, self.runs),
            "excluded": share(self.excluded, self.runs),
            "never": (known - len(self.days)) / max(known, 1),
            "days": of_all(self.days, known - len(self.days)),
            "answers": of_all(self.answers, known - len(self.answers)),
        }


def said(
    world: World, runs: int, seed: int, *, tuned_at: float = TUNED_AT, fell: float = np.inf
) -> dict[str, dict[str, Any]]:
    """Both judges in each form over so many runs: form -> judge -> facts."""
    told = {form: {judge: Said() for judge in (ALONE, BESIDE)} for form in FORMS}
    for drawn in chunks(world, runs, seed):
        for form, counted in told.items():
            seen = FORMS[form](drawn)
            low, high = looks.interval(seen, looks.multiplier(seen.size, ALPHA, tuned_at), seen.by_bucket, least=True)
            both = high
            for part in parts(drawn, form, tuned_at):
                both = np.minimum(both, highest(drawn, form, part, tuned_at))
            counted[ALONE].add(low, high, seen, world, fell)
            counted[BESIDE].add(low, both, seen, world, fell)
    return {form: {judge: one.facts() for judge, one in counted.items()} for form, counted in told.items()}


def alarms(worlds: Mapping[str, World], runs: int, seed: int) -> list[dict[str, Any]]:
    """A row for each world, form and judge: a comparison begins after every `OFTEN` answers, eight times as often as in the house."""
    return [
        {"world": name, "form": form, "judge": judge, **one}
        for name, world in worlds.items()
        for form, both in said(world, runs, seed, tuned_at=OFTEN).items()
        for judge, one in both.items()
    ]


def falls(world: World, runs: int, seed: int) -> list[dict[str, Any]]:
    """A row for each form, good time and effect: how long until the fall is said."""
    rows = []
    for days in GOOD_DAYS:
        for effect in EFFECTS:
            here = replace(
                world,
                a_day=A_DAY,
                subjects=PEOPLE * A_DAY,
                effect=effect / 2,
                swing=-effect / 2,  # first none, then all of the effect
                swing_days=days,
                days=2 * days,
                steps=((0.0, 0.25),),
            )
            found = said(here, runs, seed, fell=days * SLOTS_A_DAY)
            rows += [{"form": form, "good_days": days, "effect": effect, **found[form]} for form in FORMS]
    return rows
