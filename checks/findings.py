"""The states a rollout can be found in, what follows from each, and why: one small function a state, in order of urgency.

Pure; read by `checks.judge`, which takes the first that applies. What leads back comes before what moves forward, and
before hold and freeze: a bad arm goes also from a plan that stands still.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from checks.case import Case, Trend, beside, trips_of
from checks.plans import contents as arm_contents
from checks.plans import names_freeze, next_step
from checks.rates import fails_less
from checks.sequential import decide
from checks.tallies import sample_ratio

RATIO_ALPHA = 0.001
BOTH_SECONDS = 15.0  # a spike makes both late and is over in seconds; the rules answer meanwhile whatever is bad
Kind = Literal["errors", "late"]
Action = Literal["none", "advance", "promote", "rollback", "hold", "fallback"]
DROPPED = {"refused": ("refused_artifact", "refused"), "dropped": ("errors", "dropped"), "late": ("late", "dropped")}


@dataclass(frozen=True)
class Found:
    """A state, what follows from it, and why, in one sentence."""

    state: str
    action: Action
    reason: str


def _refused(case: Case) -> Found | None:
    """A replica did not admit the arm, or dropped it by itself."""
    for trip in trips_of(case.seen, case.who.arm):
        state, did = DROPPED[trip.kind]
        return Found(state, "rollback", f"replica {trip.replica} {did} {_name(case)}: {trip.reason}")
    return None


def _both_dropped(case: Case) -> Found | None:
    """Every replica has dropped champion and control by itself: the rules answer already, and nothing more is counted."""
    arms = (case.who.arm, case.who.control)
    contents = {one for arm in arms for one in arm_contents(arm)}
    if len(contents) < len(arms) or not contents <= case.seen.dropped:
        return None
    last = max(trips_of(case.seen, case.who.arm), key=lambda trip: trip.at)
    said = f"every replica dropped {_name(case)} and its control {case.who.control.name}; replica {last.replica}: {last.reason}"
    return Found("both_bad", "fallback", said)


def _errors(case: Case) -> Found | None:
    own, control = case.memory.own.errors, case.memory.control.errors
    return _too_often(case, "errors", own, control, f"failed; the limit is {case.gates.max_error_rate:.2%}")


def _late(case: Case) -> Found | None:
    own, control = case.memory.own.late, case.memory.control.late
    return _too_often(case, "late", own, control, f"came too late; the limit is {case.gates.max_late_rate:.2%}")


def _too_often(case: Case, state: Kind, own: Trend, control: Trend, did: str) -> Found | None:
    if max(case.now.answers, case.now.errors) < case.gates.min_requests or not own.alarms:
        return None
    limit = case.gates.max_error_rate if state == "errors" else case.gates.max_late_rate
    bad, answers = beside(case, state)
    said = (
        f"{own.bad} of the last {own.answers} answers of {_name(case)} {did}; "
        f"{bad} of {answers} of {case.who.control.name} meanwhile"
    )
    # one that always fails is compared as if it did so half of the time: one good answer of the control is luck
    better = fails_less(bad, answers, min(own.bad / own.answers, (1.0 + limit) / 2), limit)
    alike = bad > limit * answers and not better
    lasted = (case.seen.at - (own.alarmed_at or case.seen.at)).total_seconds()
    if case.who.role == "canary":
        return _canary_too_often(state, said, wait=alike and lasted < BOTH_SECONDS)
    if better:
        return Found(state, _back(case), said)
    if not (alike and control.alarms):
        return Found(state, "none", f"{said}: too few to say that it does better")
    if lasted < BOTH_SECONDS:
        return Found(state, "none", f"{said}, no better: the rules answer when that has lasted {BOTH_SECONDS:.0f} s")
    return Found("both_bad", "fallback", f"{said}, no better")


def _canary_too_often(state: Kind, said: str, *, wait: bool) -> Found:
    """A candidate is cheap, and may be what makes both bad; only what may pass in a moment is waited for, since its hash
    would be rejected for good."""
    if wait:
        return Found(state, "none", f"{said}, no better: taken back when that has lasted {BOTH_SECONDS:.0f} s")
    return Found(state, "rollback", said)


def _drop(case: Case) -> Found | None:
    if case.compared.form == "split" and _ratio_off(case):
        return None  # who answered what is in doubt, and with it the comparison
    if decide(case.decisive.effect, case.gates.margin_fail, case.gates.margin_pass) != "drop":
        return None
    back: Action = "rollback" if case.who.role == "canary" else "none"  # of a champion the decision table decides
    return Found("kpi_drop", back, f"{_effect(case)}, all of it beyond the margin of {case.gates.margin_fail:.1%}")


def _back(case: Case) -> Action:
    """A champion without a previous version has nowhere to go: that is for people."""
    return "rollback" if case.who.role == "canary" or case.seen.plan.previous is not None else "none"


def _held(case: Case) -> Found | None:
    return Found("held", "none", "the plan is held; `grownet release resume` by vote") if case.seen.plan.hold else None


def _frozen(case: Case) -> Found | None:
    if not case.seen.plan.frozen or names_freeze(case.who.arm):
        return None
    return Found("frozen", "none", "the plan is frozen; `grownet release unfreeze` by vote")


def _missing(case: Case) -> Found | None:
    """No label for too long. Before the first one the attribution window comes on top: none can be due yet."""
    silent = (case.seen.at - case.memory.progressed_at).total_seconds()
    limit = case.gates.missing_seconds + (0 if case.now.matured else case.gates.attribution_seconds)
    if silent <= limit:
        return None
    return Found("missing", "hold", f"no answer matured for {silent:.0f} s; the limit is {limit:.0f} s")


def _unconfirmed(case: Case) -> Found | None:
    if case.seen.confirmed and case.memory.base is not None:
        return None
    return Found("unconfirmed", "none", f"not every replica serves revision {case.seen.plan.revision} yet")


def _ratio(case: Case) -> Found | None:
    if not _ratio_off(case):
        return None
    share = f"{case.who.control_percent:g} %"
    return Found(
        "sample_ratio", "none", f"the arms do not get what the plan says ({share}): the comparison is in doubt"
    )


def _waiting(case: Case) -> Found | None:
    """The step's own time and sample. A step that asks for no answers still needs one: idle traffic never promotes."""
    started = case.seen.plan.step_started_at or case.seen.at
    left = case.step.min_seconds - (case.seen.at - started).total_seconds()
    more = max(case.step.min_answers, 1) - case.in_step.matured
    asked = max(case.now.answers, case.now.errors)
    unmeasured = case.gates.min_requests - asked if case.step.percent > 0 else 0
    wanted = [
        f"{left:.0f} s of the step" if left > 0 else "",
        f"{more} matured answers" if more > 0 else "",
        f"{unmeasured} answers by {_name(case)} before its error rate means something" if unmeasured > 0 else "",
    ]
    missing = ", ".join(part for part in wanted if part)
    return Found("waiting", "none", f"step of {case.step.percent:g} % still waits for {missing}") if missing else None


