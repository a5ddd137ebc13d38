"""Limits by eye, folds by the text itself, and that no text is judged by a machine it taught."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from errors import ModelError
from models.kit import spotting, teaching
from models.kit.teaching import Recipe, best_limit, lowest_limit

RECIPE = Recipe(looks=("words",), cost=1.0, least_texts=1, folds=3, marked_ham=0.1, quarantined_ham=0.0)
GIVEN = [f"prize {word}" for word in "abcdefghijkl"] + [f"lunch {word}" for word in "mnopqrstuvwx"]
SPAM = np.array([True] * 12 + [False] * 12)


def limits(value: list[float], spam: list[int], most_ham: float) -> tuple[float, float]:
    given, truth = np.array(value), np.array(spam, dtype=np.bool_)
    return best_limit(given, truth, most_ham), lowest_limit(given, truth, most_ham)


def test_limits_by_eye() -> None:
    assert limits([0.9, 0.8, 0.3, 0.1], [1, 1, 0, 0], 0.0) == pytest.approx((0.55, 0.55))
    # ham at 0.7: marking it buys the spam at 0.6, when it may
    assert limits([0.9, 0.7, 0.6, 0.5, 0.1], [1, 0, 1, 1, 0], 0.5) == pytest.approx((0.3, 0.3))
    assert limits([0.9, 0.7, 0.6, 0.5, 0.1], [1, 0, 1, 1, 0], 0.0) == pytest.approx((0.8, 0.8))
    # equal ones stay together, and a limit above all is possible
    assert limits([0.9, 0.9, 0.1], [1, 0, 0], 0.0) == pytest.approx((0.95, 0.95))


def test_what_was_learned_tells_the_kinds_apart() -> None:
    fitted = teaching.learn(GIVEN, SPAM, RECIPE)
    found = spotting.probabilities(fitted, ["a prize", "some lunch"])
    assert found[0] > fitted.curve.marked > found[1]
    assert fitted.curve.quarantined >= fitted.curve.marked
    textbook = teaching.textbook_bayes(GIVEN, SPAM, RECIPE)
    assert (spotting.probabilities(textbook, ["a prize", "some lunch"]) > 0.5).tolist() == [True, False]


def test_the_order_of_texts_does_not_matter() -> None:
    turned = teaching.learn(GIVEN[::-1], SPAM[::-1], RECIPE)
    assert spotting.dump(turned) == spotting.dump(teaching.learn(GIVEN, SPAM, RECIPE))


def test_no_text_is_judged_by_a_machine_that_it_taught() -> None:
    """Every text with a word of its own and nothing else: its fold's machine knows none of it, so only its bias is left."""
    words = [f"{one}{two}" for one in "abcdef" for two in "ghijkl"]
    spam = np.arange(len(words)) % 2 == 0
    lesson = teaching.prepared(words, spam, RECIPE.looks)
    margins, folds = teaching.margins_of_folds(lesson, RECIPE), lesson.draws % RECIPE.folds
    assert len(set(folds)) == RECIPE.folds
    assert all(len(set(margins[folds == number])) == 1 for number in range(RECIPE.folds))


def test_rare_ngrams_are_not_learned() -> None:
    fitted = teaching.learn(GIVEN, SPAM, msgspec.structs.replace(RECIPE, least_texts=6))
    assert set(fitted.views[0].grams) == {"prize", "lunch"}


def test_texts_with_nothing_in_common_cannot_be_learned_from() -> None:
    with pytest.raises(ModelError, match="an n-gram that 20 of"):
        teaching.learn(GIVEN, SPAM, msgspec.structs.replace(RECIPE, least_texts=20))


def test_too_few_of_a_kind_cannot_be_learned_from() -> None:
    with pytest.raises(ModelError, match="10 of each kind"):
        teaching.learn(GIVEN[:15], SPAM[:15], RECIPE)
