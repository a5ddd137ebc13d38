"""What a change of a release plan was, in words, and which version it was about.

Pure. Read by the model cards and the release notes, which tell a version's story from the plans in the ledger.
"""

from __future__ import annotations

from typing import NamedTuple

from records import Arm, ReleasePlan


class Change(NamedTuple):
    """One step from plan to plan. `about` is the version whose story it belongs to; the rules have number 0."""

    about: Arm
    what: str


def change(before: ReleasePlan, after: ReleasePlan) -> Change:
    """What `after` changed. A canary's steps are about the canary, everything else about the champion that it concerns."""
    parts = [part for part in (_canary(before, after), _champion(before, after), *_states(before, after)) if part]
    return Change(_about(before, after), ", ".join(parts) or "written again")


def _about(before: ReleasePlan, after: ReleasePlan) -> Arm:
    if after.canary is not None and after.canary != before.canary:
        return after.canary
    return before.canary or before.champion


def _canary(before: ReleasePlan, after: ReleasePlan) -> str:
    old, new = before.canary, after.canary
    if new is not None and new != old:
        return f"rollout starts, {_share(after)}"
    if old is None:
        return ""
    if after.champion == old:
        kept = f"; {after.control.name} keeps {after.control_percent:g} %" if after.control is not None else ""
        return f"promoted to 100 %{kept}"
    if new is None:
        rejected = old.artifact is not None and old.artifact.content in after.rejected
        return "taken back, rejected for good" if rejected else "taken back with the champion, not rejected"
    return f"moves on, {_share(after)}" if after.canary_percent != before.canary_percent else ""


def _champion(before: ReleasePlan, after: ReleasePlan) -> str:
    if after.champion not in (before.champion, before.canary):
        return f"rolled back to {after.champion.name}"
    if before.champion.is_rules or before.mode == after.mode:
        return ""
    return "falls back to the rules" if after.mode == "rules" else "answers again"


def _states(before: ReleasePlan, after: ReleasePlan) -> list[str]:
    what_for = f" for {after.frozen_for}" if after.frozen_for else ""
    return [
        f"frozen{what_for}" if after.frozen and (after.frozen_for, True) != (before.frozen_for, before.frozen) else "",
        "freeze lifted" if before.frozen and not after.frozen else "",
        "held" if after.hold and not before.hold else "",
        "hold ended" if before.hold and not after.hold else "",
    ]


def _share(plan: ReleasePlan) -> str:
    return f"{plan.canary_percent:g} % of the answers" if plan.canary_percent else "in the shadow"
