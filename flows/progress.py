"""Shows where each release is: a bar and a page in this UI (step, evidence, sample still needed), and the aliases in MLflow.

Reads plans, verdicts and ballots; writes artifacts and aliases, nothing that anything decides by. Started by the event
`grownet.release.changed`, and twice an hour for the sample that is still needed. The guard moves the plans: it does so without this
flow, without a worker and without Prefect. While MLflow is away the run is red, and bar and page are there.
"""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.runtime import flow_run

from tasks.progress import asked_for, mirror_aliases, models_to_show, show


def _named() -> str:
    return f"progress-{flow_run.parameters['model'] or 'all'}"


@flow(name="progress", flow_run_name=_named, description=__doc__, persist_result=False)
def progress(model: str = "") -> list[State[Any]]:
    """Shows each model on its own, so that one that cannot be shown keeps no other from it; then MLflow is told.

    Args:
        model: a name of models/; all that are enabled when empty.
    """
    shown: dict[str, State[Any]] = {}
    for asked in asked_for(model):
        for name in models_to_show(asked, model):
            shown[name] = show.with_options(task_run_name=f"show {name}")(name, return_state=True)
    return [*shown.values(), mirror_aliases(list(shown), return_state=True)]
