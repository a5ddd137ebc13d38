"""A replica in a process forked from one that has imported the service: it begins in a moment, and can be killed for real.

`Replica(town)`; `replica.ask(body)`, `replica.kill()`, `replica.start()`. It is `serving.server.serve` on a free port, alone.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx

from benchmarks.server import wait_for
from configs.load import load, settings
from models import contract
from serving.server import Membership, listen, serve, start_logging
from tests.serving.town import NAME, Town

contract.names()  # what a fork shall not have to read again
contract.find(NAME)
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])
START_SECONDS = 60.0


def _serves(environment: Mapping[str, str], log: Path, said: Connection) -> None:
    """The process."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    start_logging()
    chosen = settings(environment)
    listener = listen("127.0.0.1", 0)
    said.send(listener.getsockname()[1])
    said.close()
    serve(chosen, load(chosen.configs), Membership(listener, (), lambda: False), "127.0.0.1", None)


class Replica:
    """One replica of a town, started again under its name as often as it is killed."""

    def __init__(self, town: Town) -> None:
        self.town, self.log = town, town.folder / "replica.log"
        self._head = {"authorization": f"Bearer {town.key('predict', 'read')}"}
        self.start()

    def start(self) -> None:
        """Begins; it may not be ready yet."""
        here, there = FORKS.Pipe(duplex=False)
        self.process = FORKS.Process(target=_serves, args=(self.town.environment, self.log, there), daemon=True)
        self.process.start()
        there.close()
        assert here.poll(START_SECONDS), self.lines
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{here.recv()}", timeout=10, trust_env=False)
        here.close()
        wait_for(self._listens, START_SECONDS)

    def kill(self) -> None:
        """kill -9."""
        self.http.close()
        self.process.kill()
        self.process.join()

    def leave(self) -> int | None:
        """SIGTERM; its exit code."""
        self.http.close()
        self.process.terminate()
        self.process.join(30)
        return self.process.exitcode

    def ask(self, body: bytes) -> httpx.Response:
        return self.http.post(f"/{NAME}/predict", content=body, headers=self._head)

    def facts(self) -> dict[str, Any]:
        """What `/readyz` says."""
        return dict(self.http.get("/readyz").json())

    @property
    def lines(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def _listens(self) -> bool:
        try:
            self.facts()
        except httpx.TransportError:
            return False
        return True
