"""One tick of one rollout, added up: what the guard saw, what it remembers of earlier ticks, how the arms compare.

Pure; between `checks.tallies` (the sums) and `checks.judge` (the conclusions). The memory travels in the verdicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from checks.tallies import Comparison, Sides, Tally, compare, sides, tally
from records import Counter, Record, ReleasePlan, Rollout, RolloutGates, Step, Trip

WINDOW_SECONDS = 3600.0  # of the fast tests: two tests and 2160 hours a quarter, see FAST_EVIDENCE of the judge


class Memory(Record, frozen=True, kw_only=True):
    """What the judge must know of earlier ticks. It is kept in the verdict's inputs, so that a restart goes on."""

    salt: str
    role: str  # canary or champion
    step: int
    started_at: datetime | None  # of the step
    base: Tally | None  # when all replicas had followed: what comes after counts for the step
    window_at: datetime
    window: Tally  # of the judged arm when the window of the fast tests began
    control_window: Tally
    matured: int
    progressed_at: datetime  # when matured answers last grew
    first_matured_at: datetime | None = None
    first_error_at: datetime | None = None


@dataclass(frozen=True)
class Seen:
    """What one tick sees of one model."""

    plan: ReleasePlan
    counters: tuple[Counter, ...]  # of the plan's salt; by hour where the arms are split
    trips: tuple[Trip, ...]  # of the model since the rollout began
    confirmed: bool  # every living replica serves this revision, and there is one
    ratio_from: tuple[Counter, ...] | None  # the counters a while after that; None: the sample ratio is not checked
    at: datetime


@dataclass(frozen=True)
class Case:
    """One tick, added up."""

    seen: Seen
    who: Sides
    rollout: Rollout
    memory: Memory
    compared: Comparison
    now: Tally
    control: Tally

    @property
    def gates(self) -> RolloutGates:
        return self.rollout.gates

    @property
    def step(self) -> Step:
        return self.rollout.steps[self.seen.plan.step]

    @property
    def in_step(self) -> Tally:
        return self.now.since(self.memory.base) if self.memory.base else Tally()


def add_up(seen: Seen, before: Memory | None) -> Case | None:
    """The case of this tick; None when nothing is under judgement (no rollout, or the rules answer)."""
    who, rollout = sides(seen.plan), seen.plan.rollout
    if who is None or rollout is None:
        return None
    compared = compare(seen.counters, who, rollout)
    own = tally(seen.counters, who.role, who.arm.number)
    now = Tally(answers=own.answers, errors=own.errors, late=own.late, matured=compared.matured)
    control = tally(seen.counters, who.control_role, who.control.number)
    memory = _remember(seen, who, now, control, before)
    return Case(seen, who, rollout, memory, compared, now, control)


def _remember(seen: Seen, who: Sides, now: Tally, control: Tally, before: Memory | None) -> Memory:
    """A new arm counts from nothing, a new or resumed step from where it finds the counters."""
    plan = seen.plan
    known = before if before is not None and (before.salt, before.role) == (plan.salt, who.role) else None
    new = known is None and (plan.step == 0 or who.role == "champion")
    same_step = known is not None and (known.step, known.started_at) == (plan.step, plan.step_started_at)
    if known is not None and same_step and seen.at - known.window_at < timedelta(seconds=WINDOW_SECONDS):
        window = known.window_at, known.window, known.control_window
    else:
        window = seen.at, Tally() if new else now, Tally() if new else control
    base = known.base if known is not None and same_step else None
    if base is None:
        base = Tally() if new else now if seen.confirmed else None
    grown = known is None or not same_step or now.matured > known.matured
    return Memory(
        salt=plan.salt,
        role=who.role,
        step=plan.step,
        started_at=plan.step_started_at,
        base=base,
        window_at=window[0],
        window=window[1],
        control_window=window[2],
        matured=now.matured,
        progressed_at=seen.at if known is None or grown else known.progressed_at,
        first_matured_at=(known.first_matured_at if known else None) or (seen.at if now.matured else None),
        first_error_at=(known.first_error_at if known else None) or (seen.at if now.errors else None),
    )
