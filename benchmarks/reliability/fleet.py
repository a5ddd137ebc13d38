"""`grownet serve` with its workers, for scenarios that look at its processes, kill them, or give it a small disk."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.server import Server
from errors import StackError
from stores.ledger import counters

ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.02


class Fleet(Server):
    """A running service and all its processes."""

    @property
    def host(self) -> str:
        return httpx.URL(self.url).host

    @property
    def port(self) -> int:
        return httpx.URL(self.url).port or 80

    @property
    def workers(self) -> list[psutil.Process]:
        """The processes that answer: the children of a supervisor, or the one there is."""
        alone = psutil.Process(self.process.pid)
        children = [one for one in alone.children() if one.status() != psutil.STATUS_ZOMBIE]
        return children or [alone]

    @property
    def view(self) -> Path:
        """Its home as the service itself sees it, with the file systems that are its own."""
        seen = Path(f"/proc/{self.process.pid}/root{self.stand.folder}")
        return seen if seen.exists() else self.stand.folder

    def facts(self) -> dict[str, Any]:
        """What `/readyz` of one of its workers says; nothing when it cannot be asked."""
        try:
            with httpx.Client(base_url=self.url, timeout=5) as fresh:  # any worker, not the one of last time
                return dict(fresh.get("/readyz").json())
        except (httpx.TransportError, ValueError):
            return {}

    def loaded(self, count: int, since: float) -> bool:
        """Whether `count` replicas told the ledger, after the wall-clock time `since`, that they serve the plan whole."""
        plan, name = self.stand.plan(), self.stand.lesson.model
        told = [one for one in counters.replicas(self.stand.ledgers["reader"], name) if one.at.timestamp() >= since]
        wanted = {arm for arm in ("champion", "previous", "canary", "control") if getattr(plan, arm) is not None}
        return sum(one.revision == plan.revision and wanted <= one.loaded.keys() for one in told) >= count

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends it with all its processes; its exit code."""
        workers = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        try:
            return self.stop(how)
        finally:
            for left in psutil.wait_procs([self.process, *workers], timeout=3)[1]:
                left.kill()


def small_disk(folder: Path, size: int) -> tuple[str, ...]:
    """A command before the service's, which gives it a file system of `size` bytes at `folder` that nobody else sees and
    that goes with it.

    Raises:
        StackError: where this user may not have file systems of her own.
    """
    script = f'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"'
    mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
    if shutil.which("unshare") is None:
        raise StackError("a small disk", expected="unshare (util-linux)", got="none", do="run it on Linux")
    return ("unshare", "--mount", *mapped, "sh", "-c", script, str(folder))


def until(true: Callable[[], Any], what: str, seconds: float) -> float:
    """Polls until it is so, and returns how long that took.

    Raises:
        StackError: after `seconds`.
    """
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > seconds:
            raise StackError(what, expected=f"within {seconds:g} s", got="not so")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - began
