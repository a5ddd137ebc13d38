"""How a spotter of short texts is taught: a linear support vector machine, a curve and limits from folds, or naive Bayes.

The curve and the limits come from margins of texts that the fold's machine did not see. Learning uses scikit-learn;
what comes out is `models.kit.spotting.Fitted`. Read by `models/spam.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import isfinite
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
import numpy as np
import numpy.typing as npt

from errors import ModelError
from models.kit import texts
from models.kit.spotting import LOOKS, Curve, Fitted, View, likely, weigh

Floats = npt.NDArray[np.float64]
Truths = npt.NDArray[np.bool_]
LEAST = 10  # texts of each kind that can be learned from


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How to learn; meanings and limits are those of the model's Params."""

    looks: tuple[str, ...]
    cost: float
    least_texts: int
    folds: int
    marked_ham: float
    quarantined_ham: float
    bayes: bool = False


class Counted(NamedTuple):
    """How often each text has each n-gram of one look: a sparse matrix, texts by n-grams."""

    look: str
    grams: Sequence[str]
    counts: Any


class Lesson(NamedTuple):
    """Texts to learn from, counted once for all folds; `draws` says which fold a text falls into, by the text alone."""

    looked: tuple[Counted, ...]
    spam: Truths
    draws: npt.NDArray[np.int64]


class Taught(NamedTuple):
    """The n-grams kept of a look, and what was learned about them."""

    kept: npt.NDArray[np.int64]
    idf: Floats
    weights: Floats


def learn(given: Sequence[str], spam: Truths, recipe: Recipe) -> Fitted:
    """Learns from distinct texts. Their order does not matter: they are sorted, and folds go by the text itself.

    Raises:
        ModelError: when there are too few texts of either kind.
    """
    lesson = prepared(given, spam, recipe.looks)
    curve = fitting_curve(margins_of_folds(lesson, recipe), lesson.spam, recipe)
    taught, bias = _taught(lesson.looked, np.arange(len(lesson.spam)), lesson.spam, recipe)
    views = tuple(_view(one, part) for one, part in zip(lesson.looked, taught, strict=True))
    return Fitted(views=views, bias=bias, curve=curve, scaled=not recipe.bayes)


def prepared(given: Sequence[str], spam: Truths, looks: Sequence[str]) -> Lesson:
    """The texts sorted and counted. Raises ModelError when there are too few of either kind."""
    order = sorted(range(len(given)), key=given.__getitem__)
    ordered, truth = [given[at] for at in order], spam[order]
    refuse_few(truth)
    draws = np.array([crc32(texts.key(text).encode("utf-8", "surrogatepass")) for text in ordered], dtype=np.int64)
    return Lesson(tuple(_counted(look, ordered) for look in looks), truth, draws)


def margins_of_folds(lesson: Lesson, recipe: Recipe) -> Floats:
    """The margin of each text by a machine that was taught by the other folds only."""
    margins = np.zeros(len(lesson.spam))
    for number in range(recipe.folds):
        outside = np.flatnonzero(lesson.draws % recipe.folds == number)
        inside = np.flatnonzero(lesson.draws % recipe.folds != number)
        taught, bias = _taught(lesson.looked, inside, lesson.spam, recipe)
        margins[outside] = bias + sum(
            _matrix(one, part, outside, recipe) @ part.weights for one, part in zip(lesson.looked, taught, strict=True)
        )
    return margins


def textbook_bayes(given: Sequence[str], spam: Truths, recipe: Recipe) -> Fitted:
    """Naive Bayes on words as its own probabilities have it: marked from 1/2 on, put away from 9/10 on.

    Nine tenths is the limit of Androutsopoulos et al. (2000) for a lost message that weighs nine. Raises as `learn`.
    """
    lesson, every = prepared(given, spam, ["words"]), np.arange(len(spam))
    taught, bias = _taught(lesson.looked, every, lesson.spam, msgspec.structs.replace(recipe, bayes=True))
    curve = Curve(steepness=1.0, offset=0.0, marked=0.5, quarantined=0.9)
    return Fitted(views=(_view(lesson.looked[0], taught[0]),), bias=bias, curve=curve, scaled=False)


def refuse_few(spam: Truths) -> None:
    """Raises ModelError when there are too few texts of either kind to learn from."""
    least = int(min(spam.sum(), (~spam).sum())) if len(spam) else 0
    if least < LEAST:
        got = f"{least} of the rarer kind"
        raise ModelError("texts to learn from", expected=f"{LEAST} of each kind", got=got, do="take more history in")


def _counted(look: str, ordered: Sequence[str]) -> Counted:
    from scipy import sparse  # noqa: PLC0415 - the rules answer without it

    found = [LOOKS[look](text) for text in ordered]
    grams = sorted(set(chain.from_iterable(found)))
    places = {gram: at for at, gram in enumerate(grams)}
    ends = np.cumsum([0, *(len(one) for one in found)])
    columns = np.fromiter((places[gram] for one in found for gram in one), dtype=np.int64, count=int(ends[-1]))
    counts = np.fromiter((count for one in found for count in one.values()), dtype=np.float64, count=int(ends[-1]))
    return Counted(look, grams, sparse.csr_matrix((counts, columns, ends), shape=(len(found), len(grams))))


