"""What people and Prefect hear of a ruling: its alert, its incident, the request to retrain, and monitors that fell silent.

Pure, as `guard.alerts`: builds events, delivers nothing. Each id follows from the ruling's, so a ruling is told once,
whoever tells it and however often it is tried.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from checks.alerts import alert
from checks.facts import Facts, Judged
from checks.incidents import first_bad
from checks.policy import dropped, facts_of, is_over, row_of
from configs.schema import Action, Defaults
from records import AlertBody, Finding, Incident, Level, OutboxEvent, ReleasePlan, Ruling, digest_of

RETRAIN = "grownet.retrain.requested"
LIVE = timedelta(days=1)  # a window that was found within it after its end is one of these days


def is_told(ruling: Ruling) -> bool:
    """Whether people must hear of it: something was done, a bad state began, or it is over."""
    before = facts_of(ruling).before
    if ruling.level == "inconclusive":
        return False
    if ruling.actions:
        return True
    return is_over(ruling, before) if ruling.level == "ok" else ruling.row != before


def of_ruling(ruling: Ruling, plan: ReleasePlan, defaults: Defaults, incident: Incident | None) -> OutboxEvent:
    """The alert of a ruling.

    Args:
        plan: as it was before.
    """
    row, facts = row_of(ruling), facts_of(ruling)
    opened = {"incident": incident.id} if incident else {}
    return alert(
        key=[ruling.id, "ruling"],
        level=_level(ruling),
        model=ruling.model,
        title=f"{row.title} ({facts.standing.name})",
        body=AlertBody(
            what=f"{ruling.reason}.",
            evidence={**evidence(ruling), **opened},
            done=done(ruling, plan),
            owner=defaults.owners.of(row.owner),
            next=ruling.asked,
            link=f"grownet replay {ruling.id}",
        ),
        at=ruling.at,
    )


def retraining(ruling: Ruling) -> OutboxEvent:
    """The request that Prefect's trigger starts a lifecycle run on; the run is refused without this ruling's id."""
    return OutboxEvent(
        id=f"retrain-{ruling.id}",
        kind="event",
        level=_level(ruling),
        model=ruling.model,
        name=RETRAIN,
        title=f"retraining of {ruling.model} requested",
        body={"model": ruling.model, "verdict": ruling.id, "reason": ruling.reason},
        at=ruling.at,
    )


def of_monitors(ruling: Ruling, last: Ruling | None, defaults: Defaults) -> OutboxEvent | None:
    """The alert that findings stopped coming, or that all of them come again; None when neither is new."""
    missing, missed = facts_of(ruling).silent, facts_of(last).silent if last is not None else ()
    if ruling.role != "champion" or missing == missed:
        return None
    back = not missing
    names = ", ".join(missing or missed)
    return alert(
        key=[ruling.id, "monitors"],
        level="ok" if back else "warning",
        model=ruling.model,
        title="monitors report again" if back else f"monitors are silent: {names}",
        body=AlertBody(
            what=f"Findings about {names} {'come again' if back else 'are out of date, or never came'}.",
            evidence={"missing": ", ".join(missing) or "nothing", "missing before": ", ".join(missed) or "nothing"},
            done="they count again" if back else f"{names}: undecided until a finding comes; what serves is as before",
            owner=defaults.owners.monitor,
            next="Nothing." if back else "See whether the monitor flow runs and its worker lives: `grownet doctor`.",
            link=f"grownet replay {ruling.id}",
        ),
        at=ruling.at,
    )


def incident_of(ruling: Ruling, plan: ReleasePlan, defaults: Defaults) -> Incident:
    """The incident a ruling opens."""
    facts, row = facts_of(ruling), row_of(ruling)
    acted = bool(set(ruling.actions) - {"incident", "retrain"})
    return Incident(
        id=f"incident-{digest_of([ruling.id])[:16]}",
        model=ruling.model,
        level=_level(ruling),
        kind=_kind(ruling),
        summary=f"{row.title}: {ruling.reason}",
        evidence=evidence(ruling),
        first_bad_at=_first_bad(facts, ruling.at),
        detected_at=ruling.at,
        decided_at=ruling.at if acted else None,
        owner=defaults.owners.of(row.owner),
        actions=(done(ruling, plan),),
    )


def done(ruling: Ruling, plan: ReleasePlan) -> str:
    """What was done, in words; written before it is known to have happened, in the same transaction."""
    row = row_of(ruling)
    words: dict[Action, str] = {
        "take_back": f"canary {plan.canary.name if plan.canary else ''} taken back, its artifact is rejected for good",
        "rollback": f"rolled back, {plan.previous.name if plan.previous else 'the rules'} answers again",
        "fallback": "the rules answer",
        "freeze": f"frozen for {row.freezes_for}: nothing is promoted unattended",
        "unfreeze": f"the freeze for {plan.frozen_for} is lifted",
        "retrain": "a retraining is requested",
    }
    said = [words[action] for action in words if action in ruling.actions]
    changed = bool(said) and ruling.actions[0] in {"take_back", "rollback", "fallback", "freeze", "unfreeze"}
    where = f" (revision {plan.revision + 1})" if changed else ""
    return f"{'; '.join(said)}{where}" if said else f"nothing was changed; {_as_it_was(plan)}"


def evidence(ruling: Ruling) -> dict[str, Any]:
    """The three inputs and the figures behind them by name, for people."""
    facts = facts_of(ruling)
    found: dict[str, Any] = {
        "corruption": ruling.corruption,
        "drift": ruling.drift,
        "KPI drop": ruling.kpi,
        "answered by": facts.standing.name,
    }
    for one in facts.findings:
        if one.answer == "yes":
            found |= _seen(one)
    if facts.judged is not None and dropped(facts.judged):
        found |= _compared(facts.judged)
    return {**found, "ruling": ruling.id}


def _seen(one: Finding) -> dict[str, Any]:
    window = f"{one.window_start:%Y-%m-%d %H:%M} to {one.window_end:%Y-%m-%d %H:%M}"
    report = {f"{one.kind} report": one.report} if one.report else {}
    return {f"{one.kind} window": window, **report}


def _compared(judged: Judged) -> dict[str, Any]:
    found = {
        "relative effect": judged.effect,
        "interval from": judged.low,
        "interval to": judged.high,
        "matured answers": judged.matured,
        "verdict": judged.verdict,
    }
    return {name: value for name, value in found.items() if value is not None}


def _first_bad(facts: Facts, at: datetime) -> datetime | None:
    """When the first bad answer was given, as near as the findings and the judge tell, by the wall clock."""
    seen = [_began(one) for one in facts.findings if one.answer == "yes"]
    judged = facts.judged
    matured = [judged.since] if judged is not None and dropped(judged) and judged.since is not None else []
    return first_bad([*seen, *matured], at)


def _began(one: Finding) -> datetime:
    """The start of a window that was looked at when it ended. In a replay windows may be of years ago: when it was found."""
    live = timedelta(0) <= one.found_at - one.window_end <= LIVE
    return one.window_start if live else one.found_at


def _as_it_was(plan: ReleasePlan) -> str:
    frozen = "the plan is frozen already" if plan.frozen else "the plan stands"
    return f"{frozen}, the rules answer" if plan.mode == "rules" else frozen


def _kind(ruling: Ruling) -> str:
    if ruling.corruption not in {"no", "undecided", "batch"}:
        return "corruption"
    return "both_down" if ruling.kpi == "both" else "kpi_drop"


def _level(ruling: Ruling) -> Level:
    return "ok" if ruling.level == "inconclusive" else ruling.level
