"""The answer path: which arm answers a request, and what it says. Pure functions of the request, the view and the time.

Nothing here waits, writes or reads a clock; `serving.predict` gives it threads and a deadline, `serving.admission`
and `serving.check` run the same lines on the example.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from checks import assignment
from errors import ModelError
from models.contract import Decided, Model, Proposal
from serving.view import FALL_TO, Loaded, View

RULES = "rules"


class Choice(NamedTuple):
    """Who answers. Without `loaded` the rules do; `override` says why it is not the arm the plan deals."""

    arm: str
    loaded: Loaded | None
    override: str = ""

    @property
    def version(self) -> int:
        return self.loaded.number if self.loaded else 0

    @property
    def name(self) -> str:
        return self.loaded.name if self.loaded else RULES

    @property
    def content(self) -> str:
        return self.loaded.content if self.loaded else ""


def choose(view: View, key: str, now: float, forced: bool = False) -> Choice:
    """The arm that answers a routing key.

    Args:
        now: monotonic time in seconds; a plan unconfirmed for too long has no canary.
        forced: a break-glass file forces the rules on this replica.
    """
    if forced:
        return Choice(RULES, None, "break_glass")
    arm = assignment.choose(view.plan, key)
    if arm == RULES:
        return Choice(RULES, None)
    if arm == "canary" and now - view.confirmed_at > view.max_age:
        return resolve(view, "champion", "stale")
    return resolve(view, arm)


def resolve(view: View, name: str, override: str = "") -> Choice:
    """This arm, or the next one that can answer for it."""
    for candidate in (name, *FALL_TO[name]):
        arm = view.arm(candidate)
        if arm is not None and arm.is_rules:
            return Choice(candidate, None, override)
        loaded = view.of(arm)
        if loaded is not None and loaded.content not in view.tripped:
            return Choice(candidate, loaded, override)
        if arm is not None:
            override = override or ("tripped" if loaded is not None else "not_loaded")
    return Choice(RULES, None, override)


def opponent(view: View, arm: str) -> Choice | None:
    """Who scores the same request beside `arm`, off the path, so that the two can be compared; None when nobody does.

    While a canary runs it is the champion and the canary, afterwards the champion and the control. Where the outcome
    depends on the answer (split) only a shadow is scored, to see that it can.
    """
    plan = view.plan
    if plan.mode == RULES:
        return None
    rival = "canary" if plan.canary is not None else "control" if plan.control is not None else ""
    if not rival or (view.model.JUDGE == "split" and not (rival == "canary" and plan.canary_percent == 0)):
        return None
    other = {"champion": rival, rival: "champion"}.get(arm)
    if other is None:
        return None
    found = resolve(view, other)
    return found if found.arm == other and not found.override else None


def answer(view: View, loaded: Loaded | None, requests: Sequence[Any]) -> list[Decided]:
    """What this version, or the rules, say to the requests, after the policy rule.

    Raises:
        InputError: for a request no model can answer.
        ModelError: when the model gives another number of answers, or numbers that are none.
    """
    if loaded is None:
        return rules(view, requests)
    proposals = view.model.predict(loaded.fitted, loaded.index, requests)
    return _decided(view.model, proposals, requests, loaded.index, loaded.policy)


def rules(view: View, requests: Sequence[Any]) -> list[Decided]:
    """What the rules say; they need no artifact."""
    index = view.rules_index
    return _decided(view.model, view.model.rules(index, requests), requests, index, view.policy)


def _decided(
    model: Model, proposals: Sequence[Proposal], requests: Sequence[Any], index: Any, policy: Any
) -> list[Decided]:
    if len(proposals) != len(requests):
        raise ModelError("proposals", expected=f"{len(requests)}, one for each request", got=len(proposals))
    decided = model.decide(proposals, requests, index, policy)
    if len(decided) != len(requests):
        raise ModelError("decisions", expected=f"{len(requests)}, one for each request", got=len(decided))
    for one in decided:
        if not all(map(math.isfinite, one.scores)) or not math.isfinite(one.value or 0.0):
            raise ModelError("decision", expected="finite scores", got="NaN or infinity")
    try:  # here, where it is the model's failure and the rules stand behind it: the journal must never meet one it cannot write
        msgspec.json.encode(decided)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError("decision", expected="texts and plain numbers", got=str(error)) from error
    return decided