def _taught(
    looked: Sequence[Counted], inside: npt.NDArray[np.int64], spam: Truths, recipe: Recipe
) -> tuple[list[Taught], float]:
    """What the texts `inside` teach; as precise as it is stored, so that a loaded model answers the same."""
    from scipy import sparse  # noqa: PLC0415 - the rules answer without it

    plain = [_kept(one, inside, recipe.least_texts) for one in looked]
    if not any(len(part.kept) for part in plain):
        expected = f"an n-gram that {recipe.least_texts} of {len(inside)} have"
        raise ModelError("texts to learn from", expected=expected, got="none", do="take more history in")
    matrix = sparse.hstack([_matrix(one, part, inside, recipe) for one, part in zip(looked, plain, strict=True)])
    weights, bias = (_bayes if recipe.bayes else _machine)(matrix.tocsr(), spam[inside], recipe.cost)
    parts = np.split(_single(weights), np.cumsum([len(part.kept) for part in plain])[:-1])
    return [part._replace(weights=own) for part, own in zip(plain, parts, strict=True)], bias


def _kept(one: Counted, inside: npt.NDArray[np.int64], least: int) -> Taught:
    """The n-grams that enough texts have, with log((1 + n) / (1 + n with it)) + 1, and no weight yet."""
    texts_with = np.bincount(one.counts[inside].indices, minlength=len(one.grams))
    kept = np.flatnonzero(texts_with >= least)
    idf = np.log((1.0 + len(inside)) / (1.0 + texts_with[kept])) + 1.0
    return Taught(kept, _single(idf), np.zeros(len(kept)))


def _matrix(one: Counted, part: Taught, rows: npt.NDArray[np.int64], recipe: Recipe) -> Any:
    """Texts by kept n-grams: each text weighed and of length one, or plain presence for naive Bayes."""
    matrix = one.counts[rows][:, part.kept].tocsr()
    if recipe.bayes:
        matrix.data = np.ones_like(matrix.data)
        return matrix
    matrix.data = weigh(matrix.data, part.idf[matrix.indices])
    row_of = np.repeat(np.arange(len(rows)), np.diff(matrix.indptr))
    squares = np.bincount(row_of, matrix.data**2, minlength=len(rows))
    matrix.data /= np.sqrt(squares)[row_of]
    return matrix


def _view(one: Counted, part: Taught) -> View:
    grams = {one.grams[column]: at for at, column in enumerate(part.kept.tolist())}
    return View(one.look, grams, part.idf, part.weights)


def _machine(matrix: Any, spam: Truths, cost: float) -> tuple[Floats, float]:
    """A linear support vector machine with squared hinge loss (liblinear; Fan et al. 2008)."""
    from sklearn.svm import LinearSVC  # noqa: PLC0415 - the rules answer without it

    made = LinearSVC(C=cost, random_state=0).fit(matrix, spam)
    return np.asarray(made.coef_[0], dtype=np.float64), float(made.intercept_[0])


def _bayes(matrix: Any, spam: Truths, cost: float) -> tuple[Floats, float]:
    """Multinomial naive Bayes on presence, one count added to each (Metsis, Androutsopoulos, Paliouras 2006)."""
    del cost
    yes, no = (np.asarray(matrix[truth].sum(axis=0)).ravel() + 1.0 for truth in (spam, ~spam))
    weights = np.log(yes / yes.sum()) - np.log(no / no.sum())
    return np.asarray(weights, dtype=np.float64), float(np.log(spam.mean()) - np.log1p(-spam.mean()))


def _single(values: Floats) -> Floats:
    """As precise as the artifact."""
    return np.asarray(values.astype(np.float32), dtype=np.float64)


def fitting_curve(margins: Floats, spam: Truths, recipe: Recipe) -> Curve:
    """The logistic curve over margins of folds (Platt 1999), and the limits that keep what they allow there."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - the rules answer without it

    spread = float(margins.std()) or 1.0
    made = LogisticRegression(C=1e4).fit((margins / spread)[:, None], spam)
    steepness, offset = float(made.coef_[0, 0]) / spread, float(made.intercept_[0])
    if not (isfinite(steepness) and steepness > 0):
        raise ModelError("texts to learn from", expected="n-grams that tell spam from ham", got=f"slope {steepness}")
    probable = likely(margins, steepness, offset)
    marked = best_limit(probable, spam, recipe.marked_ham)
    quarantined = max(marked, lowest_limit(probable, spam, recipe.quarantined_ham))
    return Curve(steepness=steepness, offset=offset, marked=marked, quarantined=quarantined)


def best_limit(probable: Floats, spam: Truths, most_ham: float) -> float:
    """The limit with the best F1 among those that at most a share `most_ham` of the ham reaches."""
    cuts, caught, wrong = _cuts(probable, spam)
    allowed = wrong <= most_ham * int((~spam).sum())
    f1 = np.where(allowed, 2 * caught / (caught + wrong + spam.sum()), -1.0)
    return float(cuts[int(np.argmax(f1))])


def lowest_limit(probable: Floats, spam: Truths, most_ham: float) -> float:
    """The lowest limit that at most a share `most_ham` of the ham reaches."""
    cuts, _, wrong = _cuts(probable, spam)
    return float(cuts[int(np.flatnonzero(wrong <= most_ham * int((~spam).sum()))[-1])])


def _cuts(probable: Floats, spam: Truths) -> tuple[Floats, Floats, Floats]:
    """Limits half way between neighbours, the highest first, with how many spam and ham reach each."""
    order = np.argsort(-probable, kind="stable")
    values = probable[order]
    ends = np.flatnonzero(np.append(values[:-1] > values[1:], True))  # equal ones stay together
    below = np.append(values, 0.0)[ends + 1]
    caught, wrong = (np.cumsum(truth[order])[ends].astype(np.float64) for truth in (spam, ~spam))
    cuts = np.append(min(1.0, (1.0 + values[0]) / 2), (values[ends] + below) / 2)
    return cuts, np.append(0.0, caught), np.append(0.0, wrong)
