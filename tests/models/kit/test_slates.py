"""Filling a slate under rules, and measuring what of it was bought."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.contract import Proposal
from models.kit import slates

PROPOSAL = Proposal(items=("a1", "a2", "b1", "a3", "c1"), scores=(5.0, 4.0, 3.0, 2.0, 1.0))


def filled(size: int, forbidden: str = "", most: int = 9) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = slates.fill(PROPOSAL, size, lambda item: "gone" if item == forbidden else "", lambda item: item[0], most)
    assert found.scores == tuple(PROPOSAL.scores[PROPOSAL.items.index(item)] for item in found.items)
    return found.items, found.overruled


def test_without_a_rule_the_head_of_the_proposal_leaves() -> None:
    assert filled(2) == (("a1", "a2"), ())


def test_a_forbidden_item_is_replaced_and_the_rule_named() -> None:
    assert filled(2, forbidden="a1") == (("a2", "b1"), ("gone",))


def test_a_rule_that_changed_nothing_is_not_named() -> None:
    assert filled(2, forbidden="c1") == (("a1", "a2"), ())


def test_a_family_has_its_share_of_a_slate() -> None:
    assert filled(4, most=1) == (("a1", "b1", "c1"), ("max_per_family",))


@pytest.mark.parametrize(("size", "asked", "named"), [(2, 5, True), (2, 2, False), (9, 10, False)])
def test_the_largest_slate_is_named_only_where_it_ended_one(size: int, asked: int, named: bool) -> None:
    slate = slates.fill(PROPOSAL, size, lambda _: "", lambda item: item[0], 9)
    assert ("max_items" in slates.capped(slate, size, asked).overruled) is named


def test_all_rules_that_changed_the_slate_are_named_in_order() -> None:
    assert filled(3, forbidden="b1", most=2) == (("a1", "a2", "c1"), ("gone", "max_per_family"))


def test_discovery_and_repeats_by_hand() -> None:
    worth = [{"b1": 30.0, "zz": 10.0}, {}]
    found = slates.discovery([PROPOSAL, PROPOSAL], worth)
    assert found["hit_at_10"][0] == 1.0
    assert found["recall_at_20"][0] == 0.5
    assert found["revenue_recall_at_20"][0] == 0.75
    assert found["ndcg_at_20"][0] == pytest.approx((1 / math.log2(4)) / (1 + 1 / math.log2(3)))
    assert all(math.isnan(values[1]) for values in found.values())
    repeat = slates.repeats([PROPOSAL, PROPOSAL], worth)["repeat_hit_at_10"]
    assert (repeat[0], math.isnan(repeat[1])) == (1.0, True)


def test_only_the_scored_depth_counts() -> None:
    long = Proposal(items=tuple(f"i{at}" for at in range(30)), scores=tuple(range(30)))
    found = slates.discovery([long], [{"i25": 1.0, "i15": 1.0}])
    assert found["recall_at_20"].tolist() == [0.5]
    assert found["hit_at_10"].tolist() == [0.0]
    assert np.isfinite(found["ndcg_at_20"]).all()
