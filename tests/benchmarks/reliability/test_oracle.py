"""The oracle deals the arms that the service deals, though by code of its own, and knows which plans may answer when."""

from __future__ import annotations

import pytest

from benchmarks.reliability.oracle import Timeline, arm_of, same
from checks.assignment import choose
from checks.plans import initial
from models.contract import Decided
from records import ReleasePlan
from tests.stores.ledger.world import NOON, arm


def plan(revision: int = 1, canary: float = 0.0, control: float = 0.0) -> ReleasePlan:
    return ReleasePlan(
        model="recommendation", revision=revision, mode="model", champion=arm(1), salt="salt", reason="r", actor="a",
        canary=arm(2) if canary else None, canary_percent=canary, control=arm(3) if control else None,
        control_percent=control, created_at=NOON,
    )  # fmt: skip


@pytest.mark.parametrize(("canary", "control"), [(0.0, 0.0), (5.0, 0.0), (0.0, 20.0), (50.0, 2.0)])
def test_arms_are_those_of_the_service(canary: float, control: float) -> None:
    given = plan(1, canary, control)
    keys = [f"customer-{number}" for number in range(500)] + ["", "é", "\ud800"]
    arms = [arm_of(given, key) for key in keys]
    assert arms == [choose(given, key) for key in keys]
    assert ("canary" in arms, "control" in arms) == (canary > 0, control > 0)
    assert {arm_of(initial("recommendation", NOON), key) for key in keys} == {"rules"}


def test_an_old_plan_may_answer_two_seconds_longer() -> None:
    timeline = Timeline()
    timeline.add(plan(1), 0.0, 0.0)
    timeline.add(plan(2), 10.0, 10.1)
    assert set(timeline.current(9.0, 9.9)) == {1}
    assert set(timeline.current(9.0, 10.05)) == {1, 2}
    assert set(timeline.current(12.0, 12.1)) == {1, 2}
    assert set(timeline.current(12.2, 12.3)) == {2}


def test_decisions_are_the_same_up_to_the_order_of_summing() -> None:
    one = Decided(items=("a", "b"), scores=(1.0, 0.5), value=2.0)
    assert same(one, Decided(items=("a", "b"), scores=(1.0 + 1e-9, 0.5), value=2.0))
    for other in (
        Decided(items=("b", "a"), scores=(1.0, 0.5), value=2.0),
        Decided(items=("a", "b"), scores=(1.0, 0.51), value=2.0),
        Decided(items=("a", "b"), scores=(1.0, 0.5), value=None),
        Decided(items=("a", "b"), scores=(1.0, 0.5), value=2.0, overruled=("withheld",)),
        Decided(items=("a", "b"), scores=(1.0,), value=2.0),
    ):
        assert not same(one, other)
