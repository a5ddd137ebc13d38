"""What a service lives through besides load: half of what it can take, a version more in memory, a release while it is asked."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import Facts
from benchmarks.serving import load, race
from benchmarks.serving.servers import Served
from benchmarks.serving.site import Site

HALF_SECONDS, BEFORE_SECONDS, RELEASE_SECONDS = 5.0, 4.0, 14.0


def half(servers: Sequence[Served], ours: Served, rounds: int, seconds: float) -> Facts:
    """Latency at half of what ours can take, of each server in turn: requests at a steady pace, whether those before were answered or
    not. A constant reply among them is what the machine and the client do at this pace. Medians over rounds, milliseconds."""
    pace = race.lap(ours, 1, race.rows(1), seconds).per_second / 2
    found: dict[str, list[load.Record]] = {one.name: [] for one in servers}
    by_name = {one.name: one for one in servers}
    for turn in race.turns([*by_name], rounds):
        for name in turn:
            order = by_name[name].order(
                race.rows(1), connections=4 * race.CONNECTIONS, seconds=HALF_SECONDS, per_second=pace
            )
            found[name].append(load.record(load.started(order)))
    return {"per_second": pace, "servers": {by_name[name].title: _median(some) for name, some in found.items()}}


def _median(some: Sequence[load.Record]) -> Facts:
    return {
        "p50_ms": statistics.median(one.percentile(0.5) for one in some),
        "p99_ms": statistics.median(one.percentile(0.99) for one in some),
        "failed": sum(sum(one.failed.values()) for one in some),
    }


def releases(server: Served, site: Site, count: int) -> Facts:
    """Several, one after the other: the worst for what failed, medians for the rest."""
    some = [reload(server, site) for _ in range(count)]
    medians = ("seconds", "answered_during", "p99_before_ms", "p99_during_ms", "memory_bytes", "model_bytes")
    return {
        **{name: statistics.median(one[name] for one in some) for name in medians},
        "times": statistics.median(one["p99_during_ms"] / one["p99_before_ms"] for one in some),
        "failed": sum(sum(one["failed"].values()) for one in some),
        "releases": count,
    }


def reload(server: Served, site: Site) -> Facts:
    """A release from vote to 100 % at a quarter of the load that it can take: what failed, and p99 before and during.

    Memory is what the process alone holds, before and after the version came; the trees' text is what is loaded.
    """
    site.vote()
    most = race.lap(server, 1, race.rows(1), 1.0).per_second
    before_bytes = server.tree.unique_bytes()
    order = server.order(race.rows(1), connections=race.CONNECTIONS, seconds=RELEASE_SECONDS, per_second=most / 4)
    asked = load.started(order)
    begun = time.perf_counter()
    time.sleep(BEFORE_SECONDS)
    released = time.perf_counter() - begun
    revision = site.release()
    over = time.perf_counter() - begun
    found = load.record(asked)
    before = [ms for ms, at in zip(found.latencies, found.ended, strict=True) if at < released]
    during = [ms for ms, at in zip(found.latencies, found.ended, strict=True) if released <= at < over]
    size = Path(site.facts["trees"]).stat().st_size
    return {
        "revision": revision,
        "seconds": over - released,
        "answered_during": len(during),
        "failed": found.failed,
        "p99_before_ms": _p99(before),
        "p99_during_ms": _p99(during),
        "memory_bytes": server.tree.unique_bytes() - before_bytes,
        "model_bytes": size,
    }


def _p99(latencies: list[float]) -> float:
    return sorted(latencies)[int(0.99 * len(latencies))] if latencies else float("nan")
