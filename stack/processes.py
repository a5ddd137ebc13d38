"""Starts, watches and ends the processes of one stack on free loopback ports; logs go to `home/logs/NAME.log`.

    with Stack(settings) as stack:
        stack.start("prefect", "mlflow")
        stack.start("worker", "guard", "serve")

Each child leads a session of its own. Leaving the block ends them all; when the parent is killed, the watchdog does.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO

import psutil

from configs.schema import Settings
from errors import StackError, UsageError
from records import utc_now
from stack import state
from stack.programs import HOST, PROGRAMS, ROOT, Program
from stack.watchdog import MARK, sweep

GRACE_SECONDS = 8.0  # between asking a process to end and ending it
STRAY_SECONDS = 2.0  # the same for what a child left running
POLL_SECONDS = 0.1
PORT_ATTEMPTS = 3
LOG_LINES = 15
LEAVE_FIRST = ("serve", "guard", "worker")  # they speak to the others


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
    extra: dict[str, str] = field(default_factory=dict)

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


class Stack:
    """The processes of one home. `settings` always has the addresses of what was started so far.

    Args:
        settings: where state lives. Addresses in it are replaced as servers come up.
        ports: the port a program should have if it is free, by name; any free one otherwise.
        programs: what may be started, by name.
    """

    def __init__(
        self,
        settings: Settings,
        ports: Mapping[str, int] | None = None,
        programs: Mapping[str, Program] = PROGRAMS,
    ) -> None:
        self.settings = settings
        self.service_url = ""
        self.mark = uuid.uuid4().hex
        self._ports, self._programs = dict(ports or {}), programs
        self._children: dict[str, Child] = {}
        self._open = ExitStack()
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._since = utc_now()

    # ---- life ------------------------------------------------------------------------------------

    def __enter__(self) -> Stack:
        home = self.settings.home
        self._open.enter_context(state.locked(home))
        if (old := state.left_behind(home)) is not None:
            sweep(old.mark, GRACE_SECONDS)  # its parent is dead, or we would not have the lock
        for folder in ("logs", "prefect", "mlflow"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "stack.watchdog", self.mark, str(GRACE_SECONDS)]
        self._watchdog = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT, start_new_session=True)
        self._write_state()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self._open.close()

    def stop(self) -> None:
        """Ends every child, first those that speak to the others; whatever remains is swept by mark."""
        for names in (LEAVE_FIRST, tuple(self._children)):
            self._end([child for name, child in self._children.items() if name in names])
            self._children = {name: child for name, child in self._children.items() if name not in names}
        sweep(self.mark, STRAY_SECONDS)
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
            self._watchdog.wait(timeout=GRACE_SECONDS * 2)
            self._watchdog = None
        state.path(self.settings.home).unlink(missing_ok=True)

    # ---- children --------------------------------------------------------------------------------

    def start(self, *names: str, extra: Mapping[str, str] | None = None) -> None:
        """Starts the programs at once and waits until each is up; `extra` is added to their environment.

        Raises:
            UsageError: for a name that is no program.
            StackError: when one does not come up in its time; the message ends with its last log lines.
        """
        unknown = sorted(set(names) - set(self._programs))
        if unknown:
            raise UsageError("stack", expected=f"some of {sorted(self._programs)}", got=unknown)
        for name in names:
            program = self._programs[name]
            self._children[name] = self._spawn(program, self._port(program), dict(extra or {}))
            self._note_address(name)
        for name in names:
            self._wait(name)
        self._write_state()

    def restart(self, name: str) -> None:
        """Ends one child and starts it again on the port it had."""
        old = self._child(name)
        self._end([old])
        self._children[name] = self._spawn(old.program, old.port, old.extra)
        self._wait(name)
        self._write_state()

    def kill(self, name: str) -> None:
        """Ends one child with SIGKILL, as a crash would, and does not start it again."""
        child = self._children.pop(name, None) or self._child(name)
        os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait(timeout=GRACE_SECONDS)
        self._write_state()

    def dead(self) -> dict[str, str]:
        """The children that ended by themselves: name -> exit code and last log lines."""
        codes = {name: child.process.poll() for name, child in self._children.items()}
        return {
            name: f"exit code {code}; {self._children[name].log}:\n{self._children[name].last_lines}"
            for name, code in codes.items()
            if code is not None
        }

    def pid(self, name: str) -> int:
        return self._child(name).process.pid

    # ---- inside ----------------------------------------------------------------------------------

    def _child(self, name: str) -> Child:
        if name not in self._children:
            raise UsageError(f"stack: {name}", expected=f"one of {sorted(self._children)}", got="not started")
        return self._children[name]

    def _port(self, program: Program) -> int:
        return free_port(self._ports.get(program.name, 0)) if program.listens else 0

    def _spawn(self, program: Program, port: int, extra: dict[str, str]) -> Child:
        log = self.settings.home / "logs" / f"{program.name}.log"
        environment = {**program.environment(self.settings, port), **extra, MARK: self.mark}
        with log.open("ab") as file:
            start = file.tell()
            process = _popen(program.command(self.settings, port), environment, file)
        return Child(program, process, port, log, start, utc_now(), extra)

    def _note_address(self, name: str) -> None:
        url = f"http://{HOST}:{self._children[name].port}"
        if name == "prefect":
            self.settings = self.settings.model_copy(update={"prefect_url": f"{url}/api", "prefect_ui_url": url})
        elif name == "mlflow":
            self.settings = self.settings.model_copy(update={"mlflow_url": url})
        elif name == "serve":
            self.service_url = url

    def _wait(self, name: str) -> None:
        for attempt in range(PORT_ATTEMPTS):
            try:
                return self._wait_once(self._children[name])
            except PortTaken:
                child = self._children[name]
                if attempt == PORT_ATTEMPTS - 1:
                    raise _not_up(child, "its port was taken each time") from None
                self._children[name] = self._spawn(child.program, free_port(), child.extra)
                self._note_address(name)
        return None

    def _wait_once(self, child: Child) -> None:
        deadline = time.monotonic() + child.program.seconds
        while time.monotonic() < deadline:
            if (code := child.process.poll()) is not None:
                if child.port and not _free(child.port):
                    raise PortTaken
                raise _not_up(child, f"it ended with exit code {code}")
            up = child.program.healthy(self.settings, child.port, child.since) and child.program.says in child.text
            if up and _owns(child):
                return
            time.sleep(POLL_SECONDS)
        raise _not_up(child, f"it was not up after {child.program.seconds:.0f} s")

    def _end(self, children: list[Child]) -> None:
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

    def _write_state(self) -> None:
        found = self._children
        pids = {name: child.process.pid for name, child in found.items()}
        urls = {
            "prefect_url": self.settings.prefect_url if "prefect" in found else "",
            "mlflow_url": self.settings.mlflow_url if "mlflow" in found else "",
            "service_url": self.service_url if "serve" in found else "",
        }
        new = state.StackState(mark=self.mark, pid=os.getpid(), started_at=self._since, pids=pids, **urls)
        state.write(self.settings.home, new)


def free_port(preferred: int = 0) -> int:
    """`preferred` when it is free on loopback, else any free port. It may be taken before it is used."""
    if preferred and _free(preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP leave by SystemExit, so that `with` blocks are left properly; main thread only."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _popen(command: list[str], environment: dict[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _owns(child: Child) -> bool:
    """True when it is our child, or one of its own, that listens on the port, and not somebody else who answered."""
    if not child.port:
        return True
    try:
        leader = psutil.Process(child.process.pid)
        family = [leader, *leader.children(recursive=True)]
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == child.port
            for process in family
            for connection in process.net_connections(kind="tcp")
        )
    except psutil.NoSuchProcess:
        return False


def _not_up(child: Child, why: str) -> StackError:
    return StackError(
        f"{child.program.name} did not start: {why}",
        do=f"Its last lines in {child.log}:\n{child.last_lines}",
    )
