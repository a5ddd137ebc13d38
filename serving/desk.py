"""The desk of one model on one replica: the view that answers, what failed lately, what this replica dropped by itself.

The plan follower and the loop that answers both come here; the view is swapped whole, under a lock for writers only.
Drops and refusals are told to the ledger as trips by `serving.reporter`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from configs.schema import ModelConfig, ServiceConfig
from models.contract import Model, configure
from records import ReleasePlan, Trip, digest_of, utc_now
from serving.answer import Choice
from serving.runner import BESIDE_SHARE, Runner
from serving.view import Loaded, View, contents
from serving.wire import Forms

log = logging.getLogger(__name__)
HANGS_AFTER = 10  # deadlines that all threads of an arm may be at one call each
RULES_THREADS = 2


class Desk:
    """One model.

    Args:
        replica: this replica's name, for trips.
        tell: takes a trip to the ledger.
    """

    def __init__(
        self, config: ModelConfig, service: ServiceConfig, model: Model, *, replica: str, tell: Callable[[Trip], None]
    ) -> None:
        self.name, self.config, self.model = config.name, config, model
        self.forms = Forms(model)
        self.view: View | None = None
        self.trouble: tuple[str, ...] = ()  # why this model is not served as the plan says
        self.rules = Runner(f"{config.name}-rules", RULES_THREADS, service.max_concurrency)  # for batches
        self.beside = Runner(f"{config.name}-rules-beside", 1, service.shadow_queue, BESIDE_SHARE)
        self._policy: Any = configure(model, config)[1]
        self._limits, self._replica, self._tell = service, replica, tell
        self._failures: dict[str, deque[float]] = {}
        self._late: dict[str, int] = {}  # calls in a row, by content
        self._lock = threading.Lock()

    def show(
        self, plan: ReleasePlan, loaded: Mapping[str, Loaded], rejected: frozenset[int], confirmed_at: float
    ) -> bool:
        """Swaps the view; True when another revision or other arms answer from now on.

        What this replica dropped stays dropped until the next revision.
        """
        with self._lock:
            before = self.view
            same = before is not None and before.plan.revision == plan.revision
            kept = {content: loaded[content] for content in contents(plan) if content in loaded}
            self.view = View(
                model=self.model,
                plan=plan,
                policy=self._policy,
                loaded=kept,
                tripped=before.tripped if same and before is not None else frozenset(),
                rejected=rejected,
                confirmed_at=confirmed_at,
                max_age=self._limits.max_age_seconds,
            )
        return not same or before is None or before.loaded.keys() != kept.keys()

    def failed(self, choice: Choice, reason: str) -> None:
        """Counts a failure of an arm, and drops the arm when there were too many within the window."""
        now, limits = time.monotonic(), self._limits
        recent = self._failures.setdefault(choice.content, deque(maxlen=limits.trip_errors))
        recent.append(now)
        if len(recent) == limits.trip_errors and now - recent[0] <= limits.trip_window_seconds:
            recent.clear()
            self.trip(
                choice.arm,
                choice.content,
                f"{limits.trip_errors} errors within {limits.trip_window_seconds:g} s, last: {reason}",
            )

    def took(self, choice: Choice, seconds: float) -> None:
        """Notes how long one call of an arm took by itself, and drops the arm when too many in a row took too long.

        What a call waited for before it was begun is not in it: a replica that has too much to do is no fault of the model.
        Called in the arm's own threads.
        """
        limit = self.config.serving.deadline_seconds
        if seconds <= limit:
            if self._late:
                self._late.pop(choice.content, None)
            return
        late = self._late[choice.content] = self._late.get(choice.content, 0) + 1
        if late >= self._limits.trip_late:
            self._late.pop(choice.content, None)
            reason = f"{late} calls in a row took longer than the deadline of {limit:g} s, the last {seconds:.2f} s"
            self.trip(choice.arm, choice.content, reason, kind="late")

    def trip(self, arm: str, content: str, reason: str, *, kind: Literal["dropped", "late"] = "dropped") -> None:
        """Drops an arm on this replica until the next revision, and says so."""
        with self._lock:
            if self.view is None or content in self.view.tripped:
                return
            self.view = msgspec.structs.replace(self.view, tripped=self.view.tripped | {content})
        self.report(arm, content, reason, kind=kind)

    def report(self, arm: str, content: str, reason: str, *, kind: Literal["refused", "dropped", "late"]) -> None:
        """Tells the guard that this replica refused or dropped something; the same thing once."""
        revision = self.view.plan.revision if self.view is not None else 0
        log.error("%s: %s %s %s at revision %d: %s", self.name, kind, arm, content[:12], revision, reason)
        told = [self._replica, self.name, revision, arm, content, reason]
        self._tell(
            Trip(
                id=digest_of(told)[:32],
                model=self.name,
                replica=self._replica,
                revision=revision,
                arm=arm,
                artifact=content,
                reason=reason,
                at=utc_now(),
                kind=kind,
            )
        )

    def look_for_hangs(self) -> None:
        """Drops an arm all of whose threads are lost to calls that do not return."""
        view = self.view
        limit = max(1.0, HANGS_AFTER * self.config.serving.deadline_seconds)
        for content, loaded in view.loaded.items() if view else ():
            arm = next((name for name in ("champion", "canary", "control", "previous") if _is(view, name, content)), "")
            for runner in (loaded.live, loaded.beside):
                if (seconds := runner.stuck_seconds) > limit:
                    self.trip(arm, content, f"hangs: {runner.name} has been at it for {seconds:.1f} s", kind="late")

    def close(self) -> None:
        self.rules.close()
        self.beside.close()


def _is(view: View | None, name: str, content: str) -> bool:
    arm = view.arm(name) if view else None
    return arm is not None and arm.artifact is not None and arm.artifact.content == content
