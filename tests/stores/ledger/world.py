"""A small real world for tests of releases: a ledger on a file, a vault, three reviewers and arms they voted on.

`World(folder)`; `world.approved("recommendation", 1, base=0)` runs a whole ballot and gives the arm and the ballot id.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from checks import plans as moves
from records import (
    Arm,
    Artifact,
    BallotSubject,
    Decision,
    FeatureSet,
    ReleasePlan,
    Rollout,
    RolloutGates,
    Ruling,
    Snapshot,
    Step,
    Verb,
    Version,
    Versions,
    Vote,
    digest_of,
)
from stores.ledger import ballots, people, plans, rulings, votes
from stores.ledger.engine import Ledger
from stores.ledger.tables import Role
from stores.vault import Signer, Vault, totp_secret

MODEL = "recommendation"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ROLES = ("data_science_lead", "privacy_officer", "dev_ops")
REVIEWERS = dict(zip(("ada", "ben", "cleo"), ROLES, strict=True))
GATES = RolloutGates(
    kpi="hit",
    margin_fail=0.05,
    margin_pass=0.05,
    alpha=0.05,
    max_error_rate=0.01,
    max_late_rate=0.05,
    min_requests=50,
    missing_seconds=60,
    attribution_seconds=0,
)
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


class Ledgers(dict[Role, Ledger]):
    """A ledger of each role, opened when it is first asked for."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def __missing__(self, role: Role) -> Ledger:
        self[role] = Ledger.open(self._url, role)
        return self[role]


def by_hand(world: World, statement: str, *values: str) -> None:
    """What somebody does who owns the ledger's file: the triggers dropped, rows changed."""
    raw = sqlite3.connect(world.folder / "ledger.db")
    for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        raw.execute(f'DROP TRIGGER "{name}"')
    assert raw.execute(statement, values).rowcount
    raw.commit()
    raw.close()


class World:
    """A ledger of every role and a vault of every holder, below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, f"sqlite:///{folder}/ledger.db"
        self.ledgers = Ledgers(self.url)
        self.release = self.ledgers["release"]
        self.secrets: dict[str, str] = {}
        self._steps = 0

    def signer(self, holder: str) -> Signer:
        return Vault.open(self.folder, holder).signer

    def enrol(self, people_to_enrol: dict[str, str] | None = None) -> None:
        vault = Vault.open(self.folder, "release")
        for name, role in (people_to_enrol or REVIEWERS).items():
            self.secrets[name] = totp_secret()
            sealed = vault.seal_code(name, self.secrets[name])
            one = people.Reviewer(name=name, role=role, secret=sealed, enrolled_by="bootstrap", at=NOON)
            people.add_reviewer(self.release, one, "release")

    def ask(
        self, about: BallotSubject, *, roles: Sequence[str] = ROLES, barred: tuple[str, ...] = ()
    ) -> ballots.Ballot:
        question = ballots.Question(
            subject=about,
            rollout=ROLLOUT,
            page="# Recommendation",
            required_roles=tuple(roles),
            barred=barred,
            opened_by="release",
            opened_at=NOON,
            expires_at=NOON + timedelta(hours=1),
        )
        return ballots.open_ballot(self.release, question)

    def cast(
        self, asked: ballots.Ballot, reviewer: str, decision: Decision = "yes", *, step: int = 0
    ) -> ballots.Ballot:
        self._steps += 1
        vote = Vote(
            ballot=asked.id,
            subject=asked.subject.digest,
            reviewer=reviewer,
            role=REVIEWERS.get(reviewer, "dev_ops"),
            decision=decision,
            reason="looked at it",
            cast_at=NOON + timedelta(seconds=self._steps),
        )
        return votes.record_vote(self.release, vote, step or self._steps, signer=self.signer("release"))

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

    def close(self) -> None:
        for ledger in self.ledgers.values():
            ledger.close()
