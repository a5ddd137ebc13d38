"""What is trained in the replay: one small LightGBM recipe for probabilities and for amounts, and the KPI of an answer.

A model learns from labels that are known and older than its holdout; the holdout gives the KPI and the scores that its
later windows are compared with, as `tasks.train` does it for a release. Nothing is tuned here: the question is when
to train again, not what.
"""

from __future__ import annotations

from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.drift.series import Series
from checks.profiles import References, joined, reference
from errors import DataError
from models.contract import Feature

Floats = npt.NDArray[np.float64]
SCORE = Feature(name="score", dtype="float64", meaning="what the model answered")
RECIPE = {
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.8,
    "seed": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
ROUNDS = 120


@dataclass(frozen=True)
class Version:
    """A model as it would be released: its answers to all rows, its reference, and the KPI of its holdout."""

    since: int  # first window it answers
    answers: Floats  # one per row of the series; those before `since` are only used for the holdout
    kpi: Floats  # of each answer, missing where the label is
    holdout: tuple[int, int]  # rows [first, last)
    references: References


def released(series: Series, since: int, bins: int) -> Version:
    """The version that answers from window `since` on, made from what is known when it begins.

    Raises:
        DataError: with fewer than two windows of known labels.
    """
    now = series.grid[since].start
    blocks = series.grid[max(0, since - series.start) : since]  # as many as the first reference has
    known = int(series.rows["due"].searchsorted(pd.Timestamp(now), side="right"))
    begin = blocks[0].first
    if since == series.start and series.given:
        answers, cut = series.rows[series.given].to_numpy(dtype=np.float64), begin
    else:
        cut = _cut(series, blocks[0].first, known, since)
        answers = _answers(series, begin, cut)
    seen = series.rows.assign(score=answers)
    inputs = reference([seen.iloc[one.first : one.last] for one in blocks], series.watched, bins)
    scored = [seen.iloc[one.first : one.last] for one in blocks if one.first >= cut]
    made = joined(inputs, reference(scored, [SCORE], bins, inputs=False))
    return Version(since, answers, kpi(series, answers), (cut, known), made)


def kpi(series: Series, answers: Floats) -> Floats:
    """The KPI of each answer, 0 to 1, more is better.

    Of a probability 1 - (answer - label)^2 (Brier 1950, turned round); of an amount max(0, 1 - |answer - label| / label).
    """
    label = series.rows["label"].to_numpy(dtype=np.float64)
    if series.kind == "probability":
        return np.asarray(1.0 - (answers - label) ** 2, dtype=np.float64)
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(answers - label) / label), dtype=np.float64)


def _cut(series: Series, begin: int, known: int, since: int) -> int:
    """First row of the holdout: the last `held` windows of which a label is known."""
    whole = [one for one in series.grid[:since] if one.first < known]
    cut = whole[-series.held].first if len(whole) > series.held else begin
    if cut <= begin:
        raise DataError(series.name, expected=f"more than {series.held} windows with known labels", got=len(whole))
    return cut


def _answers(series: Series, begin: int, cut: int) -> Floats:
    """Learns from rows [begin, cut) and answers all."""
    frame = _numbers(series, begin, cut)
    label = series.rows["label"].to_numpy(dtype=np.float64)
    amount = series.kind == "amount"
    target = np.log1p(label[begin:cut]) if amount else label[begin:cut]
    names = [at for at, one in enumerate(series.watched) if one.dtype == "string"]
    data = lgb.Dataset(frame[begin:cut], target, categorical_feature=names)
    booster = lgb.train({**RECIPE, "objective": "regression" if amount else "binary"}, data, ROUNDS)
    told = np.asarray(booster.predict(frame, num_threads=1), dtype=np.float64)
    return np.maximum(0.0, np.expm1(told)) if amount else told


def _numbers(series: Series, begin: int, cut: int) -> Floats:
    """The watched columns as numbers; a name that was not learned is missing."""
    columns = []
    for one in series.watched:
        values = series.rows[one.name]
        if one.dtype == "string":
            learned = pd.Index(sorted(values.iloc[begin:cut].unique()))
            codes = learned.get_indexer(values).astype(np.float64)
            columns.append(np.where(codes < 0, np.nan, codes))
        else:
            columns.append(values.to_numpy(dtype=np.float64))
    return np.column_stack(columns)
