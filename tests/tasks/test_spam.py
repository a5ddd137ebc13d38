"""Spam is switched off: nothing trains, watches or asks about it, and who tries is told how to switch it on; then it is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
import yaml

from benchmarks import bundled
from configs import load as loading
from errors import UsageError
from models.contract import find
from records import Candidate, Order, utc_now
from stores.artifacts import Bundle
from stores.lake import Lake
from stores.ledger import batches
from stores.ledger.batches import Batch
from tasks import reference, retrain
from tasks.features import artifacts_of, build_features
from tasks.monitor import chosen
from tasks.questions import Asked, compose, seated
from tasks.trace import describe, overview
from tasks.train import train
from tests.tasks.school import School

NAME = "spam"
HOLDOUT = {"holdout_days": 28, "validation_days": 28, "outcome_days": 28}
MESSAGES = 1800  # of the bundled ones, from the first


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[School]:
    """A home with four months of messages in its lake and the model as the house has it: off."""
    folder = tmp_path_factory.mktemp("spam")
    (folder / "mlflow").mkdir()
    shutil.copy(migrated, folder / "mlflow" / "mlflow.db")
    made = School(folder, f"sqlite:///{folder}/mlflow/mlflow.db")
    shutil.copy(Path(loading.__file__).parent / f"{NAME}.yaml", made.configs)
    made.config = loading.load(made.configs)
    rows = pa.Table.from_pandas(bundled(NAME)["messages"].head(MESSAGES).assign(batch_id="all"), preserve_index=False)
    version = Lake(made.settings.lake_uri).append("messages", rows, "batch:all", 1)
    newest = rows["received_at"].to_pylist()[-1]
    new = Batch(
        table="messages", id="all", digest="0" * 64, rows=len(rows), quarantined=0, delta_version=version,
        suite="0" * 64, newest=newest, at=utc_now(),
    )  # fmt: skip
    batches.register(made.ledgers["flow"], new)
    yield made
    made.close()


def switch(house: School, on: bool) -> None:
    """As a person does it: one line of the model's YAML."""
    path = house.configs / f"{NAME}.yaml"
    own = yaml.safe_load(path.read_text(encoding="utf-8")) | {"enabled": on, "split": HOLDOUT}
    path.write_text(yaml.safe_dump(own), encoding="utf-8")
    house.config = loading.load(house.configs)


def test_it_is_off_until_a_person_switches_it_on() -> None:
    config = loading.load()
    assert not config.models[NAME].enabled
    assert NAME not in config.enabled
    assert "recommendation" in config.enabled


def test_switched_off_it_is_neither_built_nor_trained_nor_watched_nor_asked_about(house: School) -> None:
    switch(house, on=False)
    settings, config = house.settings, house.config
    assert chosen(config, "") == ["recommendation"]
    order = Order(model=NAME, reason="a test")
    with seated(settings, config) as board:
        asked = Asked(model=NAME, verb="promote", detail="", run="a-run", candidate="none")
        for attempt in (
            lambda: build_features(settings, config, NAME),
            lambda: retrain.accepted(settings, config, order, utc_now()),
            lambda: chosen(config, NAME),
            lambda: compose(board, asked, utc_now()),
        ):
            with pytest.raises(UsageError, match=r"enabled: true.*switched off.*configs/spam\.yaml"):
                attempt()


def test_the_overview_says_so(house: School) -> None:
    switch(house, on=False)
    facts = overview(house.settings, house.config)
    assert [item["enabled"] for item in facts if item["model"] == NAME] == [False]
    assert "spam is switched off; enabled: true" in describe(facts)


def test_switched_on_it_is_trained_like_any_other(house: School) -> None:
    switch(house, on=True)
    assert NAME in chosen(house.config, "")
    features = build_features(house.settings, house.config, NAME)
    candidate: Candidate = train(house.settings, house.config, features, Order(model=NAME, reason="switched on"))
    bundle = Bundle.unpack(artifacts_of(house.settings).get(candidate.artifact))
    model = find(NAME)
    fitted, requests = model.load(bundle.model), model.example()
    answers = model.predict(fitted, None, requests)
    assert [answer.items[0] for answer in answers][:3] == ["ham", "ham", "quarantine"]
    assert msgspec.json.decode(bundle.expected)[2]["items"] == ["quarantine"]
    assert (bundle.manifest.kpi, bundle.manifest.judge) == ("worth", "paired")
    references, sample = reference.opened(bundle.reference)
    assert {"characters", "signs", "decision", "outcome"} <= {one.name for one in references.columns}
    assert len(sample) > 500
    assert features.as_of - candidate.trained_until >= timedelta(days=28)
    assert b"text" not in bundle.reference["sample.parquet"]
