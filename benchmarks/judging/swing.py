"""A KPI that swings about its control: how often the answering version changes under the guard, and under a threshold.

`checks.judge.judge` itself, tick by tick, with the plan's own transitions: what it says is done as guard and decision table
would. A fixed threshold over the last day stands beside it: below the margin the old version answers, else the new one.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
from msgspec.structs import replace

from benchmarks.judging import rows
from benchmarks.judging.judges import ALPHA, LEAST, MARGIN
from benchmarks.judging.rows import MODEL, NEW, OLD, SALT, START
from benchmarks.judging.world import SLOTS_A_DAY, Draw, World, chunks
from checks import plans
from checks.case import Memory, Seen
from checks.judge import judge, memory_of, state_of
from checks.later import Starts
from configs.load import load
from records import Arm, Artifact, ReleasePlan, Rollout, RolloutGates, Step, digest_of

SWINGS = (0.1, 0.3, 0.6)
HOURS = 24 / SLOTS_A_DAY


@functools.cache
def rollout() -> Rollout:
    """The house's steps and limits, with the margins and the rate of this benchmark."""
    recipe = load().models[MODEL].rollout
    limits = recipe.model_dump(exclude={"steps", "control_percent"})
    limits |= {"alpha": ALPHA, "margin_fail": MARGIN, "margin_pass": MARGIN}
    steps = tuple(Step(**step.model_dump()) for step in recipe.steps)
    return Rollout(steps=steps, gates=RolloutGates(kpi="hit", **limits), control_percent=recipe.control_percent)


def arm(number: int) -> Arm:
    artifact = Artifact(uri=f"made-up-{number}", content=digest_of(["made up", number]), size_bytes=1)
    return Arm(number=number, name=f"{MODEL}-v{number}", artifact=artifact)


def begun() -> ReleasePlan:
    """Version 2 in the shadow of version 1, at the start."""
    return replace(
        plans.initial(MODEL, START),
        mode="model",
        champion=arm(OLD),
        canary=arm(NEW),
        rollout=rollout(),
        rollout_started_at=START,
        step_started_at=START,
        salt=SALT,
        revision=1,
    )


@dataclass
class Release:
    """One rollout under the judge: who answered, and what was done to the plan."""

    plan: ReleasePlan = field(default_factory=begun)
    memory: Memory | None = None
    starts: Starts = field(default_factory=Starts)
    done: list[str] = field(default_factory=list)
    since: float = 0.0  # slot at which the control's rows begin

    def tick(self, drawn: Draw, run: int, slot: int) -> None:
        at = START + timedelta(hours=(slot + 1) * HOURS)
        now = (
            rows.pairs(drawn, run, slot + 1.0)
            if self.plan.canary is not None
            else rows.pairs(drawn, run, slot + 1.0, self.since, "control")
        )
        self.starts = self.starts.after(self.plan, now)
        verdict = judge(Seen(self.plan, tuple(now), (), True, None, at, later=self.starts.kept), self.memory)
        if verdict is None:
            return
        self.memory = memory_of(verdict)
        action = verdict.action
        if state_of(verdict) == "kpi_drop":  # of a champion the decision table says the same
            action = "rollback"
        if action == "none":
            return
        back = plans.take_back if verdict.arm == "canary" else plans.rollback
        move = {"advance": plans.advance, "promote": plans.advance, "rollback": back, "hold": plans.hold}[action]
        self.plan = move(self.plan, at=at, actor="guard", reason=verdict.reason)
        self.done.append(action)
        if action == "promote":
            self.since = slot + 1.0

    @property
    def changes(self) -> int:
        """How often the answering version changed."""
        return self.done.count("promote") * (1 + self.done.count("rollback"))


def swings(world: World, runs: int, seed: int) -> list[dict[str, Any]]:
    """A row for each strength of the swing."""
    return [row(dataclasses.replace(world, swing=swing), runs, seed) for swing in SWINGS]


def row(world: World, runs: int, seed: int) -> dict[str, Any]:
    """One strength of the swing: that of the world."""
    ours, flips = list[Release](), list[int]()
    for drawn in chunks(world, runs, seed):
        for run in range(drawn.runs):
            one = Release()
            for slot in range(world.slots):
                one.tick(drawn, run, slot)
            ours.append(one)
        flips += threshold(drawn)
    back = [one.done.count("rollback") for one in ours]
    return {
        "swing": world.swing,
        "runs": runs,
        "changes_most": max(one.changes for one in ours),
        "rollbacks_most": max(back),
        "taken_back": float(np.mean([number > 0 for number in back])),
        "after_rollback": sum(len(one.done) - 1 - one.done.index("rollback") for one in ours if "rollback" in one.done),
        "promoted": float(np.mean(["promote" in one.done for one in ours])),
        "threshold_mean": float(np.mean(flips)),
        "threshold_most": max(flips),
    }


def threshold(drawn: Draw) -> list[int]:
    """How often a threshold on the last day's KPI changes its mind, by run."""
    slots, found = drawn.world.slots, list[int]()
    for run in range(drawn.runs):
        slot = np.minimum(drawn.known[run].astype(np.int64), slots)
        sums = [
            np.cumsum(np.bincount(slot, values, slots + 1)[:slots])
            for values in (drawn.arm[run], drawn.control[run], np.ones(slot.shape))
        ]
        arm_day, control_day, answers = (one - np.pad(one, (SLOTS_A_DAY, 0))[:slots] for one in sums)
        spoken = (answers >= LEAST) & (control_day > 0)
        bad = (arm_day / np.maximum(control_day, 1.0) - 1 < -MARGIN)[spoken]
        found.append(int(np.count_nonzero(bad[1:] != bad[:-1])))
    return found
