"""One repeat of a fault under way: its traffic, when the fault began, what the house did about it, and what was measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import httpx
from msgspec import convert

from benchmarks.client.record import FED, Sent
from benchmarks.client.traffic import Traffic
from benchmarks.drill import asking
from benchmarks.drill.asking import Kind, Mix
from benchmarks.drill.house import REPLICAS, Running
from benchmarks.drill.measures import Answered, Repeat, Switch, answered, failed_within, switch
from benchmarks.drill.watcher import Watcher, wall
from benchmarks.reliability.figures import OK
from benchmarks.reliability.fleet import until
from benchmarks.reliability.oracle import Oracle
from benchmarks.reliability.stage import Run, Stated
from benchmarks.reliability.verdict import look
from benchmarks.reliability.village import MODEL
from checks.judge import state_of
from checks.tallies import Tally
from records import Arm, Incident, ReleasePlan, Rollout
from stores.ledger import counters, incidents, verdicts
from tasks.ballot_page import samples

BASELINE_SECONDS = 1.5  # of good traffic before a fault, and after all is well again
MOST_SECONDS = 300.0
EXAMPLES = 3
CLOCKS_SECONDS = 0.1  # more between wall and monotonic clock in one repeat, and somebody set one


@dataclass(frozen=True)
class Theatre:
    """What all repeats of a drill share."""

    running: Running
    watcher: Watcher
    oracle: Oracle
    per_second: float
    key: str

    @cached_property
    def kinds(self) -> Mapping[str, Kind]:
        return asking.kinds()

    @cached_property
    def versions(self) -> tuple[str, ...]:
        """The artifacts of version 1 and of a worse one."""
        arms = (self.running.house.plan().champion, self.running.house.rival())
        return tuple(arm.artifact.content for arm in arms if arm.artifact is not None)

    def outcomes(self, name: str) -> list[bytes] | None:
        """What is said of the answers to a stream, worked out from the slates of version 1 and the worse one."""
        kind, (first, other), said = self.kinds[name], self.versions, self.oracle.decisions
        if kind.mix is None:
            return None
        slates = [(said(first, one)[0].items, said(other, one)[0].items) for one in kind.bodies]
        return asking.outcomes(slates, kind.mix)


@dataclass
class Stage:
    """One repeat."""

    theatre: Theatre
    fault: str
    number: int
    moment: datetime  # of event time: this hour and the next are its own
    began: float = 0.0  # the fault, in seconds of the wall clock, as the two below
    detected: float | None = None  # where no incident says it
    restored: float | None = None
    incident: Incident | None = None
    answering: list[ReleasePlan] = field(default_factory=list)  # plans that took something back; the fault's own first
    bad: Callable[[Answered], bool] | None = None  # an answer that the fault spoilt; None where it spoils none
    spared: Callable[[Answered], bool] = lambda _: False  # one that a replica kept from it, by the champion's answer
    never: Callable[[Answered], bool] = lambda _: False  # an answer that the house had promised not to give
    printed: int | None = None
    matured_before: int = 0
    broken: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    _traffic: Traffic | None = None
    _since: float = 0.0  # of the traffic, monotonic
    _offset: float = 0.0  # of the clocks then

    def __post_init__(self) -> None:
        self.running, self.house = self.theatre.running, self.theatre.running.house

    # ---- traffic ---------------------------------------------------------------------------------

    def send(self, first: str, *later: str) -> None:
        """Starts the client: the first stream at once, the others when `swap` says so."""
        rates = {first: self.theatre.per_second, **dict.fromkeys(later, 0.0)}
        kinds, told = self.theatre.kinds, self.theatre.outcomes
        streams = [
            asking.stream(name, kinds[name], told(name), key=self.theatre.key, moment=self.moment, per_second=rate)
            for name, rate in rates.items()
        ]
        self._since, self._offset = time.monotonic(), wall(0.0)
        self._traffic = Traffic(self.running.folder, self.running.address, streams, 2 * MOST_SECONDS)
        time.sleep(BASELINE_SECONDS)

    def swap(self, one: str, other: str) -> None:
        """From now on the other stream is sent."""
        if self._traffic is not None:
            self._traffic.rate(one, 0.0)
            self._traffic.rate(other, self.theatre.per_second)

    def rest(self) -> None:
        time.sleep(BASELINE_SECONDS)

    def collect(self) -> list[Sent]:
        """Stops the client and takes its record."""
        return self._traffic.finish() if self._traffic is not None else []

    # ---- the house -------------------------------------------------------------------------------

    def begins(self) -> None:
        """The fault begins now."""
        self.began = time.time()

    def canary(self, arm: Arm, *, follow: bool = True) -> ReleasePlan:
        """Starts the rollout of an arm by vote; half of the traffic is its own once the replicas followed."""
        since = time.time()
        plan = self.house.begin(arm)
        if follow:
            self.running.followed(plan, since)
            self.rest()
            self.require("the canary stands when the fault begins", self.house.plan() == plan)
        return plan

    def taken_back(self) -> ReleasePlan:
        """Waits until an incident was answered by a plan that every replica follows; that plan.

        Raises:
            StackError: after the five minutes promised.
        """
        until(self._is_restored, f"an incident of {self.fault} that is restored", MOST_SECONDS)
        assert self.incident is not None  # it is restored
        revision = self.incident.revision
        until(lambda: self._seen(revision), "the watcher", 10)
        plan = self.theatre.watcher.plan(revision)
        self.answering.append(plan)
        self.notes |= {"incident": self.incident.kind, "actions": list(self.incident.actions)}
        return plan

    def switch_to(self, plan: ReleasePlan) -> None:
        """Waits until every replica follows a plan that somebody else wrote, whose switch is measured too."""
        self.running.followed(plan, plan.created_at.timestamp())
        until(lambda: self._seen(plan.revision), "the watcher", 10)
        self.answering.append(plan)

    def prints(self, rollout: Rollout, mix: Mix) -> None:
        """The smaller of the samples that the ballot's page prints for a holdout with the champion's rate."""
        self.printed = min(need for need, _ in samples(rollout, mix.rates[0], paired=True) if need is not None)

    def count_from_here(self) -> int:
        """Answers that matured before the fault, which do not count for the sample it is decided on."""
        plan = self.house.plan()
        rows = counters.totals(self.house.ledgers["reader"], MODEL, plan.salt)
        self.matured_before = sum(row.matured for row in rows if row.arm == "control")
        return self.matured_before

    def readyz(self) -> Mapping[str, Any]:
        """What one of the workers says of itself; nothing when it cannot be asked."""
        try:
            return dict(httpx.get(f"{self.running.stack.service_url}/readyz", timeout=5).json())
        except (httpx.TransportError, ValueError):
            return {}

    def require(self, what: str, held: bool, got: object = "") -> None:
        if not held:
            self.broken.append(f"not so: {what}{f' ({got})' if got else ''}")

    def _seen(self, revision: int) -> bool:
        return any(one.plan.revision == revision for one in self.theatre.watcher.changes)

    def _is_restored(self) -> bool:
        changes = self.theatre.watcher.changes
        if not changes or changes[-1].plan.created_at.timestamp() < self.began:
            return False
        found = incidents.incidents(self.house.ledgers["reader"], MODEL, "open")
        new = [one for one in found if one.detected_at.timestamp() >= self.began and one.revision]
        own = [one for one in new if one.restored_at is not None]
        self.incident = own[-1] if own else None
        return self.incident is not None

    # ---- afterwards ------------------------------------------------------------------------------

    def measured(self, records: list[Sent]) -> Repeat:
        """The figures of this repeat, from the client's record and what the ledger says."""
        asked = [one for one in records if not one.stream.endswith(FED)]
        wrong = self._wrong(asked)
        answers = answered(asked, wall)
        switches = [switch(plan, self.theatre.watcher.states, answers, REPLICAS) for plan in self.answering]
        self._refuse_nothing(answers)
        detected = self.incident.detected_at.timestamp() if self.incident else self.detected
        overrides = sorted({one.reply.override for one in answers} - {""})
        self.notes |= {"overrides": overrides, "wrong": wrong[:EXAMPLES], "answers": len(answers)}
        return Repeat(
            fault=self.fault,
            number=self.number,
            detected=self._from_fault(detected),
            decided=self._from_fault(switches[0].written if switches else None),
            switched=self._from_fault(_end(switches[0]) if switches else None),
            restored=self._from_fault(self._over(answers)),
            switch_seconds=tuple(one.seconds for one in switches),
            requests=len(asked),
            failed=sum(one.status != OK for one in asked),
            failed_at=tuple(wall(one.due) - self.began for one in asked if one.status != OK),
            failed_switching=sum(
                failed_within(asked, one.written - wall(0.0), (_end(one) or one.written) - wall(0.0))
                for one in switches
            ),
            wrong=len(wrong),
            unfed=sum(one.status != OK for one in records if one.stream.endswith(FED)),
            sample=self._sample(),
            printed=self.printed,
            broken=tuple(self.broken),
            notes=self.notes,
        )

    def _over(self, answers: list[Answered]) -> float | None:
        """The last bad answer, or when the house says that it was over, whatever was later."""
        said = self.incident.restored_at if self.incident else None
        known = [said.timestamp() if said is not None else self.restored]
        known += [one.at for one in self._spoilt(answers)]
        return max((one for one in known if one is not None), default=None)

    def _spoilt(self, answers: list[Answered]) -> list[Answered]:
        return [one for one in answers if one.at >= self.began and self.bad is not None and self.bad(one)]

    def _refuse_nothing(self, answers: list[Answered]) -> None:
        """A repeat in which nothing was spoilt or spared, nobody asked afterwards or a clock was set says nothing; a promise is kept."""
        if self.broken:
            return
        over, never = self._over(answers), sum(map(self.never, answers))
        self.require("no answer came that must not", not never, never)
        self.require(
            "the fault met an answer",
            self.bad is None
            or bool(self._spoilt(answers))
            or any(one.at >= self.began and self.spared(one) for one in answers),
        )
        self.require("answers came when it was over", over is not None and bool(answers) and answers[-1].at > over)
        moved = wall(0.0) - self._offset
        self.require("the clocks ran alike", abs(moved) < CLOCKS_SECONDS, f"{moved:.2f} s apart")

    def _from_fault(self, moment: float | None) -> float | None:
        return None if moment is None or not self.began else moment - self.began

    def _sample(self) -> int | None:
        """Matured answers at the verdict that said drop."""
        if self.printed is None or self.incident is None:
            return None
        found = verdicts.verdicts(
            self.house.ledgers["reader"], MODEL, datetime.fromtimestamp(self.began, self.moment.tzinfo)
        )
        counted = (convert(one.inputs["now"], Tally).matured for one in found if state_of(one) == "kpi_drop")
        return next((matured - self.matured_before for matured in counted), None)

    def _wrong(self, asked: list[Sent]) -> list[str]:
        """Why answers are not what they should be, by the client's own working out."""
        bodies = {name: [[body] for body in kind.bodies] for name, kind in self.theatre.kinds.items()}
        run = Run(asked, bodies, [], self.theatre.watcher.since(self._since), Stated())
        return look(run, asked, self.theatre.oracle).wrong


def _end(one: Switch) -> float | None:
    return one.written + one.seconds if one.seconds is not None else None
