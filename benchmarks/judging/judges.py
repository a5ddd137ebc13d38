"""How often each judge is wrong when it may look at every tick: ours, and three that are common.

An interval is wrong when it ever excludes the truth. A drop is false when the arm is no worse than its margin allows, a
pass when it is worse than that; both are likeliest right at the margin, so that is measured beside an arm that is equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import beta

from benchmarks.judging import looks
from benchmarks.judging.looks import Ends, Looks
from benchmarks.judging.world import SLOTS_A_DAY, Draw, Flags, World, chunks

ALPHA, MARGIN, TUNED_AT = 0.05, 0.05, 2000.0  # as in configs/defaults.yaml
HORIZON = 1.96  # standard errors of a test at 5 % that is looked at once
LEAST = 200.0  # answers before a fixed threshold counts: the first step's min_answers
OURS, ANSWERS, FIXED, THRESHOLD = "ours", "answers as the unit", "fixed horizon, peeked at", "fixed threshold"
BEFORE = "ours without a least variance"  # as it was until decision 126
JUDGES = (OURS, ANSWERS, FIXED, THRESHOLD, BEFORE)
FORMS: dict[str, Callable[[Draw], Looks]] = {"paired": looks.paired, "split": looks.split}


@dataclass
class Said:
    """In how many runs a judge ever excluded the truth, said drop, said pass; and by which day it had said drop."""

    runs: int = 0
    excluded: int = 0
    drops: int = 0
    passes: int = 0
    by_day: list[int] = field(default_factory=list)

    def add(self, both: Ends, seen: Looks, world: World) -> None:
        low, high = both
        dropped = high < -MARGIN
        self.runs += len(low)
        self.excluded += _runs((low > world.effect) | (high < world.effect))
        self.drops += _runs(dropped)
        self.passes += _runs(low > -MARGIN)
        when = np.where(dropped, seen.time, np.inf).min(axis=1) / SLOTS_A_DAY
        days = [int((when <= day).sum()) for day in range(1, world.days + 1)]
        self.by_day = [old + new for old, new in zip(self.by_day or [0] * world.days, days, strict=True)]

    def facts(self) -> dict[str, Any]:
        shares = {name: share(getattr(self, name), self.runs) for name in ("excluded", "drops", "passes")}
        return {"runs": self.runs, **shares, "by_day": [number / self.runs for number in self.by_day]}


def share(hits: int, runs: int) -> list[float]:
    """[share, low, high] with the 95 % interval of Clopper and Pearson (1934)."""
    low = float(beta.ppf(0.025, hits, runs - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, runs - hits)) if hits < runs else 1.0
    return [hits / runs, low, high]


def ends(judge: str, seen: Looks) -> Ends:
    """(low, high) as a judge has it at each look; that of a threshold is the bare estimate."""
    if judge == OURS:
        return looks.interval(seen, looks.multiplier(seen.size, ALPHA, TUNED_AT), seen.by_bucket, least=True)
    if judge == BEFORE:
        return looks.interval(seen, looks.multiplier(seen.size, ALPHA, TUNED_AT), seen.by_bucket)
    if judge == ANSWERS:
        return looks.interval(seen, looks.multiplier(seen.size, ALPHA, TUNED_AT), seen.by_answer, least=True)
    if judge == FIXED:
        return looks.interval(seen, HORIZON, seen.by_bucket)
    with np.errstate(divide="ignore", invalid="ignore"):
        effect = np.where(seen.control > 0, seen.arm / seen.control - 1, 0.0)
    spoken = (seen.matured >= LEAST) & (seen.size > 0)
    return np.where(spoken, effect, -np.inf), np.where(spoken, effect, np.inf)


def _runs(flags: Flags) -> int:
    return int(flags.any(axis=1).sum())


def alarms(
    world: World, runs: int, seed: int, forms: Iterable[str] = tuple(FORMS)
) -> dict[str, dict[str, dict[str, Any]]]:
    """What each judge says in each form over so many runs of a world: form -> judge -> shares."""
    told = {form: {judge: Said() for judge in JUDGES} for form in forms}
    for drawn in chunks(world, runs, seed):
        for form, counted in told.items():
            seen = FORMS[form](drawn)
            for judge, one in counted.items():
                one.add(ends(judge, seen), seen, world)
    return {form: {judge: one.facts() for judge, one in counted.items()} for form, counted in told.items()}
