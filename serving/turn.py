"""Calls of model code on behalf of the loop, in the threads of `serving.runner`, each within its deadline.

What the requests read in one turn of the loop ask of one arm is handed over together: one wake-up of its thread for all of
them, and one glance at whether they are done. Used by `serving.predict`, on the loop only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from serving.runner import GLANCE_SECONDS, Failure, Job, Runner

LATE = Failure("deadline")


class Asked(NamedTuple):
    """A call, who waits for it, and until when (monotonic)."""

    job: Job
    future: asyncio.Future[Any]
    until: float


class Turns:
    """What is asked of each runner in this turn of the loop."""

    def __init__(self) -> None:
        self._asked: dict[Runner, list[Asked]] = {}

    async def within(self, runner: Runner, work: Callable[[], Any], seconds: float) -> Any:
        """The result of `work` in a thread of the runner, or LATE when it is not there in time."""
        loop = asyncio.get_running_loop()
        one = Asked(Job(work), loop.create_future(), time.monotonic() + seconds)
        asked = self._asked.get(runner)
        if asked is None:
            self._asked[runner] = [one]
            loop.call_soon(self._hand_over, loop, runner)
        else:
            asked.append(one)
        try:
            return await one.future
        finally:
            one.job.wanted = False

    def _hand_over(self, loop: asyncio.AbstractEventLoop, runner: Runner) -> None:
        asked = self._asked.pop(runner)
        taken = [runner.offer(one.job) for one in asked]
        until = time.monotonic() + GLANCE_SECONDS
        for one, offered in zip(asked, taken, strict=True):
            if not offered:
                settle(one.future, LATE)
            elif runner.glance(one.job, until - time.monotonic()):
                settle(one.future, one.job.result)
            else:
                _later(loop, one)


def settle(future: asyncio.Future[Any], result: Any) -> None:
    """Gives the result to whoever waits, if somebody still does."""
    if not future.done():
        future.set_result(result)


def _later(loop: asyncio.AbstractEventLoop, one: Asked) -> None:
    """The thread wakes the loop when it is done, and the deadline does when it is not."""

    def done(result: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, one.future, result)

    if not one.job.then(done):
        settle(one.future, one.job.result)
        return
    timer = loop.call_later(max(one.until - time.monotonic(), 0.0), settle, one.future, LATE)
    one.future.add_done_callback(lambda _: timer.cancel())
