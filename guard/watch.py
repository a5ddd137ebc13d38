"""What the guard sees of one model at a tick, and what it keeps in memory between ticks. Reads the ledger, writes nothing.

A guard that starts anew takes the judge's memory from the newest verdict; the sample-ratio check starts over.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from checks import tallies
from checks.case import Memory, Seen
from checks.judge import memory_of
from guard.history import History, Spans, Told
from records import Counter, GuardVerdict, ReleasePlan, ReplicaState
from stores.ledger import counters, plans, rulings, verdicts
from stores.ledger.engine import Ledger
from stores.ledger.signing import Ring

SLOW_SECONDS = 2.0  # a read of the counters that takes longer, as after months of control,
READ_SHARE = 4.0  # is done again only after so many times as long as it took
SETTLE_SECONDS = 10.0  # after all replicas followed, until the sample ratio counts: answers under way are counted late


@dataclass
class Watch:
    """One model as the guard remembers it."""

    model: str
    memory: Memory | None = None
    saved: GuardVerdict | None = None  # the newest verdict in the ledger
    said: set[str] = field(default_factory=set)  # ids of alerts raised, to save the ledger the asking
    failing: str = ""  # what the last tick of this model failed with
    confirmed_since: datetime | None = None
    confirmed_for: tuple[str, int, int] = ("", 0, 0)  # salt, step, revision
    ratio_from: tuple[Counter, ...] | None = None
    rows: tuple[Counter, ...] = ()  # the counters as last read,
    rows_of: tuple[str, int] = ("", 0)  # for this salt and revision,
    rows_until: float = 0.0  # and not read again before (monotonic)
    history: History = field(default_factory=History)  # of the decision table's rulings
    told: Told = field(default_factory=Told)  # what the monitors found, as last read
    spans: tuple[int, Spans] | None = None  # of a revision: since when what it says holds


@dataclass(frozen=True)
class View:
    """One tick's sight of a model: what the judge sees, and the living replicas."""

    seen: Seen
    replicas: tuple[ReplicaState, ...]
    known_replicas: int  # that reported and did not leave
    lost: tuple[ReplicaState, ...] = ()  # of these, those that are silent for longer than they may serve a canary

    @property
    def plan(self) -> ReleasePlan:
        return self.seen.plan


def restored(ledger: Ledger, model: str) -> Watch:
    """The watch of a guard that starts: it goes on where the newest verdict and the newest rulings end."""
    found = verdicts.verdicts(ledger, model)
    watch = Watch(model, memory_of(found[-1]), found[-1]) if found else Watch(model)
    for ruling in rulings.rulings(ledger, model):
        watch.history.add(ruling)
    return watch


def look(ledger: Ledger, ring: Ring, watch: Watch, at: datetime, alive_seconds: float) -> View | None:
    """Reads the model's plan, counters, trips and replicas; None before its first release.

    Raises:
        TamperError: when the plan's signature is wrong.
    """
    signed = plans.current(ledger, watch.model)
    if signed is None:
        return None
    plan = plans.verify(signed, ring)
    states = counters.replicas(ledger, watch.model)
    living = tuple(state for state in states if state.at >= at - timedelta(seconds=alive_seconds))
    rows = _counted(ledger, watch, plan)
    confirmed = confirms(plan, living)
    _settle(watch, plan, rows, confirmed, at)
    trips = tuple(counters.trips(ledger, watch.model, since=plan.rollout_started_at or plan.created_at))
    lost = tuple(state for state in states if state not in living)
    return View(Seen(plan, rows, trips, confirmed, watch.ratio_from, at), living, len(states), lost)


def confirms(plan: ReleasePlan, living: tuple[ReplicaState, ...]) -> bool:
    """True when there is a living replica and each serves this revision with the hashes the plan names."""
    return bool(living) and all(state.revision >= plan.revision and not wrong_arms(plan, state) for state in living)


def wrong_arms(plan: ReleasePlan, state: ReplicaState) -> list[str]:
    """The arms that answer under the plan and that this replica has not loaded with the plan's hash."""
    if plan.mode == "rules":
        return []
    arms = {"champion": plan.champion, "canary": plan.canary, "control": plan.control}
    wanted = {name: arm.artifact.content for name, arm in arms.items() if arm is not None and arm.artifact is not None}
    return [name for name, content in wanted.items() if state.loaded.get(name) != content]


def _counted(ledger: Ledger, watch: Watch, plan: ReleasePlan) -> tuple[Counter, ...]:
    began = time.monotonic()
    if not plan.salt:
        return ()
    if watch.rows_of != (plan.salt, plan.revision) or began >= watch.rows_until:
        rows = counters.totals(ledger, plan.model, plan.salt)
        if not tallies.are_paired(rows):
            rows = counters.totals(ledger, plan.model, plan.salt, by_hour=True)
        now = time.monotonic()
        watch.rows, watch.rows_of = tuple(rows), (plan.salt, plan.revision)
        watch.rows_until = now + READ_SHARE * (now - began) if now - began > SLOW_SECONDS else now
    return watch.rows


def _settle(watch: Watch, plan: ReleasePlan, rows: tuple[Counter, ...], confirmed: bool, at: datetime) -> None:
    """Fixes where the sample ratio of a revision is counted from."""
    key = (plan.salt, plan.step, plan.revision)
    if not confirmed or watch.confirmed_for != key:
        watch.confirmed_for, watch.confirmed_since, watch.ratio_from = key, at if confirmed else None, None
    if watch.confirmed_since is None:
        watch.confirmed_since = at if confirmed else None
    elif watch.ratio_from is None and at - watch.confirmed_since >= timedelta(seconds=SETTLE_SECONDS):
        watch.ratio_from = rows
