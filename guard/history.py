"""What the guard remembers of one model besides the rollout: earlier rulings, what the monitors found, since when what holds.

Filled from the ledger, so that a guard that starts anew knows the same; `guard.gather` reads and refreshes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from checks.facts import ABOUT_AN_ARM, Slot, role_of
from checks.plans import DRIFT
from checks.policy import FALLEN, facts_of, is_over, taken_back
from records import Finding, ReleasePlan, Ruling

State = tuple[object, ...]
GUARD = "guard"  # the key that signs what the guard does to a plan
Subject = tuple[str, object]  # drift or kpi and the version, or batch and (table, batch)


@dataclass
class History:
    """Earlier rulings on a model, as far as the next one depends on them."""

    last: dict[Slot, Ruling] = field(default_factory=dict)
    settled: dict[Slot, Ruling] = field(default_factory=dict)  # the newest that was not inconclusive
    requested: list[datetime] = field(default_factory=list)  # retrainings
    handled: dict[tuple[str, int], datetime] = field(default_factory=dict)  # windows on which a model was taken back
    going_on: dict[Subject, datetime] = field(default_factory=dict)  # when first ruled on; until a "no"
    frozen_on: datetime | None = None  # end of the window whose drift was last frozen for

    def add(self, ruling: Ruling) -> None:
        """The next one, in the order they were made."""
        slot = slot_of(ruling)
        self.last[slot] = ruling
        if ruling.level not in {"ok", "inconclusive"} or self._settles(slot, ruling):
            self.settled[slot] = ruling
        if "retrain" in ruling.actions:
            self.requested.append(ruling.at)
        self._follow(ruling)
        if "freeze" in ruling.actions:
            drifted = [one.window_end for one in facts_of(ruling).findings if one.kind == DRIFT and one.answer == "yes"]
            self.frozen_on = max(drifted, default=self.frozen_on)
        for subject, end in taken_back([ruling]).items():
            self.handled[subject] = max(end, self.handled.get(subject, end))

    def _settles(self, slot: Slot, ruling: Ruling) -> bool:
        """Whether an ok ruling is what held last from now on."""
        last = self.settled.get(slot)
        return ruling.level == "ok" and (last is None or last.level == "ok" or is_over(ruling, last.row))

    def _follow(self, ruling: Ruling) -> None:
        """What goes on after this ruling: a yes until a no, whatever is undecided in between."""
        for kind, answer in (("drift", ruling.drift), ("kpi", ruling.kpi)):
            if answer in FALLEN:
                self.going_on.setdefault((kind, ruling.version), ruling.at)
            elif answer == "no":
                self.going_on.pop((kind, ruling.version), None)
        for one in facts_of(ruling).findings:
            if one.kind == "batch" and one.answer == "yes":
                self.going_on.setdefault(_batch(one), ruling.at)
            elif one.kind == "batch" and one.answer == "no":
                self.going_on.pop(_batch(one), None)

    def known(
        self, version: int, batches: Iterable[Finding], begun: datetime, lifted: datetime | None
    ) -> tuple[str, ...]:
        """What went on already when people last lifted a freeze, and still does; `Facts.known`.

        Args:
            version: of the arm; its drift and KPI count since it began, at `begun`.
            batches: the refusals that stand. All have to be known.
        """
        if lifted is None:
            return ()
        since = {kind: self.going_on.get((kind, version)) for kind in ABOUT_AN_ARM}
        told = [kind for kind, at in since.items() if at is not None and begun <= at <= lifted]
        refused = [self.going_on.get(_batch(one), one.found_at) for one in batches]
        return (*told, *(["batch"] if refused and max(refused) <= lifted else []))

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
    lifted: datetime | None  # when people last lifted a freeze, by vote or with a release that named it


def spans(plan: ReleasePlan, earlier: Iterable[tuple[datetime, ReleasePlan]]) -> Spans:
    """Walks back from the current plan, over (when, plan) with the newest first, as far as each thing was the same."""
    since = {"answering": plan.created_at, "canary": plan.created_at, "frozen": plan.created_at}
    running, after, lifted = set(since), plan, None
    for at, before in earlier:
        if lifted is None and _lifted_by_people(before, after):
            lifted = after.created_at
        after = before
        same = {
            "answering": _answers(before) == _answers(plan),
            "canary": before.canary == plan.canary and before.salt == plan.salt,
            "frozen": (before.frozen, before.frozen_for) == (True, DRIFT),
        }
        running = {name for name in running if same[name]}
        since |= dict.fromkeys(running, at)
    return Spans(**since, lifted=lifted)


def _lifted_by_people(before: ReleasePlan, after: ReleasePlan) -> bool:
    """A promotion lifts a freeze only when its ballot named it; else what the guard lifts is its own."""
    promoted = after.champion != before.champion
    return before.frozen and not after.frozen and (promoted or after.actor != GUARD)


def _batch(one: Finding) -> Subject:
    return one.kind, (one.figures.get("table"), one.figures.get("batch"))


def _answers(plan: ReleasePlan) -> State:
    champion = plan.champion.artifact.content if plan.champion.artifact else ""
    return role_of(plan), plan.champion.number, champion
