"""Feature snapshots in the ledger: numbered, signed by a key that may do nothing else, told in the audit log."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from checks.keys import may_sign
from errors import RevisionConflict, RoleRefused, TamperError
from records import Refreshed
from stores.ledger import snapshots
from stores.ledger import tables as t
from stores.ledger.engine import Ledger
from tests.stores.ledger.world import MODEL, NOON, World, arm, by_hand

FEATURES = arm(1).features
assert FEATURES is not None


def publish(
    world: World, content: str = "c" * 64, artifact: str = "a" * 64, holder: str = "refresh"
) -> Refreshed | None:
    assert FEATURES is not None
    features = replace(FEATURES, content=content)
    ledger: Ledger = world.ledgers["flow"]
    return snapshots.publish(ledger, artifact, features, signer=world.signer(holder), at=NOON, actor="refresh")


def test_snapshots_of_a_version_are_numbered_and_the_newest_is_found(world: World) -> None:
    assert snapshots.newest(world.ledgers["reader"], ["a" * 64]) == {}
    first, second, other = publish(world), publish(world, "d" * 64), publish(world, "d" * 64, "b" * 64)
    assert first is not None
    assert second is not None
    assert other is not None
    assert [first.number, second.number, other.number] == [1, 2, 1]
    assert snapshots.newest(world.ledgers["reader"], ["a" * 64, "b" * 64]) == {"a" * 64: second, "b" * 64: other}
    assert snapshots.newest(world.ledgers["reader"], ["e" * 64]) == {}
    assert snapshots.with_content(world.ledgers["reader"], MODEL, "d" * 64) == [other, second]
    assert snapshots.verify_all(world.ledgers["reader"], world.signer("guard").ring) == 3


def test_the_same_features_again_write_nothing(world: World) -> None:
    assert publish(world) is not None
    assert publish(world) is None
    assert publish(world, "d" * 64) is not None
    assert publish(world) is not None  # other than the newest: a later row
    assert snapshots.newest(world.ledgers["reader"], ["a" * 64])["a" * 64].number == 3


def test_only_the_refresh_key_may_and_it_may_nothing_else(world: World) -> None:
    ring = world.signer("guard").ring
    good = publish(world)
    assert good is not None
    snapshots.verify(good, ring)
    for bad in (replace(good, number=9), replace(good, key="guard"), replace(good, signature="00")):
        with pytest.raises(TamperError):
            snapshots.verify(bad, ring)
    for holder in ("guard", "release", "operator:mallory"):
        forged = replace(good, key=holder, signature="")
        with pytest.raises(TamperError, match="a key for snapshots"):
            snapshots.verify(replace(forged, signature=world.signer(holder).sign(forged.unsigned())), ring)
    assert [act for act in ("plan", "vote", "review", "incident", "snapshot") if may_sign("refresh", act)] == [
        "snapshot"
    ]


def test_a_slower_run_does_not_have_the_last_word(world: World) -> None:
    """Two runs at once: the one that ends later may have read the lake earlier."""
    assert FEATURES is not None
    ledger, signer = world.ledgers["flow"], world.signer("refresh")

    def ends(content: str, after: int) -> Refreshed | None:
        features = replace(FEATURES, content=content)
        return snapshots.publish(ledger, "a" * 64, features, signer=signer, at=NOON, actor="x", after=after)

    assert ends("d" * 64, 0) is not None
    assert ends("c" * 64, 0) is None
    assert ends("e" * 64, 1) is not None
    assert snapshots.newest(ledger, ["a" * 64])["a" * 64].features.content == "e" * 64


def test_looking_for_the_newest_costs_the_same_however_many_there_were(world: World) -> None:
    """Replicas look every two seconds, refreshes come every hour, and no row goes."""
    assert publish(world) is not None
    with world.ledgers["reader"].read() as connection:
        query = snapshots._last("a" * 64).compile(compile_kwargs={"literal_binds": True})
        plan = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
    assert len(plan) == 1
    assert "USING INDEX sqlite_autoindex_snapshots_1 (artifact=?)" in plan[0]  # no sorting, no scan


@pytest.mark.parametrize("role", ["serving", "guard", "release", "operator", "reader"])
def test_only_a_flow_writes_them(world: World, role: str) -> None:
    assert FEATURES is not None
    world.ledgers["flow"]  # made
    with pytest.raises(RoleRefused):
        snapshots.publish(
            world.ledgers[role], "a" * 64, FEATURES, signer=world.signer("refresh"), at=NOON, actor="x"  # type: ignore[index]  # a role by its name
        )  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE snapshots SET payload = replace(payload, '\"number\":1', '\"number\":2')", "another"),
        ("UPDATE snapshots SET model = 'demand'", "columns"),
        ("DELETE FROM snapshots", "none"),
    ],
)
def test_what_was_changed_by_hand_is_named(world: World, statement: str, said: str) -> None:
    publish(world)
    by_hand(world, statement)
    with pytest.raises(TamperError, match=said):
        snapshots.verify_all(world.ledgers["reader"], world.signer("guard").ring)


def test_they_are_append_only(world: World) -> None:
    publish(world)
    with pytest.raises(RevisionConflict, match="append-only"), world.ledgers["flow"].write("x") as transaction:
        transaction.execute(sa.delete(t.snapshots))
