"""The filters that `spam` is compared with: ours, with and without redaction, and rivals written apart from our code.

Each is a function from texts to learn from, their labels and texts to judge, to a probability (or a margin) and to what is marked
and put away. Read by `benchmarks/quality/spam.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from zlib import crc32

import msgspec
import numpy as np
import numpy.typing as npt

from configs.load import load
from models import spam as model
from models.contract import configure, find
from models.kit import spotting, teaching, texts
from models.kit.spotting import Fitted
from models.kit.teaching import Recipe

Floats = npt.NDArray[np.float64]
Truths = npt.NDArray[np.bool_]
REFERENCE = "char (2-5) TF-IDF + logistic regression"
LIMITED = "the same regression with our limits"
REFERENCE_COST = 20.0  # C of the reference, far bolder than the default of 1


class Judged(NamedTuple):
    """What a filter says of each text."""

    value: Floats
    marked: Truths
    away: Truths  # put into quarantine; for a rival with one limit the same as marked


Filter = Callable[[Sequence[str], Truths, Sequence[str]], Judged]


@functools.cache
def house() -> tuple[model.Params, model.Policy]:
    """What configs/spam.yaml says."""
    return configure(find("spam"), load().models["spam"])


def configured() -> Recipe:
    """As configs/spam.yaml has it."""
    return model.recipe(house()[0])


def ours(given: Sequence[str], spam: Truths, asked: Sequence[str]) -> Judged:
    """The model as configured."""
    return judged(teaching.learn(*distinct(given, spam), configured()), asked)


def nested(given: Sequence[str], spam: Truths, asked: Sequence[str]) -> Judged:
    """The model whose cost is chosen anew on folds of what it learns from."""
    lesson = teaching.prepared(*distinct(given, spam), configured().looks)
    recipes = [msgspec.structs.replace(configured(), cost=cost) for cost in (0.1, 0.3, 1.0, 3.0)]
    best = min(recipes, key=lambda recipe: _brier(lesson, recipe))
    return judged(teaching.learn(*distinct(given, spam), best), asked)


def bayes_with_limits(given: Sequence[str], spam: Truths, asked: Sequence[str]) -> Judged:
    """Naive Bayes on words with our curve and limits."""
    recipe = msgspec.structs.replace(configured(), looks=("words",), bayes=True)
    return judged(teaching.learn(*distinct(given, spam), recipe), asked)


def textbook_bayes(given: Sequence[str], spam: Truths, asked: Sequence[str]) -> Judged:
    """Naive Bayes on words at one half."""
    return judged(teaching.textbook_bayes(*distinct(given, spam), configured()), asked)


def long_number(given: Sequence[str], spam: Truths, asked: Sequence[str]) -> Judged:
    """Whatever holds a long number."""
    del given, spam
    return judged(spotting.one_sign(), asked)


def plain_signs(given: Sequence[str], spam: Truths, asked: Sequence[str]) -> Judged:
    """The rules."""
    del given, spam
    answers = model.rules(None, [model.Request(text=text) for text in asked])
    said = np.array([answer.items[0] for answer in answers], dtype=object)
    value = np.array([answer.value for answer in answers], dtype=np.float64)
    return Judged(value, said != model.HAM, said == model.QUARANTINE)


def reference(given: Sequence[str], spam: Truths, asked: Sequence[str]) -> Judged:
    """Character (2-5) TF-IDF and logistic regression at one half, all of scikit-learn, repeats and all."""
    value = spotting.likely(_regression(given, spam)(asked), 1.0, 0.0)
    return Judged(value, value >= 0.5, value >= 0.5)


def reference_with_limits(given: Sequence[str], spam: Truths, asked: Sequence[str]) -> Judged:
    """The reference with our curve and limits: what is left of ours - it is the learner's."""
    known, truth = distinct(given, spam)
    folds = configured().folds
    draws = np.array([crc32(texts.key(text).encode("utf-8", "surrogatepass")) % folds for text in known])
    margins = np.zeros(len(known))
    for fold in range(folds):
        inside, outside = np.flatnonzero(draws != fold), np.flatnonzero(draws == fold)
        machine = _regression([known[at] for at in inside], truth[inside])
        margins[outside] = machine([known[at] for at in outside])
    curve = teaching.fitting_curve(margins, truth, configured())
    value = spotting.likely(_regression(known, truth)(asked), curve.steepness, curve.offset)
    return Judged(value, value >= curve.marked, value >= curve.quarantined)


FILTERS: Mapping[str, Filter] = {
    "ours": ours,
    "ours, cost chosen in the fold": nested,
    REFERENCE: reference,
    LIMITED: reference_with_limits,
    "naive Bayes with our limits": bayes_with_limits,
    "naive Bayes at one half": textbook_bayes,
    "plain signs (the rules)": plain_signs,
    "a long number": long_number,
}


def judged(fitted: Fitted, asked: Sequence[str]) -> Judged:
    """What a fitted filter says."""
    value = spotting.probabilities(fitted, asked)
    return Judged(value, value >= fitted.curve.marked, value >= fitted.curve.quarantined)


def distinct(given: Sequence[str], spam: Truths) -> tuple[list[str], Truths]:
    """Each text once, digits and punctuation aside: the first of its kind."""
    first: dict[str, int] = {}
    for at, text in enumerate(given):
        first.setdefault(texts.key(text), at)
    chosen = list(first.values())
    return [given[at] for at in chosen], spam[chosen]


def _regression(given: Sequence[str], spam: Truths) -> Callable[[Sequence[str]], Floats]:
    """The reference learned: texts to margins."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectors = TfidfVectorizer(analyzer="char", ngram_range=(2, 5), min_df=2, sublinear_tf=True)
    learner = LogisticRegression(C=REFERENCE_COST, solver="liblinear", random_state=0)
    learner.fit(vectors.fit_transform(given), spam)
    return lambda asked: np.asarray(learner.decision_function(vectors.transform(asked)), dtype=np.float64)


def _brier(lesson: teaching.Lesson, recipe: Recipe) -> float:
    margins = teaching.margins_of_folds(lesson, recipe)
    curve = teaching.fitting_curve(margins, lesson.spam, recipe)
    value = spotting.likely(margins, curve.steepness, curve.offset)
    return float(np.mean((value - lesson.spam) ** 2))
