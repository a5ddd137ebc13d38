"""A small real world for tests of releases: a ledger on a file, a vault, three reviewers and arms they voted on.

`World(folder)`; `world.approved("recommendation", 1, base=0)` runs a whole ballot and gives the arm and the ballot id.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from msgspec.structs import replace

from benchmarks.home import GATES, NOON, REVIEWERS, ROLES, Home
from checks import plans as moves
from records import (
    Arm,
    Artifact,
    BallotSubject,
    FeatureSet,
    ReleasePlan,
    Rollout,
    Ruling,
    Snapshot,
    Step,
    Verb,
    Version,
    Versions,
    digest_of,
)
from stores.ledger import plans, rulings, votes

__all__ = ["GATES", "MODEL", "NOON", "REVIEWERS", "ROLES", "ROLLOUT", "World", "arm", "by_hand", "ruling", "subject"]
MODEL = "recommendation"
PERCENTS = (0.0, 5.0, 50.0, 100.0)
ROLLOUT = Rollout(
    steps=tuple(Step(percent=percent, min_seconds=0, min_answers=0) for percent in PERCENTS),
    gates=GATES,
    control_percent=2.0,
)


def version(name: str, number: int) -> Version:
    return Version(name=name, number=number, content=digest_of([name, number]))


def arm(number: int, model: str = MODEL) -> Arm:
    """A version with all that serving asks for but the approval."""
    snapshot = Snapshot(
        table="orders", version=version("data_v1", 1), delta_version=0, rows=10, batches=("2010-12",), suite="0" * 64
    )
    features = FeatureSet(
        model=model,
        version=version("feature_v1", 1),
        as_of=NOON,
        uri="features",
        content=digest_of(["rows", number]),
        rows=5,
        snapshots=(snapshot,),
    )
    named = version(f"{model}-v{number}", number)
    return Arm(
        number=number,
        name=named.name,
        artifact=Artifact(uri=f"artifact-{number}", content=digest_of(["artifact", model, number]), size_bytes=3),
        features=features,
        versions=Versions(
            data=snapshot.version, feature=features.version, model=named, pipeline=version("pipeline_v1", 1)
        ),
        evidence=digest_of(["evidence", number]),
        config=digest_of("config"),
    )


def subject(
    chosen: Arm, base: int, verb: Verb = "promote", *, freeze: bool = False, model: str = MODEL
) -> BallotSubject:
    """What is voted on, before the ballot has an id."""
    return BallotSubject(
        ballot="",
        model=model,
        verb=verb,
        artifact=chosen.artifact.content if chosen.artifact else "",
        evidence=chosen.evidence,
        rollout=ROLLOUT.digest,
        config=chosen.config,
        feature=chosen.features.version.content if chosen.features else "",
        base_revision=base,
        names_freeze=freeze,
    )


def ruling(identity: str = "ruling-1", **changes: Any) -> Ruling:
    """What the guard concludes from drift and a KPI drop: version 2 goes, and a training is asked for."""
    made = Ruling(
        id=identity,
        model=MODEL,
        role="champion",
        revision=3,
        version=2,
        corruption="no",
        drift="yes",
        kpi="yes",
        row="drift and drop",
        table="0" * 64,
        level="critical",
        actions=("rollback", "freeze", "retrain", "incident"),
        asked="judge the retrained candidate",
        reason="orders moved and the hit rate fell by 9 %",
        inputs={},
        at=NOON,
    )
    return replace(made, **changes)


def by_hand(world: World, statement: str, *values: str) -> None:
    """What somebody does who owns the ledger's file: the triggers dropped, rows changed."""
    raw = sqlite3.connect(world.folder / "ledger.db")
    for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        raw.execute(f'DROP TRIGGER "{name}"')
    assert raw.execute(statement, values).rowcount
    raw.commit()
    raw.close()


class World(Home):
    """A ledger of every role and a vault of every holder, below one folder."""

    rollout = ROLLOUT

    def approved(self, number: int, base: int, *, freeze: bool = False) -> tuple[Arm, str]:
        """An arm that three people voted for, and the ballot's id."""
        if not self.secrets:
            self.enrol()
        chosen = arm(number)
        asked = self.ask(subject(chosen, base, freeze=freeze))
        for name in REVIEWERS:
            self.cast(asked, name)
        return replace(chosen, approval=votes.approval(self.release, asked.id)), asked.id

    def voted(self, verb: Verb, base: int) -> str:
        """The id of an approved ballot for a verb that concerns no artifact."""
        asked = self.ask(replace(subject(moves.RULES_ARM, base, verb), artifact="", evidence=""))
        for name in REVIEWERS:
            self.cast(asked, name)
        return asked.id

    def start(self, number: int, base: int) -> ReleasePlan:
        """Releases version `number` up to its first step."""
        chosen, ballot = self.approved(number, base)
        return plans.change(
            self.release,
            MODEL,
            lambda plan: moves.start_rollout(
                plan, chosen, ROLLOUT, f"salt-{number}", lifts_freeze=False, at=NOON, actor="release", reason="voted"
            ),
            signer=self.signer("release"),
            actor="release",
            ballot=ballot,
        )

    def rule(self, identity: str = "ruling-1", **changes: Any) -> Ruling:
        """A stored ruling, as the guard writes it."""
        made = ruling(identity, **changes)
        with self.ledgers["guard"].write("guard") as transaction:
            rulings.store(transaction, made)
        return made

    def advance(self) -> ReleasePlan:
        return plans.change(
            self.ledgers["guard"],
            MODEL,
            lambda plan: moves.advance(plan, at=NOON, actor="guard", reason="passed"),
            signer=self.signer("guard"),
            actor="guard",
        )

    def promote(self, number: int, base: int) -> ReleasePlan:
        """Releases version `number` to 100 %."""
        plan = self.start(number, base)
        while plan.canary is not None:
            plan = self.advance()
        return plan
