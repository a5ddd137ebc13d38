"""What a replica can answer with at one moment: the plan, the arms that are loaded, what was dropped here.

A `View` is never changed; the plan follower builds the next one and swaps the reference, so a request sees one plan
from its first line to its last.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from models.contract import Model
from records import Arm, FeatureSet, Manifest, ReleasePlan
from serving.runner import Runner

HOUR = timedelta(hours=1)
FALL_TO: Mapping[str, tuple[str, ...]] = {  # who answers for an arm that cannot; the rules stand behind all
    "canary": ("champion", "previous"),
    "control": ("champion", "previous"),
    "champion": ("previous",),
    "previous": (),
}


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """An admitted version in memory, with threads of its own so that a hanging one hurts nobody else."""

    number: int
    name: str
    content: str  # digest of the artifact
    fitted: Any
    index: Any  # of `features`
    features: FeatureSet  # of training, or those of a later refresh
    refresh: int = 0  # its number; 0 for those of training
    policy: Any
    manifest: Manifest
    live: Runner  # answers requests
    beside: Runner  # scores off the path

    def age(self, now: datetime) -> timedelta:
        """How old its features are: from the newest row that is in them to now."""
        return now - self.features.as_of


class View(msgspec.Struct, frozen=True, kw_only=True):
    """All that `answer` needs to know of a model.

    Times are those of the monotonic clock, in seconds.
    """

    model: Model
    plan: ReleasePlan
    policy: Any  # of the configuration, for the rules
    loaded: Mapping[str, Loaded] = {}  # by content digest
    tripped: frozenset[str] = frozenset()  # contents this replica dropped by itself
    rejected: frozenset[int] = frozenset()  # numbers of the versions that were rejected for good
    confirmed_at: float = 0.0  # when the ledger last said that this plan is current
    max_age: float = 0.0  # seconds after which an unconfirmed plan loses its canary

    def arm(self, name: str) -> Arm | None:
        found: Arm | None = getattr(self.plan, name)
        return found

    def of(self, arm: Arm | None) -> Loaded | None:
        return self.loaded.get(arm.artifact.content) if arm is not None and arm.artifact is not None else None

    @property
    def behind_rules(self) -> Loaded | None:
        """Whose features the rules use: the first of champion, previous, control and canary that is loaded."""
        arms = (self.plan.champion, self.plan.previous, self.plan.control, self.plan.canary)
        return next((found for arm in arms if (found := self.of(arm)) is not None), None)

    @property
    def rules_index(self) -> Any:
        """Features for the rules, or None."""
        found = self.behind_rules
        return found.index if found is not None else None

    @property
    def loaded_arms(self) -> dict[str, Loaded]:
        """What is in memory for each arm of the plan that needs an artifact."""
        arms = {name: self.of(self.arm(name)) for name in ("champion", "previous", "canary", "control")}
        return {name: found for name, found in arms.items() if found is not None}

    def too_old(self, hours: float, now: datetime) -> list[str]:
        """The arms whose features are older than so many hours, with their age; 0 is no limit."""
        ages = {name: found.age(now) / HOUR for name, found in self.loaded_arms.items()}
        return [f"{name}: features are {age:.1f} h old" for name, age in ages.items() if 0 < hours < age]

    def features(self, now: datetime) -> dict[str, dict[str, Any]]:
        """For people: which features each arm answers with."""
        return {
            name: {
                "snapshot": found.features.content,
                "refresh": found.refresh,
                "as_of": found.features.as_of,
                "age_seconds": round(found.age(now).total_seconds()),
            }
            for name, found in self.loaded_arms.items()
        }

    @property
    def missing(self) -> list[str]:
        """The arms of the plan that need an artifact and are not loaded."""
        names = ("champion", "previous", "canary", "control")
        arms = [(name, self.arm(name)) for name in names]
        return [name for name, arm in arms if arm is not None and not arm.is_rules and self.of(arm) is None]


def contents(plan: ReleasePlan) -> dict[str, Arm]:
    """The arms of a plan that need an artifact, by its digest."""
    arms = (plan.champion, plan.previous, plan.canary, plan.control)
    return {arm.artifact.content: arm for arm in arms if arm is not None and arm.artifact is not None}
