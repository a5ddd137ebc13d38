"""Orders of a training: which are refused, and that a verdict and a period are answered once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from configs.schema import Config
from errors import NotFound, UsageError
from records import Candidate, Order
from stores.ledger import evidence
from tasks import board, retrain, runs
from tests.stores.ledger.world import MODEL, NOON, World
from tests.tasks.prefect_api import PrefectApi, prefect_api
from tests.tasks.release_world import House, promote

VERDICT = "ruling-1"


@pytest.fixture(scope="module")
def model_house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("model"))


@pytest.fixture
def house(model_house: House, tmp_path: Path) -> House:
    return model_house.copy(tmp_path)


@pytest.fixture
def world(house: House) -> Iterator[World]:
    """The ledger of that house, to write rulings and candidates into."""
    made = World(house.settings.home)
    yield made
    made.close()


@pytest.fixture
def api(house: House) -> Iterator[PrefectApi]:
    with prefect_api() as running:
        house.settings = house.settings.model_copy(update={"prefect_url": running.url})
        yield running


def accepted(house: House, **order: Any) -> Order:
    return retrain.accepted(house.settings, house.config, Order(**{"model": MODEL, **order}), NOON)


def candidate(house: House, world: World, **asked: str) -> Candidate:
    made = replace(house.candidate(7), id=f"{MODEL}-7-asked", **asked)
    evidence.save_candidate(world.ledgers["flow"], made)
    return made


def with_models(config: Config, **models: dict[str, Any]) -> Config:
    """The house's model under other names, each differing in what is given."""
    base = config.models[MODEL]
    made = {name: base.model_copy(update={"name": name, **changes}) for name, changes in models.items()}
    return config.model_copy(update={"models": made})


# ---- orders that are refused, and the reason that is kept ----------------------------------------


def test_a_person_gives_a_reason(house: House) -> None:
    assert accepted(house, reason=" a new range ").reason == "a new range"


@pytest.mark.parametrize("reason", ["", " \n"])
def test_no_retraining_is_silent(house: House, reason: str) -> None:
    with pytest.raises(UsageError, match="why this training is asked for"):
        accepted(house, reason=reason)


def test_a_verdict_brings_its_reason_and_is_named(house: House, world: World) -> None:
    world.rule(VERDICT)
    assert accepted(house, verdict=VERDICT).reason == "orders moved and the hit rate fell by 9 % (verdict ruling-1)"
    assert accepted(house, verdict=VERDICT, reason="as asked").reason == "as asked (verdict ruling-1)"


def test_a_made_up_verdict_is_refused(house: House) -> None:
    with pytest.raises(NotFound, match="ruling 'made-up'"):
        accepted(house, verdict="made-up", reason="trust me")


def test_a_verdict_about_another_model_is_refused(house: House, world: World) -> None:
    world.rule(VERDICT, model="spam")
    with pytest.raises(UsageError, match="about recommendation, got one about spam"):
        accepted(house, verdict=VERDICT)


@pytest.mark.parametrize("actions", [(), ("freeze",), ("rollback", "incident")])
def test_a_verdict_that_asks_for_no_training_is_refused(house: House, world: World, actions: tuple[str, ...]) -> None:
    world.rule(VERDICT, actions=actions)
    with pytest.raises(UsageError, match="one that asks to retrain"):
        accepted(house, verdict=VERDICT, reason="drift alone is enough for me")


def test_a_cadence_brings_its_reason_and_its_period(house: House) -> None:
    order = accepted(house, cadence="monthly")
    assert order.period == "monthly 2026-11"
    assert order.reason.startswith("monthly 2026-11: enough new rows")


def test_a_cadence_that_is_not_the_models_is_refused(house: House) -> None:
    with pytest.raises(UsageError, match="expected monthly, got weekly"):
        accepted(house, cadence="weekly")


def test_a_verdict_and_a_cadence_at_once_are_refused(house: House, world: World) -> None:
    world.rule(VERDICT)
    with pytest.raises(UsageError, match="a verdict or a cadence"):
        accepted(house, cadence="monthly", verdict=VERDICT)


@pytest.mark.parametrize("segment", ["home", "country=", "=home", " = "])
def test_a_segment_names_kind_and_name(house: House, segment: str) -> None:
    with pytest.raises(UsageError, match="KIND=NAME, such as country=home"):
        accepted(house, reason="abroad fell behind", segment=segment)


def test_unknown_and_switched_off_models_are_refused(house: House) -> None:
    with pytest.raises(NotFound, match="model 'nothing'"):
        accepted(house, model="nothing", reason="monthly")
    with pytest.raises(NotFound, match="model ''"):
        accepted(house, model="", reason="somebody pressed Run")
    off = with_models(house.config, off={"enabled": False})
    with pytest.raises(UsageError, match="switched off"):
        retrain.accepted(house.settings, off, Order(model="off", reason="monthly"), NOON)


# ---- once ---------------------------------------------------------------------------------------


