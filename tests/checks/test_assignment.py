"""Assignment: stable, uniform, nested, and independent of the buckets."""

import itertools
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.assignment import BUCKETS, bucket, choose, unit
from records import Arm, ReleasePlan

KEYS = [f"p1_{number}" for number in range(20_000)]
RULES_ARM = Arm(number=0, name="rules")


def plan(**changes: object) -> ReleasePlan:
    base = ReleasePlan(
        model="recommendation",
        revision=1,
        mode="model",
        champion=RULES_ARM,
        salt="s1",
        reason="",
        actor="",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return msgspec.structs.replace(base, **changes)


def share(of: str, at: ReleasePlan) -> float:
    return sum(choose(at, key) == of for key in KEYS) / len(KEYS)


@given(st.text(max_size=30), st.text(max_size=30))
def test_unit_is_below_one_and_the_bucket_in_range(salt: str, key: str) -> None:
    assert 0.0 <= unit(salt, key) < 1.0
    assert 0 <= bucket(salt, key) < BUCKETS


def test_the_hash_never_changes() -> None:
    """Another value here would move every subject of a running rollout to another arm."""
    assert unit("salt", "p1_abc") == pytest.approx(0.09107529900219435, abs=0)
    assert bucket("salt", "p1_abc") == 185


def test_salt_and_key_do_not_run_into_each_other() -> None:
    assert unit("ab", "c") != unit("a", "bc")


@pytest.mark.parametrize("percent", [5.0, 25.0, 50.0])
def test_the_canary_gets_its_share(percent: float) -> None:
    at = plan(canary=Arm(number=2, name="recommendation-v2"), canary_percent=percent)
    assert share("canary", at) == pytest.approx(percent / 100, abs=0.01)


def test_arms_are_nested() -> None:
    canary = Arm(number=2, name="recommendation-v2")
    reached: list[set[str]] = [
        {key for key in KEYS if choose(plan(canary=canary, canary_percent=percent), key) == "canary"}
        for percent in (0.0, 5.0, 25.0, 50.0, 100.0)
    ]
    assert [len(small - large) for small, large in itertools.pairwise(reached)] == [0, 0, 0, 0]
    assert (len(reached[0]), len(reached[-1])) == (0, len(KEYS))


def test_the_control_is_taken_from_the_other_end() -> None:
    control = Arm(number=1, name="recommendation-v1")
    at = plan(control=control, control_percent=2.0, canary=Arm(number=3, name="v3"), canary_percent=50.0)
    assert share("control", at) == pytest.approx(0.02, abs=0.005)
    assert share("canary", at) == pytest.approx(0.5, abs=0.01)


def test_rules_mode_wins_over_every_arm() -> None:
    at = plan(mode="rules", canary=Arm(number=2, name="v2"), canary_percent=100.0)
    assert {choose(at, key) for key in KEYS[:100]} == {"rules"}


def test_a_champion_that_is_the_rules_is_the_champion() -> None:
    assert choose(plan(), "p1_1") == "champion"


def test_every_arm_has_subjects_in_every_bucket() -> None:
    canary = {bucket("s1", key) for key in KEYS if unit("s1", key) < 0.25}
    assert canary == set(range(BUCKETS))


def test_a_new_salt_deals_again() -> None:
    first = {key for key in KEYS if unit("s1", key) < 0.05}
    second = {key for key in KEYS if unit("s2", key) < 0.05}
    assert len(first & second) / len(first) == pytest.approx(0.05, abs=0.03)
