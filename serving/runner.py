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
from typing import Any

from errors import InputError

log = logging.getLogger(__name__)
PATIENCE_SECONDS = 0.05  # a call slower than this gets a thread beside it
# a call is waited for so long when the one before was briefer; compiled code that keeps the interpreter's lock holds all up longer
GLANCE_SECONDS = 0.001
BESIDE_SHARE = 0.25  # of a core at most for work that nobody waits for: it keeps the interpreter's lock from the rest
# one rests at a time, so that many shadows together take a third of a core at most, and not a quarter each
RESTS = threading.Lock()


@dataclass(frozen=True)
class Failure:
    """Model code raised. The reason goes to the journal and the guard, the trace to the log only."""

    reason: str


class Job:
    """A call of model code. Work that is not `wanted` any more is not begun.

    Args:
        done: called in the runner's thread with the result, a Failure or an InputError.
    """

    __slots__ = ("_done", "_ended", "result", "wanted", "work")

    def __init__(self, work: Callable[[], Any], done: Callable[[Any], None] | None = None) -> None:
        self.work, self.wanted, self.result = work, True, None
        self._done, self._ended = done, threading.Lock()
        self._ended.acquire()

    def end(self, result: Any) -> None:
        self.result = result
        self._ended.release()
        if self._done is not None:
            self._done(result)

    def ended(self, seconds: float = 0.0) -> bool:
        """Whether the result is there, waiting for it so long. True once only."""
        return self._ended.acquire(timeout=seconds)

    def then(self, done: Callable[[Any], None]) -> bool:
        """From now on `done` is called at the end; False when that is over, and `result` is there."""
        self._done = done
        return not self.ended()


def attempt(work: Callable[[], Any], what: str) -> Any:
    """Runs model code: its result, the InputError it raised, or a Failure for anything else it raised."""
    try:
        return work()
    except InputError as error:
        return error
    except Exception as error:  # a model may raise anything, and here that is data
        log.warning("%s failed: %r", what, error, exc_info=error)
        reason = f"{type(error).__name__}: {error}"[:300]
        return Failure(reason.encode(errors="replace").decode())  # it goes where only UTF-8 does


class Runner:
    """One thread, started when it is first needed; others only while those before them are slow.

    More than one at work would make them wait for each other's interpreter lock.

    Args:
        name: for logs and thread names.
        threads: how many calls may hang before the runner is lost.
        limit: how many jobs may wait.
        share: of a core that a thread may take; after each job it rests for as long as that asks, and after others who do.
            Waiting takes nothing.
    """

    def __init__(self, name: str, threads: int, limit: int, share: float = 1.0) -> None:
        self.name, self._threads, self._limit = name, threads, limit
        self._rest = 1.0 / share - 1.0  # seconds for each of the processor
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._started = 0
        self._busy_since: dict[int, float] = {}
        self._brief = False  # the last call was
        self._lock = threading.Lock()

    def offer(self, job: Job) -> bool:
        """Queues a job; False, and nothing else, when too many wait already."""
        if self._jobs.qsize() >= self._limit:
            return False
        self._jobs.put(job)
        if self._started == 0 or (self._started < self._threads and self._stuck() > PATIENCE_SECONDS):
            self._start_one()
        return True

    def glance(self, job: Job, seconds: float = GLANCE_SECONDS) -> bool:
        """Whether an offered job ended within so long, GLANCE_SECONDS at most. Waits only while the calls before it were that brief: going back to
        other work and being called from it again would cost several times what such a call does."""
        if not self._brief:
            return False
        self._brief = job.ended(max(0.0, seconds))
        return self._brief

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
            if not job.wanted:
                continue
            spent, begun = time.thread_time(), time.monotonic()
            self._busy_since[me] = begun
            result = attempt(job.work, self.name)
            del self._busy_since[me]
            self._brief = time.monotonic() - begun < GLANCE_SECONDS
            job.end(result)
            del job, result  # or an idle thread would keep the features of its last call in memory
            if self._rest:
                with RESTS:
                    time.sleep(self._rest * (time.thread_time() - spent))
