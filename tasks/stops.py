"""Who stopped what of a model, and since when: a freeze, a hold, rules mode, each with the revision that began it.

Reads the ledger; writes nothing. Behind `grownet models` and `grownet release show`: the plan's own reason is that of its newest
revision only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from checks.operating import since
from records import ReleasePlan
from stores.ledger import plans
from stores.ledger.engine import Ledger

WORDS = {"frozen": "frozen", "held": "held", "rules": "in rules mode"}


def standing(ledger: Ledger, plan: ReleasePlan) -> dict[str, dict[str, Any]]:
    """What stands still of a plan, by "frozen", "held", "rules": revision, actor, time and reason of its beginning."""
    if not (plan.frozen or plan.hold or plan.mode == "rules"):
        return {}
    found = since([one.plan for one in plans.history(ledger, plan.model)])
    return {
        name: {"revision": one.revision, "actor": one.actor, "at": one.created_at, "reason": one.reason}
        for name, one in found.items()
    }


def words(stops: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """`standing` for people, a line each."""
    for name, one in stops.items():
        at = f"{one['at']:%Y-%m-%d %H:%M:%S} UTC"
        yield f"{WORDS[name]} since revision {one['revision']}, by {one['actor']} at {at}: {one['reason']}"
