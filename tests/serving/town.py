"""A small real house for tests of serving: synthetic orders, real candidates of `recommendation`, real ballots and plans.

`Town(home)`; `town.release()` brings version 1 up as champion; `town.canary()` starts version 2 beside it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pandas as pd
import yaml
from msgspec.structs import replace

from checks import plans as moves
from configs import load as loading
from configs.schema import Config, Settings
from models import contract
from records import (
    Arm,
    Artifact,
    Candidate,
    Evidence,
    FeatureSet,
    Gate,
    Manifest,
    ReleasePlan,
    Rollout,
    Snapshot,
    Step,
    Version,
    Versions,
    digest_of,
)
from serving.keys import add_key
from stores.artifacts import Artifacts, Bundle
from stores.ledger import ballots, people, plans, votes
from stores.vault import Vault
from tests.stores.ledger.world import GATES, NOON, REVIEWERS, World, subject

NAME = "recommendation"
ROOT = Path(__file__).resolve().parent.parent.parent
AS_OF = datetime(2026, 11, 1, tzinfo=UTC)
PATIENT = 5.0  # seconds to answer in: a busy machine is no reason for a test to fail
ALL_SCOPES = {"predict", "feedback", "replay", "read"}
ROLLOUT = Rollout(
    steps=tuple(Step(percent=percent, min_seconds=0, min_answers=0) for percent in (0.0, 50.0, 100.0)),
    gates=GATES,
    control_percent=20.0,
)


@lru_cache
def orders() -> pd.DataFrame:
    """30 customers who buy within one of four families of products, every day for a month."""
    draw = np.random.default_rng(7)
    rows: list[tuple[int, int, int, int]] = []
    for day in range(30):
        for customer in range(0, 60, 2):
            family = (customer // 2) % 4
            items = draw.choice(10, size=3, replace=False)
            rows += [
                (500000 + day * 100 + customer, 20000 + family * 1000 + item * 17, customer, day) for item in items
            ]
    frame = pd.DataFrame(rows, columns=["invoice_no", "stock_code", "customer", "day"])
    return pd.DataFrame(
        {
            "invoice_no": frame["invoice_no"].map(str),
            "stock_code": frame["stock_code"].map(str),
            "description": "a thing",
            "quantity": 2,
            "invoice_date": pd.Timestamp(AS_OF) - pd.to_timedelta(31 - frame["day"], unit="D"),
            "unit_price": 1.5,
            "customer_id": frame["customer"].map(str),
            "country": "United Kingdom",
            "batch_id": "all",
        }
    )


class Town(World):
    """A home below `folder` with vault, ledger, artifact store and configuration of its own."""

    def __init__(self, folder: Path, service: dict[str, Any] | None = None, deadline: float = PATIENT) -> None:
        super().__init__(folder)
        self._steps = 10 * len(ballots.ballots(self.release))  # a home opened again spends other codes
        self.configs = folder / "configs"
        self.configure(service or {}, deadline)
        self.environment = {"GROWNET_HOME": str(folder), "GROWNET_CONFIGS": str(self.configs)}
        self.settings: Settings = loading.settings(self.environment)
        train = Vault.open(folder, "train")
        self.artifacts = Artifacts(self.settings.artifacts_uri, train.encrypt, train.decrypt)
        self.model = contract.find(NAME)
        self._frame: pd.DataFrame | None = None
        self._fitted: Any = None

    def configure(self, service: dict[str, Any], deadline: float = PATIENT) -> None:
        """The house's own configuration with other limits."""
        (self.configs / "datasets").mkdir(parents=True, exist_ok=True)
        source = ROOT / "configs"
        house = [source / "decisions.yaml", source / "compliance.yaml"]
        for path in [source / f"{NAME}.yaml", *house, *(source / "datasets").glob("*.yaml")]:
            (self.configs / path.relative_to(source)).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        defaults = yaml.safe_load((source / "defaults.yaml").read_text(encoding="utf-8"))
        defaults["service"] |= {"follow_seconds": 0.05, **service}
        defaults["model"]["serving"]["deadline_seconds"] = deadline
        (self.configs / "defaults.yaml").write_text(yaml.safe_dump(defaults), encoding="utf-8")
        self.config: Config = loading.load(self.configs)

    @property
    def pseudonym(self) -> Callable[[str], str]:
        return Vault.open(self.folder, "ingest").pseudonym

    # ---- candidates ------------------------------------------------------------------------------

    def candidate(self, number: int, *, passed: bool = True, **tweaks: Any) -> Arm:
        """A trained, bundled, encrypted version with evidence; `tweaks` replace fields of its manifest."""
        frame, params, policy = self._prepared()
        if self._fitted is None:  # the same for every number: what differs is the manifest
            self._fitted = self.model.fit(self._tables(), AS_OF, params, 0)
        fitted = self._fitted
        snapshot = self._snapshot()
        stored = self.artifacts.put_frame(frame)
        features = FeatureSet(
            model=NAME, version=_version("feature_v1", 1), as_of=AS_OF, uri=stored.uri, content=stored.content,
            rows=len(frame), snapshots=(snapshot,),
        )  # fmt: skip
        versions = Versions(
            data=snapshot.version, feature=features.version, model=_version(f"{NAME}-v{number}", number),
            pipeline=_version("pipeline_v1", 1),
        )  # fmt: skip
        manifest = Manifest(
            model=NAME, number=number, name=f"{NAME}-v{number}", versions=versions, config_digest=digest_of("config"),
            params=msgspec.to_builtins(params), policy=msgspec.to_builtins(policy), serving={}, features=features,
            trained_until=AS_OF, kpi="hit_rate", judge="paired",
        )  # fmt: skip
        index, requests = self.model.index(frame), self.model.example()
        expected = self.model.decide(self.model.predict(fitted, index, requests), requests, index, policy)
        changes = {key: tweaks.pop(key) for key in ("example", "expected", "files", "reference") if key in tweaks}
        bundle = Bundle(
            changes.get("files", self.model.dump(fitted)), replace(manifest, **tweaks),
            changes.get("example", msgspec.json.encode(requests)), changes.get("expected", msgspec.json.encode(expected)),
            changes.get("reference", {}),
        )  # fmt: skip
        artifact = self.artifacts.put(bundle.pack())
        return self._arm(number, artifact, features, versions, passed)

    def _arm(self, number: int, artifact: Artifact, features: FeatureSet, versions: Versions, passed: bool) -> Arm:
        evidence = Evidence(
            candidate=f"candidate-{number}", model=NAME, artifact=artifact.content, metrics={}, intervals={},
            gates=(Gate(name="bias", outcome="pass" if passed else "fail", reason="looked at it", figures={}),),
            created_at=AS_OF,
        )  # fmt: skip
        self.artifacts.put_document(evidence.to_json(), evidence.digest)
        return Arm(
            number=number, name=f"{NAME}-v{number}", artifact=artifact, features=features, versions=versions,
            evidence=evidence.digest, config=digest_of("config"),
        )  # fmt: skip

    def record(self, arm: Arm) -> Candidate:
        """The candidate an arm was made of, as training writes it to the ledger."""
        assert arm.artifact
        assert arm.features
        assert arm.versions
        return Candidate(
            id=f"candidate-{arm.number}", model=NAME, number=arm.number, artifact=arm.artifact, features=arm.features,
            versions=arm.versions, config_digest=arm.config, commit="0" * 40, authors=("dora",), run_id="run",
            reason="a test", created_at=AS_OF, trained_until=AS_OF,
        )  # fmt: skip

    def _prepared(self) -> tuple[pd.DataFrame, Any, Any]:
        params, policy = contract.configure(self.model, self.config.models[NAME])
        if self._frame is None:
            self._frame = self.model.build(self._tables(), AS_OF, params)
        return self._frame, params, policy

    def _tables(self) -> dict[str, pd.DataFrame]:
        frame = orders().copy()
        frame["customer_id"] = Vault.open(self.folder, "ingest").pseudonyms(frame["customer_id"])
        return {"orders": frame}

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            table="orders", version=_version("data_v1", 1), delta_version=0, rows=10, batches=("all",), suite="0" * 64
        )

    # ---- releases --------------------------------------------------------------------------------

    def vote(self, arm: Arm, base: int) -> tuple[Arm, str]:
        """The arm with the leave of a whole ballot, and the ballot's id."""
        if not people.reviewers(self.release):
            self.enrol()
        asked = self.ask(replace(subject(arm, base), rollout=ROLLOUT.digest))
        for name in REVIEWERS:
            self.cast(asked, name)
        return replace(arm, approval=votes.approval(self.release, asked.id)), asked.id

    def begin(self, arm: Arm) -> ReleasePlan:
        """Starts the rollout of an arm by vote: it shadows."""
        base = self.plan().revision if self.plan() else 0
        chosen, ballot = self.vote(arm, base)
        return plans.change(
            self.ledgers["release"],
            NAME,
            lambda plan: moves.start_rollout(
                plan,
                chosen,
                ROLLOUT,
                f"salt-{arm.number}",
                lifts_freeze=False,
                at=NOON,
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
            NAME,
            lambda plan: move(plan, at=datetime.now(UTC), actor="guard", reason=move.__name__),
            signer=self.signer("guard"),
            actor="guard",
        )

    def released(self, number: int = 1) -> ReleasePlan:
        """Brings a version to 100 %."""
        plan = self.begin(self.candidate(number))
        while plan.canary is not None:
            plan = self.guard(moves.advance)
        return plan

    def plan(self) -> ReleasePlan:
        signed = plans.current(self.ledgers["reader"], NAME)
        return signed.plan if signed else moves.initial(NAME, NOON)

    def key(self, *scopes: str, models: tuple[str, ...] = ("*",)) -> str:
        return add_key(self.settings, "test", set(scopes) or ALL_SCOPES, set(models))


class Server:
    """`grownet serve` as a process of its own."""

    def __init__(self, town: Town, **environment: str) -> None:
        self.town = town
        self.log = town.folder / f"serve-{time.monotonic_ns()}.log"
        own = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "grownet", "serve", "--port", "0"],
                stderr=log, stdout=log, cwd=ROOT, env={**own, **town.environment, **environment},
            )  # fmt: skip
        self.url = self._address()
        self.http = httpx.Client(base_url=self.url, timeout=10)

    def _address(self) -> str:
        wait_for(lambda: " on http://" in self.lines or self.process.poll() is not None, 60)
        assert " on http://" in self.lines, self.lines
        return "http://" + self.lines.split(" on http://")[1].split()[0]

    @property
    def lines(self) -> str:
        return self.log.read_text(errors="replace")

    def ready(self) -> Server:
        """Waits until traffic may come."""
        wait_for(self._is_ready, 30)
        return self

    def _is_ready(self) -> bool:
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def revision(self, number: int) -> None:
        wait_for(lambda: self.http.get("/readyz").json()["revisions"][NAME] == number, 10)

    def ask(self, key: str, body: Any = None, path: str = "predict", **headers: str) -> httpx.Response:
        return self.http.post(
            f"/{NAME}/{path}",
            json={"customer": "4"} if body is None else body,
            headers={"authorization": f"Bearer {key}", **headers},
        )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(timeout=30)


def wait_for(true: Callable[[], Any], seconds: float = 10.0) -> None:
    """Polls until it is so; no longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.02)


def _version(name: str, number: int) -> Version:
    return Version(name=name, number=number, content=digest_of([name, number]))
