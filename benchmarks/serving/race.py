"""Rounds: every server in turn, in an order that moves on by one each round, under the same load for the same time.

The figure is CPU time per request of a server and all it started; what others did to the machine meanwhile moves latency and
throughput far more than that.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from benchmarks import Facts
from benchmarks.serving import load
from benchmarks.serving.servers import OURS, Served

CONNECTIONS = 8
WARM_SECONDS = 0.5


class Lap(msgspec.Struct, frozen=True, kw_only=True):
    """One server in one round."""

    name: str
    rows: int
    cpu_us: float  # per answered request, all processes
    per_second: float
    p50_ms: float
    p99_ms: float
    failed: int


def rows(count: int, seed: int = 3) -> list[list[float]]:
    """Candidates as a client has them: four digits."""
    return np.round(np.random.default_rng(seed).normal(size=(count, 30)), 4).tolist()  # type: ignore[no-any-return]


def turns(names: Sequence[str], rounds: int) -> Iterator[list[str]]:
    """Who runs when: nobody is always first, and nobody always after the same one's load."""
    for at in range(rounds):
        turn = [*names[at % len(names) :], *names[: at % len(names)]]
        yield turn if at % 2 == 0 else turn[::-1]


def run(servers: dict[str, Served], count: int, rounds: int, seconds: float) -> list[Lap]:
    """All laps with `count` rows a request."""
    asked = rows(count)
    for one in servers.values():
        load.record(load.started(one.order(asked, connections=CONNECTIONS, seconds=WARM_SECONDS)))
    return [
        lap(servers[name], count, asked, seconds) for turn in turns([*servers], rounds) for name in turn
    ]  # fmt: skip


def lap(server: Served, count: int, asked: list[list[float]], seconds: float) -> Lap:
    tree = server.tree
    before = tree.seconds()
    found = load.record(load.started(server.order(asked, connections=CONNECTIONS, seconds=seconds)))
    spent = tree.seconds() - before
    print(f"{server.title}: {count} rows, {found.answered} answers", file=sys.stderr)
    return Lap(
        name=server.name,
        rows=count,
        cpu_us=spent / found.answered * 1e6 if found.answered else float("nan"),
        per_second=found.answered / found.seconds,
        p50_ms=found.percentile(0.5),
        p99_ms=found.percentile(0.99),
        failed=sum(found.failed.values()),
    )


def medians(laps: Sequence[Lap]) -> list[Facts]:
    """One line a server and size: medians over rounds, and CPU as a multiple of ours in the same size."""
    found: list[Facts] = []
    for name, count in dict.fromkeys((one.name, one.rows) for one in laps):
        mine = [one for one in laps if (one.name, one.rows) == (name, count)]
        ours = _median([one for one in laps if (one.name, one.rows) == (OURS, count)], lambda one: one.cpu_us)
        line: Facts = {"name": name, "rows": count, "rounds": len(mine), "failed": sum(one.failed for one in mine)}
        for key in ("cpu_us", "per_second", "p50_ms", "p99_ms"):
            line[key] = _median(mine, lambda one, key=key: getattr(one, key))  # type: ignore[misc]  # bound at once
        found.append({**line, "times": line["cpu_us"] / ours})
    return found


def _median(laps: Sequence[Lap], figure: Callable[[Lap], Any]) -> float:
    return float(statistics.median(map(figure, laps))) if laps else float("nan")
