"""The house with one model more: `shortlist` beside the others, in a home with two released versions, so that answers are
split between champion and control.

Run as a process of its own in that copy of `models/`: `python -m benchmarks.serving.site HOME SETTINGS` releases versions 1 and
2, prints what one needs to serve and to ask, and then releases version 3, 4 ... at each line on its standard input.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.stand import Lesson, Stand
from configs import load as loading
from errors import StackError
from records import Arm
from stores.ledger import counters

ROOT = Path(__file__).resolve().parents[2]
MODEL = Path(__file__).resolve().parent / "model"
NAME = "shortlist"
AS_OF = datetime(2026, 11, 1, tzinfo=UTC)
LOAD_SECONDS = 60.0


class Site:
    """A home made in `folder`, and the process that releases further versions there. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.code, settings = folder / "code", folder / "settings"
        shutil.copytree(ROOT / "models", self.code / "models")
        loading.overlay(loading.HERE, settings, {})
        shutil.copy(MODEL / f"{NAME}.py", self.code / "models")
        shutil.copy(ROOT / "grownet.py", self.code)  # it looks for modules beside itself first
        shutil.copy(MODEL / f"{NAME}.yaml", settings)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serving.site", str(folder / "home"), str(settings)],
            cwd=self.code, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.facts: dict[str, Any] = json.loads(self._said())

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def vote(self) -> None:
        """Makes the next version and lets people vote on it; it is not in the plan yet."""
        self._tell("vote")

    def release(self) -> int:
        """Brings the version that was voted on to 100 %, once the replica has it; the plan's revision then."""
        return int(self._tell("release"))

    def _tell(self, word: str) -> str:
        assert self._process.stdin
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._said()

    def _said(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise StackError("home of the benchmark", expected="to be made", got="an end; its error is above")
        return line


def environment() -> dict[str, str]:
    """Where the benchmark's own model is found, with the copied `models/` as the working directory."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GROWNET_"))}
    return {**own, "PYTHONPATH": str(ROOT)}


def main(home: str, settings: str) -> None:
    """Makes the home, then obeys `vote` and `release`."""
    model = __import__(f"models.{NAME}", fromlist=[NAME])
    lesson = Lesson(NAME, lambda _: {"rows": model.table()}, AS_OF)
    stand = Stand(Path(home), lesson, {}, Path(settings))
    for number in (1, 2):
        stand.released(number)
    trees = Path(home) / "trees.txt"
    trees.write_bytes(stand._learned().text)
    print(json.dumps({"key": stand.key("predict"), "environment": stand.environment, "trees": str(trees)}), flush=True)
    voted: tuple[Arm, str] | None = None
    number = 2
    for line in sys.stdin:
        if line.strip() == "vote":
            number += 1
            voted = stand.vote(stand.candidate(number), stand.plan().revision)
            print("voted", flush=True)
        elif voted is not None:
            stand.start_voted(*voted)
            _loaded(stand, voted[0])
            print(stand.finish().revision, flush=True)
    stand.close()


def _loaded(stand: Stand, arm: Arm) -> None:
    """Waits until a replica says that it has the arm in memory."""
    assert arm.artifact
    deadline = time.monotonic() + LOAD_SECONDS
    while time.monotonic() < deadline:
        replicas = counters.replicas(stand.ledgers["reader"], NAME)
        if any(arm.artifact.content in one.loaded.values() for one in replicas):
            return
        time.sleep(0.05)
    raise StackError(arm.name, expected="to be loaded by a replica", got=f"nothing within {LOAD_SECONDS:g} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
