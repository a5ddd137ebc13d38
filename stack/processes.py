"""Starts, watches and ends the processes of one stack on free loopback ports; logs go to `home/logs/NAME.log`.

    with Stack(settings) as stack:
        stack.start("prefect", "mlflow")
        stack.start("worker", "guard", "serve")

Each child leads a session of its own. Leaving the block ends them all; when the parent is killed, the watchdog does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType, TracebackType

from configs.schema import Settings
from errors import UsageError
from records import utc_now
from stack import children, state
from stack.children import Child, PortTaken, end, not_up, spawn, wait_up
from stack.ports import free_port
from stack.programs import HOST, PROGRAMS, ROOT, Program
from stack.watchdog import sweep

STRAY_SECONDS = 2.0  # between asking and ending what a child left running
PORT_ATTEMPTS = 3
LEAVE_FIRST = ("serve", "guard", "worker")  # they speak to the others


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
            sweep(old.mark, children.GRACE_SECONDS)  # its parent is dead, or we would not have the lock
        for folder in ("logs", "prefect", "mlflow"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "stack.watchdog", self.mark, str(children.GRACE_SECONDS)]
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
            end([child for name, child in self._children.items() if name in names])
            self._children = {name: child for name, child in self._children.items() if name not in names}
        sweep(self.mark, STRAY_SECONDS)
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
            self._watchdog.wait(timeout=children.GRACE_SECONDS * 2)
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
            self._children[name] = spawn(program, self.settings, self._port(program), self.mark, dict(extra or {}))
            self._note_address(name)
        for name in names:
            self._wait(name)
        self._write_state()

    def restart(self, name: str) -> None:
        """Ends one child and starts it again on the port it had."""
        old = self._child(name)
        end([old])
        self._children[name] = spawn(old.program, self.settings, old.port, self.mark, old.extra)
        self._wait(name)
        self._write_state()

    def kill(self, name: str) -> None:
        """Ends one child with SIGKILL, as a crash would, and does not start it again."""
        child = self._children.pop(name, None) or self._child(name)
        os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait(timeout=children.GRACE_SECONDS)
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
                return wait_up(self._children[name], self.settings)
            except PortTaken:
                child = self._children[name]
                if attempt == PORT_ATTEMPTS - 1:
                    raise not_up(child, "its port was taken each time") from None
                self._children[name] = spawn(child.program, self.settings, free_port(), self.mark, child.extra)
                self._note_address(name)
        return None

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
