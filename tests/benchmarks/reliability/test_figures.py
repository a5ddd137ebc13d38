"""Figures of made-up records, and the bound against its closed form."""

from __future__ import annotations

import pytest

from benchmarks.client.record import Sent
from benchmarks.reliability import figures


def sent(number: int, status: int = 200, seconds: float = 0.01, error: str = "") -> Sent:
    return Sent(number, "good", 0, float(number), float(number), number + seconds, status, error, "", b"")


def test_the_bound_is_that_of_clopper_and_pearson() -> None:
    assert figures.upper_bound(0, 100) == pytest.approx(1 - 0.05 ** (1 / 100))  # none of n: the closed form
    assert figures.upper_bound(100, 100) == 1.0
    assert figures.upper_bound(1, 100) == pytest.approx(0.0466, abs=1e-4)  # from tables
    assert figures.upper_bound(0, 0) == 1.0


def test_failures_and_latencies() -> None:
    records = [*(sent(number) for number in range(98)), sent(98, 503), sent(99, 0, error="connection lost: closed")]
    found = figures.failures(records)
    assert (found["requests"], found["failures"]) == (100, 2)
    assert found["upper_95"] == figures.upper_bound(2, 100)
    assert figures.counts(records) == {"200": 98, "503": 1, "connection lost": 1}
    assert figures.latencies(records)["p99_ms"] == pytest.approx(10.0)
    assert figures.felt_seconds([1.0, 5.0, 7.5], since=4.0) == 3.5
    assert figures.felt_seconds([1.0], since=4.0) == 0.0
