"""Follows the release plan of one model: asks the ledger, believes what is signed and newer, loads what it names.

Reads the ledger and the artifact store; writes the replica's cache. One thread for each model; loading happens beside
it, so that a slow artifact never delays a rollback. What the ledger cannot say, the cache does: also at the start.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future

import msgspec

from checks.plans import initial
from errors import AdmissionRefused, GrownetError, NotFound, StackError, TamperError
from records import Arm, ReleasePlan, ReplicaState, SignedPlan, utc_now
from serving.admission import Door, admit, believe
from serving.cache import Cache
from serving.desk import Desk
from serving.house import House
from serving.reporter import Link, Reporter
from serving.view import Loaded, contents
from stores.ledger import audit, evidence, plans
from stores.ledger.engine import Ledger
from stores.ledger.signing import Ring

log = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 2.0  # how often a replica says that it is there; the guard counts the living
AGAIN_SECONDS = 5.0  # until an arm whose bytes were not there is tried again
REFUSED_SECONDS = 30.0  # until a refused one is
LEAVE_SECONDS = 30.0


class Follower:
    """One model's plan on this replica. `tick` is all it does; the thread calls it every `follow_seconds`."""

    def __init__(self, house: House, desk: Desk, door: Door, cache: Cache, ring: Ring) -> None:
        self._house, self._desk, self._door, self._cache, self._ring = house, desk, door, cache, ring
        self.ready = False  # there is a plan, and its arms were tried once
        self._plan: ReleasePlan | None = None
        self._signed: SignedPlan | None = None
        self._refused_plan: SignedPlan | None = None
        self._rejected: frozenset[int] = frozenset()
        self._confirmed_at = 0.0
        self._loaded: dict[str, Loaded] = {}
        self._leaving: list[tuple[float, Loaded]] = []
        self._loading: dict[str, Future[Loaded]] = {}
        self._not_before: dict[str, float] = {}
        self._troubles: dict[str, str] = {}  # by what they are about
        self._told: tuple[ReplicaState | None, float] = (None, 0.0)

    def begin(self) -> None:
        """Takes up the plan of the last run; its signature is checked again, its age goes on."""
        kept = self._cache.plan()
        if kept is None:
            return
        signed, age = kept
        try:
            plan = believe(signed, self._desk.name, self._ring, None, lambda _: True)
        except AdmissionRefused as error:
            log.error("cached plan left aside: %s", error)
            return
        self._plan, self._signed, self._confirmed_at = plan, signed, time.monotonic() - age
        self._show()

    def tick(self, link: Link, loader: Executor, reporter: Reporter) -> None:
        """Asks, loads, shows, tells."""
        try:
            self._ask(link.ledger())
            self._troubles.pop("ledger", None)
        except TamperError as error:
            self._troubles["plan"] = str(error)
        except GrownetError as error:
            self._troubles["ledger"] = str(error)
        self._load(loader)
        self._show()
        self._tell(reporter)
        self.ready = self.ready or (self._plan is not None and not self._loading)

    def run(self, stop: threading.Event, seconds: float, tick: Callable[[], None]) -> None:
        """The thread: ticks until told to stop."""
        while not stop.is_set():
            tick()
            stop.wait(seconds)

    def close(self) -> None:
        for loaded in [*self._loaded.values(), *(one for _, one in self._leaving)]:
            _end(loaded)

    # ---- the plan --------------------------------------------------------------------------------

    def _ask(self, ledger: Ledger) -> None:
        signed = plans.current(ledger, self._desk.name)
        if signed is None:
            self._nothing_released()
        elif signed == self._signed:
            self._keep(signed, self._cache.confirm)
        elif signed == self._refused_plan:
            return
        else:
            self._take(signed, ledger)
        self._confirmed_at = time.monotonic()
        self._refused_plan = None
        self._troubles.pop("plan", None)

    def _take(self, signed: SignedPlan, ledger: Ledger) -> None:
        name = self._desk.name
        seen = self._plan if self._signed is not None else None
        try:
            plan = believe(signed, name, self._ring, seen, lambda head: audit.descends(ledger, head))
        except AdmissionRefused as error:
            self._refused_plan = signed
            self._desk.report("plan", "", str(error), kind="refused")
            raise
        rejected = [one.number for one in evidence.candidates(ledger, name) if one.artifact.content in plan.rejected]
        self._plan, self._signed, self._rejected = plan, signed, frozenset(rejected)
        self._not_before.clear()
        self._troubles = {}
        log.info("%s: revision %d: %s", name, plan.revision, plan.reason)
        self._confirmed_at = time.monotonic()
        self._show()  # what is loaded already answers under the new plan from here on
        self._keep(signed, self._cache.keep_plan)

    def _nothing_released(self) -> None:
        if self._signed is not None:
            raise AdmissionRefused(
                f"ledger of {self._desk.name}",
                expected=f"a plan of revision {self._plan.revision if self._plan else 0} or later",
                got="no plan",
                do="this is another ledger: restore the right one",
            )
        if self._plan is None:
            self._plan = initial(self._desk.name, utc_now())

    def _keep(self, signed: SignedPlan, write: Callable[[SignedPlan], None]) -> None:
        try:
            write(signed)
            self._troubles.pop("cache", None)
        except OSError as error:
            self._troubles["cache"] = f"the plan is not cached, a restart needs the ledger: {error}"

    # ---- the arms --------------------------------------------------------------------------------

    def _load(self, loader: Executor) -> None:
        wanted = contents(self._plan) if self._plan is not None else {}
        for content, future in list(self._loading.items()):
            if future.done():
                del self._loading[content]
                self._settle(content, wanted.get(content), future)
        now = time.monotonic()
        for content, arm in wanted.items():
            due = self._not_before.get(content, 0.0) <= now
            if content not in self._loaded and content not in self._loading and due:
                self._loading[content] = loader.submit(admit, arm, self._door)
        self._drop([content for content in self._loaded if content not in wanted], wanted)

    def _drop(self, unwanted: list[str], wanted: dict[str, Arm]) -> None:
        """Forgets arms; their threads end a little later, since a request under the last view may still use them."""
        now = time.monotonic()
        self._leaving += [(now, self._loaded.pop(content)) for content in unwanted]
        while self._leaving and now - self._leaving[0][0] > LEAVE_SECONDS:
            _end(self._leaving.pop(0)[1])
        if unwanted:
            self._cache.prune(_names(wanted))

    def _settle(self, content: str, arm: Arm | None, future: Future[Loaded]) -> None:
        """Takes what was loaded, or notes why not: a refused arm is reported, one that was not there is tried again."""
        try:
            loaded = future.result()
        except AdmissionRefused as error:
            self._wait(content, REFUSED_SECONDS, f"{arm.name if arm else content}: {error}")
            if arm is not None:
                self._desk.report(self._role(content), content, str(error), kind="refused")
        except (NotFound, StackError, OSError) as error:
            self._wait(content, AGAIN_SECONDS, f"{arm.name if arm else content} cannot be loaded: {error}")
        else:
            self._loaded[content] = loaded
            self._troubles.pop(content, None)

    def _wait(self, content: str, seconds: float, reason: str) -> None:
        log.error("%s", reason)
        self._not_before[content] = time.monotonic() + seconds
        self._troubles[content] = reason

    def _role(self, content: str) -> str:
        plan = self._plan
        arms = {name: getattr(plan, name) for name in ("champion", "canary", "control", "previous")}
        return next(name for name, arm in arms.items() if arm and arm.artifact and arm.artifact.content == content)

    # ---- what others see -------------------------------------------------------------------------

    def _show(self) -> None:
        if self._plan is not None:
            self._desk.show(self._plan, self._loaded, self._rejected, self._confirmed_at)
        self._desk.trouble = tuple(self._troubles.values())

    def _tell(self, reporter: Reporter) -> None:
        """After each change, and as a sign of life."""
        view = self._desk.view
        if view is None or self._troubles.get("ledger"):
            return
        loaded: dict[str, str] = {}
        for name in ("champion", "previous", "canary", "control"):
            arm = view.arm(name)
            found = view.of(arm)
            if arm is not None and (self._house.forced or arm.is_rules):
                loaded[name] = "rules"
            elif found is not None and found.content not in view.tripped:
                loaded[name] = found.content
        state = ReplicaState(
            replica=self._house.replica,
            model=self._desk.name,
            revision=view.plan.revision,
            loaded=loaded,
            at=utc_now(),
            url=self._house.url,
        )
        before, when = self._told
        same = before is not None and msgspec.structs.replace(before, at=state.at) == state
        if not same or time.monotonic() - when >= HEARTBEAT_SECONDS:
            reporter.state(state)
            self._told = (state, time.monotonic())


def _names(wanted: dict[str, Arm]) -> set[str]:
    """The digests of everything the arms of a plan need."""
    names = set(wanted)
    for arm in wanted.values():
        names |= {arm.evidence, arm.features.content if arm.features else ""}
    return names


def _end(loaded: Loaded) -> None:
    loaded.live.close()
    loaded.beside.close()
