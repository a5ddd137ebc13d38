"""Who may sign which change of a release plan: what takes a vote, what the guard may do, what an operator may do.

Pure. Asked by `stores.ledger.plans.change` before anything is written.
"""

from __future__ import annotations

from checks.keys import key_kind, may_sign
from checks.plans import DRIFT, arms, names_freeze, refused
from records import BallotSubject, ReleasePlan, Verb


def needs_vote(before: ReleasePlan, after: ReleasePlan) -> dict[Verb, str]:
    """What of a change takes a vote: the verb of the ballot it needs, and what it would do."""
    promoted = before.canary is not None and after.champion == before.canary
    named = promoted and before.canary is not None and names_freeze(before.canary)
    brought = [arm for arm in arms(after) if arm not in arms(before) and not arm.is_rules]
    leaves_rules = before.mode == "rules" and after.mode == "model"
    needs: dict[Verb, str] = {}
    if brought or after.rollout not in (before.rollout, None):
        needs["promote"] = "bring in an artifact or other steps"
    if before.frozen and not named and (not after.frozen or _weaker(before, after)):
        needs["unfreeze"] = "lift a freeze"
    if before.hold and not after.hold:
        needs["resume"] = "end a hold"
    if leaves_rules and not (
        before.champion.is_rules and "promote" in needs
    ):  # a first release ends it by its own ballot
        needs["restore"] = "end rules mode"
    if promoted or (after.canary == before.canary and after.canary_percent > before.canary_percent):
        needs["advance"] = "advance a rollout"
    return needs


def authorise(before: ReleasePlan, after: ReleasePlan, key: str, ballot: BallotSubject | None = None) -> None:
    """Refuses a change that this key may not sign.

    What takes a vote is signed by the release key and names the ballot of that verb. The guard moves a rollout
    forward and lifts a freeze for drift without one. An operator's key only stops things and goes back.

    Raises:
        ReleaseRefused: saying what needs a vote.
    """
    if not may_sign(key, "plan"):
        raise refused(before, f"sign a plan as {key!r}", "the release key, the guard's or an operator's", "")
    kind = key_kind(key)
    for verb, what in needs_vote(before, after).items():
        voted = kind == "release" and ballot is not None and ballot.verb == verb
        if not voted and not (kind == "guard" and _by_itself(before, verb)):
            raise refused(before, f"{what} with key {key}", f"an approved ballot to {verb}", "ask for a vote")
    new = [arm for arm in arms(after) if arm not in arms(before) and not arm.is_rules]
    steps = after.rollout.digest if after.rollout else ""
    if any(ballot is None or arm.approval is None or arm.approval.subject != ballot for arm in new) or (
        new and ballot is not None and ballot.rollout != steps
    ):
        raise refused(
            before, "bring in an artifact", "the artifact and steps that the ballot was over", "ask for a vote"
        )
    if not set(before.rejected) <= set(after.rejected):
        raise refused(before, "forget a rejected artifact", "rejected ones to stay rejected", "train a new candidate")


def _by_itself(before: ReleasePlan, verb: Verb) -> bool:
    """What the guard does without a vote: it moves a rollout on, and lifts a freeze that was for drift."""
    return verb == "advance" or (verb == "unfreeze" and before.frozen_for == DRIFT)


def _weaker(before: ReleasePlan, after: ReleasePlan) -> bool:
    """A freeze that only people could lift became one that the guard may."""
    return after.frozen_for == DRIFT and before.frozen_for != DRIFT
