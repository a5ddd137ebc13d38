"""What the monitors found over event time, window by window, and what two policies make of it. Read by the demo's report.

Reads findings, plans and counters of the ledger and the profiles of the lake, as the monitor flow does; writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from checks.policy import QUARTER, evaluate
from checks.shifts import Judged
from configs.schema import Config, RetrainConfig, Settings
from records import RULES, Answered, Finding, Record, ReleasePlan
from stores.lake import Lake
from stores.ledger import findings, plans
from tasks import kpi
from tasks.monitor import Watch, watching
from tasks.timeline import Timeline, subjects, timeline


class Window(Record, frozen=True, kw_only=True):
    """One window of event time, as it looked when it was over."""

    start: datetime
    end: datetime
    version: int
    answers: int
    drift: Answered
    drifted: tuple[str, ...]  # columns of this window alone
    surest: str  # the column whose shift is least likely chance
    psi: float  # its
    kpi: Answered
    effect: float | None  # relative to the control, over the last kpi_windows windows
    low: float | None
    high: float | None
    row: str  # of the decision table
    level: str


def windows(settings: Settings, config: Config, model: str) -> list[Window]:
    """The windows of every version that was champion, oldest first; each as its last finding says."""
    with watching(settings, config) as watch:
        told = {
            (one.version, one.window_start): one
            for one in findings.findings(watch.ledger, model)
            if one.kind == "drift" and one.version != RULES and one.answer != "undecided"
        }
        history = [signed.plan for signed in plans.history(watch.ledger, model)]
        return [_window(watch, history, one) for _, one in sorted(told.items(), key=lambda item: item[0][1])]


def retrainings(found: Iterable[Window], limits: RetrainConfig) -> list[datetime]:
    """When a policy that retrains on drift alone would have asked for it, under the same cool-down and cap."""
    asked: list[datetime] = []
    for one in found:
        cool = not asked or one.end - asked[-1] >= timedelta(hours=limits.cool_down_hours)
        lately = [at for at in asked if one.end - at < QUARTER]
        if one.drift == "yes" and cool and len(lately) < limits.max_per_quarter:
            asked.append(one.end)
    return asked


def _window(watch: Watch, history: Sequence[ReleasePlan], told: Finding) -> Window:
    compared = _compared(watch, history, told)
    answer: Answered = compared.answer if compared else "undecided"
    outcome = evaluate(watch.config.decisions, "champion", "no", told.answer, answer)
    figures, effect = told.figures, compared.figures if compared else {}
    columns = [(one["adjusted"], -one["psi"], name) for name, one in figures["columns"].items() if one["decided"]]
    _, negative, surest = min(columns, default=(1.0, 0.0, ""))
    return Window(
        start=told.window_start,
        end=told.window_end,
        version=told.version,
        answers=int(figures["answers"]),
        drift=told.answer,
        drifted=tuple(name for name, one in figures["columns"].items() if one["drifted"]),
        surest=surest,
        psi=-negative,
        kpi=answer,
        effect=effect.get("effect"),
        low=effect.get("low"),
        high=effect.get("high"),
        row=outcome.name,
        level=outcome.level,
    )


def _compared(watch: Watch, history: Sequence[ReleasePlan], told: Finding) -> Judged | None:
    """The KPI as of the window's end, under the plan whose comparison has most answers by then."""
    judged = {
        plan.salt: plan
        for plan in history
        if plan.champion.number == told.version and plan.control is not None and plan.mode == "model"
    }
    recipe, lake, found = watch.config.models[told.model], Lake(watch.settings.lake_uri), []
    for plan in judged.values():
        line = timeline(lake, subjects(plan)[0], recipe.monitor, watch.now, None)
        line = Timeline(line.grid, line.rows, told.window_end - timedelta(microseconds=1))
        found.append(kpi.judged(watch.ledger, plan, recipe, line)[0])
    return max(found, key=lambda one: int(one.figures.get("matured", 0)), default=None)
