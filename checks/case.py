"""One tick of one rollout, added up: what the guard saw, what it remembers of earlier ticks, how the arms compare.

Pure; between `checks.tallies` (the sums) and `checks.judge` (the conclusions). The memory travels in the verdicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from checks.later import Fallen, Start, fallen
from checks.rates import alarms, carry_on
from checks.sequential import decide
from checks.tallies import UNSEEN, Comparison, Sides, Tally, compare, sides, tally
from records import Arm, Counter, Record, ReleasePlan, Rollout, RolloutGates, Step, Trip


class Trend(Record, frozen=True, kw_only=True):
    """How often answers of an arm were bad lately: the rate test, and the answers since its scores last left zero."""

    scores: tuple[float, ...] = ()
    since: datetime | None = None
    bad: int = 0
    answers: int = 0
    alarmed_at: datetime | None = None  # since when it sounds

    def after(self, bad: int, answers: int, limit: float, at: datetime) -> Trend:
        """The trend with one more look at so many answers."""
        answers = max(answers, bad)
        scores = carry_on(self.scores, bad, answers, limit)
        if not any(score > 0 for score in scores):
            return Trend(scores=scores)
        return Trend(
            scores=scores,
            since=self.since or at,
            bad=self.bad + bad,
            answers=self.answers + answers,
            alarmed_at=(self.alarmed_at or at) if alarms(scores) else None,
        )

    @property
    def alarms(self) -> bool:
        return alarms(self.scores)


class Trends(Record, frozen=True, kw_only=True):
    """The trends of one arm, and its tally when they were last looked at."""

    seen: Tally = Tally()
    errors: Trend = Trend()
    late: Trend = Trend()

    def after(self, now: Tally, gates: RolloutGates, at: datetime) -> Trends:
        new = now.since(self.seen)
        return Trends(
            seen=now,
            errors=self.errors.after(new.errors, new.answers, gates.max_error_rate, at),
            late=self.late.after(new.late, new.answers, gates.max_late_rate, at),
        )


class Memory(Record, frozen=True, kw_only=True):
    """What the judge must know of earlier ticks. It is kept in the verdict's inputs, so that a restart goes on."""

    salt: str
    role: str  # canary or champion
    step: int
    started_at: datetime | None  # of the step
    base: Tally | None  # when all replicas had followed: what comes after counts for the step
    own: Trends
    control: Trends
    matured: int
    progressed_at: datetime  # when matured answers last grew
    first_matured_at: datetime | None = None
    beside_errors: Tally | None = None  # the control's tally when the arm's errors left normal,
    beside_late: Tally | None = None  # and when its lateness did


@dataclass(frozen=True)
class Seen:
    """What one tick sees of one model."""

    plan: ReleasePlan
    counters: tuple[Counter, ...]  # of the plan's salt; by hour where the arms are split
    trips: tuple[Trip, ...]  # of the model since the rollout began; by the clocks of the replicas perhaps before
    confirmed: bool  # every living replica serves this revision, and there is one
    ratio_from: tuple[Counter, ...] | None  # the counters a while after that; None: the sample ratio is not checked
    at: datetime
    dropped: frozenset[str] = (
        frozenset()
    )  # artifacts that no living replica answers with, since each dropped it by itself
    later: tuple[Start, ...] = ()  # where comparisons begin that begin later than the rollout


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
    fallen: Fallen | None = None  # a later comparison that says drop where the whole does not

    @property
    def decisive(self) -> Comparison:
        """The comparison the KPI is concluded from."""
        return self.fallen.compared if self.fallen is not None else self.compared

    @property
    def gates(self) -> RolloutGates:
        return self.rollout.gates

    @property
    def step(self) -> Step:
        return self.rollout.steps[self.seen.plan.step]

    @property
    def unseen(self) -> bool:
        """Whether nothing can be known of the KPI in this step: a split model's candidate shadows, and nobody saw its answers."""
        return self.step.percent == 0 and self.compared.matured == 0 and _unseen(self.seen, self.who) > 0

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
    matured = compared.matured or _unseen(seen, who)
    now = Tally(answers=own.answers, errors=own.errors, late=own.late, matured=matured)
    control = tally(seen.counters, who.control_role, who.control.number)
    memory = _remember(seen, who.role, (now, control), rollout.gates, before)
    whole = decide(compared.effect, rollout.gates.margin_fail, rollout.gates.margin_pass)
    later = fallen(seen.later, seen.counters, who, rollout) if whole != "drop" else None
    return Case(seen, who, rollout, memory, compared, now, control, later)


def _unseen(seen: Seen, who: Sides) -> int:
    """How many scores of a shadow, all that counts for its step, can have no outcome."""
    shadows = who.role == "canary" and seen.plan.canary_percent == 0
    return tally(seen.counters, UNSEEN, who.arm.number).answers if shadows else 0


def beside(case: Case, kind: Literal["errors", "late"]) -> tuple[int, int]:
    """How many answers of the control were bad in this way, and how many it gave, since the arm began to be."""
    start = case.memory.beside_errors if kind == "errors" else case.memory.beside_late
    if start is None:
        return 0, 0
    since = case.control.since(start)
    bad = since.errors if kind == "errors" else since.late
    return bad, max(since.answers, bad)


def trips_of(seen: Seen, arm: Arm) -> list[Trip]:
    """The trips of this arm since its rollout began, oldest first."""
    content = arm.artifact.content if arm.artifact is not None else None
    return sorted((trip for trip in seen.trips if trip.artifact == content), key=lambda trip: trip.at)


def _remember(
    seen: Seen, role: str, counted: tuple[Tally, Tally], gates: RolloutGates, before: Memory | None
) -> Memory:
    """A new arm counts from nothing, a new or resumed step from where it finds the counters."""
    plan, (now, control) = seen.plan, counted
    known = before if before is not None and (before.salt, before.role) == (plan.salt, role) else None
    new = known is None and (plan.step == 0 or role == "champion")
    same_step = known is not None and (known.step, known.started_at) == (plan.step, plan.step_started_at)
    again = known is not None and role == "champion" and not same_step  # after rules mode: people knew of what was
    start = (Trends(), Trends()) if new else (Trends(seen=now), Trends(seen=control))
    own, other = (known.own, known.control) if known is not None and not again else start
    base = known.base if known is not None and same_step else None
    if base is None:
        base = Tally() if new else now if seen.confirmed else None
    still = known is not None and same_step and now.matured <= known.matured
    trends = own.after(now, gates, seen.at)
    return Memory(
        salt=plan.salt,
        role=role,
        step=plan.step,
        started_at=plan.step_started_at,
        base=base,
        own=trends,
        control=other.after(control, gates, seen.at),
        matured=now.matured,
        progressed_at=known.progressed_at if known is not None and still else seen.at,
        first_matured_at=(known.first_matured_at if known else None) or (seen.at if now.matured else None),
        beside_errors=_mark(trends.errors, known.beside_errors if known else None, other.seen),
        beside_late=_mark(trends.late, known.beside_late if known else None, other.seen),
    )


def _mark(trend: Trend, before: Tally | None, seen: Tally) -> Tally | None:
    """Where the control's answers are counted from while an arm is bad: from the look before."""
    if trend.since is None:
        return None
    return seen if before is None else before
