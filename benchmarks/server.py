"""`grownet serve` as a process of its own on a stand's home: started on a free port, asked, stopped. Its log is in the home."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from benchmarks.stand import Stand
from errors import StackError

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS, STOP_SECONDS = 60.0, 30.0
PATIENT_SECONDS = 30.0  # a busy machine is no reason to give up
LOOK_SECONDS = 0.02


class Server:
    """A replica for `stand`.

    Args:
        options: of `grownet serve`, besides the port.
        folder: the working directory, whose modules come before the house's own.
        before: a command that runs it, such as one that gives it file systems of its own.
        environment: further variables.

    Raises:
        StackError: when it does not come up; with what it wrote.
    """

    def __init__(
        self, stand: Stand, *options: str, folder: Path = ROOT, before: Sequence[str] = (), **environment: str
    ) -> None:
        self.stand = stand
        self.log = stand.folder / f"serve-{time.monotonic_ns()}.log"
        own = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        given = {**own, "PYTHONPATH": str(ROOT), **stand.environment, **environment}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-m", "grownet", "serve", "--port", "0", *options],
                stderr=log, stdout=log, cwd=folder, env=given,
            )  # fmt: skip
        self.url = self._address()
        self.http = httpx.Client(base_url=self.url, timeout=10)

    def _address(self) -> str:
        wait_for(lambda: " on http://" in self.lines or self.process.poll() is not None, START_SECONDS)
        if " on http://" not in self.lines:
            raise StackError("grownet serve", expected="to listen", got=self.lines[-2000:])
        return "http://" + self.lines.split(" on http://")[1].split()[0]

    @property
    def lines(self) -> str:
        return self.log.read_text(errors="replace")

    def ready(self) -> Server:
        """Waits until traffic may come."""
        wait_for(self._is_ready, START_SECONDS)
        return self

    def _is_ready(self) -> bool:
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def revision(self, number: int) -> None:
        """Waits until this revision answers."""
        name = self.stand.lesson.model
        wait_for(lambda: self.http.get("/readyz").json()["revisions"][name] == number)

    def ask(self, key: str, body: Any, path: str = "predict", **headers: str) -> httpx.Response:
        return self.http.post(
            f"/{self.stand.lesson.model}/{path}", json=body, headers={"authorization": f"Bearer {key}", **headers}
        )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(timeout=STOP_SECONDS)


def wait_for(true: Callable[[], Any], seconds: float = PATIENT_SECONDS) -> None:
    """Polls until it is so. Raises StackError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise StackError("waiting", expected=f"an end within {seconds} s", got="none")
        time.sleep(LOOK_SECONDS)
