"""What a service lives through besides load: half of what it can take, a version more in memory, a release while it is asked."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks import Facts
from benchmarks.serving import load
from benchmarks.serving.race import CONNECTIONS, lap, rows
from benchmarks.serving.servers import Served
from benchmarks.serving.site import Site

HALF_SECONDS, BEFORE_SECONDS, RELEASE_SECONDS = 5.0, 4.0, 14.0


def half(server: Served, most: float) -> Facts:
    """Latency at half of what it can take: requests at a steady pace, whether those before were answered or not."""
    order = server.order(rows(1), connections=4 * CONNECTIONS, seconds=HALF_SECONDS, per_second=most / 2)
    found = load.record(load.started(order))
    return {
        "per_second": most / 2,
        "p50_ms": found.percentile(0.5),
        "p99_ms": found.percentile(0.99),
        "failed": found.failed,
    }


def reload(server: Served, site: Site) -> Facts:
    """A release from vote to 100 % at a quarter of the load that it can take: what failed, and p99 before and during.

    Memory is what the process alone holds, before and after the version came; the trees' text is what is loaded.
    """
    site.vote()
    most = lap(server, 1, rows(1), 1.0).per_second
    before_bytes = server.tree.unique_bytes()
    order = server.order(rows(1), connections=CONNECTIONS, seconds=RELEASE_SECONDS, per_second=most / 4)
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
