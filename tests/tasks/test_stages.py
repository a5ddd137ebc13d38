"""The stages through `.fn()`, as a worker runs them; what they call is tested in its own place."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mlflow import MlflowClient
from msgspec.structs import replace
from prefect.logging import disable_run_logger

from errors import UsageError
from records import Candidate, Order
from stores.ledger import evidence
from tasks import origin
from tasks.card import card
from tasks.stages import accept, build_features, look_back
from tasks.story import fresh
from tests.tasks.prefect_api import prefect_api
from tests.tasks.school import NAME, School


@pytest.fixture(autouse=True)
def at_home(taught: School, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A stage reads its settings from the environment, as in a worker; its log line needs a run, which is not here."""
    for name, value in taught.environment.items():
        monkeypatch.setenv(name, value)
    with disable_run_logger():
        yield


def test_an_order_is_accepted_by_the_house_of_the_environment(taught: School) -> None:
    assert accept.fn(Order(model=NAME, reason=" a new range ")).reason == "a new range"
    asked = taught.rule("accepted")
    assert accept.fn(Order(model=NAME, verdict=asked.id)).reason == f"{asked.reason} (verdict accepted)"
    with pytest.raises(UsageError, match="why this training is asked for"):
        accept.fn(Order(model=NAME))


def test_a_segment_nobody_is_in_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(UsageError, match=r"one of \['country=home', .*got country=moon"):
        build_features.fn(Order(model=NAME, reason="a test", segment="country=moon"))
    with pytest.raises(UsageError, match="got planet=home"):
        build_features.fn(Order(model=NAME, reason="a test", segment="planet=home"))
    assert build_features.fn(Order(model=NAME, reason="a test", segment="country=home")).rows > 0


def test_the_same_verdict_again_goes_on_where_the_run_before_died(
    taught: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught.rule("twice")
    order = accept.fn(Order(model=NAME, verdict="twice"))
    assert look_back.fn(order).candidate is None
    candidate: Candidate = taught.train(order.reason, verdict="twice")
    with prefect_api() as api:  # it knows of no release run: the run before died between training and asking
        monkeypatch.setenv("GROWNET_PREFECT_URL", api.url)
        before = look_back.fn(order)
    assert (before.candidate, before.ended) == (candidate, "")
    evidence.discard(taught.ledgers["flow"], candidate.id, "not better")
    assert look_back.fn(order).ended == f"{candidate.id} was discarded: not better"


def test_what_asked_for_it_is_told_by_mlflow_and_the_model_card(taught: School) -> None:
    candidate = taught.train("drift and a drop", verdict="ruling-1")
    tags = MlflowClient(taught.settings.mlflow_url).get_run(candidate.run_id).data.tags
    assert tags["grownet.verdict"] == "ruling-1"
    assert "grownet.segment" not in tags
    made = origin.read(taught.settings.home, NAME, candidate.versions.model.name, candidate.artifact.content)
    assert made
    told = card(made, fresh(replace(candidate, segment="country=home"))).markdown
    assert "asked for by the verdict `ruling-1`" in told
    assert "for the sake of country=home: it must be better there as well" in told
