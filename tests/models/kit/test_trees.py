"""Trees grow the same from the same rows, learn what is there, and a damaged text is refused."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from errors import TamperError
from models.kit import trees


class Small(msgspec.Struct, frozen=True):
    trees: int = 20
    leaves: int = 4
    learning_rate: float = 0.3
    min_rows: int = 5
    input_share: float = 1.0
    row_share: float = 0.7
    ridge: float = 0.0


def rows() -> trees.Rows:
    """The truth is 1 where the first input is positive; the second says nothing."""
    draw = np.random.default_rng(3)
    inputs = draw.normal(size=(400, 2))
    return trees.Rows(inputs, (inputs[:, 0] > 0).astype(np.float64), np.ones(400), ("says", "silent"))


def test_they_learn_the_input_that_says_something() -> None:
    found = trees.read(trees.grow(rows(), Small(), 1, {"objective": "binary"}), "a test")
    said = found.predict(np.array([[2.0, 0.0], [-2.0, 0.0]]), num_threads=1)
    assert said[0] > 0.9 > 0.1 > said[1]
    assert found.feature_name() == ["says", "silent"]


def test_the_same_rows_and_seed_give_the_same_bytes_and_another_seed_others() -> None:
    once, again, other = (trees.grow(rows(), Small(), seed, {"objective": "binary"}) for seed in (1, 1, 2))
    assert once == again
    assert once != other


def test_what_only_one_model_has_is_passed_on() -> None:
    falling = {"objective": "binary", "monotone_constraints": [-1, 0]}
    found = trees.read(trees.grow(rows(), Small(), 1, falling), "a test")
    said = found.predict(np.array([[2.0, 0.0], [-2.0, 0.0]]), num_threads=1)
    assert said[0] <= said[1]


@pytest.mark.parametrize("text", [b"", b"tree\nnothing", b"\xff\xfe"])
def test_a_text_that_is_none_is_refused_by_name(text: bytes) -> None:
    with pytest.raises(TamperError, match="a test"):
        trees.read(text, "a test")
