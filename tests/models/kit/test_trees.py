"""Trees grow the same from the same rows, learn what is there, and a damaged text is refused."""

from __future__ import annotations

import lightgbm
import msgspec
import numpy as np
import pytest

from errors import TamperError
from models.kit import quick, trees


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
    said = found.predict(np.array([[2.0, 0.0], [-2.0, 0.0]]))
    assert said[0] > 0.9 > 0.1 > said[1]
    assert found.quick


def test_the_same_rows_and_seed_give_the_same_bytes_and_another_seed_others() -> None:
    once, again, other = (trees.grow(rows(), Small(), seed, {"objective": "binary"}) for seed in (1, 1, 2))
    assert once == again
    assert once != other


def test_what_only_one_model_has_is_passed_on() -> None:
    falling = {"objective": "binary", "monotone_constraints": [-1, 0]}
    found = trees.read(trees.grow(rows(), Small(), 1, falling), "a test")
    said = found.predict(np.array([[2.0, 0.0], [-2.0, 0.0]]))
    assert said[0] <= said[1]


@pytest.mark.parametrize("text", [b"", b"tree\nnothing", b"\xff\xfe"])
def test_a_text_that_is_none_is_refused_by_name(text: bytes) -> None:
    with pytest.raises(TamperError, match="a test"):
        trees.read(text, "a test")


def odd_rows(count: int = 3000) -> tuple[trees.Floats, trees.Floats]:
    """Numbers, a number that is often missing, one of few values, and a category; the truth is of all of them."""
    draw = np.random.default_rng(11)
    numbers, kinds = draw.normal(size=(count, 3)), draw.integers(0, 7, count)
    numbers[draw.random(count) < 0.3, 1] = np.nan
    numbers[:, 2] = np.round(numbers[:, 2])
    inputs = np.column_stack([numbers, kinds])
    return inputs, np.nan_to_num(inputs[:, 1], nan=2.0) * inputs[:, 0] + np.isin(kinds, [1, 4]) * 3.0 + inputs[:, 2]


def booster(own: dict[str, object], count: int = 60) -> lightgbm.Booster:
    inputs, truth = odd_rows()
    settings = {"num_threads": 1, "verbosity": -1, "min_data_in_leaf": 5, "seed": 1, **own}
    told = {"binary": truth > 0, "poisson": np.abs(truth)}.get(str(own.get("objective")), truth)
    return lightgbm.train(
        settings, lightgbm.Dataset(inputs, told, categorical_feature=[3] if "max_cat_to_onehot" in own else []), count
    )


QUICK: tuple[dict[str, object], ...] = (
    {"num_leaves": 31},
    {"num_leaves": 64, "objective": "regression_l1"},
    {"num_leaves": 31, "objective": "binary"},
    {"num_leaves": 31, "max_cat_to_onehot": 1},
    {"num_leaves": 31, "use_missing": False},
    {"num_leaves": 2},
)
SLOW: tuple[dict[str, object], ...] = (
    {"num_leaves": 65},
    {"num_leaves": 31, "zero_as_missing": True},
    {"num_leaves": 31, "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
    {"num_leaves": 8, "linear_tree": True},
    {"num_leaves": 31, "objective": "poisson"},
    {"num_leaves": 31, "objective": "binary", "sigmoid": 2.0},
)


@pytest.mark.parametrize("own", [*QUICK, *SLOW], ids=str)
def test_whatever_the_trees_are_the_answers_are_those_of_lightgbm(own: dict[str, object]) -> None:
    made = booster(own)
    found = trees.read(made.model_to_string().encode(), "a test")
    assert found.quick == (own in QUICK)
    inputs = odd_rows()[0][:400]
    inputs[::7, 0], inputs[::5, 3] = np.nan, [*np.resize([np.nan, -3.0, 99.0, 6.5], 80)]
    np.testing.assert_allclose(found.predict(inputs), made.predict(inputs, num_threads=1), rtol=1e-12)
    one_by_one = np.concatenate([found.predict(row[None]) for row in inputs[:50]])
    assert np.array_equal(one_by_one, found.predict(inputs)[:50])


def test_an_answer_that_is_not_lightgbms_is_never_given(monkeypatch: pytest.MonkeyPatch) -> None:
    made = booster({"num_leaves": 31})
    real = quick.lists
    monkeypatch.setattr(quick, "lists", lambda text: real(text)._replace(leaves=real(text).leaves * 1.001))
    found = trees.read(made.model_to_string().encode(), "a test")
    assert not found.quick
    inputs = odd_rows()[0]
    assert np.array_equal(found.predict(inputs), made.predict(inputs, num_threads=1))


def test_rows_of_another_width_are_refused_by_both_ways() -> None:
    for leaves in (31, 65):
        found = trees.read(booster({"num_leaves": leaves}, 3).model_to_string().encode(), "a test")
        for shape in ((2, 3), (2, 5), (4,)):
            with pytest.raises(ValueError, match="rows x 4"):
                found.predict(np.zeros(shape))
