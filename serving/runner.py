"""Runs model code in a few threads of its own, so that neither a failure nor a hang of a model reaches the service.

A result that comes too late is thrown away; work that nobody waits for any more is not begun; work beyond `limit` is
refused. Python cannot end a thread, so one that hangs stays lost and the service goes on without it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, NamedTuple

from errors import InputError

log = logging.getLogger(__name__)
PATIENCE_SECONDS = 0.05  # a call slower than this gets a thread beside it


@dataclass(frozen=True)
class Failure:
    """Model code raised. The reason goes to the journal and the guard, the trace to the log only."""

    reason: str


class Job(NamedTuple):
    work: Callable[[], Any]
    done: Callable[[Any], None]  # called in the runner's thread with the result, a Failure or an InputError
    wanted: Callable[[], bool]


def attempt(work: Callable[[], Any], what: str) -> Any:
    """Runs model code: its result, the InputError it raised, or a Failure for anything else it raised."""
    try:
        return work()
    except InputError as error:
        return error
    except Exception as error:  # a model may raise anything, and here that is data
        log.warning("%s failed: %r", what, error, exc_info=error)
        return Failure(f"{type(error).__name__}: {error}"[:300])


class Runner:
    """One thread, started when it is first needed; others only while those before them are slow.

    More than one at work would make them wait for each other's interpreter lock.

    Args:
        name: for logs and thread names.
        threads: how many calls may hang before the runner is lost.
        limit: how many jobs may wait.
    """

    def __init__(self, name: str, threads: int, limit: int) -> None:
        self.name, self._threads, self._limit = name, threads, limit
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._started = 0
        self._busy_since: dict[int, float] = {}
        self._lock = threading.Lock()

    def offer(self, job: Job) -> bool:
        """Queues a job; False, and nothing else, when too many wait already."""
        if self._jobs.qsize() >= self._limit:
            return False
        self._jobs.put(job)
        if self._started == 0 or (self._started < self._threads and self._stuck() > PATIENCE_SECONDS):
            self._start_one()
        return True

    @property
    def stuck_seconds(self) -> float:
        """How long all threads it may have are on the job they have now; 0 while one is left."""
        return self._stuck() if self._started == self._threads else 0.0

    def close(self) -> None:
        """Threads end after the job they have; one that hangs is left behind."""
        for _ in range(self._started):
            self._jobs.put(None)

    def _stuck(self) -> float:
        busy = list(self._busy_since.values())
        return time.monotonic() - max(busy) if busy and len(busy) == self._started else 0.0

    def _start_one(self) -> None:
        with self._lock:
            if self._started < self._threads:
                self._started += 1
                threading.Thread(target=self._work, name=self.name, daemon=True).start()

    def _work(self) -> None:
        me = threading.get_ident()
        while (job := self._jobs.get()) is not None:
            if not job.wanted():
                continue
            self._busy_since[me] = time.monotonic()
            result = attempt(job.work, self.name)
            del self._busy_since[me]
            job.done(result)
