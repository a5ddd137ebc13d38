"""Which features answer, and which answered: as of when, how old, from which rows of the lake.

Reads the ledger; writes nothing. Used by `tasks.trace`, behind `grownet trace`, `models` and `release show`, and
by `tasks.refresh`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from records import Arm, FeatureSet, ReleasePlan
from stores.ledger import snapshots
from stores.ledger.engine import Ledger

HOUR = timedelta(hours=1)


def in_use(plan: ReleasePlan) -> dict[str, tuple[Arm, tuple[str, ...]]]:
    """The versions of a plan that may answer, by artifact, each with the names of its arms."""
    found: dict[str, tuple[Arm, tuple[str, ...]]] = {}
    for name in ("champion", "previous", "control", "canary"):
        arm: Arm | None = getattr(plan, name)
        if arm is not None and arm.artifact is not None and arm.artifact.content not in plan.rejected:
            names = found[arm.artifact.content][1] if arm.artifact.content in found else ()
            found[arm.artifact.content] = arm, (*names, name)
    return found


def looked_up(ledger: Ledger, plan: ReleasePlan, content: str) -> dict[str, Any] | None:
    """What an answer's journal line names: the features of a version's training or of a later refresh; None for none.

    Raises:
        NotFound, TamperError: as the ledger does.
    """
    if not content:
        return None
    for record in snapshots.with_content(ledger, plan.model, content):
        return {**_facts(record.features), "refresh": record.number, "made_at": record.made_at, "key": record.key}
    for arm in (plan.champion, plan.previous, plan.canary, plan.control):
        if arm is not None and arm.features is not None and arm.features.content == content:
            return {**_facts(arm.features), "refresh": 0, "of": f"the training of {arm.name}"}
    return {"content": content, "got": "no snapshot that the ledger knows of"}


def standing(ledger: Ledger, plan: ReleasePlan, now: datetime) -> list[dict[str, Any]]:
    """The newest features of each version that a plan names."""
    used = in_use(plan)
    known = snapshots.newest(ledger, used)
    found = []
    for content, (arm, names) in used.items():
        record = known.get(content)
        features = record.features if record else arm.features
        if features is not None:
            number = record.number if record else 0
            hours = round((now - features.as_of) / HOUR, 1)
            about = {"version": arm.name, "arms": list(names), "refresh": number, "age_hours": hours}
            found.append({**about, "as_of": features.as_of, "rows": features.rows, "content": features.content})
    return found


def words(found: list[dict[str, Any]]) -> str:
    """A sentence a version."""
    return " ".join(
        f"Features of {one['version']} are as of {one['as_of']:%Y-%m-%d %H:%M} UTC, {one['age_hours']:.0f} h old "
        f"({_whose(one['refresh'])})."
        for one in found
    )


def _whose(number: int) -> str:
    return f"refresh {number}" if number else "of its training"


def _facts(features: FeatureSet) -> dict[str, Any]:
    lake = [
        {"table": one.table, "version": one.version, "delta_version": one.delta_version} for one in features.snapshots
    ]
    return {"content": features.content, "as_of": features.as_of, "rows": features.rows, "data": lake}
