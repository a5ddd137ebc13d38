"""The trees alone: `models.kit.quick` against `Booster.predict`, CPU of one thread, the two in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import lightgbm
import numpy as np

from benchmarks import Facts
from benchmarks.serving.race import rows
from models.kit import trees

REPEATS = 15


def compared(text: bytes) -> Facts:
    """Microseconds a call by the number of rows; and that the answers are the same to the bit."""
    forest, booster = trees.read(text, "the benchmark's trees"), lightgbm.Booster(model_str=text.decode())
    found: Facts = {"quick": forest.quick, "sizes": {}}
    for count in (1, 100, 1000):
        asked = np.array(rows(count))
        ways: dict[str, Callable[[], object]] = {
            "quick": lambda asked=asked: forest.predict(asked),  # type: ignore[misc]  # bound at once
            "booster": lambda asked=asked: booster.predict(asked, num_threads=1),  # type: ignore[misc]
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(REPEATS):
            for name, way in ways.items():
                times[name].append(_cost(way, max(2, 100 // count)))
        same = bool(np.array_equal(forest.predict(asked), booster.predict(asked, num_threads=1)))
        found["sizes"][str(count)] = {**{name: statistics.median(all_) for name, all_ in times.items()}, "same": same}
    return found


def _cost(do: Callable[[], object], many: int) -> float:
    begun = time.thread_time()
    for _ in range(many):
        do()
    return (time.thread_time() - begun) / many * 1e6
