"""How a model is measured on a history: the split by time, and scores of anything fitted on the same holdout.

Pure arithmetic over the model contract, without an effect: neither Prefect nor MLflow is needed to import or run it.
Used by training for the split, and by validation for every figure that the gates judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from checks import metrics
from checks.gates import Window
from checks.metrics import Difference
from configs.schema import GatesConfig, SplitConfig
from errors import DataError, ModelError
from models.contract import Model, Tables

INSTANT = timedelta(microseconds=1)  # the resolution of event times: "before newest + INSTANT" is every row
RULES = "rules"


@dataclass(frozen=True)
class Split:
    """Rows before `cut` are learned from; what happened in [cut, end) is the holdout; `now` is after every row."""

    cut: datetime
    end: datetime
    now: datetime


def split(newest: datetime, config: SplitConfig) -> Split:
    """The holdout is the last `holdout_days`; outcomes are counted for at most `outcome_days` of it."""
    now = newest + INSTANT
    cut = newest - timedelta(days=config.holdout_days)
    return Split(cut=cut, end=min(cut + timedelta(days=config.outcome_days), now), now=now)


@dataclass(frozen=True)
class Trial:
    """One model on one history. A moment of the past is seen as it was then: later rows are cut off before the model.

    `times` names the column of event time of each table.
    """

    model: Model
    tables: Tables
    times: Mapping[str, str]
    params: Any
    seed: int
    _seen: dict[tuple[datetime, ...], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def known(self, moment: datetime) -> Tables:
        """The tables as they were just before `moment`.

        Raises:
            DataError: when one was empty then.
        """
        past = {name: frame[frame[self.times[name]] < moment] for name, frame in self.tables.items()}
        for name, frame in past.items():
            if frame.empty:
                raise DataError(
                    f"table {name}", expected=f"rows before {moment:%Y-%m-%d}", got="none", do="take more history in"
                )
        return past

    def features(self, moment: datetime) -> pd.DataFrame:
        return self._view(moment)[0]

    def index(self, moment: datetime) -> Any:
        """The features of a moment, arranged for look-up."""
        return self._view(moment)[1]

    def segments(self, cut: datetime, now: datetime) -> pd.DataFrame:
        """Segments of every subject: as known before `cut`, and of one that only came after it as known before `now`.

        A customer stays in the segment it had when it was scored; a test or a message of the holdout has no earlier one.
        """
        before, after = (self.model.segments(self.features(moment)) for moment in (cut, now))
        return pd.concat([before, after[~after.index.isin(before.index)]])

    def fit(self, moment: datetime) -> Any:
        return self.model.fit(self.known(moment), moment, self.params, self.seed)

    def scores(self, fitted: Any, start: datetime, end: datetime) -> pd.DataFrame:
        """Metrics per subject of what happened in [start, end), answered from features of `start`; None is the rules."""
        if (start, end) not in self._seen:
            self._seen[start, end] = self.model.outcomes(self.known(end), start, end, self.params)
        return self.model.score(fitted, self._view(start)[1], self._seen[start, end])

    def stand_ins(self, moment: datetime) -> dict[str, Any]:
        """The baselines learned before `moment`."""
        return dict(self.model.baselines(self.known(moment), moment, self.params, self.seed))

    def backtest(self, metric: str, cut: datetime, days: int, count: int) -> list[Window]:
        """The recipe trained anew before each of the `count` windows before `cut`, oldest first.

        A window without rows before it or without a scored subject is left out.
        """
        starts = [cut - timedelta(days=days * back) for back in range(count, 0, -1)]
        windows = (self._window(metric, start, start + timedelta(days=days)) for start in starts)
        return [window for window in windows if window is not None]

    def _view(self, moment: datetime) -> tuple[pd.DataFrame, Any]:
        """Features and their index at a moment; many are scored on the same ones."""
        if (moment,) not in self._seen:
            features = self.model.build(self.known(moment), moment, self.params)
            self._seen[moment,] = features, self.model.index(features)
        found: tuple[pd.DataFrame, Any] = self._seen[moment,]
        return found

    def _window(self, metric: str, start: datetime, end: datetime) -> Window | None:
        try:
            ours = self.scores(self.fit(start), start, end)[metric]
            rivals = {RULES: None, **self.stand_ins(start)}
        except (DataError, ModelError):  # the history begins later, or holds too little to learn from
            return None
        means = {name: self.scores(fitted, start, end)[metric].mean() for name, fitted in rivals.items()}
        best = max(means, key=lambda name: (means[name], name))
        if not ours.notna().any():
            return None
        return Window(
            start=f"{start:%Y-%m-%d}",
            subjects=int(ours.notna().sum()),
            ours=float(ours.mean()),
            theirs=float(means[best]),
            against=best,
        )


def compare(ours: pd.DataFrame, theirs: pd.DataFrame, metric: str, limits: GatesConfig, seed: int) -> Difference:
    """ours - theirs on the subjects that both scored, with its paired bootstrap interval."""
    both = ours[[metric]].join(theirs[[metric]], rsuffix="_theirs", how="inner")
    left, right = both[metric].to_numpy(np.float64), both[f"{metric}_theirs"].to_numpy(np.float64)
    return metrics.paired_bootstrap(left, right, limits.bootstrap_samples, seed)


def mean_interval(values: pd.Series, limits: GatesConfig, seed: int) -> tuple[float, float] | None:
    """Percentile bootstrap interval (95 %) of a mean over subjects; None without a value."""
    present = values.dropna().to_numpy(np.float64)
    if not len(present):
        return None
    low, high = np.quantile(metrics.bootstrap_means(present, limits.bootstrap_samples, seed), [0.025, 0.975])
    return float(low), float(high)
