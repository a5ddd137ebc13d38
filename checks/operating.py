"""What an operator's verb does to a plan: the transition of `checks.plans`, refused where it could do nothing, and once when given twice.

Pure. Used by `tasks.operate`. Freeze, hold and fallback name a state: given again, they change nothing. A rollback names a step, so
a second one would be a second step: the plan's newest revisions say whether it was done a moment ago.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

from checks import plans as transitions
from checks.plans import refused
from errors import RevisionConflict
from records import ReleasePlan

Stop = Literal["freeze", "hold", "rollback", "fallback"]
RECENT = timedelta(minutes=15)  # after a way back, so long the next one must name the revision it starts from
VERBS: dict[str, Callable[..., ReleasePlan]] = {
    "freeze": transitions.freeze,
    "hold": transitions.hold,
    "rollback": transitions.undo,
    "fallback": transitions.fallback,
}


def stop(verb: str, plan: ReleasePlan, *, at: datetime, actor: str, reason: str) -> ReleasePlan:
    """The plan after a verb; the same object where it holds already.

    Raises:
        ReleaseRefused: for a hold without a rollout, a rollback without anything to go back to, and a fallback of a model
            of which nothing was ever decided.
    """
    if verb == "hold" and plan.canary is None and not plan.hold:
        do = "`grownet release freeze` lets a new one start only by a ballot that names the freeze"
        raise refused(plan, "hold a rollout", "a running one", do)
    if verb == "fallback" and plan.revision == 0:
        raise refused(plan, "fall back to the rules", "a model that was released", "nothing is to be done")
    return VERBS[verb](plan, at=at, actor=actor, reason=reason)


def done_before(
    verb: str, recent: Sequence[ReleasePlan], *, seen: int | None, at: datetime, actor: str, reason: str
) -> bool:
    """Whether this very rollback was done a moment ago, so that it is not done a second time to the version behind.

    Args:
        recent: the newest revisions, the current one last; empty before the first.
        seen: the revision the operator looked at, when it was named: whoever names the current one means it.

    Raises:
        RevisionConflict: when something else was taken back a moment ago, which may be what this was for.
    """
    if verb != "rollback" or not recent or recent[-1].canary is not None or seen == recent[-1].revision:
        return False
    last = _way_back(recent, at)
    if last is None:
        return False
    if (last.actor, last.reason) == (actor, reason):
        return True
    current = recent[-1]
    further = f"to go back one more release, name this revision: --revision {current.revision}"
    raise RevisionConflict(
        f"release plan of {current.model}",
        expected="one that was not taken back a moment ago",
        got=f"revision {last.revision}, written by {last.actor} at {last.created_at:%Y-%m-%d %H:%M:%S} UTC ({last.reason})",
        do=further if current.previous is not None else "`grownet release fallback` lets the rules answer",
    )


def since(history: Sequence[ReleasePlan]) -> dict[str, ReleasePlan]:
    """Of what holds now of "frozen", "held" and "rules": the revision since which it does, without a break.

    Args:
        history: all revisions of a model, oldest first.
    """
    found: dict[str, ReleasePlan] = {}
    for name, holds in _STANDS.items():
        for plan in reversed(history):
            if not holds(plan):
                break
            found[name] = plan
    return found


def _way_back(recent: Sequence[ReleasePlan], at: datetime) -> ReleasePlan | None:
    """The newest revision that took a version back, if that was a moment ago."""
    steps = reversed(list(pairwise(recent)))
    return next(
        (after for before, after in steps if _went_back(before, after) and at - after.created_at < RECENT), None
    )


def _went_back(before: ReleasePlan, after: ReleasePlan) -> bool:
    taken = before.canary is not None and after.canary is None and after.champion != before.canary
    rolled = before.champion != after.champion and after.champion == before.previous
    return taken or rolled


_STANDS: dict[str, Callable[[ReleasePlan], bool]] = {
    "frozen": lambda plan: plan.frozen,
    "held": lambda plan: plan.hold,
    "rules": lambda plan: plan.mode == "rules" and not plan.champion.is_rules,
}
