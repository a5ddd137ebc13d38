"""Load on a server of the benchmark: keep-alive connections that each ask again when they were answered, or a pace of so many
requests a second. Sent by `benchmarks.client`, a process of its own.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.client.record import Sent, Stream
from benchmarks.client.traffic import Traffic, post

NAME = "load"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, how often, and for how long. `per_second` 0 is as fast as the answers come."""

    port: int
    path: str
    body: str
    headers: dict[str, str] = {}
    connections: int = 8
    seconds: float = 1.0
    per_second: float = 0.0


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. Latencies in milliseconds, of answers with 200, in the order they ended; `ended` in seconds since the
    first was sent. With a pace, a latency counts from when the request was due."""

    latencies: list[float]
    ended: list[float]
    failed: dict[str, int]  # by status or error
    seconds: float

    @property
    def answered(self) -> int:
        return len(self.latencies)

    def percentile(self, share: float) -> float:
        """Milliseconds that this share of the answers did not exceed. NaN without answers."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


class Running(NamedTuple):
    """An order being carried out."""

    traffic: Traffic
    folder: tempfile.TemporaryDirectory[str]


def started(order: Order) -> Running:
    """A process that carries an order out. Raises StackError when it does not start."""
    request = post(order.path, order.body.encode(), order.headers)
    closed = not order.per_second
    stream = Stream(NAME, [request], order.per_second or 1.0, order.connections, closed)
    folder = tempfile.TemporaryDirectory(prefix="grownet-load-")
    return Running(Traffic(Path(folder.name), ("127.0.0.1", order.port), [stream], order.seconds), folder)


def record(running: Running) -> Record:
    """What it wrote down, once it is done. Raises StackError when it failed."""
    with running.folder:
        sent = sorted(running.traffic.ended(), key=lambda one: one.done)
    begun = min((one.due for one in sent), default=0.0)
    answered = [one for one in sent if one.status == 200]
    return Record(
        latencies=[one.seconds * 1000 for one in answered],
        ended=[one.done - begun for one in answered],
        failed=dict(Counter(map(_why, (one for one in sent if one.status != 200)))),
        seconds=sent[-1].done - begun if sent else 0.0,
    )


def _why(one: Sent) -> str:
    return str(one.status) if one.status else one.error.partition(":")[0]