def test_a_verdict_has_one_candidate(house: House, world: World, api: PrefectApi) -> None:
    world.rule(VERDICT)
    order = accepted(house, verdict=VERDICT)
    assert retrain.earlier(house.settings, order) is None
    made = candidate(house, world, verdict=VERDICT)
    assert retrain.earlier(house.settings, order) == made
    assert retrain.ended(house.settings, made) == ""  # trained, and people have yet to be asked
    world.rule("ruling-2")
    assert retrain.earlier(house.settings, accepted(house, verdict="ruling-2")) is None


def test_a_person_may_ask_again_and_again(house: House, world: World) -> None:
    candidate(house, world)
    assert retrain.earlier(house.settings, accepted(house, reason="once more")) is None


def test_a_discarded_candidate_has_answered_its_verdict(house: House, world: World) -> None:
    made = candidate(house, world, verdict=VERDICT)
    evidence.discard(world.ledgers["flow"], made.id, "champion fail: not better")
    assert retrain.ended(house.settings, made).endswith("was discarded: champion fail: not better")


def test_a_candidate_before_people_has_answered_its_verdict(house: House, world: World, api: PrefectApi) -> None:
    made = candidate(house, world, verdict=VERDICT)
    house.prove(made)
    run = runs.start_once(house.settings, runs.RELEASE, {}, made.id)
    assert retrain.ended(house.settings, made).endswith(f"release run {run} begins")
    api.runs[run]["state"] = "FAILED"
    assert retrain.ended(house.settings, made) == ""  # it ended before it asked anybody
    later = runs.start_once(house.settings, runs.RELEASE, {}, made.id)
    assert later != run
    assert later in retrain.ended(house.settings, made)
    with house.board() as seats:
        found = board.ask(seats, promote(made))
    assert retrain.ended(house.settings, made).endswith(f"ballot {found.id} is open")


def test_the_version_that_fell_is_known_again(house: House, world: World) -> None:
    world.rule(VERDICT, version=7)
    world.rule("ruling-2", version=6)
    about = candidate(house, world, verdict=VERDICT)
    reader = world.ledgers["reader"]
    assert retrain.same_again(reader, about)
    assert not retrain.same_again(reader, replace(about, verdict="ruling-2"))
    assert not retrain.same_again(reader, replace(about, verdict=""))


# ---- runs ---------------------------------------------------------------------------------------


def test_a_person_hears_of_a_bad_order_before_anything_is_started(house: House, api: PrefectApi) -> None:
    with pytest.raises(NotFound, match="ruling 'made-up'"):
        retrain.start(house.settings, house.config, Order(model=MODEL, verdict="made-up"), NOON)
    assert api.runs == {}
    run = retrain.start(house.settings, house.config, Order(model=MODEL, reason="new", segment="country=home"), NOON)
    assert api.runs[run]["parameters"] == {"model": MODEL, "reason": "new", "segment": "country=home"}


def test_a_cadence_starts_each_of_its_models_once_a_period(house: House, api: PrefectApi) -> None:
    weekly = house.config.models[MODEL].cadence.model_copy(update={"every": "weekly"})
    config = with_models(house.config, one={}, two={}, off={"enabled": False}, often={"cadence": weekly})
    first = retrain.start_due(house.settings, config, "monthly", NOON)
    assert list(first) == ["one", "two"]
    assert retrain.start_due(house.settings, config, "monthly", NOON + timedelta(days=3)) == first
    started = [run["parameters"] for run in api.runs.values()]
    assert started == [{"model": "one", "cadence": "monthly"}, {"model": "two", "cadence": "monthly"}]
    later = retrain.start_due(house.settings, config, "monthly", NOON + timedelta(days=30))
    assert set(later.values()).isdisjoint(first.values())
    assert list(retrain.start_due(house.settings, config, "weekly", NOON)) == ["often"]
    assert retrain.start_due(house.settings, config, "seasonal", NOON) == {}


def test_a_model_that_is_done_with_the_period_is_not_trained_again(house: House, world: World, api: PrefectApi) -> None:
    made = candidate(house, world, period="monthly 2026-11")
    config = with_models(house.config, **{MODEL: {}})
    (run,) = retrain.start_due(house.settings, config, "monthly", NOON).values()
    assert api.runs[run]["state"] == "SCHEDULED"  # nobody was asked about the candidate yet: it goes on
    evidence.discard(world.ledgers["flow"], made.id, "not better")
    assert retrain.start_due(house.settings, config, "monthly", NOON) == {MODEL: made.id}
    assert len(api.runs) == 1


def test_a_run_that_died_before_it_trained_gets_one_successor(house: House, api: PrefectApi) -> None:
    config = with_models(house.config, one={})
    first = retrain.start_due(house.settings, config, "monthly", NOON)["one"]
    api.runs[first]["state"] = "CRASHED"
    second = retrain.start_due(house.settings, config, "monthly", NOON)["one"]
    assert second != first
    assert retrain.start_due(house.settings, config, "monthly", NOON)["one"] == second
    assert len(api.runs) == 2
