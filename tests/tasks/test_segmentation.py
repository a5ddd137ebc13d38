"""Segmentation through the tasks of the lifecycle: features, training with its reference, every gate, on a made-up shop."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from configs import load as loading
from models.contract import find
from models.kit import rfm
from records import Candidate, Evidence, Order
from stores.artifacts import Bundle
from tasks import reference
from tasks.features import artifacts_of, build_features
from tasks.train import train
from tasks.validate import validate
from tests.tasks.school import School

NAME = "segmentation"
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
DAYS = 280
HABITS = {  # mean days between orders, GBP of each, customers
    "weekly": (6, 500.0, 120),
    "monthly": (24, 250.0, 450),
    "rarely": (75, 150.0, 700),
    "hardly": (160, 80.0, 730),
}


def orders() -> pd.DataFrame:
    """Customers who order as regularly as their habit and begin when they like; habits tell who comes back."""
    draw, rows = np.random.default_rng(11), []
    for habit, (gap, spend, count) in HABITS.items():
        for customer in range(count):
            at = draw.uniform(0, DAYS - 30)
            while at < DAYS:
                rows.append((f"{habit} {customer}", START + timedelta(days=at), spend * draw.uniform(0.8, 1.25)))
                at += gap * draw.uniform(0.7, 1.3)
    frame = pd.DataFrame(rows, columns=["who", "invoice_date", "unit_price"])
    numbers = {who: at for at, who in enumerate(sorted(set(frame["who"])))}
    frame["customer_id"] = frame.pop("who").map(numbers).map("p1_{:032x}".format)
    frame["invoice_no"] = [f"{500000 + at}" for at in range(len(frame))]
    return frame.assign(
        stock_code="20001", description="a thing", quantity=1, country="United Kingdom", batch_id="all"
    ).astype({"quantity": "int64"})


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[School]:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "mlflow").mkdir()
    shutil.copy(migrated, folder / "mlflow" / "mlflow.db")
    made = School(folder, f"sqlite:///{folder}/mlflow/mlflow.db", drift_max_psi=2.0)  # a young shop: tenure only grows
    shutil.copy(Path(loading.__file__).parent / f"{NAME}.yaml", made.configs)
    made.config = loading.load(made.configs)
    made.take_in(orders(), "all")
    yield made
    made.close()


@pytest.fixture(scope="module")
def candidate(shop: School) -> Candidate:
    features = build_features(shop.settings, shop.config, NAME)
    return train(shop.settings, shop.config, features, Order(model=NAME, reason="a test"))


@pytest.fixture(scope="module")
def found(shop: School, candidate: Candidate) -> Evidence:
    return validate(shop.settings, shop.config, candidate)


def test_the_bundle_holds_named_groups_and_what_to_watch(shop: School, candidate: Candidate) -> None:
    bundle = Bundle.unpack(artifacts_of(shop.settings).get(candidate.artifact))
    fitted = find(NAME).load(bundle.model)
    assert {rfm.LOYAL, rfm.LOST} <= set(fitted.names)
    assert (bundle.manifest.kpi, bundle.manifest.judge) == ("repeat_calibration", "paired")
    assert msgspec.json.decode(bundle.expected)[0]["items"] == [rfm.UNKNOWN]
    references, sample = reference.opened(bundle.reference)
    assert {"recency", "orders", "spend", "tenure", "decision"} <= {one.name for one in references.columns}
    assert set(sample["decision"].dropna()) <= {*fitted.names, rfm.UNKNOWN}


def test_outcomes_that_were_not_due_are_no_reference(shop: School, candidate: Candidate) -> None:
    """Of the holdout's four weekly mailings at most the first has its 28 days behind it: too few to compare with."""
    bundle = Bundle.unpack(artifacts_of(shop.settings).get(candidate.artifact))
    references, sample = reference.opened(bundle.reference)
    answered = sample[sample["decision"].notna()]
    assert answered["outcome"].notna().mean() < 0.35
    assert "outcome" not in {one.name for one in references.columns}


def test_every_gate_is_judged_and_the_groups_beat_the_rules(found: Evidence) -> None:
    outcomes = {gate.name: gate.outcome for gate in found.gates}
    assert found.passed, found.reason
    assert set(outcomes.values()) == {"pass"}
    assert found.metrics["repeat_score"] > found.metrics["rules.repeat_score"] > found.metrics["one_rate.repeat_score"]
    assert found.metrics["smallest_share"] >= 0.05
    assert 0 < found.metrics["stability"] <= 1
