"""Servers as processes: started on a free port, asked until they answer, ended with all they started."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil

from benchmarks.serving.cpu import Tree
from benchmarks.serving.load import Order
from benchmarks.serving.peers import Peer, Rows, clean_environment, free_port, installed, version
from benchmarks.serving.site import NAME, Site, environment
from errors import StackError

START_SECONDS, STOP_SECONDS = 120.0, 10.0
OURS = "grownet"


@dataclass(frozen=True)
class Served:
    """A server that answers."""

    name: str
    title: str
    port: int
    path: str
    headers: dict[str, str]
    process: subprocess.Popen[bytes]
    log: Path
    peer: Peer | None = None

    @property
    def tree(self) -> Tree:
        return Tree(self.process.pid)

    def order(self, rows: Rows, **how: Any) -> Order:
        """What asks it to score these rows."""
        body = self.peer.body(rows) if self.peer else msgspec.json.encode({"reader": "somebody", "rows": rows})
        return Order(port=self.port, path=self.path, body=body.decode(), headers=self.headers, **how)

    def scores(self, rows: Rows) -> Any:
        """What it replies. Raises StackError for anything but 200."""
        order = self.order(rows)
        head = {"content-type": "application/json", **order.headers}
        reply = httpx.post(f"http://127.0.0.1:{self.port}{self.path}", content=order.body, headers=head, timeout=30)
        if reply.status_code != 200:
            raise StackError(self.title, expected="200", got=f"{reply.status_code} {reply.text[:300]}")
        return reply.json()

    def end(self) -> None:
        below = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        self.process.terminate()
        try:
            self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for left in psutil.wait_procs(below, timeout=STOP_SECONDS)[1]:
            left.kill()


def ours(site: Site, folder: Path, title: str = "grownet serve, everything on") -> Served:
    """`grownet serve` on the site's home: authentication, journal, metrics and split are on, as they are for everybody."""
    port = free_port()
    command = [sys.executable, "-m", "grownet", "serve", "--port", str(port)]
    head = {"authorization": f"Bearer {site.facts['key']}"}
    place = f"/{NAME}/predict"
    own = {**environment(), **site.facts["environment"]}
    return _started(OURS, title, command, folder, port=port, path=place, headers=head, own=own, cwd=site.code)


def theirs(name: str, peer: Peer, trees: Path, cache: Path, folder: Path) -> tuple[Served, str]:
    """A peer, installed when it is not yet, and what was installed. Raises StackError."""
    made = installed(peer, cache)
    port = free_port()
    run = peer.run(made, folder / name, trees, port)
    own = {**clean_environment(), "PATH": f"{made / 'bin'}:/usr/bin:/bin", "OMP_NUM_THREADS": "1", **run.environment}
    served = _started(
        name, peer.title, run.command, folder, port=port, path=run.path, headers={}, own=own, cwd=folder, peer=peer
    )
    return served, version(made, peer)


def _started(
    name: str, title: str, command: list[str], folder: Path, *, own: dict[str, str], cwd: Path, **rest: Any
) -> Served:
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=cwd, env=own, stdout=out, stderr=out)
    served = Served(name=name, title=title, process=process, log=log, **rest)
    deadline, last = time.monotonic() + START_SECONDS, ""
    while time.monotonic() < deadline and process.poll() is None:
        try:
            served.scores([[0.0] * 30])
            return served
        except (httpx.HTTPError, StackError) as error:
            last = str(error)
            time.sleep(0.3)
    served.end()
    raise StackError(title, expected="to answer", got=f"{last}; {log.read_text(errors='replace')[-800:]}")
