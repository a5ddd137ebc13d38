"""A ledger with a real release on it, and somebody who plays the replicas: writes counters, trips and states.

`Town(folder)`; `town.begin(1)` releases version 1 up to its first step, `town.follow()` reports that all replicas serve
the current revision, `town.guard()` is a guard on it whose ticks the test calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from checks import plans as moves
from configs.load import load
from configs.schema import Config, Settings
from guard.lease import Leadership
from guard.loop import Guard
from records import (
    Counter,
    GuardVerdict,
    Incident,
    OutboxEvent,
    ReleasePlan,
    ReplicaState,
    Rollout,
    Step,
    Trip,
    utc_now,
)
from stores.ledger import counters, incidents, outbox, plans, verdicts, votes
from tests.stores.ledger.world import GATES, MODEL, REVIEWERS, World, arm, subject

STEPS = tuple(
    Step(percent=percent, min_seconds=0, min_answers=answers)
    for percent, answers in ((0.0, 200), (50.0, 500), (100.0, 0))
)
ROLLOUT = Rollout(steps=STEPS, gates=GATES, control_percent=2.0)


def config(**guard: Any) -> Config:
    """The house's own configuration, with a quicker guard."""
    base = load()
    quick = {"tick_seconds": 0.02, "lease_seconds": 5.0, "readback_seconds": 5.0, **guard}
    changed = base.defaults.guard.model_copy(update=quick)
    return base.model_copy(update={"defaults": base.defaults.model_copy(update={"guard": changed})})


def settings(home: Path, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "home": home,
        "configs": home,
        "ledger_url": f"sqlite:///{home}/ledger.db",
        "lake_uri": str(home / "lake"),
        "artifacts_uri": str(home / "artifacts"),
        "mlflow_url": "http://127.0.0.1:9",
        "prefect_url": "http://127.0.0.1:9/api",
        "prefect_ui_url": "http://127.0.0.1:9",
    }
    return Settings(**{**values, **changes})


class Town(World):
    """One model, released by a real ballot; the replicas are the test."""

    def begin(self, number: int, rollout: Rollout = ROLLOUT) -> ReleasePlan:
        """Releases version `number` up to the first step of `rollout`."""
        if not self.secrets:
            self.enrol()
        before = plans.current(self.release, MODEL)
        about = replace(subject(arm(number), before.plan.revision if before else 0), rollout=rollout.digest)
        asked = self.ask(about)
        for name in REVIEWERS:
            self.cast(asked, name)
        chosen = replace(arm(number), approval=votes.approval(self.release, asked.id))
        at = utc_now()
        return plans.change(
            self.release,
            MODEL,
            lambda plan: moves.start_rollout(
                plan, chosen, rollout, f"salt-{number}", lifts_freeze=False, at=at, actor="release", reason="voted"
            ),
            signer=self.signer("release"),
            actor="release",
            ballot=asked.id,
        )

    def operate(self, verb: Any, name: str = "ada") -> ReleasePlan:
        """An operator's verb, such as `checks.plans.freeze`."""
        return plans.change(
            self.ledgers["operator"],
            MODEL,
            lambda plan: verb(plan, at=utc_now(), actor=f"operator:{name}", reason="a test"),
            signer=self.signer(f"operator:{name}"),
            actor=f"operator:{name}",
        )

    def plan(self) -> ReleasePlan:
        signed = plans.current(self.ledgers["reader"], MODEL)
        assert signed is not None
        return signed.plan

    def follow(self, *names: str, revision: int | None = None, at: datetime | None = None) -> None:
        """Replicas report that they serve the current plan (or are still at another revision)."""
        plan = self.plan()
        arms = {name: getattr(plan, name) for name in ("champion", "previous", "canary", "control")}
        loaded = {name: one.artifact.content if one.artifact else "rules" for name, one in arms.items() if one}
        for name in names or ("replica-1",):
            state = ReplicaState(
                replica=name,
                model=MODEL,
                revision=plan.revision if revision is None else revision,
                loaded=loaded,
                at=at or utc_now(),
            )
            counters.report_replica(self.ledgers["serving"], state)

    def count(self, rows: Sequence[Counter]) -> None:
        counters.add(self.ledgers["serving"], rows)

    def trip(self, artifact: str, **changes: Any) -> None:
        plan = self.plan()
        made = Trip(
            id=f"trip-{plan.revision}-{artifact[:8]}",
            model=MODEL,
            replica="replica-1",
            revision=plan.revision,
            arm="canary",
            artifact=artifact,
            reason="expected hash 12, got 13",
            at=utc_now(),
        )
        counters.add_trip(self.ledgers["serving"], replace(made, **changes))

    def guard(self, chosen: Config | None = None, holder: str = "guard-1") -> Guard:
        chosen = chosen or config()
        leadership = Leadership(self.ledgers["guard"], holder, chosen.defaults.guard.lease_seconds)
        return Guard(self.ledgers["guard"], self.signer("guard"), chosen, leadership)

    # ---- what came of it -------------------------------------------------------------------------

    def verdicts(self) -> list[GuardVerdict]:
        return verdicts.verdicts(self.ledgers["reader"], MODEL)

    def incidents(self) -> list[Incident]:
        return incidents.incidents(self.ledgers["reader"], MODEL)

    def events(self) -> list[OutboxEvent]:
        return outbox.pending(self.ledgers["reader"], 1000)

    def alerts(self) -> list[OutboxEvent]:
        return [event for event in self.events() if event.kind == "alert"]
