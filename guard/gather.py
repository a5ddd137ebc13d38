"""Gathers what a ruling is made from: findings, the judge's verdict, the plan, earlier rulings, the limits.

Reads the ledger, writes nothing. Run by `guard.decide` for each model at every tick; findings and history are read again
only when something was added.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from checks.facts import Facts, Judged, Limits, Slot, Standing, about, clean_windows, role_of, silent_kinds
from checks.judge import matured_since, state_of
from checks.policy import facts_of
from configs.schema import ModelConfig, MonitorConfig
from guard.history import Spans, Told, spans
from guard.watch import View, Watch
from records import RULES, GuardVerdict, ReleasePlan, Role
from stores.ledger import ballots, findings, plans
from stores.ledger.engine import Ledger

SLOTS: tuple[Slot, ...] = ("answering", "canary")


def gather(ledger: Ledger, watch: Watch, view: View, verdict: GuardVerdict | None, model: ModelConfig) -> list[Facts]:
    """The facts about what answers, and about a canary when there is one.

    Args:
        verdict: of the judge at this tick, or None when nothing is under judgement.
    """
    plan = view.plan
    _refresh(ledger, watch, plan, view.seen.at, model.monitor)
    voting = plan.frozen and ballots.open_for(ledger, plan.model) is not None
    roles: tuple[Role, ...] = (role_of(plan), "canary") if plan.canary is not None else (role_of(plan),)
    return [_facts(watch, view, role, judged(verdict, role), standing(plan, role, voting), model) for role in roles]


def judged(verdict: GuardVerdict | None, role: Role) -> Judged | None:
    """What the judge says about the arm in this role; None when it looks at another one, or at none."""
    if verdict is None or verdict.arm != role:
        return None
    return Judged(
        verdict=verdict.id,
        state=state_of(verdict),
        kpi=verdict.kpi,
        reason=verdict.reason,
        effect=verdict.effect,
        low=verdict.low,
        high=verdict.high,
        matured=verdict.matured,
        since=matured_since(verdict),
    )


def _facts(  # noqa: PLR0917 - the parts of the facts, each gathered on its own
    watch: Watch, view: View, role: Role, said: Judged | None, stands: Standing, model: ModelConfig
) -> Facts:
    plan, at, history, since = view.plan, view.seen.at, watch.history, _since(watch)
    slot: Slot = "canary" if role == "canary" else "answering"
    version = _version(plan, role)
    begun = since.canary if role == "canary" else since.answering
    found = watch.told.findings
    told = about(found, version, begun, at, history.handled)
    refused = [one for one in told if one.kind == "batch" and one.answer == "yes"]
    last = history.last.get(slot)
    missed = facts_of(last).silent if last is not None else ()
    grace = model.monitor.finding_seconds
    return Facts(
        model=plan.model,
        role=role,
        revision=plan.revision,
        version=version,
        findings=told,
        judged=said,
        standing=stands,
        clean=clean_windows(found, version, max(begun, since.frozen), at, history.frozen_on) if plan.frozen else (),
        requested=tuple(history.requested),
        silent=silent_kinds(found, begun, at, grace, missed) if role == "champion" else (),
        before=history.before(slot, version),
        limits=Limits(
            clean_windows=model.monitor.clean_windows,
            cool_down_hours=model.retrain.cool_down_hours,
            max_per_quarter=model.retrain.max_per_quarter,
        ),
        at=at,
        known=history.known(version, refused, begun, since.lifted),
    )


def standing(plan: ReleasePlan, role: Role, voting: bool) -> Standing:
    """What of a plan matters to a ruling on the arm in this role."""
    arm = plan.canary if role == "canary" and plan.canary is not None else plan.champion
    return Standing(
        mode=plan.mode,
        frozen=plan.frozen,
        frozen_for=plan.frozen_for,
        name="rules" if role == "rules" else arm.name,
        previous=plan.previous.name if plan.previous else "",
        canary=plan.canary.name if plan.canary else "",
        control=plan.control.name if plan.control else "",
        voting=voting,
    )


def _version(plan: ReleasePlan, role: Role) -> int:
    if role == "canary" and plan.canary is not None:
        return plan.canary.number
    return RULES if role == "rules" else plan.champion.number


def _since(watch: Watch) -> Spans:
    assert watch.spans is not None  # _refresh came before
    return watch.spans[1]


def _refresh(ledger: Ledger, watch: Watch, plan: ReleasePlan, at: datetime, monitor: MonitorConfig) -> None:
    """Reads what was added since the last tick."""
    if watch.spans is None or watch.spans[0] != plan.revision:
        rows = [row for row in plans.releases(ledger, plan.model) if row.revision < plan.revision]
        watch.spans = plan.revision, spans(plan, ((row.at, row.signed.plan) for row in reversed(rows)))
    mark = findings.mark(ledger, plan.model)
    if watch.told.mark != mark:
        hours = monitor.window_hours * (monitor.clean_windows + monitor.windows + 1)
        back = at - timedelta(hours=hours, seconds=monitor.finding_seconds)
        recent = {one.id: one for one in findings.findings(ledger, plan.model, back)}
        newest = {one.id: one for one in findings.newest(ledger, plan.model)}
        refused = {one.id: one for one in findings.standing(ledger, plan.model, "batch", at)}  # weeks ago, perhaps
        watch.told = Told(mark, tuple({**newest, **refused, **recent}.values()))
