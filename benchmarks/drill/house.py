"""The home of a drill, and the stack that runs on it: the service with two workers, a guard and a stand-by, Prefect, a
worker of flows, MLflow.

`recommendation`, learned from bundled orders of 200 customers, is released by vote; every further candidate is a
worse version of it under a new number. Made and read by `benchmarks.drill` alone, below one folder.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
from msgspec.structs import replace

from benchmarks.home import GATES
from benchmarks.reliability import faulty
from benchmarks.reliability.fleet import until
from benchmarks.reliability.village import MODEL, TIME, Village, lesson
from checks import plans as moves
from errors import StackError
from guard.watch import wrong_arms
from records import Arm, BallotSubject, ReleasePlan, Rollout, Step, Verb, utc_now
from stack import up
from stack.processes import Stack
from stack.programs import HOST, PROGRAMS, ROOT, Program, environment
from stores.ledger import counters, leases, plans
from tasks.reference import training_reference
from tasks.trial import INSTANT, Trial, split

LEADER, STAND_BY = "guard", "stand_by"
REPLICAS = 2
MAX_AGE_SECONDS = 10  # of a plan that nobody confirms; then it has no canary
DEADLINE_SECONDS = 0.5
READY_SECONDS = 90.0
OTHERWISE = 2  # how strongly a worse version differs, see `Village.other`
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "defaults.yaml": {
        "service": {
            "max_age_seconds": MAX_AGE_SECONDS,
            "feedback_per_minute": 60_000,
            "feedback_per_subject": 60_000,
        }
    },
    f"{MODEL}.yaml": {
        "serving": {"deadline_seconds": DEADLINE_SECONDS},
        "monitor": {"window_hours": 1, "windows": 1, "drifted_windows": 1, "clean_windows": 1, "kpi_windows": 1, "min_rows": 100, "missing_limit": 0.2},
        "retrain": {"max_per_quarter": 0},
    },
}  # fmt: skip
# a step of an hour: what is wrong takes a canary back, and nothing moves it on meanwhile
STEPS = (Step(percent=50.0, min_seconds=3600, min_answers=200), Step(percent=100.0, min_seconds=0, min_answers=0))
LIMITS = replace(GATES, max_late_rate=0.1, missing_seconds=3600)
ALONE = Rollout(steps=STEPS, gates=LIMITS, control_percent=0.0)
WATCHED = Rollout(steps=STEPS, gates=LIMITS, control_percent=20.0)


class House(Village):
    """A village beside which a guard runs: people vote now, and every candidate has a number of its own."""

    rollout = ALONE

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, lesson(), CHANGES)
        self._number = 1

    def asked_at(self) -> datetime:
        return utc_now()

    def cast_at(self) -> datetime:
        return utc_now()

    @cached_property
    def reference(self) -> dict[str, bytes]:
        """What the monitor compares with, as training makes it."""
        _, params, policy = self._prepared()
        recipe = self.config.models[MODEL]
        trial = Trial(self.model, self._tables(), {"orders": TIME}, params, 1)
        moments = split(self.lesson.as_of - INSTANT, recipe.split)
        return training_reference(trial, trial.fit(moments.cut), recipe, moments, policy)

    @cached_property
    def worse(self) -> dict[str, Any]:
        """What a worse version is made of."""
        return self.other(OTHERWISE)

    def first(self) -> ReleasePlan:
        """Version 1, released."""
        self.begin(self.candidate(1, reference=self.reference))
        return self.finish()

    def rival(self) -> Arm:
        """The worse version under the next number."""
        self._number += 1
        return self.candidate(self._number, reference=self.reference, **self.worse)

    def corrupt(self) -> Arm:
        """A candidate whose bytes changed after the vote."""
        self._number += 1
        return self.spoilt(self._number)

    @property
    def worse_files(self) -> str:
        """What names the files of the worse version, whatever its number."""
        return faulty.files_digest(self.worse["files"])

    def undo(self, verb: Verb) -> ReleasePlan:
        """A verb that takes a vote, voted and carried out."""
        about = BallotSubject(
            ballot="", model=MODEL, verb=verb, artifact="", evidence="", rollout="", config="", feature="",
            base_revision=self.plan().revision, names_freeze=False,
        )  # fmt: skip
        asked = self.ask(about)
        for name in self.secrets:
            self.cast(asked, name)
        return plans.change(
            self.ledgers["release"],
            MODEL,
            lambda plan: getattr(moves, verb)(plan, at=utc_now(), actor="release", reason="voted"),
            signer=self.signer("release"),
            actor="release",
            ballot=asked.id,
        )

    def good(self) -> ReleasePlan:
        """Brings the plan back to version 1 alone, out of rules mode, neither frozen nor held: by votes where it takes one."""
        if self.plan().canary is not None:
            self.guard(moves.take_back)
        if self.plan().champion.number != 1:
            self.guard(moves.rollback)
        for verb, needed in self._undoing(self.plan()).items():
            if needed:
                self.undo(verb)
        return self.plan()

    @staticmethod
    def _undoing(plan: ReleasePlan) -> dict[Verb, bool]:
        return {"restore": plan.mode == "rules", "unfreeze": plan.frozen, "resume": plan.hold}

    def serves(self, plan: ReleasePlan, since: float) -> bool:
        """Whether each replica said, after the wall-clock time `since`, that it serves this plan with its hashes."""
        told = [one for one in counters.replicas(self.ledgers["reader"], MODEL) if one.at.timestamp() >= since]
        return sum(one.revision >= plan.revision and not wrong_arms(plan, one) for one in told) >= REPLICAS


@dataclass
class Running:
    """A house with its stack under way."""

    house: House
    stack: Stack
    folder: Path  # for files of the drill
    flows: bool  # whether Prefect, its worker and MLflow run too

    @property
    def fault(self) -> Path:
        """Where the service's model reads what is wrong with it, see `benchmarks.reliability.faulty`."""
        return self.folder / "fault.json"

    @property
    def address(self) -> tuple[str, int]:
        return HOST, int(self.stack.service_url.rsplit(":", 1)[1])

    @property
    def workers(self) -> list[psutil.Process]:
        """The processes that answer."""
        found = psutil.Process(self.stack.pid("serve")).children()
        return [one for one in found if one.status() != psutil.STATUS_ZOMBIE]

    def leader(self) -> str:
        """Which of the two guards leads, by the lease in the ledger."""
        held = leases.held(self.house.ledgers["reader"], leases.GUARD)
        holder = held[0] if held is not None else ""
        pids = {str(self.stack.pid(name)): name for name in (LEADER, STAND_BY)}
        return next((name for pid, name in pids.items() if f"-{pid}-" in holder), "")

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash would; `stack.restart(name)` starts it again where it was."""
        os.killpg(self.stack.pid(name), signal.SIGKILL)
        until(lambda: name in self.stack.dead(), f"the end of {name}", 10)

    def followed(self, plan: ReleasePlan, since: float) -> None:
        """Waits until all replicas serve a plan. Raises StackError."""
        until(lambda: self.house.serves(plan, since), f"revision {plan.revision} on every replica", READY_SECONDS)


@contextmanager
def running(folder: Path, *, flows: bool) -> Iterator[Running]:
    """A new home below `folder` with its stack up and version 1 answering; all ends with the block.

    Args:
        flows: start Prefect, its worker and MLflow too.

    Raises:
        StackError: when a process does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    house = House(folder / "home")
    code = faulty.models_folder(folder / "code", ROOT, MODEL)
    try:
        house.first()
        with Stack(house.settings, programs=_programs(code, folder / "fault.json")) as stack:
            if flows:
                stack.start("prefect", "mlflow")
            since = utc_now().timestamp()
            stack.start(LEADER, STAND_BY, "serve", *(["worker"] if flows else []))
            if flows:  # as in a demo, so that no schedule starts beside the drill
                unscheduled = stack.settings.model_copy(update={"demo": True})
                up.deploy(unscheduled, up.pipeline_version(stack.settings))
            made = Running(house, stack, folder, flows)
            made.followed(house.plan(), since)
            until(made.leader, "a guard that leads", READY_SECONDS)
            yield made
            _refuse_dead(stack)
    finally:
        house.close()


def _programs(code: Path, fault: Path) -> dict[str, Program]:
    """The house's programs, the service with its workers over a model that obeys `fault`, and a second guard."""
    own = {"PYTHONPATH": str(ROOT), faulty.VARIABLE: str(fault)}

    def serve(_: Any, port: int) -> list[str]:
        where = ["--host", HOST, "--port", str(port), "--workers", str(REPLICAS)]
        return [sys.executable, "-m", "grownet", "serve", *where]

    return {
        **PROGRAMS,
        STAND_BY: dataclasses.replace(PROGRAMS["guard"], name=STAND_BY),
        "serve": dataclasses.replace(
            PROGRAMS["serve"],
            command=serve,
            environment=lambda settings, _: environment(settings, own),
            folder=code,
        ),
    }


def _refuse_dead(stack: Stack) -> None:
    """Raises StackError for a process that ended though nobody killed it."""
    if dead := stack.dead():
        raise StackError("the drill's stack", expected="every process alive", got="; ".join(dead.values()))
