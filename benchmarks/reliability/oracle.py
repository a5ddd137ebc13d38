"""What each reply should have said, worked out from the released artifacts by the client's side alone.

Reads artifact store and plans; asks the service nothing. The arm is hashed here once more (not by `checks.assignment`),
the decision comes from the artifact's own bytes; so a wrong arm, version, revision or decision of the service is seen.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from benchmarks.reliability.faulty import files_digest
from errors import TamperError
from models.contract import Decided, Model
from records import Arm, ReleasePlan, digest_of
from stores.artifacts import Artifacts, Bundle

RULES = "rules"
UNDER_OLD_SECONDS = 2.0  # answers under an old revision end within this (design, section 3)
TOLERANCE = 1e-6  # a batch sums in another order than one row
INSTEAD = {"deadline", "error", "break_glass", "journal"}  # overrides by which the rules answer
STANDS_IN = {"canary": ("champion", "previous"), "control": ("champion", "previous"), "champion": ("previous",)}


class Change(NamedTuple):
    """A plan, and when it was being written; monotonic seconds."""

    plan: ReleasePlan
    before: float
    after: float


@dataclass
class Timeline:
    """The plans of a scenario, oldest first."""

    changes: list[Change] = field(default_factory=list)

    def add(self, plan: ReleasePlan, before: float, after: float) -> None:
        self.changes.append(Change(plan, before, after))

    def current(self, sent: float, done: float) -> dict[int, ReleasePlan]:
        """The plans that may answer a request under way in [sent, done], by revision."""
        ends = [change.after + UNDER_OLD_SECONDS for change in self.changes[1:]] + [math.inf]
        return {
            change.plan.revision: change.plan
            for change, end in zip(self.changes, ends, strict=True)
            if change.before <= done and sent <= end
        }


class Loaded(NamedTuple):
    same: str  # digest of all that decides; versions that differ in name only are worked out once
    fitted: Any
    index: Any
    policy: Any


class Oracle:
    """One model.

    Args:
        artifacts: the store, with leave to decrypt.
        policy: of the house's configuration, which binds the rules.
        pseudonym: as the service replaces subjects.
    """

    def __init__(self, model: Model, artifacts: Artifacts, policy: Any, pseudonym: Callable[[str], str]) -> None:
        self._model, self._artifacts, self._policy, self._pseudonym = model, artifacts, policy, pseudonym
        self._loaded: dict[str, Loaded] = {}
        self._said: dict[tuple[str, bytes], list[Decided]] = {}
        self._requests: dict[bytes, Any] = {}

    def wrong(
        self, reply: Mapping[str, Any], asked: bytes, plans: Mapping[int, ReleasePlan], *, loading: bool = False
    ) -> str:
        """Why this reply to the request `asked` (JSON) is not what it should be under any of the plans; empty when it is.

        While features are `loading` the rules may answer without any.
        """
        plan = plans.get(reply["revision"])
        if plan is None:
            return f"revision {reply['revision']}, while {sorted(plans)} answered"
        request = self._masked(asked)
        dealt = arm_of(plan, self._model.routing_key(request))
        arm, override = reply["arm"], reply["override"]
        if arm not in _answering(dealt, override):
            return f"arm {arm!r} (override {override!r}), dealt was {dealt!r}"
        chosen: Arm | None = None if arm == RULES else getattr(plan, arm)
        if arm != RULES and chosen is None:
            return f"arm {arm!r}, which the plan does not have"
        number, name = (chosen.number, chosen.name) if chosen else (0, RULES)
        if (reply["model"], reply["version"], reply["name"]) != (plan.model, number, name):
            return f"{reply['name']} ({reply['version']}), the arm is {name} ({number})"
        decision = msgspec.convert(reply["decision"], Decided)
        expected = self._expected(plan, chosen, asked, bare=loading or override == "not_loaded")
        if not any(same(decision, one) for one in expected):
            return f"decision {decision}, expected {expected[0]}"[:600]
        return ""

    def _expected(self, plan: ReleasePlan, chosen: Arm | None, asked: bytes, *, bare: bool) -> list[Decided]:
        """What may be said: one thing by a version; by the rules one thing for each snapshot they may look at, and what
        they say without any when they may be `bare`, or no arm can be loaded."""
        if chosen is not None and chosen.artifact is not None:
            return self.decisions(chosen.artifact.content, asked)
        arms = (plan.champion, plan.previous, plan.control, plan.canary)
        contents = dict.fromkeys(arm.artifact.content for arm in arms if arm is not None and arm.artifact is not None)
        known = [content for content in contents if self._opens(content)]
        without = self._ruled("", asked) if bare or not known else []
        return [one for content in known for one in self._ruled(content, asked)] + without

    def decisions(self, content: str, asked: bytes) -> list[Decided]:
        """What the version with this artifact says to a request (JSON)."""
        loaded = self._open(content)
        if (loaded.same, asked) not in self._said:
            requests = [self._masked(asked)]
            proposals = self._model.predict(loaded.fitted, loaded.index, requests)
            self._said[loaded.same, asked] = self._model.decide(proposals, requests, loaded.index, loaded.policy)
        return self._said[loaded.same, asked]

    def _ruled(self, content: str, asked: bytes) -> list[Decided]:
        key = f"rules {content}"
        if (key, asked) not in self._said:
            index, requests = self._open(content).index if content else None, [self._masked(asked)]
            proposals = self._model.rules(index, requests)
            self._said[key, asked] = self._model.decide(proposals, requests, index, self._policy)
        return self._said[key, asked]

    def _open(self, content: str) -> Loaded:
        if content not in self._loaded:
            bundle: Bundle = self._artifacts.bundle(content)
            features, policy = bundle.manifest.features, bundle.manifest.policy
            same = digest_of([files_digest(bundle.model), features.content, policy])
            known = next((one for one in self._loaded.values() if one.same == same), None)
            self._loaded[content] = known or Loaded(
                same,
                self._model.load(bundle.model),
                self._model.index(self._artifacts.frame(features)),
                msgspec.convert(policy, self._model.Policy),
            )
        return self._loaded[content]

    def _opens(self, content: str) -> bool:
        """False for one whose bytes were changed: no replica looks at its snapshot either."""
        try:
            self._open(content)
        except TamperError:
            return False
        return True

    def _masked(self, asked: bytes) -> Any:
        if asked not in self._requests:
            request = msgspec.json.decode(asked, type=self._model.Request)
            self._requests[asked] = self._model.mask(request, self._pseudonym)
        return self._requests[asked]


def arm_of(plan: ReleasePlan, key: str) -> str:
    """The arm a routing key is dealt: the first 53 bits of BLAKE2b-128 over salt, NUL and key, as a percentage.

    Canary from below, control from above.
    """
    if plan.mode == RULES:
        return RULES
    digest = hashlib.blake2b(f"{plan.salt}\0{key}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    percent = (int.from_bytes(digest[:8], "big") >> 11) / 2**53 * 100
    if plan.canary is not None and percent < plan.canary_percent:
        return "canary"
    return "control" if plan.control is not None and percent >= 100 - plan.control_percent else "champion"


def same(one: Decided, other: Decided) -> bool:
    """Equal items and rules; scores and value up to the order of summing."""
    if (one.items, one.overruled, len(one.scores)) != (other.items, other.overruled, len(other.scores)):
        return False
    if (one.value is None) != (other.value is None):
        return False
    numbers: Sequence[tuple[float, float]] = [
        *zip(one.scores, other.scores, strict=True), (one.value or 0.0, other.value or 0.0),
    ]  # fmt: skip
    return all(math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE) for a, b in numbers)


def _answering(dealt: str, override: str) -> tuple[str, ...]:
    """Who may answer for the arm that was dealt."""
    if override == "":
        return (dealt,)
    if override in INSTEAD:
        return (RULES,)
    if override == "stale":
        return ("champion",) if dealt == "canary" else ()
    return (*STANDS_IN.get(dealt, ()), RULES) if override in {"not_loaded", "tripped"} else ()
