"""Follows the release plan of one model: asks the ledger, believes what is signed and newer, loads what it names.

Reads the ledger and the artifact store; writes the replica's cache. One thread for each model; loading happens beside
it, so that a slow artifact never delays a rollback. What the ledger cannot say, the cache does: also at the start.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

import msgspec

from checks.plans import initial
from errors import AdmissionRefused, GrownetError, LedgerUnavailable, NotFound, StackError, TamperError
from records import Arm, ReleasePlan, ReplicaState, SignedPlan, utc_now
from serving.admission import Door, believe
from serving.cache import Cache
from serving.desk import Desk
from serving.fresh import Fresh
from serving.house import House
from serving.lineage import refuse_unauthorised
from serving.loader import Loader
from serving.reporter import Link, Reporter
from serving.view import Loaded, contents
from stores.ledger import audit, evidence, plans
from stores.ledger.counters import FEATURES
from stores.ledger.engine import Ledger
from stores.ledger.signing import Ring

log = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 2.0  # how often a replica says that it is there; the guard counts the living
AGAIN_SECONDS = 5.0  # until an arm whose bytes were not there is tried again
REFUSED_SECONDS = 30.0  # until a refused one is
LONG_SECONDS = 60.0  # after which one that still loads is a trouble, and no reason not to be ready
LEAVE_SECONDS = 30.0
NOT_THERE = (NotFound, StackError, OSError)  # worth another try soon


class Follower:
    """One model's plan on this replica. `tick` is all it does; the thread calls it every `follow_seconds`."""

    def __init__(self, house: House, desk: Desk, door: Door, cache: Cache, ring: Ring) -> None:
        self._house, self._desk, self._door, self._cache, self._ring = house, desk, door, cache, ring
        self.ready = False  # there is a plan, and its arms were tried once
        self._plan: ReleasePlan | None = None
        self._signed: SignedPlan | None = None
        self._refused_plan: tuple[SignedPlan, str, float] | None = None  # which, why, and when it is judged again
        self._rejected: frozenset[int] = frozenset()  # the numbers of
        self._numbered: tuple[str, ...] = ()  # these artifacts
        self._confirmed_at = 0.0
        self._loaded: dict[str, Loaded] = {}
        self._fresh = Fresh(desk.name, door, cache, ring, self._refused_features)
        self._leaving: list[tuple[float, Loaded]] = []
        self._loading: dict[str, Future[Loaded]] = {}
        self._began: dict[str, float] = {}  # loading; by the monotonic clock
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
        self._fresh.begin(contents(plan))
        self._show()

    def tick(self, link: Link, loader: Loader, reporter: Reporter) -> None:
        """Asks, loads, shows, tells. Whatever one of them meets, the others are done."""
        self._survive("ledger", lambda: self._ask(link.ledger()))
        self._survive("features", lambda: self._look(link))
        self._survive("arms", lambda: self._load(loader))
        self._survive("view", self._show)
        self._survive("report", lambda: self._tell(reporter))
        tried = self._loading.keys() <= self._troubles.keys()  # or hang
        self.ready = self.ready or (self._plan is not None and tried)

    def run(self, stop: threading.Event, seconds: float, tick: Callable[[], None]) -> None:
        """The thread: ticks until told to stop."""
        while not stop.is_set():
            tick()
            stop.wait(seconds)

    def _survive(self, about: str, do: Callable[[], None]) -> None:
        """Does it; what it raises is a trouble until it is done without."""
        try:
            do()
        except TamperError as error:
            self._trouble("plan" if about == "ledger" else about, str(error))
        except GrownetError as error:
            self._trouble(about, str(error))
        except Exception as error:  # noqa: BLE001 - the edge: no row and no client of a store may end the following
            self._trouble(about, f"{type(error).__name__}: {error}", error)
        else:
            self._troubles.pop(about, None)

    def _trouble(self, about: str, reason: str, error: BaseException | None = None) -> None:
        """Notes a trouble; the log gets it when it is another one than before."""
        if self._troubles.get(about) != reason:
            log.error("%s: %s: %s", self._desk.name, about, reason, exc_info=error)
        self._troubles[about] = reason

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
        elif self._refused_lately(signed):
            return
        else:
            self._take(signed, ledger)
        self._confirmed_at = time.monotonic()
        self._refused_plan = None
        self._troubles.pop("plan", None)
        self._number(ledger)

    def _take(self, signed: SignedPlan, ledger: Ledger) -> None:
        name = self._desk.name
        seen = self._plan if self._signed is not None else None
        try:
            plan = believe(signed, name, self._ring, seen, lambda head: audit.descends(ledger, head))
            refuse_unauthorised(ledger, signed, seen, self._ring)
        except AdmissionRefused as error:
            self._refuse(signed, str(error))
            raise
        self._plan, self._signed = plan, signed
        self._not_before.clear()
        self._troubles = {}
        log.info("%s: revision %d: %s", name, plan.revision, plan.reason)
        self._confirmed_at = time.monotonic()
        self._show()  # what is loaded already answers under the new plan from here on
        self._keep(signed, self._cache.keep_plan)

    def _refused_lately(self, signed: SignedPlan) -> bool:
        """True while a refused plan is not judged again: what was wrong about the ledger may be mended."""
        return self._refused_plan is not None and (
            self._refused_plan[0] == signed and time.monotonic() < self._refused_plan[2]
        )

    def _refuse(self, signed: SignedPlan, reason: str) -> None:
        told = self._refused_plan is not None and self._refused_plan[:2] == (signed, reason)
        self._refused_plan = (signed, reason, time.monotonic() + AGAIN_SECONDS)
        if not told:
            self._desk.report("plan", "", reason, kind="refused")

    def _look(self, link: Link) -> None:
        """For newer features of what the plan names; that the ledger is away is said already."""
        if self._plan is not None:
            with suppress(LedgerUnavailable):
                self._fresh.look(link.ledger(), contents(self._plan))

    def _refused_features(self, reason: str) -> None:
        """Names no artifact: the version is as good as it was, and goes on with the features it has."""
        self._desk.report(FEATURES, "", reason, kind="refused")

    def _number(self, ledger: Ledger) -> None:
        """Learns which version numbers the plan rejects, for the 410 of their routes. The plan is followed without."""
        rejected = self._plan.rejected if self._plan is not None else ()
        if rejected == self._numbered:
            return
        self._rejected, unreadable = evidence.numbers(ledger, self._desk.name, rejected)
        self._numbered = rejected
        if unreadable:
            log.error("%s: candidates nobody can read: %s", self._desk.name, ", ".join(unreadable))

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

    def _load(self, loader: Loader) -> None:
        wanted = contents(self._plan) if self._plan is not None else {}
        for content, future in list(self._loading.items()):
            if future.done():
                del self._loading[content]
                self._settle(content, wanted.get(content), future)
        self._bar(wanted)
        now = time.monotonic()
        for content, arm in wanted.items():
            due = self._not_before.get(content, 0.0) <= now
            if content not in self._loaded and content not in self._loading and due:
                self._loading[content] = loader.submit(self._fresh.admit, arm)
                self._began[content] = now
            elif content in self._loading and now - self._began[content] > LONG_SECONDS:
                self._trouble(content, f"{arm.name} has been loading for more than {LONG_SECONDS:g} s")
        unwanted = [content for content in self._loaded if content not in wanted]
        self._drop(unwanted)
        if self._fresh.renew(loader, self._loaded, wanted) or unwanted:
            self._cache.prune(_names(wanted) | self._fresh.names(wanted))

    def _bar(self, wanted: dict[str, Arm]) -> None:
        """Takes out of what is wanted the arms whose artifact the plan rejects for good: they never answer."""
        for content in sorted(wanted.keys() & set(self._plan.rejected if self._plan is not None else ())):
            reason = f"{wanted.pop(content).name}: its artifact was rejected for good"
            if self._troubles.get(content) != reason:
                self._troubles[content] = reason
                self._desk.report(self._role(content), content, reason, kind="refused")

    def _drop(self, unwanted: list[str]) -> None:
        """Forgets arms; their threads end a little later, since a request under the last view may still use them."""
        now = time.monotonic()
        self._leaving += [(now, self._loaded.pop(content)) for content in unwanted]
        while self._leaving and now - self._leaving[0][0] > LEAVE_SECONDS:
            _end(self._leaving.pop(0)[1])

    def _settle(self, content: str, arm: Arm | None, future: Future[Loaded]) -> None:
        """Takes what was loaded, or notes why not: a refused arm is reported, one that was not there is tried again.

        Anything else (a store's client may raise what it likes) is tried again as well: a trip would reject the
        artifact for good.
        """
        error, name = future.exception(), arm.name if arm else content
        if error is None:
            self._loaded[content] = future.result()
            self._troubles.pop(content, None)
        elif isinstance(error, AdmissionRefused):
            self._wait(content, REFUSED_SECONDS, f"{name}: {error}")
            if arm is not None:
                self._desk.report(self._role(content), content, str(error), kind="refused")
        elif isinstance(error, NOT_THERE):
            self._wait(content, AGAIN_SECONDS, f"{name} cannot be loaded: {error}")
        else:
            self._wait(content, REFUSED_SECONDS, f"{name} cannot be loaded: {type(error).__name__}: {error}", error)

    def _wait(self, content: str, seconds: float, reason: str, error: BaseException | None = None) -> None:
        self._not_before[content] = time.monotonic() + seconds
        self._trouble(content, reason, error)

    def _role(self, content: str) -> str:
        plan = self._plan
        arms = {name: getattr(plan, name) for name in ("champion", "canary", "control", "previous")}
        return next(name for name, arm in arms.items() if arm and arm.artifact and arm.artifact.content == content)

    # ---- what others see -------------------------------------------------------------------------

    def _show(self) -> None:
        if self._plan is not None:
            self._desk.show(self._plan, self._loaded, self._rejected, self._confirmed_at)
        self._desk.trouble = (*self._troubles.values(), *self._fresh.troubles)

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
