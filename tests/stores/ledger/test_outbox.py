from datetime import timedelta

import pytest

from errors import NotFound
from records import OutboxEvent
from stores.ledger import outbox
from tests.stores.ledger.world import MODEL, NOON, World


def event(identity: str, seconds: int = 0) -> OutboxEvent:
    return OutboxEvent(
        id=identity,
        kind="alert",
        level="critical",
        model=MODEL,
        name="grownet.alert.critical",
        title="t",
        body={"what": [1, "ü"]},
        at=NOON + timedelta(seconds=seconds),
    )


def due(world: World, seconds: int = 0, limit: int = 10) -> list[str]:
    return [one.id for one in outbox.pending(world.ledgers["guard"], limit, NOON + timedelta(seconds=seconds))]


def test_events_are_delivered_once_oldest_first(world: World) -> None:
    guard = world.ledgers["guard"]
    outbox.add(guard, [event("b", 1), event("a"), event("c", 2)], "guard")
    outbox.add(guard, [event("a")], "guard")  # again: nothing
    assert due(world, 5) == ["a", "b", "c"]
    assert due(world, 5, limit=2) == ["a", "b"]
    assert due(world, 1) == ["a", "b"]
    assert outbox.pending(guard, 1, NOON)[0] == event("a")
    outbox.delivered(guard, "a", "guard", NOON)
    assert due(world, 5) == ["b", "c"]


def test_what_failed_waits_longer_each_time_and_stays_known(world: World) -> None:
    guard = world.ledgers["guard"]
    outbox.add(guard, [event("a")], "guard")
    for wait in (1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300):
        outbox.failed(guard, "a", "connection refused", "guard", NOON)
        assert (due(world, wait - 1), due(world, wait)) == ([], ["a"])


def test_channels_that_have_it_are_remembered(world: World) -> None:
    guard = world.ledgers["guard"]
    outbox.add(guard, [event("a")], "guard")
    for _ in range(2):
        outbox.sent(guard, "a", "slack", "guard", NOON)
    outbox.sent(guard, "a", "email:sre@example.org", "guard", NOON)
    assert outbox.channels(guard, "a") == {"slack", "email:sre@example.org"}
    assert outbox.channels(guard, "b") == frozenset()


def test_an_unknown_event(world: World) -> None:
    with pytest.raises(NotFound):
        outbox.delivered(world.ledgers["guard"], "nothing", "guard")
    with pytest.raises(NotFound):
        outbox.failed(world.ledgers["guard"], "nothing", "why", "guard")


def test_one_that_fails_again_and_again_does_not_stand_before_a_new_one(world: World) -> None:
    guard = world.ledgers["guard"]
    outbox.add(guard, [event("old"), event("new", 10)], "guard")
    assert due(world, 20) == ["old", "new"]
    outbox.failed(guard, "old", "connection refused", "guard", NOON + timedelta(seconds=11))
    assert due(world, 20) == ["new", "old"]
