"""A ledger with a real release on it, and somebody who plays the replicas: writes counters, trips and states.

`Town(folder)`; `town.begin(1)` releases version 1 up to its first step, `town.follow()` reports that all replicas serve
the current revision, `town.guard()` is a guard on it whose ticks the test calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from checks import plans as moves
from configs.load import load
from configs.schema import Config, Settings
from guard.lease import Leadership
from guard.loop import Guard
from records import (
    RULES,
    Counter,
    Finding,
    GuardVerdict,
    Incident,
    OutboxEvent,
    ReleasePlan,
    ReplicaState,
    Rollout,
    Ruling,
    Step,
    Trip,
    utc_now,
)
from stores.ledger import counters, findings, incidents, outbox, plans, rulings, verdicts, votes
from tests.stores.ledger.world import GATES, MODEL, NOON, REVIEWERS, World, arm, subject

STEPS = tuple(
    Step(percent=percent, min_seconds=0, min_answers=answers)
    for percent, answers in ((0.0, 200), (50.0, 500), (100.0, 0))
)
ROLLOUT = Rollout(steps=STEPS, gates=GATES, control_percent=2.0)


WELL = {"corruption": "no", "drift": "no", "kpi": "no"}
BAD = {"corruption": "no", "drift": "yes", "kpi": "yes"}


def config(**guard: Any) -> Config:
    """The house's own configuration, with a quicker guard."""
    base = load()
    quick = {"tick_seconds": 0.02, "lease_seconds": 5.0, "readback_seconds": 5.0, **guard}
    changed = base.defaults.guard.model_copy(update=quick)
    return base.model_copy(update={"defaults": base.defaults.model_copy(update={"guard": changed})})


def limited(**changes: Any) -> Config:
    """The house with other limits of monitoring or retraining."""
    base = config()
    model = base.models[MODEL]
    parts = {
        name: getattr(model, name).model_copy(
            update={key: value for key, value in changes.items() if key in type(getattr(model, name)).model_fields}
        )
        for name in ("monitor", "retrain")
    }
    return base.model_copy(update={"models": {MODEL: model.model_copy(update=parts)}})


def settings(home: Path, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "home": home,
        "configs": home,
        "ledger_url": f"sqlite:///{home}/ledger.db",
        "lake_uri": str(home / "lake"),
        "artifacts_uri": str(home / "artifacts"),
        "releases": str(home / "releases"),
        "mlflow_url": "http://127.0.0.1:9",
        "prefect_url": "http://127.0.0.1:9/api",
        "prefect_ui_url": "http://127.0.0.1:9",
    }
    return Settings(**{**values, **changes})


class Town(World):
    """One model, released by a real ballot; the replicas and the monitors are the test."""

    runs = 0  # of the monitors

    def __init__(self, folder: Path, like: Town | None = None) -> None:
        """A new town, or one on a copy of the folder of another."""
        super().__init__(folder)
        if like is not None:
            self.secrets, self._steps = dict(like.secrets), like._steps

    def begin(self, number: int, rollout: Rollout = ROLLOUT, names_freeze: bool = False) -> ReleasePlan:
        """Releases version `number` up to the first step of `rollout`, over a freeze when the ballot names it."""
        if not self.secrets:
            self.enrol()
        before = plans.current(self.release, MODEL)
        about = replace(subject(arm(number), before.plan.revision if before else 0), rollout=rollout.digest)
        about = replace(about, names_freeze=names_freeze)
        asked = self.ask(about)
        for name in REVIEWERS:
            self.cast(asked, name)
        chosen = replace(arm(number), approval=votes.approval(self.release, asked.id))
        at = utc_now()
        return plans.change(
            self.release,
            MODEL,
            lambda plan: moves.start_rollout(
                plan,
                chosen,
                rollout,
                f"salt-{number}",
                lifts_freeze=names_freeze,
                at=at,
                actor="release",
                reason="voted",
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

    def find(self, known: dict[str, str] | None = None, at: datetime | None = None, **more: str) -> list[Finding]:
        """The monitors find something of the champion (or the rules): `town.find(drift="yes", kpi="no")`, one run's findings.

        `corruption` may name where: "stream", "journal", "snapshot". What is not named is not found. Each run is about a
        window of its own, a day after the one before.
        """
        plan, now = self.plan(), at or utc_now()
        version = RULES if plan.mode == "rules" or plan.champion.is_rules else plan.champion.number
        self.runs += 1
        found = [self.finding(kind, answer, version, now) for kind, answer in {**(known or {}), **more}.items()]
        findings.save(self.ledgers["flow"], found, "monitor")
        return found

    def finding(self, kind: str, answer: str, version: int, at: datetime) -> Finding:
        where = "batch" if kind == "batch" else answer if answer in {"stream", "journal", "snapshot"} else ""
        end = NOON + timedelta(days=self.runs)
        return Finding(
            id=f"{kind}-{version}-{self.runs}",
            model=MODEL,
            kind=kind,  # type: ignore[arg-type]  # one of the four
            answer="yes" if where and answer != "no" else answer,  # type: ignore[arg-type]  # as above
            where=where,  # type: ignore[arg-type]  # as above
            version=version,
            window_start=end - timedelta(days=1),
            window_end=end,
            reason=f"{kind} was {answer} in run {self.runs}",
            figures={"psi": 0.3},
            report=f"pages/monitor/{MODEL}/{self.runs}.html",
            found_at=at,
            expires_at=at + timedelta(hours=2),
        )

    def rulings(self) -> list[Ruling]:
        return rulings.rulings(self.ledgers["reader"], MODEL)

    def rows(self) -> list[str]:
        """The rows of the table that were ruled, oldest first."""
        return [ruling.row for ruling in self.rulings()]

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

    def requests(self) -> list[OutboxEvent]:
        return [event for event in self.events() if event.name == "grownet.retrain.requested"]

    def told(self) -> list[tuple[str, str]]:
        """Level and title of the alerts, oldest first."""
        return [(alert.level, alert.title) for alert in self.alerts()]


def ticks(guard: Guard, town: Town, number: int = 3) -> None:
    """So many ticks, the replicas following each change."""
    for _ in range(number):
        town.follow()
        guard.tick()
