"""Does the KPI of both fall below the level known before a release? How often that is said without cause, and how soon with one.

Eight weeks before a release and a quarter after it, looked at each day by `checks.level`, as `tasks.level` does. The same
answers serve both arms. Nothing is read or written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.judging.judges import ALPHA, MARGIN, TUNED_AT, share
from benchmarks.judging.world import SLOTS_A_DAY, Draw, Floats, World, chunks
from checks import level as levels
from checks import sequential
from checks.assignment import BUCKETS
from checks.level import Sums

KNOWN_DAYS, LOOKED_DAYS, WEEK = 56, 91, 7
DOUBT = levels.doubt_of(ALPHA, WEEK)
LONG = World(days=KNOWN_DAYS + LOOKED_DAYS, tail=1.6, falls_on=KNOWN_DAYS + 21)
QUIET = {
    "days of a week": LONG,
    "weeks that differ by 5 %": replace(LONG, weekly=0.05),
    "weeks that differ by 15 %": replace(LONG, weekly=0.15),
    "a day in thirty at a third": replace(LONG, bad_days=1 / 30),
    "both 5 % lower: the margin": replace(LONG, weekly=0.05, falls=-MARGIN),
}
FALLEN = {  # the champion alone is no fall of both: said of it, it is false
    "both 20 % lower": replace(LONG, weekly=0.05, falls=-0.2),
    "both 30 % lower": replace(LONG, weekly=0.05, falls=-0.3),
    "both 50 % lower": replace(LONG, weekly=0.05, falls=-0.5),
    "the champion alone, 30 % lower": replace(LONG, weekly=0.05, effect=-0.3),
}


@dataclass(frozen=True)
class Days:
    """One run, by day: KPI and answers of the champion and of what stands beside it; and by bucket."""

    champion: Floats  # shape (days,)
    beside: Floats
    answers: Floats
    by_bucket: tuple[Floats, Floats, Floats]  # the same, each (days, BUCKETS)


def alarms(runs: int, seed: int) -> list[dict[str, Any]]:
    """A row for each world: in how many quarters it was said that both fell, and after how many days."""
    return [row(name, world, runs, seed) for name, world in {**QUIET, **FALLEN}.items()]


def row(name: str, world: World, runs: int, seed: int) -> dict[str, Any]:
    """One world."""
    found = [first_said(days) for drawn in chunks(world, runs, seed) for days in by_day(drawn)]
    said = [day for day in found if day is not None]
    after = sorted(day - world.falls_on for day in said)
    return {
        "world": name,
        "caused": name in FALLEN and world.effect == 0,
        "runs": runs,
        "said": share(len(said), runs),
        "days": [after[int(len(after) * part)] for part in (0.5, 0.9)] if 2 * len(said) > runs else None,
    }


def first_said(days: Days) -> int | None:
    """The day after which it was first said that both fell, looked at day by day; None when it never was."""
    place = np.arange(len(days.answers)) % WEEK
    level = levels.level(Sums(*(one[:KNOWN_DAYS].reshape(-1, WEEK) for one in (days.beside, days.answers))))
    if level is None:
        return None
    for end in range(KNOWN_DAYS + WEEK, KNOWN_DAYS + LOOKED_DAYS + 1):
        week = slice(end - WEEK, end)
        turned = np.argsort(place[week])
        answers = days.answers[week][turned]
        parts = zip((days.champion, days.beside), days.by_bucket[:2], (DOUBT, ALPHA), strict=True)
        weeks = [(Sums(kpi[week][turned], answers), by_bucket[week], doubt) for kpi, by_bucket, doubt in parts]
        if any(levels.fall(level, now, 0.0, doubt).high >= -MARGIN for now, _, doubt in weeks):
            continue  # the noise of its own answers only widens the bounds
        counted = days.by_bucket[2][week].sum(axis=0)
        falls = [levels.fall(level, now, levels.noise_of(one.sum(axis=0), counted), doubt) for now, one, doubt in weeks]
        arms = [one.sum(axis=0) for _, one, _ in weeks]
        beside = sequential.paired(arms[0], arms[1], int(answers.sum()), alpha=ALPHA / LOOKED_DAYS, tuned_at=TUNED_AT)
        if levels.both(falls[0], falls[1], MARGIN, worse=beside.high < 0).answer == "yes":
            return end
    return None


def by_day(drawn: Draw) -> Iterator[Days]:
    """The runs of a chunk; each day with all its labels."""
    days = drawn.world.days
    for run in range(drawn.runs):
        cell = (drawn.time[run] // SLOTS_A_DAY).astype(np.int64) * BUCKETS + drawn.bucket[run]
        sums = [
            np.bincount(cell, weights, days * BUCKETS).reshape(days, BUCKETS).astype(np.float64)
            for weights in (drawn.arm[run], drawn.control[run], np.ones(len(cell)))
        ]
        yield Days(sums[0].sum(axis=1), sums[1].sum(axis=1), sums[2].sum(axis=1), (sums[0], sums[1], sums[2]))
