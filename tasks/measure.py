"""Judges a fitted candidate: every figure the gates need, on the holdout and on the windows before it.

Pure: from a model, its history and its rivals to gates, metrics and intervals. Needs neither Prefect nor MLflow.
Called by validation, which adds what only a process can tell (service check, latency, size).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import isfinite
from typing import Any

import pandas as pd

from checks import drift, gates
from checks.drift import Drift
from checks.fairness import by_segment, members
from configs.schema import ModelConfig
from models.contract import Feature
from records import Gate
from tasks.trial import RULES, Split, Trial, compare, mean_interval

SUBJECT = "subject"  # an identifier: its distribution says nothing
NAMES = frozenset({"string", "bool"})


@dataclass(frozen=True)
class Rival:
    """The champion as it was trained: its own parameters build its features. Without `fitted` it is the rules."""

    name: str = RULES
    fitted: Any = None
    params: Any = None
    trained_until: datetime | None = None


@dataclass(frozen=True)
class Findings:
    """Figures by name: "ndcg" is the candidate's mean on the holdout, "champion.ndcg" the champion's, "rules.ndcg" and
    so on, and "ndcg - champion" is the mean difference over the subjects both scored; intervals likewise."""

    gates: tuple[Gate, ...]
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]


def measure(
    trial: Trial, fitted: Any, rival: Rival | Gate, recipe: ModelConfig, moments: Split, *, segment: str = ""
) -> Findings:
    """Scores the candidate and everything it must beat on one holdout, and judges.

    Args:
        trial: the model on its whole history.
        fitted: the candidate, loaded from its artifact; learned from rows before `moments.cut`.
        rival: what serves now, or the gate that says why it cannot be compared with.
        recipe: the model's configuration, with the limits.
        moments: where the history is cut.
        segment: KIND=NAME that the candidate must be better in as well; none when empty.
    """
    limits, metric = recipe.gates, recipe.metric
    ours = trial.scores(fitted, moments.cut, moments.end)
    stand_ins = trial.stand_ins(moments.cut)
    baselines = {name: trial.scores(one, moments.cut, moments.end) for name, one in stand_ins.items()}
    others = {RULES: trial.scores(None, moments.cut, moments.end), **baselines}
    if isinstance(rival, Rival):
        others["champion"] = others[RULES] if rival.fitted is None else _as_trained(trial, rival, moments)
    training_start = moments.cut - timedelta(days=recipe.split.outcome_days)
    training = trial.scores(fitted, training_start, moments.cut)
    against = {name: compare(ours, scores, metric, limits, recipe.seed) for name, scores in others.items()}
    inside = f"champion in {segment}"
    if segment:
        theirs = others.get("champion", ours.iloc[:0])
        own = ours[ours.index.isin(members(trial.segments(moments.cut, moments.now), segment))]
        against[inside] = compare(own, theirs, metric, limits, recipe.seed)
    made = (
        _champion(rival, against, limits.champion_margin, moments),
        gates.baseline({name: against[name] for name in baselines}, limits.baseline_margin),
        _bias(trial, ours[metric], recipe, moments),
        gates.drift(
            shifts(trial.features(moments.cut), trial.features(moments.now), trial.model.FEATURES), limits.drift_max_psi
        ),
        gates.backtest(
            trial.backtest(metric, moments.cut, recipe.split.holdout_days, limits.backtest_windows),
            limits.backtest_windows,
            limits.backtest_min_wins,
        ),
        gates.overfitting(float(training[metric].mean()), float(ours[metric].mean()), limits.overfit_max_gap),
        *([gates.segment(against[inside], segment, rival.name, limits.bias_min_rows)] if segment else []),
    )
    intervals = {f"{metric} - {name}": (found.low, found.high) for name, found in against.items()}
    intervals |= _intervals("", ours, recipe) | _intervals("champion.", others.get("champion"), recipe)
    scored = {"": ours, "training.": training, **{f"{name}.": scores for name, scores in others.items()}}
    figures = _means(scored, metric) | {f"{metric} - {name}": found.mean for name, found in against.items()}
    finite = {name: value for name, value in figures.items() if isfinite(value)}
    return Findings(gates=made, metrics=finite, intervals=_finite(intervals))


def shifts(training: pd.DataFrame, newest: pd.DataFrame, features: Sequence[Feature]) -> dict[str, Drift]:
    """Per feature, its distribution in training against the newest; identifiers, lists and empty columns are left out."""
    found = {}
    for feature in features:
        old, new = training[feature.name], newest[feature.name]
        if feature.name == SUBJECT or feature.dtype == "list" or old.isna().all():
            continue
        if feature.dtype in NAMES:
            reference = drift.reference_of_names(old)
        else:
            old, new = (column.astype("int64") if feature.dtype == "timestamp" else column for column in (old, new))
            reference = drift.reference_of_numbers(old)
        found[feature.name] = drift.drift(reference, drift.count(reference, new))
    return found


def _as_trained(trial: Trial, rival: Rival, moments: Split) -> pd.DataFrame:
    """The champion's scores on the same outcomes, answered from features that its own parameters build."""
    own = trial if rival.params == trial.params else replace(trial, params=rival.params)
    return own.scores(rival.fitted, moments.cut, moments.end)


def _champion(rival: Rival | Gate, against: Mapping[str, Any], margin: float, moments: Split) -> Gate:
    if isinstance(rival, Gate):
        return rival
    unseen = rival.trained_until is None or rival.trained_until <= moments.cut
    return gates.champion(against["champion"], margin, rival.name, unseen)


def _bias(trial: Trial, scores: pd.Series, recipe: ModelConfig, moments: Split) -> Gate:
    segments = trial.segments(moments.cut, moments.now)
    limits = recipe.gates
    fairness = by_segment(
        scores, segments, min_rows=limits.bias_min_rows, samples=limits.bootstrap_samples, seed=recipe.seed
    )
    return gates.bias(fairness, limits.bias_max_gap)


def _means(scores: Mapping[str, pd.DataFrame], metric: str) -> dict[str, float]:
    """Means of all metrics of all that were scored, and how many subjects the deciding metric has."""
    found = {
        f"{prefix}{column}": float(frame[column].mean()) for prefix, frame in scores.items() for column in frame.columns
    }
    found["subjects"] = float(scores[""][metric].notna().sum())
    return found


def _intervals(prefix: str, scores: pd.DataFrame | None, recipe: ModelConfig) -> dict[str, tuple[float, float]]:
    if scores is None:
        return {}
    made = {f"{prefix}{column}": mean_interval(scores[column], recipe.gates, recipe.seed) for column in scores.columns}
    return {name: interval for name, interval in made.items() if interval is not None}


def _finite(intervals: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """JSON has no infinity."""
    return {name: ends for name, ends in intervals.items() if all(isfinite(end) for end in ends)}
