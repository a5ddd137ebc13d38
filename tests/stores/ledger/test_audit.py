"""The audit chain: whatever is changed, added, cut or reordered is noticed."""

import sqlite3
import threading

import pytest

from errors import TamperError
from stores.ledger import audit, leases
from stores.ledger.engine import GENESIS, Ledger
from tests.stores.ledger.world import NOON, World


def append(ledger: Ledger, *names: str) -> list[str]:
    hashes = []
    for name in names:
        with ledger.write("tester") as transaction:
            hashes.append(transaction.audit("something", name, {"a": 1, "name": name}, NOON))
    return hashes


def by_hand(world: World, *statements: str) -> None:
    raw = sqlite3.connect(world.folder / "ledger.db")
    for trigger in ("audit_update", "audit_delete"):
        raw.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        raw.execute(statement)
    raw.commit()
    raw.close()


def test_an_empty_chain_is_whole(world: World) -> None:
    assert audit.verify(world.ledgers["reader"]) == 0
    assert audit.entries(world.ledgers["reader"]) == []
    assert audit.descends(world.ledgers["reader"], "")


def test_entries_say_who_did_what(world: World) -> None:
    one, two = append(world.ledgers["guard"], "x", "y")
    assert audit.verify(world.ledgers["reader"]) == 2
    first, second = audit.entries(world.ledgers["reader"])
    assert (first.actor, first.role, first.action, first.subject) == ("tester", "guard", "something", "x")
    assert (first.at, first.detail, first.previous, first.hash) == (NOON, {"a": 1, "name": "x"}, GENESIS, one)
    assert (second.sequence, second.previous, second.hash) == (2, one, two)
    assert audit.entries(world.ledgers["reader"], "y") == [second]
    assert audit.descends(world.ledgers["reader"], one)


@pytest.mark.parametrize(
    ("statement", "entry"),
    [
        ("UPDATE audit SET actor = 'nobody' WHERE sequence = 2", "entry 2"),
        ("UPDATE audit SET detail = '{}' WHERE sequence = 1", "entry 1"),
        ("UPDATE audit SET at = at + 1 WHERE sequence = 3", "entry 3"),
        ("DELETE FROM audit WHERE sequence = 2", "entry 2"),
        ("DELETE FROM audit WHERE sequence = 3", "head"),
        ("DELETE FROM audit", "head"),
        ("UPDATE audit SET sequence = sequence + 10 WHERE sequence = 3", "entry 3"),
        (
            "INSERT INTO audit SELECT 4, at, actor, role, action, subject, detail, hash, 'x' FROM audit WHERE sequence = 3",
            "entry 4",
        ),
        ("DELETE FROM audit WHERE sequence = 1", "entry 1"),
        ("UPDATE audit SET at = 'soon' WHERE sequence = 2", "entry 2"),
        ("UPDATE audit SET detail = '{x' WHERE sequence = 2", "entry 2"),
        ("DELETE FROM audit_head", "head"),
        ("UPDATE audit_head SET hash = 'x'", "head"),
        ("UPDATE audit_head SET sequence = 9", "head"),
    ],
)
def test_tampering_is_noticed_and_the_first_bad_entry_named(world: World, statement: str, entry: str) -> None:
    append(world.release, "x", "y", "z")
    by_hand(world, statement)
    with pytest.raises(TamperError, match=f"audit {entry}"):
        audit.verify(world.ledgers["reader"])


def test_an_entry_that_cannot_be_read_is_named(world: World) -> None:
    append(world.release, "x", "y")
    by_hand(world, "UPDATE audit SET detail = '{x' WHERE sequence = 2")
    with pytest.raises(TamperError, match="audit entry 2"):
        audit.entries(world.ledgers["reader"])


def test_many_writers_make_one_chain(world: World) -> None:
    def run() -> None:
        ledger = Ledger.open(world.url, "flow")
        append(ledger, *"abcde")
        ledger.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert audit.verify(world.ledgers["reader"]) == 20


def test_a_write_without_audit_leaves_the_chain_alone(world: World) -> None:
    leases.acquire(world.ledgers["guard"], "guard", "g", 1)
    assert audit.verify(world.ledgers["reader"]) == 0
