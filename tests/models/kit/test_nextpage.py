"""The page network on contexts counted by hand, its slopes against differences, and damaged files."""

from __future__ import annotations

import numpy as np
import pytest

from errors import TamperError
from models.kit import nextpage, npy
from models.kit.nextpage import LENGTHS, Fitted, Recipe

PAGES = ("/a", "/b", "/c", "/d")
RECIPE = Recipe(hidden=3, epochs=60, batch=2, rate=0.05, decay=1e-5)
SESSIONS = [[0, 1], [1, 0], [0, 1, 2], [3, 2], [3]]


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return nextpage.fit(SESSIONS, PAGES, RECIPE, seed=4)


def test_each_page_is_left_out_in_turn_and_equal_contexts_are_one() -> None:
    taught = nextpage.lessons(SESSIONS, len(PAGES))
    contexts = {tuple(one.tolist()): row for row, one in enumerate(taught.contexts)}
    assert list(contexts) == [(0,), (0, 1), (0, 2), (1,), (1, 2), (2,), (3,)]
    table = taught.left_out.toarray()
    assert table[contexts[(0,)]].tolist() == [0, 2, 0, 0]  # twice {a, b} without b
    assert table[contexts[(0, 1)]].tolist() == [0, 0, 1, 0]
    assert table.sum() == 2 + 2 + 3 + 2  # the session of one page teaches nothing


def test_inputs_are_pages_shares_and_the_length() -> None:
    long = np.arange(4)
    table = nextpage.inputs([np.array([1, 3]), np.zeros(0, np.int64), long], 4).toarray()
    assert table[0].tolist() == [0, 1, 0, 1, 0, 0.5, 0, 0.5, 0, 1, *[0] * (LENGTHS - 2)]
    assert not table[1].any()
    assert table[2, 8 + 3] == 1


def test_it_learns_what_goes_together(fitted: Fitted) -> None:
    values = nextpage.scores(fitted, [np.array([0]), np.array([3]), np.array([0, 1])])
    for row, (seen, expected) in zip(values, (([0], 1), ([3], 2), ([0, 1], 2)), strict=True):
        row[seen] = -np.inf
        assert row.argmax() == expected


def test_order_of_sessions_and_pages_changes_nothing(fitted: Fitted) -> None:
    turned = nextpage.fit([session[::-1] for session in SESSIONS[::-1]], PAGES, RECIPE, seed=4)
    assert nextpage.dump(turned) == nextpage.dump(fitted)
    assert nextpage.dump(nextpage.fit(SESSIONS, PAGES, RECIPE, seed=5)) != nextpage.dump(fitted)


def test_slopes_are_those_of_the_loss() -> None:
    """Against central differences of the loss, written here in float64 by its definition."""
    taught, rng = nextpage.lessons(SESSIONS, 4), np.random.default_rng(0)
    given, width = nextpage.inputs(taught.contexts, 4), 2 * 4 + LENGTHS
    weights = [rng.normal(size=shape).astype(np.float32) for shape in ((width, 4), (width, 3), (3,), (3, 4))]
    bias, decay = rng.normal(size=4).astype(np.float32), 0.01

    def loss(parts: list[np.ndarray]) -> float:
        direct, inner, shift, outer = parts
        x, times = given.toarray(), taught.left_out.toarray()
        z = x @ direct + np.tanh(x @ inner + shift) @ outer + bias
        z = np.where(x[:, :4] > 0, -np.inf, z)
        logs = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        entropy = -(times[times > 0] * logs[times > 0]).sum() / times.sum()
        return float(entropy + decay / 2 * sum((part**2).sum() for part in (direct, inner, outer)))

    slopes = nextpage._slopes(weights, bias, given, taught.left_out, decay)
    exact = [weight.astype(np.float64) for weight in weights]
    for number, slope in enumerate(slopes):
        for at in np.ndindex(slope.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [part.copy() for part in exact]
                moved[number][at] += step
                ends.append(loss(moved))
            assert slope[at] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=2e-4)


def test_item_to_item_weights_answer_the_same_way() -> None:
    weights = np.array([[0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 3], [0, 0, 0, 0]], np.float32)
    made = nextpage.linear(weights, PAGES, np.zeros(4, np.float32))
    assert nextpage.scores(made, [np.array([0, 2])]).tolist() == [[0, 2, 0, 3]]


def test_shares_of_a_row_sum_to_one_and_minus_infinity_is_nothing() -> None:
    shares = nextpage.shares(np.array([[1.0, -np.inf, 1.0], [900.0, 0.0, -900.0]]))
    assert shares.tolist() == [[0.5, 0.0, 0.5], [1.0, 0.0, 0.0]]
    assert nextpage.shares(np.full((1, 2), -np.inf)).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("wrong", [np.zeros(3, np.float32), np.full(4, np.nan, np.float32), np.zeros(4)])
def test_arrays_that_do_not_fit_are_refused(fitted: Fitted, wrong: np.ndarray) -> None:
    files = nextpage.dump(fitted)
    assert nextpage.dump(nextpage.load(files)) == files
    with pytest.raises(TamperError, match="bias"):
        nextpage.load({**files, "bias.npy": npy.dump(wrong)})
