"""What the guard concludes of a rollout: pure, from the plan, the counters, the trips and the time to one GuardVerdict.

`guard.watch` gathers what is `Seen` and keeps the `Memory` from tick to tick; `guard.rollout` does what `action` says.
A canary is compared with the champion; after 100 % the new champion is compared with the control that stayed behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

from msgspec import convert, to_builtins

from checks.case import Case, Memory, Seen, add_up
from checks.plans import names_freeze, next_step
from checks.sequential import decide, rate_evidence
from checks.tallies import sample_ratio, tuned_at
from records import GuardVerdict, digest_of

FAST_EVIDENCE = 1e4  # two tests, 2160 hourly windows a quarter: under half a false alarm, and only at the limit itself
RATIO_ALPHA = 0.001
Action = Literal["none", "advance", "promote", "rollback", "hold"]


@dataclass(frozen=True)
class Found:
    """A state, what follows from it, and why, in one sentence."""

    state: str
    action: Action
    reason: str


def judge(seen: Seen, before: Memory | None) -> GuardVerdict | None:
    """The verdict of this tick; None when nothing is under judgement (no rollout, or the rules answer).

    Its `inputs` hold state, figures, limits and the memory for the next tick, see `memory_of`.
    """
    case = add_up(seen, before)
    if case is None:
        return None
    found = _first(case, FINDINGS, _undecided) if case.who.role == "canary" else _first(case, FINDINGS_AFTER, _watching)
    return _verdict(case, found)


def memory_of(verdict: GuardVerdict) -> Memory:
    """The memory a verdict carries."""
    return convert(verdict.inputs["memory"], Memory)


def state_of(verdict: GuardVerdict) -> str:
    return str(verdict.inputs["state"])


# ---- findings, in the order they are looked for ------------------------------------------------------


def _refused(case: Case) -> Found | None:
    """A replica refused the arm or dropped it by itself."""
    artifact = case.who.arm.artifact
    since = case.seen.plan.rollout_started_at
    for trip in case.seen.trips:
        if artifact is not None and trip.artifact == artifact.content and (since is None or trip.at >= since):
            return Found("refused_artifact", "rollback", f"replica {trip.replica} refused {_name(case)}: {trip.reason}")
    return None


def _errors(case: Case) -> Found | None:
    return _too_often(case, "errors", case.gates.max_error_rate, "failed")


def _late(case: Case) -> Found | None:
    return _too_often(case, "late", case.gates.max_late_rate, "came after the deadline")


def _too_often(case: Case, name: Literal["errors", "late"], limit: float, did: str) -> Found | None:
    window = case.now.since(case.memory.window)
    bad, answers = getattr(window, name), max(window.answers, getattr(window, name))
    if answers < case.gates.min_requests or rate_evidence(bad, answers, limit) < FAST_EVIDENCE:
        return None
    said = f"{bad} of {answers} answers of {_name(case)} {did}; the limit is {limit:.2%}"
    control = case.control.since(case.memory.control_window)
    other = getattr(control, name)
    if case.who.role == "champion" and rate_evidence(other, max(control.answers, other), limit) >= FAST_EVIDENCE:
        return Found("both_bad", "none", f"{said}, and the control does no better ({other} of {control.answers})")
    return Found(name, "rollback", said)


def _drop(case: Case) -> Found | None:
    if case.compared.form == "split" and _ratio_off(case):
        return None  # who answered what is in doubt, and with it the comparison
    if decide(case.compared.effect, case.gates.margin_fail, case.gates.margin_pass) != "drop":
        return None
    return Found(
        "kpi_drop", "rollback", f"{_effect(case)}, all of it beyond the margin of {case.gates.margin_fail:.1%}"
    )


def _held(case: Case) -> Found | None:
    return Found("held", "none", "the plan is held; `grownet release resume` by vote") if case.seen.plan.hold else None


def _frozen(case: Case) -> Found | None:
    if not case.seen.plan.frozen or names_freeze(case.who.arm):
        return None
    return Found("frozen", "none", "the plan is frozen; `grownet release unfreeze` by vote")


def _missing(case: Case) -> Found | None:
    silent = (case.seen.at - case.memory.progressed_at).total_seconds()
    if silent <= case.gates.missing_seconds:
        return None
    return Found(
        "missing", "hold", f"no answer matured for {silent:.0f} s; the limit is {case.gates.missing_seconds:.0f} s"
    )


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
    started = case.seen.plan.step_started_at or case.memory.window_at
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


def _ready(case: Case) -> Found | None:
    if decide(case.compared.effect, case.gates.margin_fail, case.gates.margin_pass) != "pass":
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
    _refused, _errors, _late, _drop, _held, _frozen, _missing, _unconfirmed, _ratio, _waiting, _ready,
)  # fmt: skip
FINDINGS_AFTER: tuple[Finding, ...] = (
    _errors,
    _late,
    _drop,
    _ratio,
)  # one replica's disk is no reason to roll all back


def _first(case: Case, findings: Sequence[Finding], otherwise: Callable[[Case], Found]) -> Found:
    for finding in findings:
        found = finding(case)
        if found is not None:
            return found
    return otherwise(case)


def _ratio_off(case: Case) -> bool:
    if case.seen.ratio_from is None:
        return False
    figure, limit = sample_ratio(case.seen.counters, case.seen.ratio_from, case.who, RATIO_ALPHA)
    return figure > limit


def _name(case: Case) -> str:
    return case.who.arm.name


def _effect(case: Case) -> str:
    """ "hit_rate 12.3 % below recommendation-v1 on 5400 matured answers (-18.0 % to -6.2 %)"."""
    seen, kpi = case.compared.effect, case.gates.kpi
    if seen.effect is None or not isfinite(seen.low):
        return f"{kpi}: {case.compared.matured} matured answers, no interval yet"
    word = "below" if seen.effect < 0 else "above"
    against = f"{abs(seen.effect):.1%} {word} {case.who.control.name}"
    return f"{kpi} of {_name(case)} {against} on {case.compared.matured} matured answers ({seen.low:+.1%} to {seen.high:+.1%})"


# ---- the verdict -------------------------------------------------------------------------------------


def _verdict(case: Case, found: Found) -> GuardVerdict:
    plan, effect = case.seen.plan, case.compared.effect
    key = [plan.model, plan.salt, plan.revision, case.who.role, found.state, case.seen.at]
    return GuardVerdict(
        id=f"verdict-{digest_of(key)[:24]}",
        model=plan.model,
        arm=case.who.role,
        version=case.who.arm.number,
        revision=plan.revision,
        kpi=decide(effect, case.gates.margin_fail, case.gates.margin_pass),
        action=found.action,
        reason=found.reason,
        effect=effect.effect,
        low=effect.low if isfinite(effect.low) else None,
        high=effect.high if isfinite(effect.high) else None,
        matured=case.compared.matured,
        needed=_needed(case),
        inputs=_inputs(case, found),
        at=case.seen.at,
    )


def _needed(case: Case) -> int | None:
    """What the interval still needs or the step asks for, whichever is more."""
    needed = case.compared.needed(case.rollout)
    if needed is None or case.who.role == "champion":
        return needed
    return max(needed, case.step.min_answers - case.in_step.matured, 0)


def _inputs(case: Case, found: Found) -> dict[str, Any]:
    figures = {
        "state": found.state,
        "form": case.compared.form,
        "kpi": case.compared.kpi,
        "control_kpi": case.compared.control_kpi,
        "size": case.compared.effect.size,
        "tuned_at": tuned_at(case.rollout),
        "step": case.seen.plan.step,
        "percent": case.step.percent,
        "in_step": case.in_step,
        "now": case.now,
        "control": case.control,
        "gates": case.gates,
        "memory": case.memory,
    }
    return dict(to_builtins(figures))
