"""What MLflow's aliases of a model stand for: pure, from its plan. Used by both ways to set them, in `stores`."""

from __future__ import annotations

from records import ReleasePlan

ARTIFACT = "grownet.artifact"  # tag of a version in MLflow: the digest of the bundle that it stands for


def aliases(plan: ReleasePlan) -> dict[str, str]:
    """Alias -> digest of the artifact it points to; empty where it points nowhere, as for the rules."""
    shadowing = plan.canary is not None and plan.canary_percent == 0
    arms = {
        "champion": plan.champion,
        "canary": None if shadowing else plan.canary,
        "shadow": plan.canary if shadowing else None,
    }
    return {name: arm.artifact.content if arm and arm.artifact else "" for name, arm in arms.items()}
