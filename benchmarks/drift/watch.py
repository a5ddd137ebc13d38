"""What the monitor would say of each version of a series at the end of each window: drift, corruption, KPI.

The product's own functions say it (`checks.profiles`, `shifts`, `corruption`, `sequential`); nothing of them is written
here a second time. Versions and profiles are made once, however many policies ask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.drift.learner import Version, kpi, released
from benchmarks.drift.series import Series, settings
from checks import sequential
from checks.corruption import corrupted
from checks.policy import QUARTER
from checks.profiles import Profile, profile
from checks.sequential import Effect
from checks.shifts import Judged, drifted
from checks.tallies import TUNED_AT_LEAST
from configs.schema import Defaults, MonitorConfig, RolloutConfig
from records import Answered

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
ANSWERS: dict[sequential.Kpi, Answered] = {"drop": "yes", "pass": "no", "inconclusive": "undecided"}


@dataclass(frozen=True)
class Look:
    """What is said of one version at the end of one window."""

    drift: Judged
    corruption: Judged
    kpi: Judged  # against the control's answers to the same requests, as the monitor judges it
    held: Judged  # against the KPI of the version's own holdout, for comparison

    @property
    def columns(self) -> dict[str, dict[str, Any]]:
        """The window's shifts by column."""
        return dict(self.drift.figures["columns"])


@dataclass
class Watch:
    """A series under the house's settings."""

    series: Series
    defaults: Defaults
    config: MonitorConfig = field(init=False)
    rollout: RolloutConfig = field(init=False)
    control: Floats = field(init=False)  # KPI of the rule's answer to each row
    version: Callable[[int], Version] = field(init=False)  # by the first window it answers
    profiled: Callable[[int, int], Profile] = field(init=False)  # by that, and the window
    look: Callable[[int, int], Look] = field(init=False)

    def __post_init__(self) -> None:
        self.config = settings(self.series, self.defaults)
        self.rollout = RolloutConfig.model_validate(self.defaults.model["rollout"])
        self.control = kpi(self.series, self.series.rows["rule"].to_numpy(dtype=np.float64))
        self.version, self.look, self.profiled = cache(self._version), cache(self._look), cache(self._profiled)

    def _version(self, since: int) -> Version:
        return released(self.series, since, self.config.bins)

    def _profiled(self, since: int, window: int) -> Profile:
        version, one = self.version(since), self.series.grid[window]
        seen = self.series.rows.iloc[one.first : one.last]
        return profile(version.references, seen.assign(score=version.answers[one.first : one.last]))

    def _look(self, since: int, window: int) -> Look:
        references, config = self.version(since).references, self.config
        windows = [self.profiled(since, at) for at in range(max(since, window + 1 - config.windows), window + 1)]
        against, held = self._effects(since, window)
        return Look(
            drift=drifted(references, windows, config),
            corruption=corrupted(references, windows[-1], config),
            kpi=self._judged(against, "the control"),
            held=self._judged(held, "its holdout"),
        )

    def _effects(self, since: int, window: int) -> tuple[Effect, Effect]:
        """Over the known labels of the last `kpi_windows` windows that the version answered: against control and holdout.

        As in the monitor flow, the stated false-alarm rate is shared among the stretches that begin in a quarter.
        """
        version, grid = self.version(since), self.series.grid
        rows = np.arange(grid[max(since, window + 1 - self.config.kpi_windows)].first, grid[window].last)
        rows = rows[(self.series.rows["due"].iloc[rows] <= grid[window].end).to_numpy()]
        rows = rows[np.isfinite(version.kpi[rows]) & np.isfinite(self.control[rows])]
        alpha = self.rollout.alpha / ceil(QUARTER / timedelta(hours=self.config.window_hours))
        tuned_at = max(TUNED_AT_LEAST, *(float(step.min_answers) for step in self.rollout.steps))
        own, answers = self._by_unit(rows, version.kpi)
        other, _ = self._by_unit(rows, self.control)
        holdout = sequential.side(*self._by_unit(np.arange(*version.holdout), version.kpi))
        return (
            sequential.paired(own, other, len(rows), alpha=alpha, tuned_at=tuned_at),
            sequential.split(sequential.side(own, answers), holdout, alpha=alpha, tuned_at=tuned_at),
        )

    def _by_unit(self, rows: Rows, values: Floats) -> tuple[Floats, Floats]:
        """Sum and number of the values in each unit of variance."""
        _, place = np.unique(self.series.rows["unit"].to_numpy()[rows], return_inverse=True)
        return np.bincount(place, values[rows]).astype(np.float64), np.bincount(place).astype(np.float64)

    def _judged(self, effect: Effect, against: str) -> Judged:
        said = sequential.decide(effect, self.rollout.margin_fail, self.rollout.margin_pass)
        figures = {"effect": effect.effect, "low": effect.low, "high": effect.high}
        shown = "no interval yet" if effect.effect is None else f"{effect.effect:+.1%}"
        interval = "" if effect.effect is None else f" [{effect.low:+.1%}, {effect.high:+.1%}]"
        return Judged(answer=ANSWERS[said], reason=f"KPI against {against}: {shown}{interval}", figures=figures)
