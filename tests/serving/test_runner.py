"""Model code in threads: results, failures, hangs."""

import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from errors import InputError
from serving.runner import PATIENCE_SECONDS, Failure, Job, Runner
from tests.serving.town import wait_for


@pytest.fixture
def runner() -> Iterator[Runner]:
    made = Runner("test", threads=2, limit=3)
    yield made
    made.close()


def run(runner: Runner, work: Any) -> Any:
    results: SimpleQueue[Any] = SimpleQueue()
    assert runner.offer(Job(work, results.put, lambda: True))
    return results.get(timeout=5)


def boom() -> None:
    raise ZeroDivisionError("1 / 0")


def wrong() -> None:
    raise InputError("$.k", expected="less", got="more")


def test_results_and_failures_come_back(runner: Runner) -> None:
    assert run(runner, lambda: 7) == 7
    assert run(runner, boom) == Failure("ZeroDivisionError: 1 / 0")
    assert isinstance(run(runner, wrong), InputError)
    assert run(runner, lambda: 8) == 8


def test_work_that_nobody_waits_for_is_not_begun(runner: Runner) -> None:
    begun: list[int] = []
    assert runner.offer(Job(lambda: begun.append(1), lambda _: None, lambda: False))
    assert run(runner, lambda: 7) == 7
    assert begun == []


def test_a_hanging_call_leaves_the_others_a_thread_until_there_is_none(runner: Runner) -> None:
    free = threading.Event()
    for _ in range(2):
        assert runner.offer(Job(free.wait, lambda _: None, lambda: True))
        wait_for(lambda: runner._stuck() > PATIENCE_SECONDS)
        assert runner.stuck_seconds == 0 or _ == 1
    results: SimpleQueue[Any] = SimpleQueue()
    assert runner.offer(Job(lambda: 7, results.put, lambda: True))
    wait_for(lambda: runner.stuck_seconds > PATIENCE_SECONDS)
    assert results.empty()
    for _ in range(2):
        runner.offer(Job(lambda: 8, results.put, lambda: True))
    assert not runner.offer(Job(lambda: 9, results.put, lambda: True))  # three wait already
    free.set()
    assert [results.get(timeout=5) for _ in range(3)] == [7, 8, 8]
    wait_for(lambda: runner.stuck_seconds == 0)


def test_one_slow_call_does_not_delay_the_next_by_more_than_patience(runner: Runner) -> None:
    free = threading.Event()
    runner.offer(Job(free.wait, lambda _: None, lambda: True))
    wait_for(lambda: runner._stuck() > PATIENCE_SECONDS)
    begun = time.monotonic()
    assert run(runner, lambda: 7) == 7
    assert time.monotonic() - begun < 1
    free.set()
