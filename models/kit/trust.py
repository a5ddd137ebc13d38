"""Learns how likely a new contributor is to contribute again: boosted trees (LightGBM) or a logistic regression.

The trees are held to what everybody expects of trust: more activity, or more recent activity, never lowers the score.
Younger lessons weigh more, because ever fewer newcomers of the site come back. The logistic regression looks at log(1 + x), scaled;
with a single input it is one of the baselines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from errors import TamperError
from models.kit import trees
from models.kit.contributors import NUMBERS

INPUTS = {  # learned from, and which way it may move the score; 0 is either way
    "wait_days": 0, "since_first_days": 0, "silent_days": -1, "unseen_days": -1, "longest_gap_days": 0, "posts": 1,
    "answers": 1, "first_answer": 0, "active_days": 1, "seen_days": 1, "posts_week": 1, "posts_month": 1, "badges": 1,
    "badges_month": 1,
}  # fmt: skip
MODEL, TREES = "model.json", "trees.txt"
Positive = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Floats = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]


class Learner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it is learned. What is only for trees is not looked at by the logistic regression."""

    kind: Literal["trees", "logistic"]
    trees: Count
    leaves: Annotated[int, msgspec.Meta(ge=2)]
    learning_rate: Positive
    min_rows: Count  # in a leaf
    input_share: Share  # of the inputs, drawn for each tree
    row_share: Share  # of the rows, drawn for each tree
    ridge: Positive
    half_life_days: Positive  # after which a lesson counts half


class Lessons(msgspec.Struct, frozen=True, kw_only=True):
    """What is learned from: one row per contributor and past moment."""

    seen: Floats  # (rows x NUMBERS), as of then
    again: Truth
    weights: Floats


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A learned score. From `trusted_from` on it proposes trust, below `distrusted_below` distrust; `everyone` is the mean."""

    kind: Literal["trees", "logistic"]
    inputs: tuple[str, ...]
    trusted_from: Probability = 1.0
    distrusted_below: Probability = 0.0
    everyone: Probability = 0.0
    centres: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    coefficients: tuple[float, ...] = ()
    intercept: float = 0.0
    sha256: str = ""  # of the trees
    text: bytes = b""
    booster: Any = None  # models.kit.trees.Forest; the name stands in artifacts


def lessons(seen: Sequence[Floats], again: Sequence[Truth], weights: Sequence[Floats]) -> Lessons:
    """The lessons of all moments in an order of their own values: which pseudonym somebody has changes nothing learned."""
    rows, labels, counts = np.concatenate(seen), np.concatenate(again), np.concatenate(weights)
    order = np.lexsort((labels, counts, *rows.T))
    return Lessons(seen=rows[order], again=labels[order], weights=counts[order])


def learn(lessons: Lessons, learner: Learner, seed: int, inputs: Sequence[str] = tuple(INPUTS)) -> Fitted:
    """A score without limits yet. Equal lessons and seed give equal bytes."""
    seen = lessons.seen[:, _places(inputs)]
    if learner.kind == "logistic":
        return _logistic(seen, lessons, learner.ridge, inputs)
    rows = trees.Rows(seen, lessons.again.astype(np.float64), lessons.weights, inputs)
    own = {"objective": "binary", "monotone_constraints": [INPUTS[name] for name in inputs]}
    text = trees.grow(rows, learner, seed, own)
    digest = hashlib.sha256(text).hexdigest()
    return Fitted(
        kind="trees", inputs=tuple(inputs), sha256=digest, text=text, booster=trees.read(text, "trust artifact")
    )


def limited(fitted: Fitted, newest: Floats, trusted_share: float, distrusted_share: float) -> Fitted:
    """The score with limits that so many of the newest contributors lie beyond, at either end; at least one is inside each.

    Args:
        newest: (contributors x NUMBERS) at the moment of learning.
    """
    scores = np.sort(probabilities(fitted, newest))
    top = scores[-max(1, round(trusted_share * len(scores)))]
    bottom = scores[round(distrusted_share * len(scores))]
    changes = {"trusted_from": float(top), "distrusted_below": float(bottom), "everyone": float(scores.mean())}
    return msgspec.structs.replace(fitted, **changes)


def probabilities(fitted: Fitted, seen: Floats) -> Floats:
    """How likely each is to contribute again, 0 to 1. Shape (rows,)."""
    asked = seen[:, _places(fitted.inputs)]
    if not len(asked):
        return np.zeros(0)
    if fitted.kind == "trees":
        return np.asarray(fitted.booster.predict(asked))
    scaled = (np.log1p(asked) - np.array(fitted.centres)) / np.array(fitted.scales)
    # summed input by input: a matrix product may round one row otherwise than many
    logits = fitted.intercept + sum(scaled[:, at] * one for at, one in enumerate(fitted.coefficients))
    return np.asarray(1.0 / (1.0 + np.exp(-logits)), dtype=np.float64)


def dump(fitted: Fitted) -> dict[str, bytes]:
    """model.json, and for trees LightGBM's own text."""
    head = msgspec.structs.replace(fitted, text=b"", booster=None)
    files = {MODEL: msgspec.json.encode(head, order="sorted")}
    return {**files, TREES: fitted.text} if fitted.kind == "trees" else files


def load(files: Mapping[str, bytes]) -> Fitted:
    """What `dump` wrote.

    Raises:
        TamperError: for a file that is missing, cannot be read or does not fit the others.
    """
    try:
        fitted = msgspec.json.decode(files[MODEL], type=Fitted)
        text = files[TREES] if fitted.kind == "trees" else b""
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TamperError("trust artifact", expected="the files dump wrote", got=repr(error)) from error
    if not set(fitted.inputs) <= set(NUMBERS) or not fitted.inputs:
        raise TamperError("trust artifact", expected=f"inputs among {NUMBERS}", got=fitted.inputs)
    if fitted.kind == "logistic":
        lengths = {len(fitted.inputs), len(fitted.centres), len(fitted.scales), len(fitted.coefficients)}
        if len(lengths) > 1:
            raise TamperError("trust artifact", expected="a figure for each input", got=f"lengths {sorted(lengths)}")
        return fitted
    if hashlib.sha256(text).hexdigest() != fitted.sha256:  # LightGBM reads half a file without complaint
        raise TamperError("trust artifact", expected=f"{TREES} of digest {fitted.sha256}", got="another")
    return msgspec.structs.replace(fitted, text=text, booster=trees.read(text, "trust artifact"))


def _places(inputs: Sequence[str]) -> list[int]:
    return [NUMBERS.index(name) for name in inputs]


def _logistic(seen: Floats, lessons: Lessons, ridge: float, inputs: Sequence[str]) -> Fitted:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - the rules answer without it

    logs = np.log1p(seen)
    centres, deviations = logs.mean(axis=0), logs.std(axis=0)
    scales = np.where(deviations > 0, deviations, 1.0)
    found = LogisticRegression(C=1.0 / ridge, max_iter=1000, tol=1e-6)
    found.fit((logs - centres) / scales, lessons.again, sample_weight=lessons.weights)
    return Fitted(
        kind="logistic",
        inputs=tuple(inputs),
        centres=_plain(centres),
        scales=_plain(scales),
        coefficients=_plain(found.coef_[0]),
        intercept=float(found.intercept_[0]),
    )


def _plain(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
