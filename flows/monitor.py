"""Watches what is served: profiles of new answers, drift and corruption against the training reference, the KPI.

Reads the journals of all replicas from a watermark, the lake, the ledger; ships the journals and writes profiles to the
lake, findings (with an expiry) to the ledger, pages below `home/pages/monitor`, cards and release notes. Started hourly, or
on demand (`grownet monitor MODEL`); a run catches up with all that came since the last one. It changes no plan: the guard
alone reads the findings and acts.
"""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.runtime import flow_run

from tasks.watching import judge, models_to_judge, read_journals, ship_journals, show, write_papers


def _named() -> str:
    return f"monitor-{flow_run.parameters['model'] or 'all'}"


@flow(name="monitor", flow_run_name=_named, description=__doc__, persist_result=False)
def monitor(model: str = "", until: str = "", report: bool = True) -> list[State[Any]]:
    """Judges one model or all that are enabled, each on its own: one that cannot be judged keeps no other from it.

    Args:
        model: a name of models/; all that are enabled when empty.
        until: ISO 8601 event time to stop at; everything when empty.
        report: whether Evidently's report is made too.
    """
    read_journals()
    shipped = ship_journals(return_state=True)  # a lake that is full is no reason not to judge
    names = models_to_judge(model)
    judged = [judge.with_options(task_run_name=f"judge {name}")(name, until, return_state=True) for name in names]
    shown = [show(state, report, return_state=True) for state in judged if state.is_completed()]
    write_papers(names)
    return [*judged, *shown, shipped]
