"""What the guard remembers of one model besides the rollout: earlier rulings, what the monitors found, since when what holds.

Filled from the ledger, so that a guard that starts anew knows the same; `guard.gather` reads and refreshes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from checks.facts import Slot, role_of
from checks.plans import DRIFT
from checks.policy import facts_of, taken_back
from records import Finding, ReleasePlan, Ruling

State = tuple[object, ...]


@dataclass
class History:
    """Earlier rulings on a model, as far as the next one depends on them."""

    last: dict[Slot, Ruling] = field(default_factory=dict)
    settled: dict[Slot, Ruling] = field(default_factory=dict)  # the newest that was not inconclusive
    requested: list[datetime] = field(default_factory=list)  # retrainings
    handled: dict[tuple[str, int], datetime] = field(default_factory=dict)  # windows on which a model was taken back
    frozen_on: datetime | None = None  # end of the window whose drift was last frozen for

    def add(self, ruling: Ruling) -> None:
        """The next one, in the order they were made."""
        slot = slot_of(ruling)
        self.last[slot] = ruling
        if ruling.level != "inconclusive":
            self.settled[slot] = ruling
        if "retrain" in ruling.actions:
            self.requested.append(ruling.at)
        if "freeze" in ruling.actions:
            drifted = [one.window_end for one in facts_of(ruling).findings if one.kind == DRIFT and one.answer == "yes"]
            self.frozen_on = max(drifted, default=self.frozen_on)
        for subject, end in taken_back([ruling]).items():
            self.handled[subject] = max(end, self.handled.get(subject, end))

    def before(self, slot: Slot, version: int) -> str:
        """The row that held last; of a canary, for this very version: the next one is not better than the one before it."""
        last = self.settled.get(slot)
        return "" if last is None or (slot == "canary" and last.version != version) else last.row

    def is_news(self, ruling: Ruling) -> bool:
        """Whether it says another thing than the last one in its place: other answers, another arm, or new evidence."""
        last = self.last.get(slot_of(ruling))
        return last is None or says(last) != says(ruling)


def slot_of(ruling: Ruling) -> Slot:
    return "canary" if ruling.role == "canary" else "answering"


def says(ruling: Ruling) -> State:
    """What makes two rulings the same. Corruption of another window is new evidence; drift that goes on is not."""
    facts = facts_of(ruling)
    corrupt = [one.window_end for one in facts.findings if one.kind in {"corruption", "batch"} and one.answer == "yes"]
    answers = (ruling.corruption, ruling.drift, ruling.kpi)
    return ruling.role, ruling.version, ruling.row, answers, facts.silent, tuple(corrupt), "unfreeze" in ruling.actions


@dataclass
class Told:
    """Findings about a model as last read from the ledger, and the mark they were read at."""

    mark: tuple[int, datetime | None] = (0, None)
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Spans:
    """Since when (wall clock) what a plan says has held."""

    answering: datetime  # the same arm, in the same mode
    canary: datetime
    frozen: datetime  # for drift


def spans(plan: ReleasePlan, earlier: Iterable[tuple[datetime, ReleasePlan]]) -> Spans:
    """Walks back from the current plan, over (when, plan) with the newest first, as far as each thing was the same."""
    since = {"answering": plan.created_at, "canary": plan.created_at, "frozen": plan.created_at}
    running = set(since)
    for at, before in earlier:
        same = {
            "answering": _answers(before) == _answers(plan),
            "canary": before.canary == plan.canary and before.salt == plan.salt,
            "frozen": (before.frozen, before.frozen_for) == (True, DRIFT),
        }
        running = {name for name in running if same[name]}
        since |= dict.fromkeys(running, at)
    return Spans(**since)


def _answers(plan: ReleasePlan) -> State:
    champion = plan.champion.artifact.content if plan.champion.artifact else ""
    return role_of(plan), plan.champion.number, champion
