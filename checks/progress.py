"""How far a rollout is: pure, from the plan, the guard's newest verdict on it, and the time. For people to look at; nothing acts on it.

Read by `tasks.progress`, which shows it in the Prefect UI.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from msgspec import convert

from checks.judge import memory_of, state_of
from checks.plans import DRIFT, names_freeze
from checks.tallies import Tally, sample_needed
from records import GuardVerdict, ReleasePlan, Rollout, Step

WEAK_AGREEMENT = 0.5  # correlation of two arms' hits that a plan for pairs is made with: the ballot's page names it too
ACTS = {
    "refused_artifact": "the guard: it takes the version back",
    "errors": "the guard: it takes the version back",
    "late": "the guard: it takes the version back",
    "kpi_drop": "the guard: it takes the version back, a champion by the decision table",
    "both_bad": "the guard lets the rules answer; the owner of Deploy finds out why the version and its control fail alike",
    "missing": "the guard holds the rollout; the owner of Monitor finds out why no answer matures",
    "unconfirmed": "nobody: the replicas follow within seconds, or the guard raises an alert",
    "sample_ratio": "the owner of Deploy: the arms do not get the share of answers that the plan says",
    "waiting": "nobody: time and sample come by themselves",
    "scored": "the guard: it takes the next step, where answers have outcomes",
    "ready": "the guard: it takes the next step",
    "undecided": "nobody while answers mature; `grownet release advance` asks people for the step without them",
    "watching": "nobody: the guard compares the version with its control",
}
BY_HAND = "people: the guard cannot say that going back is better; `grownet release rollback` or `fallback`"


@dataclass(frozen=True)
class Progress:
    """Where the rollout of one model stands."""

    plan: ReleasePlan
    percent: float  # 0..100 of the way from the first step to 100 %
    verdict: GuardVerdict | None  # the newest one on this rollout; it may be about the step before
    needed: (
        int | None
    )  # matured answers still needed to decide; None where that cannot be said, or nothing is to be decided
    seconds: float | None  # until they and the step's own time have come, at the pace of this step
    acts: str  # who must act, and how

    @property
    def running(self) -> bool:
        """Whether a canary is under way."""
        return self.plan.canary is not None and self.plan.rollout is not None


def progress(plan: ReleasePlan, newest: GuardVerdict | None, at: datetime) -> Progress:
    """Where a model's rollout stands.

    Args:
        newest: the guard's newest verdict on the model; one on another rollout does not count.
    """
    verdict = newest if newest is not None and plan.salt and memory_of(newest).salt == plan.salt else None
    current = verdict if verdict is not None and verdict.revision == plan.revision else None
    if plan.canary is None or plan.rollout is None:
        whole = 100.0 if plan.rollout is not None else 0.0
        return Progress(plan, whole, verdict, None, None, _acts(plan, current))
    step = plan.rollout.steps[plan.step]
    needed = _needed(current or verdict, plan.rollout, step)
    matured = in_step(current)
    return Progress(
        plan=plan,
        percent=100.0 * (plan.step + _part(plan, step, (matured, needed), at)) / (len(plan.rollout.steps) - 1),
        verdict=verdict,
        needed=needed,
        seconds=_seconds(plan, step, current, needed, at),
        acts=_acts(plan, current),
    )


def in_step(verdict: GuardVerdict | None) -> int:
    """The answers that matured in the step a verdict is about."""
    return convert(verdict.inputs["in_step"], Tally).matured if verdict is not None else 0


def _needed(verdict: GuardVerdict | None, rollout: Rollout, step: Step) -> int | None:
    """What the guard says; before it can say so, what an arm as good as its control takes at the rate seen so far."""
    if verdict is None:
        return None
    if verdict.needed is not None:
        return verdict.needed
    rate, paired = verdict.inputs["control_kpi"], verdict.inputs["form"] == "paired"
    asked = step.min_answers - in_step(verdict)
    if step.percent == 0 and not paired:
        return max(asked, 0)  # nobody saw what it answered: the step asks for scores, and compares nothing
    if rate is None or not 0 < rate < 1:
        return None
    whole = sample_needed(rollout, rate, WEAK_AGREEMENT if paired else None)
    # for two equal arms each has twice their harmonic size
    return None if whole is None else max(whole * (1 if paired else 2) - verdict.matured, asked, 0)


def _part(plan: ReleasePlan, step: Step, sample: tuple[int, int | None], at: datetime) -> float:
    """The part of the running step that is done, by its time or its sample, whichever is behind."""
    matured, needed = sample
    time = _elapsed(plan, at) / step.min_seconds if step.min_seconds > 0 else 1.0
    wanted = matured + needed if needed is not None else max(step.min_answers, 1)
    return min(time, matured / wanted if wanted > 0 else 1.0, 1.0)


def _seconds(
    plan: ReleasePlan, step: Step, current: GuardVerdict | None, needed: int | None, at: datetime
) -> float | None:
    """Until the step can be decided, if answers go on maturing as they did in it; None where that cannot be said."""
    left = max(step.min_seconds - _elapsed(plan, at), 0.0)
    if needed is None or current is None:
        return None
    if needed == 0:
        return left
    taken, matured = _elapsed(plan, current.at), in_step(current)
    return max(left, needed * taken / matured) if matured and taken > 0 else None


def _elapsed(plan: ReleasePlan, at: datetime) -> float:
    return max((at - (plan.step_started_at or at)).total_seconds(), 0.0)


def _acts(plan: ReleasePlan, current: GuardVerdict | None) -> str:
    """Who must act next. What people or the table said of the plan comes before what the judge found."""
    if plan.mode == "rules" and not plan.champion.is_rules:
        return "people: `grownet release restore` lets the model answer again (by vote)"
    if plan.hold:
        return "people: `grownet release resume` lets the rollout go on (by vote)"
    if plan.frozen and not (plan.canary is not None and names_freeze(plan.canary)):
        first = "the guard lifts the freeze after clean windows, or " if plan.frozen_for == DRIFT else ""
        return f"{first}people: `grownet release unfreeze` (by vote)"
    if current is not None:
        state = state_of(current)
        undone = state in {"errors", "late"} and current.action == "none"
        return BY_HAND if undone else ACTS.get(state, f"the guard: {state}")
    if plan.canary is None:
        return "nobody" if plan.control is None else ACTS["watching"]
    return "the guard: it has not judged this step yet"
