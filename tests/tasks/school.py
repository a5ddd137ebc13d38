"""A home in which models are really trained and judged: synthetic orders in a real lake, ledger, vault and MLflow database.

`School(folder)`; `school.train()` gives a candidate of `recommendation`; `school.serve(candidate, evidence)` votes it up
to champion.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml
from msgspec.structs import replace

from checks import plans as moves
from configs import load as loading
from configs.schema import Config
from records import Arm, Candidate, Evidence, FeatureSet, Order, ReleasePlan, digest_of, utc_now
from stores.lake import Lake
from stores.ledger import batches, plans, votes
from stores.ledger.batches import Batch
from tests.stores.ledger.world import NOON, REVIEWERS, ROLLOUT, World, subject

NAME = "recommendation"
START = datetime(2026, 3, 1, 9, tzinfo=UTC)
WEEKS, CUSTOMERS, FAMILIES, PRODUCTS = 26, 120, 4, 80
LIMITS = {  # a tenth of the customers of a real shop, in a world that is soon learned by heart
    "bias_min_rows": 10,
    "bootstrap_samples": 200,
    "overfit_max_gap": 0.9,
    "backtest_windows": 1,
    "backtest_min_wins": 1,
}


@lru_cache
def orders() -> pd.DataFrame:
    """Four tastes: each customer buys three products of one taste every other week, and of another from week 13 on.
    So history tells what comes next if its end counts more, and what sells most does not."""
    draw = np.random.default_rng(7)
    rows = []
    for week in range(WEEKS):
        for customer in range(week % 2, CUSTOMERS, 2):
            family, when = (customer // 2 + (week >= 13)) % FAMILIES, START + timedelta(weeks=week, days=customer % 7)
            invoice, chosen = f"{500000 + week * 1000 + customer}", draw.choice(PRODUCTS, size=3, replace=False)
            rows += [(invoice, f"{20000 + family * 1000 + item}", when, customer) for item in chosen]
    frame = pd.DataFrame(rows, columns=["invoice_no", "stock_code", "invoice_date", "customer"])
    frame["customer_id"] = frame.pop("customer").map("p1_{:032x}".format)
    return frame.assign(
        description="a thing", quantity=2, unit_price=1.5, country="United Kingdom", batch_id="all"
    ).astype({"quantity": "int64"})


class School(World):
    """A home below `folder` with configuration of its own; `limits` replace those of the gates."""

    def __init__(self, folder: Path, mlflow_url: str, model: str = NAME, **limits: Any) -> None:
        super().__init__(folder)
        self.model = model
        self.configs = folder / "configs"
        self.config = self.configure(**limits)
        self.environment = {
            "GROWNET_HOME": str(folder),
            "GROWNET_CONFIGS": str(self.configs),
            "GROWNET_MLFLOW_URL": mlflow_url,
        }
        self.settings = loading.settings(self.environment)

    def configure(self, params: dict[str, Any] | None = None, **limits: Any) -> Config:
        """The house's own configuration with other limits (and parameters of the model)."""
        source = Path(loading.__file__).parent
        (self.configs / "datasets").mkdir(parents=True, exist_ok=True)
        house = [source / "decisions.yaml", source / "compliance.yaml"]
        for path in [source / f"{self.model}.yaml", *house, *(source / "datasets").glob("*.yaml")]:
            (self.configs / path.relative_to(source)).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        defaults = yaml.safe_load((source / "defaults.yaml").read_text(encoding="utf-8"))
        defaults["model"]["gates"] |= LIMITS | limits
        (self.configs / "defaults.yaml").write_text(yaml.safe_dump(defaults), encoding="utf-8")
        own = yaml.safe_load((self.configs / f"{self.model}.yaml").read_text(encoding="utf-8"))
        own["params"] |= params or {}
        (self.configs / f"{self.model}.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
        self.config = loading.load(self.configs)
        return self.config

    def take_in(self, frame: pd.DataFrame, batch: str) -> None:
        """A batch as ingestion leaves it: rows in the lake, registered in the ledger."""
        rows = pa.Table.from_pandas(frame, preserve_index=False)
        version = Lake(self.settings.lake_uri).append("orders", rows, f"batch:{batch}", 1)
        new = Batch(
            table="orders",
            id=batch,
            digest=digest_of([batch, len(frame)]),
            rows=len(frame),
            quarantined=0,
            delta_version=version,
            suite="0" * 64,
            newest=frame["invoice_date"].max().to_pydatetime(),
            at=utc_now(),
        )
        batches.register(self.ledgers["flow"], new)

    def features(self) -> FeatureSet:
        from tasks.features import build_features

        return build_features(self.settings, self.config, self.model)

    def train(self, reason: str = "a test", verdict: str = "", segment: str = "") -> Candidate:
        from tasks.train import train

        order = Order(model=self.model, reason=reason, verdict=verdict, segment=segment)
        return train(self.settings, self.config, self.features(), order)

    def serve(self, candidate: Candidate, found: Evidence) -> ReleasePlan:
        """Releases a candidate to 100 %: ballot, votes and every step."""
        self._begin(candidate, found)
        return self.step_to_the_end()

    def step_to_the_end(self) -> ReleasePlan:
        """What the guard does when every step passes."""
        plan = self._guard(moves.advance)
        while plan.canary is not None:
            plan = self._guard(moves.advance)
        return plan

    def take_back(self, candidate: Candidate, found: Evidence) -> ReleasePlan:
        """Starts the rollout of a candidate and takes it back: its artifact is rejected for good."""
        self._begin(candidate, found)
        return self._guard(moves.take_back)

    def _begin(self, candidate: Candidate, found: Evidence) -> ReleasePlan:
        if not self.secrets:
            self.enrol()
        signed = plans.current(self.release, self.model)
        arm = Arm(
            number=candidate.number,
            name=candidate.versions.model.name,
            artifact=candidate.artifact,
            features=candidate.features,
            versions=candidate.versions,
            evidence=found.digest,
            config=candidate.config_digest,
        )
        asked = self.ask(subject(arm, signed.plan.revision if signed else 0))
        for name in REVIEWERS:
            self.cast(asked, name)
        chosen = replace(arm, approval=votes.approval(self.release, asked.id))
        return plans.change(
            self.release,
            self.model,
            lambda plan: moves.start_rollout(
                plan, chosen, ROLLOUT, asked.id, lifts_freeze=False, at=NOON, actor="release", reason="voted"
            ),
            signer=self.signer("release"),
            actor="release",
            ballot=asked.id,
        )

    def _guard(self, move: Callable[..., ReleasePlan]) -> ReleasePlan:
        return plans.change(
            self.ledgers["guard"],
            self.model,
            lambda plan: move(plan, at=utc_now(), actor="guard", reason=move.__name__),
            signer=self.signer("guard"),
            actor="guard",
        )
