"""How much one replica takes at once, and how long it waits for a client. Used by `serving.rest`, on the loop only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from errors import UsageError
from serving.house import unavailable
from serving.wire import Refusal

CLOSE = ((b"connection", b"close"),)


class Places:
    """Room for `most` calls; one more is told to come back, and `shed` is called. `with places:` takes one."""

    def __init__(self, most: int, retry_after: int, shed: Callable[[], None]) -> None:
        self.taken = 0
        self._most, self._retry_after, self._shed = most, retry_after, shed

    def __enter__(self) -> None:
        if self.taken >= self._most:
            self._shed()
            raise unavailable("the service", f"{self.taken} requests under way", self._retry_after)
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        self.taken -= 1


class Patience:
    """Lets go of clients whose body takes longer than `seconds`, with 408. `with patience:` around the reading of it.

    One look a second at all of them: a timer for each request (or asyncio.timeout) would cost more than decoding it.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[asyncio.Task[Any], float] = {}
        self._expired: set[asyncio.Task[Any]] = set()

    def __enter__(self) -> None:
        self._since[_me()] = time.monotonic()

    def __exit__(self, *_: object) -> None:
        task = _me()
        del self._since[task]
        if task in self._expired:
            self._expired.discard(task)
            task.uncancel()
            raise Refusal(408, UsageError("body", expected=f"within {self._seconds:g} s", got="less"), CLOSE)

    def look(self) -> None:
        """Looks once, and again in a second."""
        long_ago = time.monotonic() - self._seconds
        for task in [task for task, since in self._since.items() if since < long_ago]:
            self._expired.add(task)
            task.cancel()
        asyncio.get_running_loop().call_later(1.0, self.look)


def _me() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None  # it is what runs this
    return task
