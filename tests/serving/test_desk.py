"""The desk: failures within a window drop an arm, once, until the next revision."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from checks.plans import RULES_ARM
from configs import load as loading
from models import contract
from records import ReleasePlan, Trip
from serving.answer import Choice, resolve
from serving.desk import Desk
from tests.serving.test_answer import V1, V2, content, loaded
from tests.stores.ledger.world import MODEL, NOON

LOADED = {content(V1): loaded(V1), content(V2): loaded(V2)}


def plan(revision: int) -> ReleasePlan:
    return ReleasePlan(
        model=MODEL, revision=revision, mode="model", champion=V1, previous=RULES_ARM, canary=V2, canary_percent=50.0,
        reason="", actor="", created_at=NOON,
    )  # fmt: skip


@pytest.fixture
def told() -> list[Trip]:
    return []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is for the desk: it goes on when a test says so."""
    now = [1000.0]
    monkeypatch.setattr("serving.desk.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def desk(told: list[Trip], clock: list[float]) -> Iterator[Desk]:
    config = loading.load()
    limits = config.defaults.service.model_copy(update={"trip_errors": 3, "trip_window_seconds": 0.2})
    made = Desk(config.models[MODEL], limits, contract.find(MODEL), replica="one", tell=told.append)
    made.show(plan(4), LOADED, frozenset(), clock[0])
    yield made
    made.close()


def canary(desk: Desk) -> Choice:
    assert desk.view is not None
    return resolve(desk.view, "canary")


def test_errors_within_the_window_drop_the_arm_once(desk: Desk, told: list[Trip], clock: list[float]) -> None:
    failing = canary(desk)
    for _ in range(7):
        desk.failed(failing, "ValueError: no")
        clock[0] += 0.09
    assert [(trip.arm, trip.artifact, trip.kind, trip.revision) for trip in told] == [
        ("canary", content(V2), "dropped", 4)
    ]
    assert told[0].reason == "3 errors within 0.2 s, last: ValueError: no"
    assert canary(desk)[::2] == ("champion", "tripped")


def test_errors_far_apart_do_not(desk: Desk, told: list[Trip], clock: list[float]) -> None:
    failing = canary(desk)
    for _ in range(4):
        desk.failed(failing, "no")
        desk.failed(failing, "no")
        clock[0] += 0.21  # the window is 0.2 s
    assert told == []


def test_the_next_revision_gives_it_another_chance(desk: Desk, told: list[Trip]) -> None:
    desk.trip("canary", content(V2), "hangs")
    desk.show(plan(4), LOADED, frozenset(), 1000.0)
    assert canary(desk).arm == "champion"
    desk.show(plan(5), LOADED, frozenset(), 1000.0)
    assert canary(desk).arm == "canary"
    desk.trip("canary", content(V2), "hangs")
    assert [trip.revision for trip in told] == [4, 5]
    assert len({trip.id for trip in told}) == 2


def test_calls_that_take_longer_than_the_deadline_in_a_row_drop_the_arm_once(desk: Desk, told: list[Trip]) -> None:
    slow, limit = canary(desk), desk.config.serving.deadline_seconds
    for _ in range(4):
        desk.took(slow, 2 * limit)
    desk.took(slow, limit)  # this one was in time
    desk.took(slow, limit / 2)
    for _ in range(4):
        desk.took(slow, 3 * limit)
    assert told == []
    for _ in range(3):
        desk.took(slow, 4 * limit)
    assert [(trip.arm, trip.artifact, trip.kind, trip.revision) for trip in told] == [
        ("canary", content(V2), "late", 4)
    ]
    assert told[0].reason == "5 calls in a row took longer than the deadline of 0.25 s, the last 1.00 s"
    assert canary(desk)[::2] == ("champion", "tripped")


def test_one_that_is_in_time_saves_no_other(desk: Desk, told: list[Trip]) -> None:
    assert desk.view is not None
    slow, quick = canary(desk), resolve(desk.view, "champion")
    for _ in range(5):
        desk.took(slow, 1.0)
        desk.took(quick, 0.0)
    assert [trip.arm for trip in told] == ["canary"]


def test_only_what_the_plan_names_stays(desk: Desk) -> None:
    desk.show(plan(5), {**LOADED, "other": LOADED[content(V1)]}, frozenset({9}), 1000.0)
    assert desk.view is not None
    assert set(desk.view.loaded) == set(LOADED)
    assert desk.view.rejected == {9}
