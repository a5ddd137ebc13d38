from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from checks.alerts import HOUSE
from errors import ConfigError
from records import OutboxEvent
from stores.ledger import outbox
from stores.ledger.engine import Ledger
from tasks import unfinished
from tests.stores.ledger.world import MODEL
from tests.tasks.release_world import House


@pytest.fixture(scope="module")
def model_house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("model"))


@pytest.fixture
def house(model_house: House, tmp_path: Path) -> House:
    return model_house.copy(tmp_path)


def told(house: House) -> list[OutboxEvent]:
    ledger = Ledger.open(house.settings.ledger_url, "reader")
    try:
        return outbox.pending(ledger, 10)
    finally:
        ledger.close()


@pytest.mark.parametrize("asked", [{"verdict": "ruling-1"}, {"period": "monthly 2026-11"}])
def test_a_discard_that_nobody_waits_for_is_told_once(house: House, asked: dict[str, str]) -> None:
    candidate = replace(house.candidate(1), **asked)
    found = house.prove(candidate, passed=False)
    for _ in range(2):
        unfinished.discarded(house.settings, house.config, candidate, found)
    (alert,) = told(house)
    assert (alert.level, alert.model, alert.title) == ("warning", MODEL, "the retrained candidate is discarded")
    assert alert.body["owner"] == house.config.defaults.owners.retrain
    assert "champion fail" in alert.body["what"]
    assert next(iter(asked.values())) in alert.body["what"]


def test_what_a_person_ordered_is_that_persons_to_look_at(house: House) -> None:
    candidate = house.candidate(1)
    unfinished.discarded(house.settings, house.config, candidate, house.prove(candidate, passed=False))
    unfinished.failed(house.settings, house.config, "run-1", {"model": MODEL, "reason": "new"}, "no rows")
    assert told(house) == []


def test_a_run_that_failed_is_told_once_with_what_to_do(house: House) -> None:
    for _ in range(2):
        unfinished.failed(house.settings, house.config, "run-1", {"model": MODEL, "verdict": "ruling-1"}, "no rows")
    (alert,) = told(house)
    assert alert.model == MODEL
    assert "failed: no rows" in alert.body["what"]
    assert f"`grownet retrain {MODEL} --verdict ruling-1`" in alert.body["next"]
    assert alert.body["link"].endswith("/runs/flow-run/run-1")


def test_nothing_that_came_from_outside_becomes_a_model(house: House) -> None:
    unfinished.failed(house.settings, house.config, "run-2", {"model": "../../x", "verdict": 7}, "no such model")
    (alert,) = told(house)
    assert alert.model == HOUSE


def test_a_cadence_that_could_not_start_is_told(house: House) -> None:
    unfinished.failed(house.settings, house.config, "run-3", {"cadence": "weekly"}, str(ConfigError(["x: wrong"])))
    (alert,) = told(house)
    assert "the models for weekly failed" in alert.body["what"]
    assert "next schedule" in alert.body["next"]
