"""Loads versions and features beside the plan followers: one after another, and one that hangs holds up no other model.

A load is model code and a store's client, and either may never come back. Each has a thread of its own, which ends with the
process; the next one waits for its turn, for PATIENCE_SECONDS at most. Made by `serving.service`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

PATIENCE_SECONDS = 30.0  # a load that takes longer than this is not waited for by others
LEAVE_SECONDS = 5.0  # a load under way may end before the process does

P = ParamSpec("P")
T = TypeVar("T")


class Loader:
    """Takes loads from all followers."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._closed = False

    def submit(self, load: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            while not (turn := self._turn).acquire(timeout=PATIENCE_SECONDS):
                self._turn = threading.Lock()  # who has that one may never give it back
            try:
                if not self._closed:
                    future.set_result(load(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - not lost: who waits for the future judges it
                future.set_exception(error)
            finally:
                turn.release()

        threading.Thread(target=run, name="loader", daemon=True).start()
        return future

    def close(self) -> None:
        """Nothing is begun any more; what is under way has a moment to end."""
        self._closed = True
        if self._turn.acquire(timeout=LEAVE_SECONDS):
            self._turn.release()
