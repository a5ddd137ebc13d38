"""Figures per person on a handful of people, against other ways to count the same; ties above all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from models.kit import picks

SCORES = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
VALUED = np.array([True, True, False, False, False])
PEOPLE = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=3, max_size=40)


def test_placed_by_eye() -> None:
    found = picks.placed(SCORES, VALUED)
    assert found[:2].tolist() == [1.0, pytest.approx(2 / 3)]  # two ties count half each, one is below
    assert np.isnan(found[2:]).all()
    assert np.isnan(picks.placed(SCORES, np.ones(5, dtype=np.bool_))).all()


def test_ties_over_the_border_share_the_places_inside() -> None:
    assert picks.first(SCORES, 2).tolist() == [
        1.0,
        pytest.approx(1 / 3),
        pytest.approx(1 / 3),
        pytest.approx(1 / 3),
        0.0,
    ]
    assert picks.first(SCORES, 9).tolist() == [1.0] * 5
    assert picks.first(np.zeros(0), 2).tolist() == []
    assert picks.precision(SCORES, VALUED, 2).mean() == pytest.approx((1 + 1 / 3) / 2)
    assert picks.precision(np.zeros(0), np.zeros(0, dtype=np.bool_), 2).tolist() == []


@settings(max_examples=25, deadline=None, derandomize=True)
@given(PEOPLE)
def test_means_are_the_known_figures(people: list[tuple[int, int]]) -> None:
    scores, worth = (np.array(column, dtype=np.float64) for column in zip(*people, strict=True))
    valued = worth >= 2
    if 0 < valued.sum() < len(valued):
        assert np.nanmean(picks.placed(scores, valued)) == pytest.approx(roc_auc_score(valued, scores))
    if len(set(scores)) > 1 and len(set(worth)) > 1:
        assert picks.spearman(scores, worth).mean() == pytest.approx(stats.spearmanr(scores, worth).statistic)
    if len(set(worth)) > 1:
        assert picks.somers(scores, worth) == pytest.approx(by_pairs(scores, worth))
    assert picks.first(scores, 2).sum() == pytest.approx(2)


def by_pairs(scores: np.ndarray, worth: np.ndarray) -> float:
    """Somers' D by looking at every pair."""
    apart = np.sign(np.subtract.outer(worth, worth))
    return float((np.sign(np.subtract.outer(scores, scores)) * apart).sum() / np.abs(apart).sum())


def test_pairs_are_counted_as_scipy_counts_them() -> None:
    scores, worth = np.array([3.0, 1.0, 2.0, 2.0, 5.0]), np.array([1.0, 0.0, 0.0, 2.0, 2.0])
    assert picks.somers(scores, worth) == pytest.approx(stats.somersd(worth, scores).statistic)


def test_who_says_nothing_correlates_with_nothing() -> None:
    assert picks.spearman(np.zeros(4), np.arange(4.0)).tolist() == [0.0] * 4
    assert picks.somers(np.zeros(4), np.arange(4.0)) == 0.0
    assert np.isnan(picks.somers(np.arange(4.0), np.zeros(4)))
