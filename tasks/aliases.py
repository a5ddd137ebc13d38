"""Shows in MLflow what the ledger says: the aliases champion, canary and shadow, after the fact.

Reads the current plan; writes MLflow aliases. Called by the flow `progress` whenever a plan has changed. Nothing reads the aliases to
decide: a stale one misleads eyes, not machines.
"""

from __future__ import annotations

from checks.aliases import aliases
from configs.schema import Settings
from records import utc_now
from stores import mlflow_aliases
from stores.ledger import standing
from stores.vault import Vault
from tasks.operate import opened


def mirror(settings: Settings, model: str, wait_seconds: float) -> dict[str, str]:
    """Sets the aliases of a model to its current plan; alias -> MLflow version for those that point somewhere.

    Args:
        wait_seconds: for an MLflow that is away.

    Raises:
        TamperError: when the plan's signature is wrong.
        StackError: when MLflow stays away.
    """
    ring = Vault.open(settings.home, "reader", settings.kms_key_uri).verifier
    with opened(settings, "reader") as ledger:
        plan = standing.plan_now(ledger, model, ring, utc_now())
    found = mlflow_aliases.set_aliases(settings.mlflow_url, model, aliases(plan))
    if found is not None:
        return found
    from stores.registry import Registry  # imports MLflow, which takes two seconds: for what that way does not know

    return Registry.open(settings.mlflow_url, wait_seconds).mirror(plan)
