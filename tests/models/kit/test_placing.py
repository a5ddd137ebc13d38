from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.kit import placing


def one(rates: npt.ArrayLike, scores: npt.ArrayLike) -> pd.Series:
    return placing.table(["t"] * len(np.array(rates)), np.array(rates), np.array(scores, dtype=np.float64)).loc["t"]


def test_the_right_order_is_worth_one() -> None:
    found = one([0.03, 0.01, 0.02], [3, 1, 2])
    assert found["ndcg_at_10"] == pytest.approx(1.0)
    assert (found["best_first"], found["kept"]) == (1.0, 1.0)
    assert found["first_ctr"] == pytest.approx(0.03)
    assert found["first_lift"] == pytest.approx(0.5)


def test_the_wrong_order_by_hand() -> None:
    found = one([0.04, 0.02], [1, 2])
    half = 1 / np.log2(3)
    assert found["ndcg_at_10"] == pytest.approx((0.02 + 0.04 * half) / (0.04 + 0.02 * half))
    assert found["first_lift"] == pytest.approx(0.02 / 0.03 - 1)
    assert found["kept"] == pytest.approx(0.5)


def test_a_tie_is_the_mean_of_all_orders() -> None:
    tied, first, second = (one([0.04, 0.02], scores) for scores in ([1, 1], [2, 1], [1, 2]))
    for name in placing.METRICS:
        assert tied[name] == pytest.approx((first[name] + second[name]) / 2), name


@settings(max_examples=20, deadline=None, derandomize=True)
@given(hnp.arrays(np.float64, 5, elements=st.floats(0.001, 0.5)), st.permutations(range(5)))
def test_the_order_of_rows_changes_nothing(rates: np.ndarray, order: list[int]) -> None:
    scores = np.array([1.0, 2.0, 2.0, 0.0, 1.0])
    here, there = one(rates, scores), one(rates[order], scores[order])
    assert np.allclose(here, there)
    assert 0 < here["ndcg_at_10"] <= 1 + 1e-12


def test_a_test_without_a_click_has_no_ndcg() -> None:
    found = placing.table(["b", "b", "a", "a"], np.array([0.0, 0.0, 0.1, 0.2]), np.array([1.0, 2.0, 1.0, 2.0]))
    assert found.index.tolist() == ["a", "b"]
    assert found.index.name == "subject"
    assert np.isnan(found.loc["b", ["ndcg_at_10", "first_lift", "kept"]].to_numpy(float)).all()


def test_only_ten_places_count() -> None:
    rates, worse = np.linspace(0.2, 0.1, 12), np.arange(12.0)[::-1].copy()
    worse[[10, 11]] = worse[[11, 10]]
    assert one(rates, worse)["ndcg_at_10"] == pytest.approx(1.0)


def test_nothing_is_an_empty_table() -> None:
    found = placing.table([], np.empty(0), np.empty(0))
    assert found.empty
    assert list(found.columns) == list(placing.METRICS)
