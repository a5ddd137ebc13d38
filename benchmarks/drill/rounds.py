"""Runs the monitor again and again through its Prefect deployment, as `grownet monitor MODEL` does, while a drill goes on."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any, NamedTuple

import httpx

from benchmarks.reliability.village import MODEL
from configs.schema import Settings
from errors import GrownetError, StackError
from tasks import runs

LOOK_SECONDS = 0.25
WAITING: dict[str, Any] = {  # runs of the flow that each change of a plan starts
    "flows": {"name": {"any_": ["progress"]}},
    "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
    "limit": 50,  # as many as are deleted at once
}
MOST_SECONDS = 180.0


def clear(settings: Settings) -> int:
    """Deletes the runs that wait in line to show a changed plan, and says how many: a drill changes plans in a minute as a
    house does in a month, and each run shows the newest. A Prefect that is too busy to be asked is left alone."""
    api = f"{settings.prefect_url}/flow_runs"
    with suppress(httpx.HTTPError, ValueError):
        found = httpx.post(f"{api}/filter", json=WAITING, timeout=30).raise_for_status().json()
        chosen = {"flow_runs": {**WAITING["flow_runs"], "id": {"any_": [run["id"] for run in found]}}}
        deleted = httpx.post(f"{api}/bulk_delete", json=chosen, timeout=30).raise_for_status().json() if found else {}
        return len(deleted.get("deleted", ()))
    return 0


class Round(NamedTuple):
    """One run: wall-clock seconds of its order and its end, and how it ended."""

    started: float
    ended: float
    state: str


class Rounds:
    """One run after the other until the block ends; the one under way then is waited for."""

    def __init__(self, settings: Settings) -> None:
        self.done: list[Round] = []
        self.trouble = ""
        self._settings, self._stop = settings, threading.Event()
        self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)

    def __enter__(self) -> Rounds:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.enough()
        self._thread.join(MOST_SECONDS)

    def enough(self) -> None:
        """No further run is begun."""
        self._stop.set()

    def first(self) -> bool:
        """Whether a run has ended. Raises StackError when Prefect cannot be asked for one."""
        if self.trouble:
            raise StackError("monitor runs", expected="to be started", got=self.trouble)
        return bool(self.done)

    def facts(self) -> dict[str, object]:
        took = [round(one.ended - one.started, 1) for one in self.done]
        return {
            "monitor_runs": len(took),
            "monitor_seconds": took,
            "monitor_states": sorted({r.state for r in self.done}),
        }

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self.done.append(self._one())
        except GrownetError as error:
            self.trouble = str(error)

    def _one(self) -> Round:
        started = time.time()
        run = runs.start_deployment(self._settings, runs.MONITOR, {"model": MODEL, "until": "", "report": False})
        while runs.alive(self._settings, run) and time.time() - started < MOST_SECONDS:
            time.sleep(LOOK_SECONDS)
        return Round(started, time.time(), runs.state(self._settings, run)[0])
