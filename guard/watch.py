"""What the guard sees of one model at a tick, and what it keeps in memory between ticks. Reads the ledger, writes nothing.

A guard that starts anew takes the judge's memory from the newest verdict; the sample-ratio check starts over,
and so do comparisons that begin later than the rollout.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from checks import tallies
from checks.case import Memory, Seen
from checks.judge import memory_of
from checks.later import Starts
from guard.history import History, Spans, Told
from records import Counter, GuardVerdict, ReleasePlan, ReplicaState, Trip
from stores.ledger import counters, plans, rulings, verdicts
from stores.ledger.engine import Ledger
from stores.ledger.signing import Ring

log = logging.getLogger("grownet.guard")
SLOW_SECONDS = 2.0  # a read of the counters that takes longer, as after months of control,
READ_SHARE = 4.0  # is done again only after so many times as long as it took
CLOCKS_APART = timedelta(hours=1)  # at most, of the hosts that write plans and those that serve
SETTLE_SECONDS = 10.0  # after all replicas followed, until the sample ratio counts: answers under way are counted late


@dataclass
class Watch:
    """One model as the guard remembers it."""

    model: str
    memory: Memory | None = None
    saved: GuardVerdict | None = None  # the newest verdict in the ledger
    said: set[str] = field(default_factory=set)  # ids of alerts raised, to save the ledger the asking
    confirmed_since: datetime | None = None
    confirmed_for: tuple[str, int, int] = ("", 0, 0)  # salt, step, revision
    ratio_from: tuple[Counter, ...] | None = None
    rows: tuple[Counter, ...] = ()  # the counters as last read,
    rows_of: tuple[str, int] = ("", 0)  # for this salt and revision,
    rows_until: float = 0.0  # and not read again before (monotonic)
    began: tuple[int, int] = (0, 0)  # of a revision: the one that began its rollout
    starts: Starts = field(default_factory=Starts)  # of later comparisons; a guard that starts anew has none yet
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
    """The watch of a guard that starts: it goes on where the newest verdict and the newest rulings end.

    A verdict of another release of this software may hold another memory: the step is counted anew then. Rulings have to be
    read, or people might be overruled.
    """
    watch = Watch(model)
    try:
        if (found := verdicts.newest(ledger, model)) is not None:
            watch.memory, watch.saved = memory_of(found), found
    except msgspec.DecodeError as error:
        log.warning("%s: the newest verdict cannot be read, its step is counted anew: %s", model, error)
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
    lost = tuple(state for state in states if state not in living)
    trips = _trips(ledger, watch, plan)
    watch.starts = watch.starts.after(plan, rows)
    seen = Seen(plan, rows, trips, confirmed, watch.ratio_from, at, dropped(plan, living, trips), watch.starts.kept)
    return View(seen, living, len(states), lost)


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


def dropped(plan: ReleasePlan, living: tuple[ReplicaState, ...], trips: tuple[Trip, ...]) -> frozenset[str]:
    """The artifacts that every living replica dropped under this revision, and has not got again by a restart."""
    each = [
        {
            trip.artifact
            for trip in trips
            if (trip.replica, trip.revision) == (state.replica, plan.revision) and trip.kind != "refused"
        }.difference(state.loaded.values())
        for state in living
    ]
    return frozenset(set.intersection(*each)) if each else frozenset()


def _trips(ledger: Ledger, watch: Watch, plan: ReleasePlan) -> tuple[Trip, ...]:
    """Those since the rollout began, or without one since the plan: by revision, as clocks of hosts lie apart."""
    since = plan.rollout_started_at or plan.created_at
    if watch.began[0] != plan.revision:
        watch.began = plan.revision, _began(ledger, plan)
    found = counters.trips(ledger, watch.model, since=since - CLOCKS_APART)
    return tuple(trip for trip in found if trip.at >= since or trip.revision >= watch.began[1])


def _began(ledger: Ledger, plan: ReleasePlan) -> int:
    """The revision that began the running rollout; the plan's own where none runs."""
    began = plan.revision
    for before in reversed(plans.history(ledger, plan.model)):
        if plan.rollout_started_at is None or before.plan.rollout_started_at != plan.rollout_started_at:
            break
        began = min(began, before.plan.revision)
    return began


def _counted(ledger: Ledger, watch: Watch, plan: ReleasePlan) -> tuple[Counter, ...]:
    began = time.monotonic()
    if not plan.salt:
        return ()
    if watch.rows_of != (plan.salt, plan.revision) or began >= watch.rows_until:
        rows = counters.totals(ledger, plan.model, plan.salt)
        if not tallies.are_paired(rows):
            rows = counters.totals(ledger, plan.model, plan.salt, by_hour=True)
            if tallies.are_paired(rows):  # since this moment
                rows = counters.totals(ledger, plan.model, plan.salt)
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
