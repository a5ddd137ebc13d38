"""`home/stack.json`: which stack runs on this home and where, so that other commands find it; one stack a home.

The running stack holds a lock on `home/stack.lock`, which the system gives back however the stack ends, so a file
left behind by a dead one fools nobody.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from configs.schema import Settings
from errors import StackError
from records import Record


class StackState(Record, frozen=True, kw_only=True):
    """Addresses and process ids of a stack. An address is empty when that program was not started."""

    mark: str
    pid: int  # of the process that started it
    started_at: datetime
    prefect_url: str = ""
    mlflow_url: str = ""
    service_url: str = ""
    pids: dict[str, int]


def path(home: Path) -> Path:
    return home / "stack.json"


def write(home: Path, state: StackState) -> None:
    """Replaces the file in one step."""
    new = home / f"stack.json.{os.getpid()}"
    new.write_bytes(state.to_json())
    new.replace(path(home))


def left_behind(home: Path) -> StackState | None:
    """What the file says, running or not."""
    try:
        return StackState.from_json(path(home).read_bytes())
    except FileNotFoundError:
        return None


def running(home: Path) -> StackState | None:
    """The stack that runs on this home now, or None."""
    lock = home / "stack.lock"
    if not lock.exists():
        return None
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return left_behind(home)
    return None


def connected(settings: Settings) -> Settings:
    """The settings with the addresses of the stack that runs on their home; unchanged when none does."""
    state = running(settings.home)
    if state is None:
        return settings
    found = {"mlflow_url": state.mlflow_url, "prefect_url": state.prefect_url}
    found["prefect_ui_url"] = state.prefect_url.removesuffix("/api")
    return settings.model_copy(update={key: value for key, value in found.items() if value})


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Holds the home for one stack.

    Raises:
        StackError: when another stack runs on it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "stack.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = left_behind(home)
            who = f"process {other.pid} since {other.started_at:%Y-%m-%d %H:%M} UTC" if other else "another process"
            raise StackError(
                f"stack on {home}",
                expected="no other stack on this home",
                got=who,
                do="stop it (Ctrl-C where it runs) or choose another home with GROWNET_HOME",
            ) from None
        yield
