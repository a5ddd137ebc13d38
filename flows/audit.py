"""Audits what serves for bias by segment, and goes through the quarter's compliance review.

Reads the plans, artifacts, the lake, the journals, the ledger, configs/compliance.yaml; writes audits, answers of checks and
alerts to the ledger, pages below `home/pages/audit`. Started weekly (bias) and daily (review, so that overdue is seen within
the day), or on demand (`grownet audit start`). It changes no plan: what it finds asks people.
"""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.runtime import flow_run

from tasks.auditing import Part, audit_bias, models_to_audit, review_quarter


def _named() -> str:
    return f"audit-{flow_run.parameters['part']}-{flow_run.parameters['model'] or 'all'}"


@flow(name="audit", flow_run_name=_named, description=__doc__, persist_result=False)
def audit(model: str = "", part: Part = "all") -> list[State[Any]]:
    """Audits each model on its own, so that one that cannot be audited keeps no other from it; then looks at the review.

    Args:
        model: a name of models/; all that are enabled when empty.
        part: bias, review, or all of it.
    """
    audited = [
        audit_bias.with_options(task_run_name=f"audit {name}")(name, return_state=True)
        for name in models_to_audit(model, part)
    ]
    return [*audited, review_quarter(part, return_state=True)]
