"""A home that can serve, made in seconds without Prefect and MLflow: `Stand(folder, Lesson(...)).released(1)` trains,
bundles, votes and releases a version of one model.

Everything is below the folder given; `benchmarks.server.Server(stand)` is a real `grownet serve` on it. Used by benchmarks
and tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
import pandas as pd
from msgspec.structs import replace

from benchmarks.home import NOON, REVIEWERS, Home
from checks import plans as moves
from configs import load as loading
from configs.schema import Config, Settings
from models import contract
from models.contract import Tables
from records import (
    Arm,
    Artifact,
    BallotSubject,
    Candidate,
    Evidence,
    FeatureSet,
    Gate,
    Manifest,
    ReleasePlan,
    Snapshot,
    Version,
    Versions,
    digest_of,
)
from serving.keys import Scope, add_key
from stores.artifacts import Artifacts, Bundle
from stores.ledger import people, plans, votes
from stores.vault import Vault

SCOPES = frozenset(get_args(Scope))


class Lesson(NamedTuple):
    """What versions of a model are made of; `tables` gets the vault that makes pseudonyms of subjects."""

    model: str
    tables: Callable[[Vault], Tables]
    as_of: datetime


class Stand(Home):
    """A home for one model.

    Args:
        changes: to the YAML files of the configuration, by file name.
        source: another configuration than the house's own.
    """

    def __init__(
        self,
        folder: Path,
        lesson: Lesson,
        changes: Mapping[str, Mapping[str, Any]] | None = None,
        source: Path = loading.HERE,
    ) -> None:
        super().__init__(folder)
        self.lesson, self.configs, self._source = lesson, folder / "configs", source
        self.decide(changes or {})
        self.environment = {"GROWNET_HOME": str(folder), "GROWNET_CONFIGS": str(self.configs)}
        self.settings: Settings = loading.settings(self.environment)
        train = Vault.open(folder, "train")
        self.artifacts = Artifacts(self.settings.artifacts_uri, train.encrypt, train.decrypt)
        self.model = contract.find(lesson.model)
        self._frame: pd.DataFrame | None = None
        self._fitted: Any = None

    def decide(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """The configuration with these changes, for this model alone."""
        loading.overlay(self._source, self.configs, changes)
        for path in self.configs.glob("*.yaml"):
            if path.stem not in {*loading.RESERVED, self.lesson.model}:
                path.unlink()
        self.config: Config = loading.load(self.configs)

    @property
    def pseudonym(self) -> Callable[[str], str]:
        return Vault.open(self.folder, "ingest").pseudonym

    # ---- candidates ------------------------------------------------------------------------------

    def candidate(self, number: int, *, passed: bool = True, **tweaks: Any) -> Arm:
        """A trained, bundled, encrypted version with evidence; `tweaks` replace fields of its manifest or bundle."""
        name, as_of = self.lesson.model, self.lesson.as_of
        frame, params, policy = self._prepared()
        fitted = self._learned()
        snapshot = self._snapshot()
        stored = self.artifacts.put_frame(frame)
        features = FeatureSet(
            model=name, version=Version(name="feature_v1", number=1, content=contract.feature_digest(self.model)), as_of=as_of, uri=stored.uri, content=stored.content,
            rows=len(frame), snapshots=(snapshot,),
        )  # fmt: skip
        versions = Versions(
            data=snapshot.version, feature=features.version, model=_version(f"{name}-v{number}", number),
            pipeline=_version("pipeline_v1", 1),
        )  # fmt: skip
        manifest = Manifest(
            model=name, number=number, name=f"{name}-v{number}", versions=versions, config_digest=digest_of("config"),
            params=msgspec.to_builtins(params), policy=msgspec.to_builtins(policy), serving={}, features=features,
            trained_until=as_of, kpi="hit_rate", judge=self.model.JUDGE,
        )  # fmt: skip
        index, requests = self.model.index(frame), self.model.example()
        expected = self.model.decide(self.model.predict(fitted, index, requests), requests, index, policy)
        changes = {key: tweaks.pop(key) for key in ("example", "expected", "files", "reference") if key in tweaks}
        bundle = Bundle(
            changes.get("files", self.model.dump(fitted)), replace(manifest, **tweaks),
            changes.get("example", msgspec.json.encode(requests)), changes.get("expected", msgspec.json.encode(expected)),
            changes.get("reference", {}),
        )  # fmt: skip
        return self._arm(number, self.artifacts.put(bundle.pack()), features, versions, passed)

    def record(self, arm: Arm) -> Candidate:
        """The candidate an arm was made of, as training writes it to the ledger."""
        assert arm.artifact
        assert arm.features
        assert arm.versions
        return Candidate(
            id=f"candidate-{arm.number}", model=self.lesson.model, number=arm.number, artifact=arm.artifact,
            features=arm.features, versions=arm.versions, config_digest=arm.config, commit="0" * 40, authors=("dora",),
            run_id="run", reason="a stand", created_at=self.lesson.as_of, trained_until=self.lesson.as_of,
        )  # fmt: skip

    def _arm(self, number: int, artifact: Artifact, features: FeatureSet, versions: Versions, passed: bool) -> Arm:
        evidence = Evidence(
            candidate=f"candidate-{number}", model=self.lesson.model, artifact=artifact.content, metrics={},
            intervals={}, created_at=self.lesson.as_of,
            gates=(Gate(name="bias", outcome="pass" if passed else "fail", reason="looked at it", figures={}),),
        )  # fmt: skip
        self.artifacts.put_document(evidence.to_json(), evidence.digest)
        return Arm(
            number=number, name=f"{self.lesson.model}-v{number}", artifact=artifact, features=features,
            versions=versions, evidence=evidence.digest, config=digest_of("config"),
        )  # fmt: skip

    def _prepared(self) -> tuple[pd.DataFrame, Any, Any]:
        params, policy = contract.configure(self.model, self.config.models[self.lesson.model])
        if self._frame is None:
            self._frame = self.model.build(self._tables(), self.lesson.as_of, params)
        return self._frame, params, policy

    def _learned(self) -> Any:
        """The same for every number: what differs is the manifest."""
        if self._fitted is None:
            self._fitted = self.model.fit(self._tables(), self.lesson.as_of, self._prepared()[1], 0)
        return self._fitted

    def _tables(self) -> Tables:
        return self.lesson.tables(Vault.open(self.folder, "ingest"))

    def _snapshot(self) -> Snapshot:
        table = next(iter(self.config.models[self.lesson.model].tables.values()))
        return Snapshot(
            table=table, version=_version("data_v1", 1), delta_version=0, rows=10, batches=("all",), suite="0" * 64
        )

    # ---- releases --------------------------------------------------------------------------------

    def vote(self, arm: Arm, base: int) -> tuple[Arm, str]:
        """The arm with the leave of a whole ballot, and the ballot's id."""
        if not people.reviewers(self.release):
            self.enrol()
        asked = self.ask(
            BallotSubject(
                ballot="",
                model=self.lesson.model,
                verb="promote",
                artifact=arm.artifact.content if arm.artifact else "",
                evidence=arm.evidence,
                rollout=self.rollout.digest,
                config=arm.config,
                feature=arm.features.version.content if arm.features else "",
                base_revision=base,
                names_freeze=False,
            )
        )
        for name in REVIEWERS:
            self.cast(asked, name)
        return replace(arm, approval=votes.approval(self.release, asked.id)), asked.id

    def begin(self, arm: Arm) -> ReleasePlan:
        """Starts the rollout of an arm by vote: it shadows."""
        return self.start_voted(*self.vote(arm, self.plan().revision))

    def start_voted(self, arm: Arm, ballot: str) -> ReleasePlan:
        """Starts the rollout of an arm that was voted on."""
        return plans.change(
            self.ledgers["release"],
            self.lesson.model,
            lambda plan: moves.start_rollout(
                plan,
                arm,
                self.rollout,
                f"salt-{arm.number}",
                lifts_freeze=False,
                at=self.asked_at(),
                actor="release",
                reason="voted",
            ),
            signer=self.signer("release"),
            actor="release",
            ballot=ballot,
        )

    def guard(self, move: Callable[..., ReleasePlan]) -> ReleasePlan:
        """A transition of `checks.plans`, signed by the guard."""
        return plans.change(
            self.ledgers["guard"],
            self.lesson.model,
            lambda plan: move(plan, at=datetime.now(UTC), actor="guard", reason=move.__name__),
            signer=self.signer("guard"),
            actor="guard",
        )

    def finish(self) -> ReleasePlan:
        """Brings the running rollout to 100 %."""
        while (plan := self.plan()).canary is not None:
            self.guard(moves.advance)
        return plan

    def released(self, number: int = 1) -> ReleasePlan:
        """Brings a new version to 100 %."""
        self.begin(self.candidate(number))
        return self.finish()

    def plan(self) -> ReleasePlan:
        signed = plans.current(self.ledgers["reader"], self.lesson.model)
        return signed.plan if signed else moves.initial(self.lesson.model, NOON)

    def key(self, *scopes: str, models: tuple[str, ...] = ("*",)) -> str:
        """An API key; all scopes when none is named."""
        return add_key(self.settings, "test", set(scopes) or SCOPES, set(models))


def _version(name: str, number: int) -> Version:
    return Version(name=name, number=number, content=digest_of([name, number]))
