"""Builds the features of what serves anew, from the rows that came since, and publishes them signed for replicas to follow.

Reads the plans, bundles and the lake; writes the artifact store and the ledger. Started hourly, or by hand
(`grownet refresh MODEL`). The same versions of the lake write nothing, so a run that was missed is caught up with by the next.
It changes no plan: versions, shares and votes stay what they are.
"""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.runtime import flow_run

from tasks.freshness import models_to_refresh, refresh_features


def _named() -> str:
    return f"refresh-{flow_run.parameters['model'] or 'all'}"


@flow(name="refresh", flow_run_name=_named, description=__doc__, persist_result=False)
def refresh(model: str = "") -> list[State[Any]]:
    """Refreshes each model on its own: one that cannot be refreshed keeps no other from it.

    Args:
        model: a name of models/; all that are enabled when empty.
    """
    return [
        refresh_features.with_options(task_run_name=f"refresh {name}")(name, return_state=True)
        for name in models_to_refresh(model)
    ]
