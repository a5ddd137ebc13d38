from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from mlflow import MlflowClient

from configs.load import config_digest
from errors import DataError, UsageError
from models.contract import Decided, find
from records import Candidate, Order
from stores.artifacts import Bundle
from stores.ledger import evidence
from tasks.features import artifacts_of
from tasks.train import train
from tests.tasks.school import NAME, START, School, orders


@pytest.fixture(scope="module")
def candidate(taught: School) -> Candidate:
    return taught.train("  the first one ")


@pytest.fixture(scope="module")
def bundle(taught: School, candidate: Candidate) -> Bundle:
    return Bundle.unpack(artifacts_of(taught.settings).get(candidate.artifact))


def test_a_candidate_leads_back_to_all_it_came_from(taught: School, candidate: Candidate) -> None:
    assert (candidate.model, candidate.number, candidate.reason) == (NAME, 1, "the first one")
    names = [getattr(candidate.versions, kind).name for kind in ("data", "feature", "model", "pipeline")]
    assert names == ["data_v1", "feature_v1", f"{NAME}-v1", "pipeline_v1"]
    assert candidate.config_digest == config_digest(taught.config, NAME)
    assert candidate.trained_until == orders()["invoice_date"].max() - timedelta(days=28)
    assert candidate.commit
    assert candidate.authors
    assert evidence.candidate(taught.ledgers["reader"], candidate.id) == candidate


def test_the_bundle_says_what_it_is_and_repeats_its_answers(
    taught: School, candidate: Candidate, bundle: Bundle
) -> None:
    manifest, model = bundle.manifest, find(NAME)
    assert (manifest.name, manifest.number, manifest.versions) == (f"{NAME}-v1", 1, candidate.versions)
    assert (manifest.features, manifest.judge, manifest.kpi) == (candidate.features, "paired", "hit_rate")
    assert manifest.params["ridge"] == 500
    policy = msgspec.convert(manifest.policy, model.Policy)
    index = model.index(artifacts_of(taught.settings).frame(manifest.features))
    requests = model.example()
    decided = model.decide(model.predict(model.load(bundle.model), index, requests), requests, index, policy)
    assert msgspec.json.decode(bundle.expected, type=list[Decided]) == decided
    assert len(msgspec.json.decode(bundle.example)) == len(requests)


def test_nothing_after_the_cut_was_learned_from(school: School) -> None:
    """A product that is first sold in the holdout is known to the served features and not to the model."""
    late = orders().tail(40).assign(stock_code="99999", invoice_date=orders()["invoice_date"].max())
    school.take_in(late, "late")
    trained = school.train()
    found = Bundle.unpack(artifacts_of(school.settings).get(trained.artifact))
    assert b'"99999"' not in found.model["model.json"]
    frame = artifacts_of(school.settings).frame(trained.features)
    assert (frame["item"] == "99999").any()


def test_training_again_gives_the_same_bytes_the_same_number_and_another_candidate(
    taught: School, candidate: Candidate
) -> None:
    again = taught.train("once more")
    assert again.artifact == candidate.artifact
    assert again.versions == candidate.versions
    assert again.id != candidate.id


def test_another_configuration_is_another_version(school: School) -> None:
    first = school.train()
    school.configure(params={"ridge": 100.0})
    second = school.train()
    assert (first.number, second.number) == (1, 2)
    assert first.artifact.content != second.artifact.content
    assert first.config_digest != second.config_digest
    assert first.versions.feature == second.versions.feature


def test_mlflow_has_the_run_and_no_model(taught: School, candidate: Candidate) -> None:
    client = MlflowClient(taught.settings.mlflow_url)
    run = client.get_run(candidate.run_id)
    assert run.data.params["params.ridge"] == "500.0"
    assert run.data.metrics["training_rows"] == (orders()["invoice_date"] < candidate.trained_until).sum()
    assert run.data.tags["grownet.config"] == candidate.config_digest
    assert run.data.tags["grownet.data"] == "data_v1"
    (given,) = run.inputs.dataset_inputs
    assert {tag.key: tag.value for tag in given.tags}["grownet.digest"] == candidate.versions.data.content
    (version,) = client.search_model_versions(f"name = '{NAME}'")
    assert version.tags["grownet.artifact"] == candidate.artifact.content
    assert "# recommendation-v1" in version.description
    files = [path for path in (Path(taught.folder) / "mlflow" / "artifacts").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"MLmodel", "input_example.json", "card.md"}
    subjects = set(orders()["customer_id"])
    assert not [path for path in files for subject in subjects if subject in path.read_text()]


@pytest.mark.parametrize("reason", ["", "   "])
def test_there_is_no_silent_training(taught: School, reason: str) -> None:
    with pytest.raises(UsageError, match="a reason"):
        train(taught.settings, taught.config, taught.features(), Order(model=NAME, reason=reason))


def test_a_history_shorter_than_the_holdout_is_said(tmp_path: Path) -> None:
    short = School(tmp_path, "")
    short.take_in(orders()[orders()["invoice_date"] < pd.Timestamp(START) + pd.Timedelta(days=10)], "short")
    with pytest.raises(DataError, match="take more history in"):
        short.train()
    short.close()
