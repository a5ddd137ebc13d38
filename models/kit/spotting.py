"""Which of two kinds a short text is: a linear machine over n-grams with a calibrated probability and two limits.

Each view of a text (character and word n-grams) is weighed by TF-IDF, the views' sums make a margin, a logistic curve
makes it a probability. Answering is a look-up and a sum in numpy; `models.kit.teaching` learns. Read by `models/spam.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from errors import TamperError
from models.kit import npy, texts

Floats = npt.NDArray[np.float64]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
LOOKS: Mapping[str, Callable[[str], Counter[str]]] = {"characters": texts.characters, "words": texts.words}
SIGN = "number"  # the plain sign that tells most
STEEP = 4.0  # of the curve of a stand-in that has no folds behind it


class View(NamedTuple):
    """One way of looking at a text: the n-grams it knows with their places, and what each weighs before and after scaling."""

    look: str
    grams: Mapping[str, int]
    idf: Floats  # shape (grams,), as are the weights
    weights: Floats


class Curve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From margin to probability, and from which probability on a text is marked, or put away."""

    steepness: Annotated[float, msgspec.Meta(gt=0)]
    offset: float
    marked: Share
    quarantined: Share  # never below `marked`


class Fitted(NamedTuple):
    """What was learned. With `sign` it is the stand-in that looks for that sign only."""

    views: tuple[View, ...]
    bias: float
    curve: Curve
    scaled: bool = True  # TF-IDF of length one; False for counts of the textbook's naive Bayes
    sign: str = ""


def one_sign(sign: str = SIGN) -> Fitted:
    """The stand-in that marks whatever has one plain sign."""
    curve = Curve(steepness=STEEP, offset=0.0, marked=0.5, quarantined=0.5)
    return Fitted(views=(), bias=-0.5, curve=curve, sign=sign)


def probabilities(fitted: Fitted, given: Sequence[str]) -> Floats:
    """How likely each text is spam, shape (texts,); the same for one text alone as among others."""
    if fitted.sign:
        margins = np.array([float(fitted.sign in texts.signs(text)) for text in given]) + fitted.bias
    else:
        margins = np.full(len(given), fitted.bias)
        for view in fitted.views:
            margins += _sums(view, given, scaled=fitted.scaled)
    return likely(margins, fitted.curve.steepness, fitted.curve.offset)


def weigh(counts: Floats, idf: Floats) -> Floats:
    """(1 + log count) times idf, n-gram by n-gram."""
    return np.asarray((1.0 + np.log(counts)) * idf, dtype=np.float64)


def likely(margins: Floats, steepness: float, offset: float) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(steepness * margins + offset, -500, 500))), dtype=np.float64)


def _sums(view: View, given: Sequence[str], *, scaled: bool) -> Floats:
    """What a view adds to the margin of each text. A text is summed in its own order, whoever stands beside it."""
    found = [_known(view.grams, text, LOOKS[view.look]) for text in given]
    rows = np.repeat(np.arange(len(found)), [len(places) for places, _ in found])
    places = np.fromiter(chain.from_iterable(one for one, _ in found), dtype=np.int64, count=len(rows))
    if not scaled:
        return np.asarray(np.bincount(rows, view.weights[places], minlength=len(found)), dtype=np.float64)
    counts = np.fromiter(chain.from_iterable(one for _, one in found), dtype=np.float64, count=len(rows))
    values = weigh(counts, view.idf[places])
    squares = np.bincount(rows, values**2, minlength=len(found))
    sums = np.bincount(rows, values * view.weights[places], minlength=len(found))
    return np.asarray(sums / np.sqrt(np.where(squares > 0, squares, 1.0)), dtype=np.float64)


def _known(grams: Mapping[str, int], text: str, look: Callable[[str], Counter[str]]) -> tuple[list[int], list[int]]:
    """Places and counts of the n-grams of a text that are known."""
    counted = [(grams[gram], count) for gram, count in look(text).items() if gram in grams]
    return [place for place, _ in counted], [count for _, count in counted]


def dump(fitted: Fitted) -> dict[str, bytes]:
    """fitted.json (curve and n-grams) and, for each view, an array of idf and weight."""
    plain = {
        "bias": fitted.bias,
        "curve": fitted.curve,
        "scaled": fitted.scaled,
        "sign": fitted.sign,
        "views": [{"look": view.look, "grams": list(view.grams)} for view in fitted.views],
    }
    arrays = {
        f"{view.look}.npy": npy.dump(np.vstack([view.idf, view.weights]).astype(np.float32)) for view in fitted.views
    }
    return {"fitted.json": msgspec.json.encode(plain, order="sorted"), **arrays}


def load(files: Mapping[str, bytes]) -> Fitted:
    """What `dump` wrote. Raises TamperError for files it cannot read or that do not fit together."""
    try:
        stored = msgspec.json.decode(files["fitted.json"], type=_Stored)
        views = tuple(_view(one, files[f"{one.look}.npy"]) for one in stored.views)
    except (KeyError, ValueError, EOFError, msgspec.MsgspecError) as error:
        raise TamperError("spam model", expected="fitted.json and an array a view", got=repr(error)) from error
    if stored.curve.quarantined < stored.curve.marked:
        raise TamperError("spam model", expected="quarantine from where it is marked on", got=stored.curve)
    return Fitted(views, stored.bias, stored.curve, stored.scaled, stored.sign)


class _StoredView(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    look: str
    grams: list[str]


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bias: float
    curve: Curve
    scaled: bool
    sign: str
    views: list[_StoredView]


def _view(stored: _StoredView, data: bytes) -> View:
    array = npy.load(data)
    if stored.look not in LOOKS or array.shape != (2, len(stored.grams)) or not np.isfinite(array).all():
        raise ValueError(f"view {stored.look!r} of {len(stored.grams)} n-grams, array {array.shape}")
    idf, weights = array.astype(np.float64)
    return View(stored.look, {gram: at for at, gram in enumerate(stored.grams)}, idf, weights)
