"""One child of a stack: started with its log, waited for until it is up, ended. Which and when is said in processes.py."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from configs.schema import Settings
from errors import StackError
from records import utc_now
from stack.ports import free, listens
from stack.programs import Program
from stack.watchdog import MARK

GRACE_SECONDS = 8.0  # between asking a process to end and ending it
POLL_SECONDS = 0.1
LOG_LINES = 15


class PortTaken(Exception):
    """Somebody else took the port between our look and the child's; tried again with another one."""


@dataclass
class Child:
    """A started program."""

    program: Program
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    log_start: int  # where this start's lines begin
    since: datetime
    extra: dict[str, str]

    @property
    def text(self) -> str:
        """Its log since this start."""
        with self.log.open("rb") as file:
            file.seek(self.log_start)
            return file.read().decode(errors="replace")

    @property
    def last_lines(self) -> str:
        lines = self.text.splitlines()
        return "\n".join(f"  {line}" for line in lines[-LOG_LINES:]) or "  (the log is empty)"


def spawn(program: Program, settings: Settings, port: int, mark: str, extra: dict[str, str]) -> Child:
    """Starts a program in a session of its own; what it says is appended to its log."""
    log = settings.home / "logs" / f"{program.name}.log"
    with log.open("ab") as file:
        start = file.tell()
        process = subprocess.Popen(
            program.command(settings, port),
            env={**program.environment(settings, port), **extra, MARK: mark},
            cwd=program.folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Child(program, process, port, log, start, utc_now(), extra)


def wait_up(child: Child, settings: Settings) -> None:
    """Waits until a child is up.

    Raises:
        PortTaken: when it ended because somebody else has its port.
        StackError: when it ended, or took too long.
    """
    program, deadline = child.program, time.monotonic() + child.program.seconds
    while time.monotonic() < deadline:
        if (code := child.process.poll()) is not None:
            if child.port and not free(child.port):
                raise PortTaken
            raise not_up(child, f"it ended with exit code {code}")
        up = program.healthy(settings, child.port, child.since) and program.says in child.text
        if up and (not child.port or listens(child.process.pid, child.port)):
            return
        time.sleep(POLL_SECONDS)
    raise not_up(child, f"it was not up after {program.seconds:.0f} s")


def end(children: Sequence[Child]) -> None:
    """Asks all to end, waits, and ends those that do not."""
    for child in children:
        if child.process.poll() is None:
            os.killpg(child.process.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    for child in children:
        try:
            child.process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait(timeout=GRACE_SECONDS)


def not_up(child: Child, why: str) -> StackError:
    """The error that says why, with the last lines of the log."""
    return StackError(
        f"{child.program.name} did not start: {why}",
        do=f"Its last lines in {child.log}:\n{child.last_lines}",
    )
