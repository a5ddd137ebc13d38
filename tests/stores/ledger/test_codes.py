from datetime import timedelta

import pytest

from errors import CodeRefused, RoleRefused
from stores.ledger import codes
from tests.stores.ledger.world import NOON, World

LIMITS = codes.Limits(max_attempts=3, lock_seconds=600)
OLGA = "operator:olga"


def missed(world: World, seconds: float = 0, owner: str = OLGA, what: str = "run 1") -> int:
    with world.release.write("release") as transaction:
        return codes.missed(transaction, what, owner, "no", limits=LIMITS, at=NOON + timedelta(seconds=seconds))


def locked(world: World, seconds: float, owner: str = OLGA) -> bool:
    try:
        with world.release.read() as connection:
            codes.refuse_locked(connection, owner, LIMITS, NOON + timedelta(seconds=seconds))
    except CodeRefused as no:
        return "at most 3 attempts in 10 minutes" in str(no)
    return False


def test_a_code_counts_once_for_its_owner(world: World) -> None:
    with world.release.write("release") as transaction:
        codes.spend(transaction, OLGA, 7, "run 1")
        codes.spend(transaction, OLGA, 8, "run 1")
        codes.spend(transaction, "olga", 7, "ballot")  # a reviewer of that name is somebody else
    with pytest.raises(CodeRefused, match="a used one"), world.release.write("release") as transaction:
        codes.spend(transaction, OLGA, 7, "run 2")


def test_attempts_lock_one_owner_for_a_while(world: World) -> None:
    assert [missed(world, number) for number in range(3)] == [1, 2, 3]
    assert locked(world, 3)
    assert missed(world, 4) == 3  # not judged, so not kept, and it prolongs nothing
    assert missed(world, 5, what="run 2") == 0
    assert not locked(world, 3, "olga")
    assert not locked(world, 601)


def test_operators_do_not_spend_codes_themselves(world: World) -> None:
    with pytest.raises(RoleRefused), world.ledgers["operator"].write(OLGA) as transaction:
        codes.spend(transaction, OLGA, 7, "run 1")
