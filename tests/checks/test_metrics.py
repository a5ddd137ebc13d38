"""Ranking metrics against values worked out by hand, and intervals against what is known of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks import metrics

FOUND = np.array([[True, False, True, False], [False, False, False, False], [False, True, False, False]])
RELEVANT = np.array([4, 2, 0])


def test_hit() -> None:
    assert metrics.hit_at(FOUND, 1).tolist() == [1.0, 0.0, 0.0]
    assert metrics.hit_at(FOUND, 2).tolist() == [1.0, 0.0, 1.0]


def test_recall_is_missing_where_nothing_was_relevant() -> None:
    assert metrics.recall_at(FOUND, RELEVANT, 3).tolist() == [0.5, 0.0, pytest.approx(math.nan, nan_ok=True)]


def test_ndcg_by_hand() -> None:
    best = 1 + 1 / math.log2(3) + 1 / 2
    got = metrics.ndcg_at(FOUND, RELEVANT, 3)
    assert got[0] == pytest.approx((1 + 1 / 2) / best)  # ranks 1 and 3 of 4 relevant, 3 places
    assert got[1] == 0.0
    assert math.isnan(got[2])


def test_ndcg_of_a_perfect_order_is_one_even_with_fewer_places_than_k() -> None:
    assert metrics.ndcg_at(np.array([[True, True, False]]), np.array([2]), 20).tolist() == [1.0]


def test_weighted_recall() -> None:
    weights, totals = np.array([[3.0, 0.0, 1.0], [0.0, 0.0, 0.0]]), np.array([8.0, 0.0])
    assert metrics.weighted_recall_at(weights, totals, 2)[0] == 3 / 8
    assert math.isnan(metrics.weighted_recall_at(weights, totals, 2)[1])


def test_coverage_ignores_empty_places() -> None:
    assert metrics.coverage(np.array([[0, 1], [1, -1]]), 4) == 0.5
    assert math.isnan(metrics.coverage(np.array([[0]]), 0))


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1), st.integers(1, 8))
def test_metrics_lie_between_zero_and_one(rows: list[list[bool]], k: int) -> None:
    found = np.array(rows)
    relevant = found.sum(axis=1) + 1
    for values in (
        metrics.hit_at(found, k),
        metrics.recall_at(found, relevant, k),
        metrics.ndcg_at(found, relevant, k),
    ):
        assert ((values >= 0) & (values <= 1 + 1e-12)).all()


def test_bootstrap_agrees_with_the_normal_interval() -> None:
    rng = np.random.default_rng(3)
    theirs = rng.random(4000)
    ours = theirs + rng.normal(0.02, 0.1, 4000)
    gap = metrics.paired_bootstrap(ours, theirs, samples=2000, seed=1)
    half = 1.96 * (ours - theirs).std() / math.sqrt(4000)
    assert gap.mean == pytest.approx((ours - theirs).mean())
    assert gap.low == pytest.approx(gap.mean - half, abs=half / 5)
    assert gap.high == pytest.approx(gap.mean + half, abs=half / 5)
    assert gap.relative == pytest.approx(gap.mean / theirs.mean())
    assert gap.decided


def test_bootstrap_covers_no_difference_as_often_as_it_says() -> None:
    rng = np.random.default_rng(9)
    decided = 0
    for trial in range(300):
        noise = rng.normal(size=200)
        decided += metrics.paired_bootstrap(noise, np.zeros(200), samples=400, seed=trial).decided
    assert 3 <= decided <= 30  # 5 % of 300 is 15


def test_bootstrap_leaves_out_pairs_with_a_missing_side() -> None:
    ours, theirs = np.array([1.0, np.nan, 3.0, 5.0]), np.array([0.0, 2.0, np.nan, 4.0])
    gap = metrics.paired_bootstrap(ours, theirs, samples=100)
    assert (gap.subjects, gap.mean) == (2, 1.0)


def test_bootstrap_of_nothing_decides_nothing() -> None:
    gap = metrics.paired_bootstrap(np.array([np.nan]), np.array([1.0]))
    assert gap.subjects == 0
    assert math.isnan(gap.low)
    assert not gap.decided


def test_bootstrap_is_the_same_for_the_same_seed_and_in_blocks() -> None:
    values = np.random.default_rng(1).random(50_000)
    first, again = metrics.bootstrap_means(values, 200, seed=4), metrics.bootstrap_means(values, 200, seed=4)
    assert len(first) == 200
    assert (first == again).all()
    assert not (first == metrics.bootstrap_means(values, 200, seed=5)).all()
