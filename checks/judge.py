"""What the guard concludes of a rollout: pure, from the plan, the counters, the trips and the time to one GuardVerdict.

`guard.watch` gathers what is `Seen` and keeps the `Memory` from tick to tick; `guard.rollout` does what `action` says.
A canary is compared with the champion; after 100 % the new champion is compared with the control that stayed behind.
"""

from __future__ import annotations

from datetime import datetime
from math import inf, isfinite
from typing import Any

from msgspec import convert, json

from checks.case import Case, Memory, Seen, add_up
from checks.findings import Found, find
from checks.sequential import Effect, decide
from checks.tallies import tuned_at
from records import GuardVerdict, RolloutGates, digest_of


def judge(seen: Seen, before: Memory | None) -> GuardVerdict | None:
    """The verdict of this tick; None when nothing is under judgement (no rollout, or the rules answer).

    Its `inputs` hold state, figures, limits and the memory for the next tick, see `memory_of`.
    """
    case = add_up(seen, before)
    return None if case is None else _verdict(case, find(case))


def memory_of(verdict: GuardVerdict) -> Memory:
    """The memory a verdict carries."""
    return convert(verdict.inputs["memory"], Memory)


def matured_since(verdict: GuardVerdict) -> datetime | None:
    """When the first answers matured that the conclusion rests on; None when it rests on the newest only."""
    return None if verdict.inputs.get("later") else memory_of(verdict).first_matured_at


def state_of(verdict: GuardVerdict) -> str:
    return str(verdict.inputs["state"])


def concluded_again(verdict: GuardVerdict) -> dict[str, tuple[Any, Any]]:
    """What differs, (stored, derived) by name, when the KPI is concluded again from the verdict's interval and margins."""
    gates = convert(verdict.inputs["gates"], RolloutGates)
    low = -inf if verdict.low is None else verdict.low
    high = inf if verdict.high is None else verdict.high
    seen = Effect(verdict.effect, low, high, float(verdict.inputs["size"]), inf)
    kpi = decide(seen, gates.margin_fail, gates.margin_pass)
    needs = {"kpi_drop": "drop", "ready": "pass"}.get(state_of(verdict), kpi)  # states that rest on the conclusion
    checked = {"kpi": (verdict.kpi, kpi), f"kpi that {state_of(verdict)} needs": (needs, kpi)}
    return {name: pair for name, pair in checked.items() if pair[0] != pair[1]}


def _verdict(case: Case, found: Found) -> GuardVerdict:
    plan, effect = case.seen.plan, case.decisive.effect
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
        matured=case.decisive.matured,
        needed=_needed(case),
        inputs=_inputs(case, found),
        at=case.seen.at,
    )


def _needed(case: Case) -> int | None:
    """What the interval still needs or the step asks for, whichever is more."""
    needed = case.decisive.needed(case.rollout)
    if needed is None or case.who.role == "champion":
        return needed
    return max(needed, case.step.min_answers - case.in_step.matured, 0)


def _inputs(case: Case, found: Found) -> dict[str, Any]:
    later, before = case.fallen, case.compared.matured - case.decisive.matured
    figures = {
        "state": found.state,
        "form": case.compared.form,
        "kpi": case.decisive.kpi,
        "control_kpi": case.decisive.control_kpi,
        "size": case.decisive.effect.size,
        "later": later and {"number": later.start.number, "after": before, "alpha": later.rate},
        "tuned_at": tuned_at(case.rollout),
        "step": case.seen.plan.step,
        "percent": case.step.percent,
        "in_step": case.in_step,
        "now": case.now,
        "control": case.control,
        "gates": case.gates,
        "memory": case.memory,
    }
    return dict(json.decode(json.encode(figures)))  # exactly as it will be read back
