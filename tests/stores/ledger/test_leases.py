from datetime import timedelta

import pytest

from errors import RevisionConflict
from stores.ledger import leases
from tests.stores.ledger.world import NOON, World


def test_a_lease_has_one_holder_until_it_expires(world: World) -> None:
    guard = world.ledgers["guard"]
    assert leases.acquire(guard, "guard", "one", 10, at=NOON) == 1
    assert leases.acquire(guard, "guard", "two", 10, at=NOON + timedelta(seconds=9)) is None
    assert leases.acquire(guard, "guard", "two", 10, at=NOON + timedelta(seconds=10)) == 2
    assert leases.acquire(guard, "other", "one", 10, at=NOON) == 1


def test_only_the_holder_of_the_epoch_renews(world: World) -> None:
    guard = world.ledgers["guard"]
    old = leases.acquire(guard, "guard", "one", 10, at=NOON) or 0
    assert leases.renew(guard, "guard", old, 60, at=NOON + timedelta(seconds=5))
    assert leases.acquire(guard, "guard", "two", 10, at=NOON + timedelta(seconds=64)) is None
    new = leases.acquire(guard, "guard", "two", 10, at=NOON + timedelta(seconds=65)) or 0
    assert not leases.renew(guard, "guard", old, 60, at=NOON + timedelta(seconds=66))
    assert leases.renew(guard, "guard", new, 60, at=NOON + timedelta(seconds=66))


def test_a_restarted_holder_fences_its_former_self(world: World) -> None:
    guard = world.ledgers["guard"]
    assert leases.acquire(guard, "guard", "one", 10, at=NOON) == 1
    assert leases.acquire(guard, "guard", "one", 10, at=NOON) == 2
    assert not leases.renew(guard, "guard", 1, 10, at=NOON)


def test_given_back_it_is_free_at_once(world: World) -> None:
    guard = world.ledgers["guard"]
    epoch = leases.acquire(guard, "guard", "one", 1000, at=NOON) or 0
    leases.release(guard, "guard", epoch + 1, at=NOON)  # not ours: nothing happens
    assert leases.acquire(guard, "guard", "two", 10, at=NOON) is None
    leases.release(guard, "guard", epoch, at=NOON)
    assert not leases.renew(guard, "guard", epoch, 10, at=NOON)
    assert leases.acquire(guard, "guard", "two", 10, at=NOON) == epoch + 1


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_a_write_under_another_epoch_is_refused(world: World, epoch: int) -> None:
    guard = world.ledgers["guard"]
    leases.acquire(guard, "guard", "one", 1, at=NOON)
    leases.acquire(guard, "guard", "two", 1, at=NOON + timedelta(seconds=5))
    with guard.write("one") as transaction:
        leases.refuse_stale(transaction, "guard", 2)
        with pytest.raises(RevisionConflict, match="epoch 2 of two"):
            leases.refuse_stale(transaction, "guard", epoch)
        with pytest.raises(RevisionConflict, match="no such lease"):
            leases.refuse_stale(transaction, "never taken", epoch)


def test_the_holder_is_known_until_it_gives_the_lease_back(world: World) -> None:
    guard = world.ledgers["guard"]
    assert leases.held(guard, "guard") is None
    epoch = leases.acquire(guard, "guard", "one", 10, at=NOON) or 0
    assert leases.held(guard, "guard") == ("one", NOON + timedelta(seconds=10))
    leases.release(guard, "guard", epoch, at=NOON)
    assert leases.held(guard, "guard") == ("", NOON)