def _scored(case: Case) -> Found | None:
    """A shadow of a split model has done all it can: the next step compares. Never straight to everybody."""
    following = next_step(case.seen.plan)
    if not case.unseen or following is None or following.percent >= 100:
        return None
    said = f"{_name(case)} scored {case.in_step.matured} requests in the shadow; what its answers would have brought is known from the next step on"
    return Found("scored", "advance", said)


def _ready(case: Case) -> Found | None:
    if decide(case.decisive.effect, case.gates.margin_fail, case.gates.margin_pass) != "pass":
        return None
    following = next_step(case.seen.plan)
    if following is None:
        return None
    said = f"{_effect(case)}, all of it above the margin of -{case.gates.margin_pass:.1%}"
    return Found("ready", "promote" if following.percent >= 100 else "advance", said)


def _undecided(case: Case) -> Found:
    needed = case.compared.needed(case.rollout)
    more = (
        f"about {needed} more matured answers are needed" if needed else "how many more are needed cannot be said yet"
    )
    return Found("undecided", "none", f"{_effect(case)}, too wide to decide; {more}")


def _watching(case: Case) -> Found:
    return Found("watching", "none", f"{_name(case)} answers, {case.who.control.name} is its control; {_effect(case)}")


Finding = Callable[[Case], Found | None]
FINDINGS: tuple[Finding, ...] = (
    _refused, _errors, _late, _drop, _held, _frozen, _missing, _unconfirmed, _ratio, _waiting, _scored, _ready,
)  # fmt: skip
# a refused champion is not among them: one replica's disk is no reason to roll everybody back
FINDINGS_AFTER: tuple[Finding, ...] = (_both_dropped, _errors, _late, _drop, _ratio)


def _ratio_off(case: Case) -> bool:
    if case.seen.ratio_from is None:
        return False
    figure, limit = sample_ratio(case.seen.counters, case.seen.ratio_from, case.who, RATIO_ALPHA)
    return figure > limit


def _name(case: Case) -> str:
    return case.who.arm.name


def _effect(case: Case) -> str:
    """The KPI's relative effect in words, with its interval and the sample it rests on."""
    seen, kpi = case.decisive.effect, case.gates.kpi
    if seen.effect is None or not isfinite(seen.low):
        return f"{kpi}: {case.compared.matured} matured answers, no interval yet"
    newest = f"the newest {case.decisive.matured}" if case.fallen is not None else str(case.decisive.matured)
    word = "below" if seen.effect < 0 else "above"
    against = f"{abs(seen.effect):.1%} {word} {case.who.control.name}"
    return f"{kpi} of {_name(case)} {against} on {newest} matured answers ({seen.low:+.1%} to {seen.high:+.1%})"


def find(case: Case) -> Found:
    """The first state that applies."""
    findings, otherwise = (FINDINGS, _undecided) if case.who.role == "canary" else (FINDINGS_AFTER, _watching)
    return next((found for finding in findings if (found := finding(case)) is not None), None) or otherwise(case)
