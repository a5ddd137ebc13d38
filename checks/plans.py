"""The pure transitions of a release plan: what rollout, guard and the four verbs do to it.

Each takes the current plan and gives the next, or the same object when nothing is to be done, or raises
ReleaseRefused. Revision and audit head are set by `stores.ledger.plans.change`, which alone writes plans and asks
`checks.authority` whether the signing key may make this very change.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from errors import ReleaseRefused
from records import RULES, Arm, ReleasePlan, Rollout, Step

RULES_ARM = Arm(number=RULES, name="rules")
NO_CANARY: dict[str, Any] = {"canary": None, "canary_percent": 0.0}
NO_CONTROL: dict[str, Any] = {"control": None, "control_percent": 0.0}
NOT_FROZEN: dict[str, Any] = {"frozen": False, "frozen_for": ""}
DRIFT = "drift"  # what a freeze must be for that the guard may lift
NO_ROLLOUT: dict[str, Any] = {
    "rollout": None,
    "step": 0,
    "step_started_at": None,
    "rollout_started_at": None,
    "salt": "",
}


def initial(model: str, at: datetime) -> ReleasePlan:
    """The plan before any release: the rules answer. Revision 0 is never written; the first change writes 1."""
    return ReleasePlan(
        model=model,
        revision=0,
        mode="rules",
        champion=RULES_ARM,
        reason="nothing was released yet",
        actor="grownet",
        created_at=at,
    )


def start_rollout(
    plan: ReleasePlan,
    arm: Arm,
    rollout: Rollout,
    salt: str,
    *,
    lifts_freeze: bool,
    at: datetime,
    actor: str,
    reason: str,
) -> ReleasePlan:
    """The approved arm becomes the canary, at the first step; the champion stays and the last control goes.

    The same object when this arm, by this ballot, is the canary or the champion already.

    Raises:
        ReleaseRefused: for a rejected artifact, one that is in the plan already, a running rollout, a hold, a freeze that the ballot does not name,
            an arm without approval or over other steps, steps that do not begin below 100 %, and in rules mode
            with a model to restore first.
    """
    if arm.is_rules or arm.artifact is None or arm.approval is None:
        raise refused(plan, f"start a rollout of {arm.name}", "an arm with artifact and approval", "do a ballot first")
    if arm in (plan.canary, plan.champion):
        return plan
    subject = arm.approval.subject
    _refuse_to_start(plan, arm, lifts_freeze)
    if subject.rollout != rollout.digest or subject.names_freeze != lifts_freeze:
        raise refused(
            plan, f"start a rollout of {arm.name}", "the steps, gates and freeze that were voted on", "vote again"
        )
    if not salt or len(rollout.steps) < 2 or rollout.steps[0].percent >= 100:
        raise refused(plan, f"start a rollout of {arm.name}", "a salt and a step below 100 %", "mend rollout.steps")
    return _next(
        plan,
        at,
        actor,
        reason,
        mode="model",
        canary=arm,
        canary_percent=rollout.steps[0].percent,
        rollout=rollout,
        step=0,
        step_started_at=at,
        rollout_started_at=at,
        salt=salt,
        **NO_CONTROL,
    )


def advance(plan: ReleasePlan, *, at: datetime, actor: str, reason: str) -> ReleasePlan:
    """The canary's next step; at 100 % it becomes champion and the old champion stays as previous and control.

    Promotion lifts a freeze that the ballot named.

    Raises:
        ReleaseRefused: without a running rollout, while held, and while frozen by a freeze the ballot does not name.
    """
    step = next_step(plan)
    if plan.canary is None or step is None:
        raise refused(plan, "advance", "a running rollout", "start one by a ballot")
    if plan.hold:
        raise refused(plan, "advance", "a plan that is not held", "`grownet release resume` first (by vote)")
    if plan.frozen and not names_freeze(plan.canary):
        raise refused(plan, "advance", "a plan that is not frozen", "`grownet release unfreeze` first (by vote)")
    moved = {"step": plan.step + 1, "step_started_at": at}
    if step.percent < 100:
        return _next(plan, at, actor, reason, canary_percent=step.percent, **moved)
    keep = plan.rollout.control_percent if plan.rollout else 0.0
    control = {"control": plan.champion, "control_percent": keep} if keep > 0 else NO_CONTROL
    return _next(
        plan,
        at,
        actor,
        reason,
        champion=plan.canary,
        previous=plan.champion,
        **NOT_FROZEN,
        **NO_CANARY,
        **control,
        **moved,
    )


def take_back(plan: ReleasePlan, *, at: datetime, actor: str, reason: str) -> ReleasePlan:
    """The canary goes, and its hash is rejected for good; the champion gets its control back. The same object when
    there is no canary."""
    if plan.canary is None:
        return plan
    rejected = tuple(dict.fromkeys([*plan.rejected, *contents(plan.canary)]))
    return _next(plan, at, actor, reason, rejected=rejected, **_without_canary(plan))


def rollback(plan: ReleasePlan, *, at: datetime, actor: str, reason: str) -> ReleasePlan:
    """The previous version answers again. A running canary goes too, unrejected: it was judged against the one that fell.

    Raises:
        ReleaseRefused: when there is no previous version; one rollback leads back one release, not further.
    """
    if plan.previous is None:
        raise refused(plan, "roll back", "a previous version", "`grownet release fallback` lets the rules answer")
    return _next(
        plan, at, actor, reason, champion=plan.previous, previous=None, **NO_CANARY, **NO_CONTROL, **NO_ROLLOUT
    )


def undo(plan: ReleasePlan, *, at: datetime, actor: str, reason: str) -> ReleasePlan:
    """What the verb `rollback` does: takes a running canary back, or else rolls the champion back."""
    step = take_back if plan.canary is not None else rollback
    return step(plan, at=at, actor=actor, reason=reason)


def freeze(plan: ReleasePlan, *, at: datetime, actor: str, reason: str, what_for: str = "") -> ReleasePlan:
    """Running rollouts stop and nothing is promoted unattended; training goes on.

    A canary whose ballot named an earlier freeze would pass through this one as well, so it is held too. A freeze for drift,
    which the guard may lift, becomes one for anything else; never the other way round.

    Args:
        what_for: drift, corruption, batch; empty when a person froze it.
    """
    stops = plan.canary is not None and names_freeze(plan.canary)
    stronger = plan.frozen_for == DRIFT and what_for != DRIFT
    if plan.frozen and not stronger and (plan.hold or not stops):
        return plan
    kept = what_for if stronger or not plan.frozen else plan.frozen_for
    return _next(plan, at, actor, reason, frozen=True, frozen_for=kept, hold=plan.hold or stops)


def unfreeze(plan: ReleasePlan, *, at: datetime, actor: str, reason: str) -> ReleasePlan:
    return _next(plan, at, actor, reason, **NOT_FROZEN) if plan.frozen else plan


def hold(plan: ReleasePlan, *, at: datetime, actor: str, reason: str) -> ReleasePlan:
    """The plan stays as it is: no step forward, no new rollout. Ways back stay open."""
    return plan if plan.hold else _next(plan, at, actor, reason, hold=True)


def resume(plan: ReleasePlan, *, at: datetime, actor: str, reason: str) -> ReleasePlan:
    """Ends a hold; the running step starts anew, since its time stood still."""
    if not plan.hold:
        return plan
    started = at if plan.canary is not None else plan.step_started_at
    return _next(plan, at, actor, reason, hold=False, step_started_at=started)


def fallback(plan: ReleasePlan, *, at: datetime, actor: str, reason: str) -> ReleasePlan:
    """The rules answer. A running canary goes, unrejected; champion, previous and control stay loaded to come back."""
    if plan.mode == "rules" and plan.canary is None:
        return plan
    return _next(plan, at, actor, reason, mode="rules", **_without_canary(plan))


def restore(plan: ReleasePlan, *, at: datetime, actor: str, reason: str) -> ReleasePlan:
    """The model answers again after a fallback; what is counted of its step counts anew."""
    if plan.mode == "model":
        return plan
    started = at if plan.rollout is not None else None
    return _next(plan, at, actor, reason, mode="model", step_started_at=started)


def next_step(plan: ReleasePlan) -> Step | None:
    """The step after the running one; None when no rollout runs."""
    if plan.canary is None or plan.rollout is None or plan.step + 1 >= len(plan.rollout.steps):
        return None
    return plan.rollout.steps[plan.step + 1]


def names_freeze(arm: Arm) -> bool:
    """True when the ballot that released this arm named the freeze."""
    return arm.approval is not None and arm.approval.subject.names_freeze


def describe(plan: ReleasePlan) -> str:
    """The plan as a paragraph that can be read aloud."""
    parts = [f"{plan.model}, revision {plan.revision}:"]
    if plan.mode == "rules" and not plan.champion.is_rules:
        parts.append(f"the rules answer everything ({plan.champion.name} stays loaded).")
    else:
        parts.append(f"{plan.champion.name} answers.")
    if plan.canary is not None and plan.rollout is not None:
        steps = len(plan.rollout.steps)
        share = f"answers {plan.canary_percent:g} %" if plan.canary_percent else "runs in the shadow"
        parts.append(f"Canary {plan.canary.name} {share} (step {plan.step + 1} of {steps}).")
    if plan.control is not None:
        parts.append(f"Control {plan.control.name} answers {plan.control_percent:g} %.")
    if plan.previous is not None:
        parts.append(f"{plan.previous.name} stands ready to come back.")
    frozen = f"frozen for {plan.frozen_for}" if plan.frozen_for else "frozen"
    states = [word for word, on in ((frozen, plan.frozen), ("held", plan.hold)) if on]
    if states:
        parts.append(f"The plan is {' and '.join(states)}.")
    if plan.rejected:
        parts.append(f"{len(plan.rejected)} artifact(s) rejected for good.")
    parts.append(f"By {plan.actor} at {plan.created_at:%Y-%m-%d %H:%M:%S} UTC: {plan.reason}")
    return " ".join(parts)


def _refuse_to_start(plan: ReleasePlan, arm: Arm, lifts_freeze: bool) -> None:
    what = f"start a rollout of {arm.name}"
    if set(contents(arm)) & set(plan.rejected):
        raise refused(plan, what, "an artifact that was not rejected", "train a new candidate")
    if set(contents(arm)) & {one for known in (plan.champion, plan.previous) if known for one in contents(known)}:
        # taken back, it would be rejected for good while it answers, or is what a rollback leads to
        raise refused(
            plan, what, "an artifact that is not in the plan", "`grownet release rollback` leads to the previous one"
        )
    if plan.canary is not None:
        raise refused(plan, what, f"no running rollout (of {plan.canary.name})", "wait for its end or roll it back")
    if plan.hold:
        raise refused(plan, what, "a plan that is not held", "`grownet release resume` first (by vote)")
    if plan.frozen and not lifts_freeze:
        raise refused(plan, what, "a ballot that names the freeze", "unfreeze, or ask again")
    if plan.mode == "rules" and not plan.champion.is_rules:
        raise refused(plan, what, "a plan out of rules mode", "`grownet release restore` first (by vote)")


def _without_canary(plan: ReleasePlan) -> dict[str, Any]:
    """The champion's control stays, or comes back: without one, nobody could say whether its KPI falls.

    Steps and limits are those of the last rollout, the shares of answers those of its salt.
    """
    if plan.canary is None and plan.control is not None:
        return dict(NO_CANARY)
    if plan.previous is None or plan.rollout is None or plan.rollout.control_percent <= 0:
        return {**NO_CANARY, **NO_CONTROL, **NO_ROLLOUT}
    control = {"control": plan.previous, "control_percent": plan.rollout.control_percent}
    return {**NO_CANARY, **control, "step": len(plan.rollout.steps) - 1}


def _next(plan: ReleasePlan, at: datetime, actor: str, reason: str, **changes: Any) -> ReleasePlan:
    return replace(plan, created_at=at, actor=actor, reason=reason, **changes)


def arms(plan: ReleasePlan) -> list[Arm]:
    return [arm for arm in (plan.champion, plan.previous, plan.canary, plan.control) if arm is not None]


def contents(arm: Arm) -> list[str]:
    return [arm.artifact.content] if arm.artifact else []


def refused(plan: ReleasePlan, what: str, expected: str, do: str) -> ReleaseRefused:
    return ReleaseRefused(f"{plan.model}: cannot {what}", expected=expected, got=describe(plan), do=do)
