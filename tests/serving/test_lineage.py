"""Replicas accept what the guard may change by itself and refuse what takes a vote, whatever a signature says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from checks import plans as moves
from errors import AdmissionRefused
from records import ReleasePlan, SignedPlan
from serving.lineage import refuse_unauthorised
from stores.ledger import plans
from tests.stores.ledger.world import MODEL, NOON, World

WHO: dict[str, Any] = {"at": NOON, "actor": "guard", "reason": "r"}
Move = Callable[[ReleasePlan], ReleasePlan]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.promote(1, 0)
    yield made
    made.close()


def change(world: World, move: Move, key: str = "guard") -> SignedPlan:
    """A change signed by a key; the newest plan of the ledger afterwards."""
    signer = world.signer(key)
    plans.change(world.ledgers["guard"], MODEL, move, signer=signer, actor=key)
    signed = plans.current(world.ledgers["reader"], MODEL)
    assert signed is not None
    return signed


def frozen(what_for: str) -> Move:
    return lambda plan: moves.freeze(plan, what_for=what_for, **WHO)


def checked(world: World, signed: SignedPlan) -> None:
    refuse_unauthorised(world.ledgers["reader"], signed, None, world.signer("guard").ring)


def test_the_guards_new_changes_are_accepted(world: World) -> None:
    checked(world, change(world, frozen("drift")))
    checked(world, change(world, lambda plan: moves.unfreeze(plan, **WHO)))
    checked(world, change(world, frozen("drift")))
    checked(world, change(world, frozen("corruption")))
    checked(world, change(world, lambda plan: moves.fallback(plan, **WHO)))


@pytest.mark.parametrize(
    ("before", "forbidden"),
    [
        (frozen("corruption"), lambda plan: moves.unfreeze(plan, **WHO)),
        (frozen("batch"), lambda plan: moves.unfreeze(plan, **WHO)),
        (frozen(""), lambda plan: moves.unfreeze(plan, **WHO)),
        (frozen("corruption"), lambda plan: replace(plan, frozen_for="drift")),
        (lambda plan: moves.fallback(plan, **WHO), lambda plan: moves.restore(plan, **WHO)),
        (lambda plan: moves.hold(plan, **WHO), lambda plan: moves.resume(plan, **WHO)),
    ],
    ids=["corruption", "batch", "a person's", "made weaker", "restore", "resume"],
)
def test_a_guard_that_oversteps_is_refused(
    world: World, before: Move, forbidden: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(world, before)
    monkeypatch.setattr("stores.ledger.plans.authorise", lambda *_: None)  # a guard that does not ask
    signed = change(world, forbidden)
    with pytest.raises(AdmissionRefused, match="a change that its signer may make"):
        checked(world, signed)


def test_an_operators_key_lifts_no_freeze_at_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    change(world, frozen("drift"))
    monkeypatch.setattr("stores.ledger.plans.authorise", lambda *_: None)
    signed = change(world, lambda plan: moves.unfreeze(plan, **WHO), "operator:ada")
    with pytest.raises(AdmissionRefused, match="a change that its signer may make"):
        checked(world, signed)
