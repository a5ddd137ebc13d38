"""The check of the arms' shares: how often it is alarmed when the split is right, and how soon when it is not.

`checks.sequential.sample_ratio` itself is asked, at the end of every slot, with subjects who come again and again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.judging.delay import PEOPLE
from benchmarks.judging.judges import share
from benchmarks.judging.world import SLOTS_A_DAY, Draw, Floats, Ints, World, chunks
from checks.assignment import BUCKETS
from checks.findings import RATIO_ALPHA
from checks.sequential import sample_ratio

RIGHT = (0.02, 0.05, 0.25, 0.5)  # shares as they are said
WRONG = ((0.05, 0.0), (0.05, 0.03), (0.25, 0.2), (0.5, 0.45))  # said, and got
BUSY, TAIL = (
    3200,
    2.0,
)  # answers a day, and whose, where the check's power is measured: nobody makes a hundredth of them


def alarms(world: World, runs: int, seed: int) -> list[dict[str, Any]]:
    """A row for each share: runs with an alarm, and the median day of it. Wrong shares in a tenth of the runs."""
    busy = replace(world, a_day=BUSY, subjects=PEOPLE * BUSY, tail=TAIL)
    rows = [_row(replace(world, steps=((0.0, said),)), said, runs, seed) for said in RIGHT]
    return rows + [_row(replace(busy, steps=((0.0, got),)), said, max(runs // 10, 1), seed) for said, got in WRONG]


def _row(world: World, said: float, runs: int, seed: int) -> dict[str, Any]:
    first = np.concatenate([first_alarm(drawn, said) for drawn in chunks(world, runs, seed)])
    hits = first[first >= 0]
    return {
        "said": said,
        "got": world.steps[0][1],
        "a_day": world.a_day,
        "runs": runs,
        "alarmed": share(len(hits), runs),
        "day": float(np.median(hits + 1) / SLOTS_A_DAY) if len(hits) else None,
        "alpha": RATIO_ALPHA,
    }


def first_alarm(drawn: Draw, said: float) -> Ints:
    """The slot of each run's first alarm, -1 without one."""
    slots = drawn.world.slots
    cell = (np.arange(drawn.runs)[:, None] * slots + drawn.time.astype(np.int64)) * BUCKETS + drawn.bucket
    arm, others = (
        np.bincount(cell[which], minlength=drawn.runs * slots * BUCKETS).reshape(drawn.runs, slots, BUCKETS).cumsum(1)
        for which in (drawn.mine, ~drawn.mine)
    )
    return np.array([_first(one * 1.0, other * 1.0, said) for one, other in zip(arm, others, strict=True)])


def _first(arm: Floats, others: Floats, said: float) -> int:
    for slot in range(len(arm)):
        figure, limit = sample_ratio(arm[slot], others[slot], said, alpha=RATIO_ALPHA)
        if figure > limit:
            return slot
    return -1
