"""Forecasts weekly units of every category: gradient-boosted trees over recent weeks, held back towards a level.

    level    = mean of the medians of the last 4 and of the last 8 weeks
    forecast = level x ((1 - trust) + trust x trees(inputs, horizon)),   trust = weeks / (weeks + trust_weeks)
    and all of them by one factor, so that their sum goes `cycle_share` of the way to what all sold four weeks earlier

The trees (LightGBM, one model for all categories and horizons) learn the ratio of what was sold to the level, with the
level as weight, so large categories count as they do in the WAPE; they are trusted as the weeks they learned from grow. Median and naive forecasts need numpy only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from errors import DataError, TamperError
from models.kit import levels, weekly
from models.kit import trees as boosted
from models.kit.levels import INPUTS, LONG, MIN_LEVEL
from models.kit.weekly import DAYS, VALUES, Index

CYCLE = 4  # weeks, of the naive forecast
HORIZONS = (1, 2, 3, 4)  # weeks ahead
TREES, HEAD = "trees.txt", "model.json"
Positive = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Floats = npt.NDArray[np.float64]
See = Callable[[Index], Floats]  # to (categories x inputs)


class Learner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the trees are grown and how far they are trusted."""

    trees: Count
    leaves: Annotated[int, msgspec.Meta(ge=2)]
    learning_rate: Positive
    min_rows: Count  # in a leaf
    input_share: Share  # of the inputs, drawn for each tree
    row_share: Share  # of the rows, drawn for each tree
    ridge: Annotated[float, msgspec.Meta(ge=0)]
    max_ratio: Positive  # a larger ratio to the level is learned as this
    step_days: Count  # between the past moments that are learned from
    trust_weeks: Positive  # weeks learned from at which trees and level count the same
    cycle_share: Share = 0.0  # of the sum, that follows the week four weeks earlier
    loss: Literal["squares", "absolute"] = "squares"  # absolute for single products, whose weeks are far more skewed


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """Something that forecasts: trees with their text, or a rule of thumb."""

    kind: Literal["trees", "median", "four_weeks_earlier"]
    trust: float = 0.0
    cycle_share: float = 0.0
    text: bytes = b""
    trees: Any = None  # models.kit.trees.Forest


def fit(cells: pd.DataFrame, count: int, learner: Learner, seed: int, see: See = levels.inputs) -> Fitted:
    """Learns from every past moment, `step_days` apart, what each category sold 1 to 4 weeks later.

    Args:
        cells: of `weekly.cells`, with the moment of learning as anchor.
        count: number of categories.
        see: what the trees see of each category; `forecast` must be given the same.

    Raises:
        DataError: when the history is too short to have seen eight weeks and the week after.
    """
    rows = list(_lessons(cells, count, learner, see))
    if not rows:
        weeks = LONG + HORIZONS[0]
        have = (-int(cells["sold"].min())) / DAYS if len(cells) else 0.0
        raise DataError(
            "history of sales", expected=f"at least {weeks} weeks", got=f"{have:.1f}", do="take more history in"
        )
    seen, ratios, weights = (np.concatenate(part) for part in zip(*rows, strict=True))
    objective = {"squares": "regression", "absolute": "regression_l1"}[learner.loss]
    text = boosted.grow(boosted.Rows(seen, ratios, weights), learner, seed, {"objective": objective})
    learned = -int(cells["sold"].min()) / DAYS - LONG
    trust = learned / (learned + learner.trust_weeks)
    return Fitted(
        kind="trees",
        trust=trust,
        cycle_share=learner.cycle_share,
        text=text,
        trees=boosted.read(text, "forecast artifact"),
    )


def forecast(fitted: Fitted, known: Index, horizon: int, see: See = levels.inputs) -> Floats:
    """Units of each category in the week that ends `horizon` weeks later; not rounded, not bounded."""
    if known.weeks == 0:
        return np.zeros(len(known.categories))
    if fitted.kind == "median":
        return levels.median(known.units)
    earlier = np.nan_to_num(levels.last(known.units, CYCLE)[:, (horizon - 1) % CYCLE])
    if fitted.kind == "four_weeks_earlier":
        return np.asarray(earlier)
    base = levels.level(known.units)
    asked = np.column_stack([see(known), np.full(len(base), float(horizon))])
    ratio = fitted.trees.predict(asked) * np.maximum(base, MIN_LEVEL)
    units = (1.0 - fitted.trust) * base + fitted.trust * ratio
    every, share = units.sum(), fitted.cycle_share if known.weeks >= CYCLE else 0.0
    return np.asarray(units * (1.0 + share * (earlier.sum() / every - 1.0)) if every > 0 else units)


def dump(fitted: Fitted) -> dict[str, bytes]:
    """model.json, and for trees LightGBM's own text."""
    digest = hashlib.sha256(fitted.text).hexdigest()
    head = _Head(fitted.kind, fitted.trust, INPUTS, digest, fitted.cycle_share)
    files = {HEAD: msgspec.json.encode(head, order="sorted")}
    return {**files, TREES: fitted.text} if fitted.kind == "trees" else files


def load(files: Mapping[str, bytes]) -> Fitted:
    """What `dump` wrote.

    Raises:
        TamperError: for a file that is missing, cannot be read or is not the one its head names.
    """
    try:
        head = msgspec.json.decode(files[HEAD], type=_Head)
        text = files[TREES] if head.kind == "trees" else b""
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TamperError("forecast artifact", expected="the files dump wrote", got=repr(error)) from error
    if head.inputs != INPUTS:
        raise TamperError("forecast artifact", expected=f"inputs {INPUTS}", got=head.inputs)
    if hashlib.sha256(text).hexdigest() != head.sha256:  # LightGBM reads half a file without complaint
        raise TamperError("forecast artifact", expected=f"{TREES} of digest {head.sha256}", got="another")
    trees = boosted.read(text, "forecast artifact") if text else None
    return Fitted(kind=head.kind, trust=head.trust, cycle_share=head.cycle_share, text=text, trees=trees)


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Literal["trees", "median", "four_weeks_earlier"]
    trust: float
    inputs: tuple[str, ...]
    sha256: str  # of the trees
    cycle_share: float = 0.0


def _lessons(cells: pd.DataFrame, count: int, learner: Learner, see: See) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Inputs, ratios and weights of each past moment and horizon. Inputs as known then, what was sold as known now."""
    first = int(cells["sold"].min()) if len(cells) else 0
    sold = weekly.days(cells, count, first, 0)[0]
    last = -DAYS * HORIZONS[0]
    moments = range(last - (last - first - LONG * DAYS) // learner.step_days * learner.step_days, last + 1)
    known, taken = np.zeros((len(VALUES), count, -first)), 0
    order = cells["known"].to_numpy()
    for moment in moments[:: learner.step_days]:
        upto = int(np.searchsorted(order, moment))
        known += weekly.days(cells.iloc[taken:upto], count, first, 0)
        taken = upto
        oldest = max(0, moment - first - weekly.MOST_WEEKS * DAYS)
        weeks = weekly.weeks(known[:, :, oldest : moment - first])
        then = Index(categories=(), position={}, units=weeks[0], spend=weeks[1], lines=weeks[2])
        seen, base = see(then), np.maximum(levels.level(then.units), MIN_LEVEL)
        for horizon in HORIZONS:
            end = moment + DAYS * horizon - first
            if end <= -first:
                units = sold[:, end - DAYS : end].sum(axis=1)
                asked = np.column_stack([seen, np.full(count, float(horizon))])
                yield asked, np.minimum(units / base, learner.max_ratio), base
