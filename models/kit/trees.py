"""Boosted trees that grow the same from the same rows: LightGBM on one thread, kept as its own text.

Read by the models that learn with trees; whoever answers by rules imports no LightGBM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from errors import TamperError

if TYPE_CHECKING:
    import lightgbm

Floats = npt.NDArray[np.float64]


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


def read(text: bytes, what: str) -> lightgbm.Booster:
    """The trees of a text. Raises TamperError, naming `what`, for one that LightGBM cannot read."""
    import lightgbm  # noqa: PLC0415 - the rules answer without it

    try:
        return lightgbm.Booster(model_str=text.decode())
    except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
        raise TamperError(what, expected="trees as LightGBM writes them", got=repr(error)) from error
