"""`grownet serve --workers N`: a supervisor of N replicas, REPLICA-1 to REPLICA-N, that take clients from one socket.

Starts again what dies, waiting longer each time, and says so; gives up when one keeps dying. SIGTERM lets all of them
drain. They share the listening socket, so what one has not taken yet another takes: see docs/decisions/121.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from checks.prediction_ids import REPLICA
from configs.schema import Config, Settings
from errors import ConfigError, StackError, UsageError
from serving.server import listen, start_logging, url
from serving.worker import MARGIN_SECONDS

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parent.parent
LOOK_SECONDS = 0.05
MOST_DEATHS, WINDOW_SECONDS = 8, 60.0  # of one worker; then something is wrong that starting again does not mend
MOST_WAIT_SECONDS = 5.0
HOPELESS = ConfigError([]).exit_code  # starting again does not mend a configuration that nobody ever served by
SETTLED_SECONDS = 30.0  # a set that is older served by its configuration; what is refused now may be half written


class Slot:
    """One worker's place in the set."""

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self.process: subprocess.Popen[bytes] | None = None
        self.lifeline = -1
        self.due = 0.0  # when to start it, monotonic
        self.deaths: deque[float] = deque(maxlen=MOST_DEATHS)

    def died(self, now: float) -> float:
        """Notes a death; the seconds to wait before the next start."""
        self.deaths.append(now)
        recent = sum(now - at < WINDOW_SECONDS for at in self.deaths)
        wait = 0.0 if recent == 1 else min(0.25 * 2**recent, MOST_WAIT_SECONDS)
        self.due = now + wait
        return wait

    @property
    def keeps_dying(self) -> bool:
        return len(self.deaths) == MOST_DEATHS and self.deaths[-1] - self.deaths[0] < WINDOW_SECONDS


class Workers:
    """The set. `run` returns when it was told to leave and all have left."""

    def __init__(self, names: tuple[str, ...], listener: socket.socket, grpc_port: int | None, drain: float) -> None:
        self.slots = [Slot(name) for name in names]
        self.leaving = False
        self._settled = time.monotonic() + SETTLED_SECONDS
        self._listener, self._grpc_port, self._drain = listener, grpc_port, drain

    def run(self) -> None:
        """Raises StackError when a worker keeps dying, or did not leave by itself."""
        trouble = ""
        try:
            while not self.leaving and not trouble:
                trouble = next(filter(None, map(self._look, self.slots)), "")
                time.sleep(LOOK_SECONDS)
        finally:
            trouble = self._end() or trouble
        if trouble:
            raise StackError("grownet serve --workers", expected=f"{len(self.slots)} workers", got=trouble)

    def _look(self, slot: Slot) -> str:
        """Starts what is due; why to give up, or nothing."""
        now = time.monotonic()
        if slot.process is None:
            return self._due(slot, now)
        code = slot.process.poll()
        if code is None:
            return ""
        self._forget(slot)
        if code == 0:
            log.warning("worker %s was told to leave and has left; another one takes its place", slot.replica)
            return ""
        if code == HOPELESS and now < self._settled:
            return f"{slot.replica} refused its configuration, as it says above"
        return self._again(slot, now, f"died ({_how(code)})")

    def _due(self, slot: Slot, now: float) -> str:
        """Starts it when its time has come; why to give up, or nothing."""
        try:
            if now >= slot.due:
                self._start(slot)
        except OSError as error:  # no memory or no process left; the others go on
            return self._again(slot, now, f"was not started ({error})")
        return ""

    def _again(self, slot: Slot, now: float, why: str) -> str:
        """Notes a death; why to give up, or nothing."""
        wait = slot.died(now)
        log.error("worker %s %s; starting again in %g s", slot.replica, why, wait)
        return f"{slot.replica} died {MOST_DEATHS} times within {WINDOW_SECONDS:g} s" if slot.keeps_dying else ""

    def _start(self, slot: Slot) -> None:
        others = [one.replica for one in self.slots if one is not slot]
        line, slot.lifeline = os.pipe()
        numbers = [str(self._listener.fileno()), str(line), str(self._grpc_port or "")]
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
        try:
            slot.process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "serving.worker", *numbers, *others],
                env={**os.environ, "GROWNET_REPLICA": slot.replica, "PYTHONPATH": path},
                pass_fds=(self._listener.fileno(), line),
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone
            )
        except OSError:
            os.close(slot.lifeline)
            raise
        finally:
            os.close(line)
        log.info("worker %s is process %d", slot.replica, slot.process.pid)

    def _forget(self, slot: Slot) -> None:
        os.close(slot.lifeline)
        slot.process = None

    def _end(self) -> str:
        """Cuts the lifelines, waits, and ends who did not drain; who that was, or nothing."""
        running = [slot for slot in self.slots if slot.process is not None]
        for slot in running:
            os.close(slot.lifeline)
        deadline, late = time.monotonic() + self._drain, []
        for slot in running:
            assert slot.process is not None  # as above
            try:
                slot.process.wait(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                slot.process.kill()
                slot.process.wait()
                late.append(slot.replica)
        return f"{', '.join(late)} did not leave within {self._drain:g} s" if late else ""


def supervise(
    settings: Settings, config: Config, count: int, address: tuple[str, int], grpc_port: int | None = None
) -> None:
    """Serves with `count` workers until told to stop.

    Raises:
        UsageError: for a gRPC port that is not fixed.
        ConfigError: for a replica name that leaves no room for a number.
        StackError: when the address is taken, or workers keep dying.
    """
    names = tuple(f"{settings.replica}-{number}" for number in range(1, count + 1))
    if not all(REPLICA.match(name) for name in names):
        raise ConfigError([f"GROWNET_REPLICA: expected a short name, since workers add a number, got {names[-1]!r}"])
    if grpc_port == 0:
        raise UsageError("--grpc-port", expected="a port that all workers can share", got=0)
    start_logging()
    limits = config.defaults.service
    if grpc_port:
        listen(address[0], grpc_port).close()  # nobody is there: workers could share it with a stranger of this user
    with listen(*address) as listener:
        workers = Workers(names, listener, grpc_port, limits.drain_lag_seconds + limits.drain_seconds + MARGIN_SECONDS)
        log.info("%d workers of %s serve on %s", count, settings.replica, url(listener, settings))
        with _leaving_on_signals(workers):
            workers.run()
    log.info("all workers of %s left", settings.replica)


@contextmanager
def _leaving_on_signals(workers: Workers) -> Iterator[None]:
    def leave(*_: object) -> None:
        workers.leaving = True

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
