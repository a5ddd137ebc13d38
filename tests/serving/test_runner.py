"""Model code in threads: results, failures, hangs."""

import logging
import threading
import time
import weakref
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from errors import InputError
from serving.runner import BESIDE_SHARE, GLANCE_SECONDS, PATIENCE_SECONDS, Failure, Job, Runner
from tests.serving.town import wait_for

PATIENT = 60.0  # seconds for what takes none


@pytest.fixture
def runner() -> Iterator[Runner]:
    made = Runner("test", threads=2, limit=3)
    yield made
    made.close()


def run(runner: Runner, work: Any) -> Any:
    results: SimpleQueue[Any] = SimpleQueue()
    assert runner.offer(Job(work, results.put))
    return results.get(timeout=PATIENT)


def boom() -> None:
    raise ZeroDivisionError("1 / 0")


def wrong() -> None:
    raise InputError("$.k", expected="less", got="more")


def test_results_and_failures_come_back(runner: Runner) -> None:
    assert run(runner, lambda: 7) == 7
    assert run(runner, boom) == Failure("ZeroDivisionError: 1 / 0")
    assert isinstance(run(runner, wrong), InputError)
    assert run(runner, lambda: 8) == 8


def test_a_reason_can_be_written_down_whatever_the_model_says(runner: Runner, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(
        logging.CRITICAL, "serving.runner"
    )  # the trace has it as it is, and no report could be sent with it

    def odd() -> None:
        raise ValueError("half a \ud83d")

    assert run(runner, odd) == Failure("ValueError: half a ?")


def test_work_that_nobody_waits_for_is_not_begun(runner: Runner) -> None:
    begun: list[int] = []
    job = Job(lambda: begun.append(1))
    job.wanted = False
    assert runner.offer(job)
    assert run(runner, lambda: 7) == 7
    assert begun == []


def test_a_hanging_call_leaves_the_others_a_thread_until_there_is_none(runner: Runner) -> None:
    free = threading.Event()
    for _ in range(2):
        assert runner.offer(Job(free.wait))
        wait_for(lambda: runner._stuck() > PATIENCE_SECONDS)
        assert runner.stuck_seconds == 0 or _ == 1
    results: SimpleQueue[Any] = SimpleQueue()
    assert runner.offer(Job(lambda: 7, results.put))
    wait_for(lambda: runner.stuck_seconds > PATIENCE_SECONDS)
    assert results.empty()
    for _ in range(2):
        runner.offer(Job(lambda: 8, results.put))
    assert not runner.offer(Job(lambda: 9, results.put))  # three wait already
    free.set()
    assert [results.get(timeout=PATIENT) for _ in range(3)] == [7, 8, 8]
    wait_for(lambda: runner.stuck_seconds == 0)


def test_one_slow_call_does_not_delay_the_next_by_more_than_patience(runner: Runner) -> None:
    free = threading.Event()
    slow = Job(free.wait)
    assert runner.offer(slow)
    wait_for(lambda: runner._stuck() > PATIENCE_SECONDS)
    job = Job(lambda: 7)
    assert runner.offer(job)
    assert runner._started == 2  # its thread is there with the offer, not after another wait
    assert job.ended(PATIENT)
    assert [one.result for one in (job, slow)] == [7, None]
    free.set()


def test_only_what_follows_a_brief_call_is_waited_for_and_no_longer_than_a_glance(runner: Runner) -> None:
    waits: list[float] = []  # how long a glance may take, of each one that was taken

    class Noted(Job):
        def ended(self, seconds: float = 0.0) -> bool:
            waits.append(seconds)
            return super().ended(seconds)

    def glance(job: Job) -> bool:
        assert runner.offer(job)
        return runner.glance(job)

    go, free = threading.Event(), threading.Event()
    first = Job(go.wait)
    assert not glance(first)  # nothing is known yet
    go.set()
    assert first.ended(PATIENT)
    wait_for(
        lambda: glance(brief := Job(lambda: 8)) and brief.result == 8
    )  # a busy machine may take longer than a glance
    hangs = Noted(free.wait)
    assert not glance(hangs)
    assert waits == [GLANCE_SECONDS]
    behind = [Noted(lambda: 9), Noted(lambda: 10)]
    assert [glance(job) for job in behind] == [False, False]
    assert len(waits) == 1  # nobody looks again until a call was brief
    free.set()
    assert all(job.ended(PATIENT) for job in (hangs, *behind))
    assert [job.result for job in (hangs, *behind)] == [True, 9, 10]


def test_who_asks_to_be_called_after_the_end_has_the_result(runner: Runner) -> None:
    told: list[int] = []
    late, free = Job(lambda: 7), threading.Event()
    assert runner.offer(late)
    wait_for(lambda: late.result == 7)
    assert not late.then(told.append)
    early = Job(lambda: free.wait() and 8)
    assert runner.offer(early)
    assert early.then(told.append)
    free.set()
    wait_for(lambda: told == [8])


def test_an_idle_thread_keeps_nothing_of_its_last_call(runner: Runner) -> None:
    """Or every arm without traffic would keep the features of before the last refresh in memory."""

    class Features:
        pass

    def ask() -> weakref.ref[Features]:
        held = Features()
        assert run(runner, lambda: str(held))
        return weakref.ref(held)

    left = ask()
    wait_for(lambda: left() is None)


def compute(seconds: float) -> None:
    """Takes so much of the processor."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def ended_after(work: Any, count: int, runners: int = 1) -> float:
    """Wall seconds from the first of some jobs to the last, in each of some runners for what nobody waits for."""
    made, done = [Runner("beside", 1, count, BESIDE_SHARE) for _ in range(runners)], SimpleQueue[float]()
    for one in made:
        for _ in range(count):
            one.offer(Job(work, lambda _: done.put(time.monotonic())))
    times = [done.get(timeout=PATIENT) for _ in range(count * runners)]
    for one in made:
        one.close()
    return times[-1] - times[0]


def test_work_that_nobody_waits_for_takes_a_share_of_a_core_and_waiting_none() -> None:
    computed = ended_after(lambda: compute(0.02), 6)
    assert computed >= 5 * 0.02 / BESIDE_SHARE  # never faster, however busy the machine is
    wait_for(lambda: ended_after(lambda: time.sleep(0.005), 6) < computed)  # unless the machine holds it up


def test_many_of_them_together_take_hardly_more_than_one() -> None:
    rests = 0.02 * (1 / BESIDE_SHARE - 1) * (3 - 1) * 4  # all but the last of each, one after the other
    assert ended_after(lambda: compute(0.02), 3, runners=4) >= rests
