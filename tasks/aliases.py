"""Shows in MLflow what the ledger says: the aliases champion, canary and shadow, after the fact.

Reads the current plan; writes MLflow aliases. Called by the flow `progress` whenever a plan has changed. Nothing reads the aliases to
decide: a stale one misleads eyes, not machines.
"""

from __future__ import annotations

from configs.schema import Settings
from tasks.operate import opened
from tasks.validate import current_plan


def mirror(settings: Settings, model: str, wait_seconds: float) -> dict[str, str]:
    """Sets the aliases of a model to its current plan; alias -> MLflow version for those that point somewhere.

    Args:
        wait_seconds: for an MLflow that is away.

    Raises:
        TamperError: when the plan's signature is wrong.
        StackError: when MLflow stays away.
    """
    from stores.registry import Registry

    with opened(settings, "reader") as ledger:
        plan = current_plan(settings, ledger, model)
    return {} if plan is None else Registry.open(settings.mlflow_url, wait_seconds).mirror(plan)
