"""Boosted trees that grow the same from the same rows: LightGBM on one thread, kept as its own text.

Read by the models that learn with trees; whoever answers by rules imports neither LightGBM nor numba. What answers are the
lists of `models.kit.quick` where they give LightGBM's own answers on rows made to tell them apart, else LightGBM.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from errors import TamperError
from models.kit import treetext

if TYPE_CHECKING:
    import lightgbm

log = logging.getLogger(__name__)
Floats = npt.NDArray[np.float64]
AS_THEY_ARE = ("regression", "regression_l1", "huber", "quantile", "lambdarank", "rank_xendcg")  # the sum is the score


class Learner(Protocol):
    """What of a model's parameters shapes its trees, in this house's words."""

    @property
    def trees(self) -> int: ...
    @property
    def leaves(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def min_rows(self) -> int: ...
    @property
    def input_share(self) -> float: ...
    @property
    def row_share(self) -> float: ...
    @property
    def ridge(self) -> float: ...


class Rows(NamedTuple):
    """What is learned from: rows x inputs, and for each row the truth and a weight."""

    inputs: Floats
    truth: Floats
    weights: Floats
    names: Sequence[str] | str = "auto"


def grow(rows: Rows, learner: Learner, seed: int, own: Mapping[str, Any]) -> bytes:
    """The trees as text. `own` holds LightGBM's settings that only this model has: objective, constraints."""
    import lightgbm  # noqa: PLC0415 - the rules answer without it

    settings = {
        "num_leaves": learner.leaves,
        "learning_rate": learner.learning_rate,
        "min_data_in_leaf": learner.min_rows,
        "feature_fraction": learner.input_share,
        "bagging_fraction": learner.row_share,
        "bagging_freq": 1,
        "lambda_l2": learner.ridge,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
        **own,
    }
    names = rows.names if isinstance(rows.names, str) else list(rows.names)
    data = lightgbm.Dataset(rows.inputs, rows.truth, weight=rows.weights, feature_name=names)
    text: str = lightgbm.train(settings, data, learner.trees).model_to_string()
    return text.encode()


class Forest:
    """Trees that answer; `quick` says by which way. One score a row.

    Raises:
        TamperError: naming `what`, for a text that LightGBM cannot read.
    """

    def __init__(self, text: bytes, what: str) -> None:
        import lightgbm  # noqa: PLC0415 - the rules answer without it

        try:
            booster = lightgbm.Booster(model_str=text.decode())
        except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
            raise TamperError(what, expected="trees as LightGBM writes them", got=repr(error)) from error
        self.inputs = int(booster.num_feature())
        self._booster: lightgbm.Booster | None = booster
        self._quick = _quick(booster, text.decode(), what)
        if self._quick is not None:  # LightGBM's own takes more memory than the lists
            self._booster = None

    @property
    def quick(self) -> bool:
        return self._quick is not None

    def predict(self, rows: Floats) -> Floats:
        """A score a row, as LightGBM gives it. `rows` are (rows x inputs); NaN is missing.

        Raises:
            ValueError: for rows of another width.
        """
        asked = np.ascontiguousarray(rows, dtype=np.float64)
        if asked.ndim != 2 or asked.shape[1] != self.inputs:
            raise ValueError(f"rows: expected (rows x {self.inputs}), got {asked.shape}")
        if self._quick is not None:
            return self._quick(asked)
        assert self._booster is not None
        return np.asarray(self._booster.predict(asked, num_threads=1), dtype=np.float64)


def read(text: bytes, what: str) -> Forest:
    """The trees of a text. Raises TamperError, naming `what`, for one that LightGBM cannot read."""
    return Forest(text, what)


def _quick(booster: lightgbm.Booster, text: str, what: str) -> Callable[[Floats], Floats] | None:
    """The quick way to the booster's answers; None where there is none, or where it would say anything else."""
    try:
        from models.kit import quick  # noqa: PLC0415 - numba is for those who answer with trees
    except ImportError as error:
        log.warning("%s: LightGBM answers, since the quick way cannot be imported: %s", what, error)
        return None
    try:
        written = treetext.read(text)
        made = quick.lists(written)
    except quick.Unfit as missing:
        log.info("%s: LightGBM answers, since the quick way needs %s", what, missing)
        return None
    except (ValueError, LookupError) as error:
        log.warning("%s: LightGBM answers, since its text has another form than v4's: %r", what, error)
        return None
    link = _link(written.objective)
    if link is None:
        log.info("%s: LightGBM answers, since the quick way does not know %r", what, written.objective)
        return None
    rows = quick.trials(made)
    sums = quick.answers(made, rows)
    same = np.array_equal(sums, booster.predict(rows, raw_score=True, num_threads=1))
    if not same or not np.allclose(link(sums), booster.predict(rows, num_threads=1), rtol=1e-12, atol=0.0):
        log.error("%s: LightGBM answers, since the quick way gave other scores", what)
        return None
    return lambda asked: link(quick.answers(made, asked))


def _link(objective: str) -> Callable[[Floats], Floats] | None:
    """What turns the sum of the leaves into the score; None where it is not known here."""
    if objective in AS_THEY_ARE:
        return np.asarray
    return _logistic if objective == "binary sigmoid:1" else None


def _logistic(sums: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-sums)))
