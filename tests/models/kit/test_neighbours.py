"""Item-to-item weights on a checkerboard whose answer is visible by eye, and against the textbook inverse."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from errors import ModelError
from models.kit import neighbours

CHECKERBOARD = np.array([[(row + column) % 2 == 0 for column in range(6)] for row in range(20)], dtype=np.float32)


def matrix(dense: np.ndarray) -> sp.csr_array:
    rows, columns = np.nonzero(dense)
    return neighbours.interactions(rows, columns, dense.shape)


def random_matrix(seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).random((60, 12)) < 0.3).astype(np.float32)


@pytest.mark.parametrize("learn", [lambda m: neighbours.ease(m, 1.0), neighbours.cosine])
def test_fields_of_one_colour_speak_for_each_other(learn: object) -> None:
    weights = learn(matrix(CHECKERBOARD))  # type: ignore[operator]  # two functions of different arguments
    assert (np.diag(weights) == 0).all()
    same = (np.add.outer(np.arange(6), np.arange(6)) % 2 == 0) & ~np.eye(6, dtype=bool)
    assert (weights[same] > 0.1).all()
    assert np.abs(weights[~same]).max() < 1e-6


def test_ease_is_the_textbook_inverse() -> None:
    dense = random_matrix().astype(np.float64)
    inverse = np.linalg.inv(dense.T @ dense + 3.0 * np.eye(12))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(neighbours.ease(matrix(dense), 3.0), expected, atol=1e-5)


def test_a_ridge_too_small_for_the_arithmetic_is_an_error() -> None:
    twins = np.ones((500, 2), dtype=np.float32)
    with pytest.raises(ModelError, match="positive definite"):
        neighbours.ease(matrix(twins), 1e-9)


def test_repeated_purchases_count_once() -> None:
    again = neighbours.interactions(np.array([0, 0, 1]), np.array([2, 2, 0]), (2, 3))
    assert again.toarray().tolist() == [[0, 0, 1], [1, 0, 0]]


def test_damping_turns_down_those_with_many_items() -> None:
    dense = np.array([[1, 1, 1, 1], [1, 0, 0, 0]], dtype=np.float32)
    found = neighbours.damped(matrix(dense), 0.5).toarray()
    assert found[1, 0] / found[0, 0] == pytest.approx(2.0)  # sqrt(4 items / 1 item)
    np.testing.assert_allclose(neighbours.damped(matrix(dense), 0.0).toarray(), dense)


def test_strongest_keeps_the_largest_towards_each_item() -> None:
    weights = np.array([[0.0, 0.5, -0.9], [0.2, 0.0, 0.1], [-0.4, 0.3, 0.0]], dtype=np.float32)
    kept = neighbours.strongest(weights, 1).toarray()
    expected = np.array([[0.0, 0.5, -0.9], [0.0, 0.0, 0.0], [-0.4, 0.0, 0.0]])
    np.testing.assert_allclose(kept, expected, atol=1e-3)
    np.testing.assert_allclose(neighbours.strongest(weights, 3).toarray(), weights, atol=1e-3)


def test_scores_are_the_weighted_sum_over_the_history() -> None:
    weights = neighbours.ease(matrix(random_matrix()), 2.0)
    items, strengths = [np.array([1, 5]), np.array([], dtype=int)], [np.array([1.0, 0.5]), np.array([])]
    found = neighbours.scores(neighbours.strongest(weights, 12), items, strengths)
    np.testing.assert_allclose(found[0], weights[1] + 0.5 * weights[5], atol=2e-3)
    assert (found[1] == 0).all()


def test_no_neighbours_score_nothing() -> None:
    assert neighbours.scores(neighbours.none(3), [np.array([0])], [np.array([1.0])]).tolist() == [[0, 0, 0]]


def test_top_orders_by_value_then_position_and_leaves_out_the_excluded() -> None:
    values = np.array([[1.0, 3.0, 3.0, -np.inf, 2.0], [-np.inf] * 5])
    assert [row.tolist() for row in neighbours.top(values, 3)] == [[1, 2, 4], []]
    assert [row.tolist() for row in neighbours.top(values, 99)] == [[1, 2, 4, 0], []]
    assert [row.tolist() for row in neighbours.top(np.zeros((2, 0)), 3)] == [[], []]


@given(arrays(np.float64, (3, 7), elements=st.sampled_from([-np.inf, 0.0, 1.0, 2.0])), st.integers(1, 9))
def test_top_is_the_head_of_a_stable_sort(values: np.ndarray, count: int) -> None:
    for row, found in zip(values, neighbours.top(values, count), strict=True):
        order = np.argsort(-row, kind="stable")
        assert found.tolist() == [at for at in order if np.isfinite(row[at])][:count]
