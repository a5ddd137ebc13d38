"""The KPI of the champion against what answers beside it, over the last windows of event time.

Reads the ledger's counters and plan; pure but for that. Called by `tasks.monitor`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import ceil, isfinite

from msgspec.structs import replace

from checks import sequential, tallies
from checks.policy import QUARTER
from checks.shifts import Judged
from configs.schema import ModelConfig
from records import ReleasePlan
from stores.ledger import counters
from stores.ledger.engine import Ledger
from tasks.timeline import Timeline, newest_window

Span = tuple[datetime, datetime]


def judged(ledger: Ledger, plan: ReleasePlan, config: ModelConfig, line: Timeline) -> tuple[Judged, Span]:
    """The champion against its concurrent control over the last `kpi_windows` windows, labels not due left out.

    The interval holds at every look at one stretch; each window begins another stretch, so the stated false-alarm rate
    is shared among those that begin in a quarter.
    """
    newest = newest_window(line, config.monitor.min_rows)
    start, end = line.grid.start(newest - config.monitor.kpi_windows + 1), line.grid.end(newest)
    return _compared(ledger, plan, config, line, (start, end)), (start, end)


def _compared(ledger: Ledger, plan: ReleasePlan, config: ModelConfig, line: Timeline, span: Span) -> Judged:
    start, end = span
    who = tallies.sides(plan)
    if who is None or plan.rollout is None:
        return Judged(answer="undecided", reason="nothing answers beside the champion to compare it with", figures={})
    if who.role != "champion":
        return Judged(answer="undecided", reason="a canary runs: the guard compares it with the champion", figures={})
    gates = plan.rollout.gates
    mature = line.now - timedelta(hours=1, seconds=gates.attribution_seconds)
    rows = counters.totals(ledger, plan.model, plan.salt, by_hour=True)
    due = [row for row in rows if start <= row.hour < end and row.hour <= mature]
    alpha = gates.alpha / ceil(QUARTER / timedelta(hours=config.monitor.window_hours))
    compared = tallies.compare(due, who, replace(plan.rollout, gates=replace(gates, alpha=alpha)), line.now)
    effect = compared.effect
    figures = {
        "effect": effect.effect,
        "low": effect.low if isfinite(effect.low) else None,
        "high": effect.high if isfinite(effect.high) else None,
        "matured": compared.matured,
        "kpi": compared.kpi,
        "control_kpi": compared.control_kpi,
        "margin_fail": gates.margin_fail,
        "margin_pass": gates.margin_pass,
        "alpha": alpha,
        "not_due": sum(row.answers for row in rows if start <= row.hour < end) - sum(row.answers for row in due),
    }
    kept = sequential.decide(effect, gates.margin_fail, gates.margin_pass)
    shown = (
        "no interval yet" if effect.effect is None else f"{effect.effect:+.1%} [{effect.low:+.1%}, {effect.high:+.1%}]"
    )
    reason = f"{gates.kpi} against {who.control.name}: {shown} over {compared.matured} matured answers"
    if kept == "drop":
        return Judged(answer="yes", reason=reason, figures=figures)
    return Judged(answer="no" if kept == "pass" else "undecided", reason=reason, figures=figures)
