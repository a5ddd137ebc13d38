"""Two homes, one stack: each dataset and model as a flow run on one, and by plain calls on the other.

Used by `grownet bench lifecycle`. Both homes speak to the same MLflow server; nothing else is shared.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from configs.load import HERE, load, overlay, settings
from configs.schema import Config, Settings
from errors import StackError
from stack.backstage import Runs, Voter, resident, until
from stack.processes import Stack, ending_on_signals
from stack.programs import BEHIND
from stack.up import deploy, pipeline_version
from tasks.service_check import environment
from tasks.trace import describe, overview

MOST_SECONDS = 900.0  # of one run
LOOK_SECONDS = 0.5
REASON = "a benchmark"
ENGINE = "prefect.engine"  # in the command line of a process that runs a flow
REVIEWERS = {"ada": "data_science_lead", "ben": "privacy_officer", "cleo": "dev_ops"}


@dataclass(frozen=True)
class Run:
    """A dataset or a model, both ways; seconds."""

    name: str
    state: str
    flow_seconds: float
    flow_stages: dict[str, float]  # by the name of the task's function
    plain_seconds: float
    waited_seconds: float  # from asking for the run to its first line: a process starts, Prefect is imported


@dataclass
class Race:
    """What `racing` gives: `ingest` and `lifecycle` run one thing both ways."""

    config: Config
    flows: Settings
    plain: Settings
    models: list[str]
    peak_bytes: int = 0  # resident, of the largest flow run with all its children

    @property
    def datasets(self) -> list[str]:
        return sorted({name for model in self.models for name in self.config.models[model].tables.values()})

    def ingest(self, dataset: str) -> Run:
        return self._both("ingest", dataset, {"dataset": dataset})

    def lifecycle(self, model: str) -> Run:
        return self._both("lifecycle", model, {"model": model, "reason": REASON})

    def standing(self) -> list[str]:
        """What `grownet models` says of the home of the flows."""
        return describe(overview(self.flows, self.config)).splitlines()

    def released(self) -> list[str]:
        """The same, after reviewers voted on every candidate that passed."""
        from tasks.approve import enroll, submit
        from tasks.operate import add_operator

        add_operator(self.flows, "olga")
        voters = []
        for name, role in REVIEWERS.items():
            about = {"name": name, "role": role, "email": f"{name}@example.org", "actor": "olga"}
            voters.append(Voter(name, role, str(enroll(self.flows, self.config, **about)["secret"])))
        for model in self.models:
            if any(candidate["discarded"] for candidate in self._stands(model)["candidates"]):
                continue
            until(partial(self._ballot, model), f"a ballot about {model}", MOST_SECONDS)
            for voter in voters:
                submit(self.flows, model, voter.name, "yes", REASON, voter.code(), wait_seconds=MOST_SECONDS)
            until(partial(self._released, model), f"the release of {model}", MOST_SECONDS)
        return self.standing()

    def _ballot(self, model: str) -> Any:
        return self._stands(model)["ballot"]

    def _released(self, model: str) -> bool:
        """The last vote is counted before the release run writes the plan."""
        return bool(self._stands(model)["plan"].revision)

    def _stands(self, model: str) -> dict[str, Any]:
        """What `grownet models` says of one."""
        return next(found for found in overview(self.flows, self.config) if found["model"] == model)

    def watch_memory(self, stop: threading.Event) -> None:
        own = psutil.Process()
        while not stop.wait(LOOK_SECONDS):
            self.peak_bytes = max([self.peak_bytes, *map(resident, _engines(own))])

    def _both(self, flow: str, name: str, parameters: dict[str, Any]) -> Run:
        runs = Runs(self.flows)
        run = runs.complete(f"{flow}/{flow}", parameters, MOST_SECONDS)
        found = _get(self.flows, f"flow_runs/{run}")
        plain = self._plainly(flow, name)
        return Run(
            name=name,
            state=str(found["state"]["name"]),
            flow_seconds=float(found["total_run_time"]),
            flow_stages=_stages(self.flows, run),
            plain_seconds=sum(plain.values()),
            waited_seconds=float(found["estimated_start_time_delta"]),
        )

    def _plainly(self, flow: str, name: str) -> dict[str, float]:
        """At the priority of flows: beside other work a higher one would look like cheaper calls."""
        command = [*BEHIND, sys.executable, "-m", "benchmarks.lifecycle.plain", flow, name, REASON]
        done = subprocess.run(
            command, env=environment(self.plain), capture_output=True, text=True, timeout=MOST_SECONDS, check=False
        )
        if done.returncode != 0:
            raise StackError(f"{flow} of {name}, plainly", expected="exit code 0", got=done.stderr[-2000:])
        return dict(json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def racing(folder: Path, models: Sequence[str]) -> Iterator[Race]:
    """Both homes below `folder`, and the stack; every model named is switched on."""
    on = {f"{name}.yaml": {"enabled": True} for name in models}
    overlay(HERE, folder / "configs", on)
    homes = [_home(folder, "flows"), _home(folder, "plain")]
    with ending_on_signals(), Stack(homes[0]) as stack:
        stack.start("prefect", "mlflow")
        stack.start("worker")
        deploy(stack.settings, pipeline_version(stack.settings))
        plain = homes[1].model_copy(update={"mlflow_url": stack.settings.mlflow_url})
        race = Race(load(folder / "configs"), stack.settings, plain, list(models))
        stop = threading.Event()
        thread = threading.Thread(target=race.watch_memory, args=[stop], name="memory", daemon=True)
        thread.start()
        try:
            yield race
        finally:
            stop.set()
            thread.join()


def _home(folder: Path, name: str) -> Settings:
    (folder / name).mkdir()
    given = {"GROWNET_HOME": str(folder / name), "GROWNET_CONFIGS": str(folder / "configs"), "GROWNET_DEMO": "true"}
    return settings(given)  # a demo: its reviewers are made up, and no schedule may come between


def _stages(house: Settings, run: str) -> dict[str, float]:
    """Seconds by the function of the task."""
    asked = {"task_runs": {"flow_run_id": {"any_": [run]}}}
    reply = httpx.post(f"{house.prefect_url}/task_runs/filter", json=asked, timeout=30)
    reply.raise_for_status()
    seconds: dict[str, float] = {}
    for found in reply.json():
        name = str(found["task_key"]).rsplit(".", 1)[-1].split("-")[0]
        seconds[name] = seconds.get(name, 0.0) + float(found["total_run_time"])
    return seconds


def _get(house: Settings, path: str) -> dict[str, Any]:
    reply = httpx.get(f"{house.prefect_url}/{path}", timeout=30)
    reply.raise_for_status()
    return dict(reply.json())


def _engines(own: psutil.Process) -> list[psutil.Process]:
    found = []
    for process in own.children(recursive=True):
        try:
            if ENGINE in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:  # it ended while we were looking
            continue
    return found
