"""A version as it was trained, its evidence and its chapter, small enough to read on the page they make."""

from __future__ import annotations

from msgspec.structs import replace

from models.contract import Feature
from records import Candidate, Evidence, Gate, Version
from tasks.origin import ColumnFacts, Origin, TableFacts
from tasks.story import Chapter, fresh
from tests.stores.ledger.world import MODEL, NOON, arm

DAYS = Feature(name="days", dtype="float64", low=0, high=1e4, unit="days", meaning="since the last order")
KNOWN = Feature(name="known", dtype="bool", meaning="somebody | asks")
TABLE = TableFacts(
    dataset="shop",
    table="orders",
    description="Order lines of a shop",
    licence="CC BY 4.0",
    owner="data@example.org",
    version=Version(name="data_v3", number=3, content="d" * 64),
    delta_version=7,
    rows=1200,
    learned=1000,
    first=NOON,
    last=NOON,
    columns=(
        ColumnFacts(name="customer_id", type="string", meaning="who", subject=True, redacted=False, nullable=True),
        ColumnFacts(
            name="note", type="string", meaning="what they wrote", subject=False, redacted=True, nullable=False
        ),
    ),
    dropped={"address": "nobody learns from it"},
)
BIAS = {
    "country.home": -0.1,
    "country.home: subjects": 40.0,
    "country.home: mean": 0.45,
    "country.home: low": -0.2,
    "country.home: high": 0.05,
    "country.moon: subjects": 3.0,
    "overall": 0.5,
    "limit": -0.5,
}


def candidate(number: int = 1, reason: str = "monthly") -> Candidate:
    made = arm(number)
    assert made.artifact
    assert made.features
    assert made.versions
    return Candidate(
        id=f"{made.name}-abc",
        model=MODEL,
        number=number,
        artifact=made.artifact,
        features=made.features,
        versions=made.versions,
        config_digest=made.config,
        commit="c" * 40,
        authors=("Ada <ada@example.org>",),
        run_id="run",
        reason=reason,
        created_at=NOON,
        trained_until=NOON,
    )


def origin(number: int = 1) -> Origin:
    made = candidate(number)
    return Origin(
        model=MODEL,
        name=made.versions.model.name,
        number=number,
        artifact=made.artifact.content,
        versions=made.versions,
        description="Products for a customer",
        owners=("lead@example.org", "second@example.org"),
        metric="ndcg",
        kpi="hit_rate",
        judge="paired",
        params={"blend": {"weight": 0.5}, "ridge": 500.0},
        policy={"max_items": 10},
        split={"holdout_days": 28, "validation_days": 28, "outcome_days": 28},
        limits={"bias_max_gap": 0.5},
        trained_until=NOON,
        as_of=NOON,
        feature_rows=5,
        tables=(TABLE,),
        features=(DAYS,),
        watched=(KNOWN,),
        quotes={
            "Known failure modes": "- new customers get what sells",
            "How good it is": "| | hit |\n|---|---|\n| EASE | 0.5 |",
        },
        notes=("Nobody wrote about fairness.",),
    )


def evidence(*, passed: bool = True, number: int = 1) -> Evidence:
    made = candidate(number)
    outcome = "pass" if passed else "fail"
    return Evidence(
        candidate=made.id,
        model=MODEL,
        artifact=made.artifact.content,
        gates=(
            Gate(name="champion", outcome=outcome, reason="against rules, a | b", figures={}),  # type: ignore[arg-type]  # one of two words
            Gate(name="bias", outcome="pass", reason="looked at it", figures=BIAS),
        ),
        metrics={
            "ndcg": 0.5,
            "champion.ndcg": 0.4,
            "training.ndcg": 0.6,
            "ndcg - champion": 0.1,
            "ndcg - item_item": 0.01,
            "subjects": 43.0,
        },
        intervals={"ndcg": (0.45, 0.55), "ndcg - champion": (0.05, 0.15), "ndcg - item_item": (-0.02, 0.04)},
        created_at=NOON,
    )


def chapter(number: int = 1, reason: str = "monthly") -> Chapter:
    return fresh(candidate(number, reason))


def moved(made: Origin, feature: int, **changes: object) -> Origin:
    """The same version on another feature_vN."""
    version = Version(name=f"feature_v{feature}", number=feature, content=str(feature) * 64)
    return replace(made, versions=replace(made.versions, feature=version), **changes)
