"""Replays a series under the product's decision table, and under policies that look at drift alone.

`checks.policy.rule` rules on each window as for the guard; its cool-down and cap bind the other policies alike. What is
simulated: a retraining asked for answers from the next window on, approved at once; and a model that is taken back is
put back by people before the next window, so that the KPI of a run is that of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from benchmarks.drift.watch import Look, Watch
from checks import policy
from checks.facts import Facts, Limits, Standing
from checks.shifts import Judged
from configs.schema import DecisionTable, RetrainConfig
from records import Finding, Ruling

Floats = npt.NDArray[np.float64]
FLAT_PSI = 0.2
NEVER, TABLE, HELD, DRIFT, FLAT = POLICIES = (
    "never",
    "table",
    "table, KPI against its holdout",
    "drift only",
    "flat PSI 0.2",
)
Kind = Literal["corruption", "drift", "kpi"]


@dataclass(frozen=True)
class Step:
    """One window of a replay."""

    window: int
    since: int  # first window of the version that answered
    look: Look
    ruling: Ruling  # of the table, whoever decides
    asked: bool  # for a retraining


@dataclass(frozen=True)
class Run:
    """A series under one policy."""

    policy: str
    steps: tuple[Step, ...]
    kpi: Floats  # of each answer, missing where there is none
    guarded: Floats  # the same, but the control answers the window after a ruling that takes the model back

    @property
    def asked(self) -> list[int]:
        """Windows at whose end a retraining was asked for."""
        return [one.window for one in self.steps if one.asked]


def run(watch: Watch, table: DecisionTable, name: str) -> Run:
    """Every window of the replay under one of POLICIES."""
    grid, steps, asked = watch.series.grid, list[Step](), list[int]()
    since, before, away = watch.series.start, "", False
    kpi = np.full(grid[-1].last, np.nan)
    guarded = kpi.copy()
    for window in range(watch.series.start, len(grid)):
        look, rows = watch.look(since, window), slice(grid[window].first, grid[window].last)
        kpi[rows] = watch.version(since).kpi[rows]
        guarded[rows] = watch.control[rows] if away else kpi[rows]
        told: dict[Kind, Judged] = {
            "corruption": look.corruption,
            "drift": look.drift,
            "kpi": look.held if name == HELD else look.kpi,
        }
        facts = facts_of(watch, told, window, asked, before)
        ruling = policy.rule(facts, table)
        wants = _wants(name, look, ruling) and not policy.retrain_refused(facts) and window + 1 < len(grid)
        steps.append(Step(window, since, look, ruling, wants))
        before = before if ruling.level == "inconclusive" else ruling.row
        away = "fallback" in ruling.actions
        if wants:
            asked.append(window)
            since, before, away = window + 1, "", False
    return Run(name, tuple(steps), kpi, guarded)


def flat(look: Look) -> bool:
    """The rule of thumb: any column of the window above FLAT_PSI, whatever chance would give."""
    return any(one["decided"] and one["psi"] > FLAT_PSI for one in look.columns.values())


def _wants(name: str, look: Look, ruling: Ruling) -> bool:
    wanted = "retrain" in ruling.actions
    return {NEVER: False, TABLE: wanted, HELD: wanted, DRIFT: look.drift.answer == "yes", FLAT: flat(look)}[name]


def facts_of(watch: Watch, told: dict[Kind, Judged], window: int, asked: Sequence[int], before: str) -> Facts:
    """What the guard gathers at the end of a window about a champion without a previous version."""
    retrain = RetrainConfig.model_validate(watch.defaults.model["retrain"])
    version = len(asked) + 1
    return Facts(
        model=watch.series.name,
        role="champion",
        revision=version,
        version=version,
        findings=tuple(_finding(watch, kind, version, window, told[kind]) for kind in get_args(Kind)),
        judged=None,
        standing=Standing(
            mode="model", frozen=False, frozen_for="", name=f"v{version}", previous="", canary="", control="rules"
        ),
        clean=(),
        requested=tuple(watch.series.grid[one].end for one in asked),
        silent=(),
        before=before,
        limits=Limits(clean_windows=watch.config.clean_windows, **retrain.model_dump()),
        at=watch.series.grid[window].end,
    )


def _finding(watch: Watch, kind: Kind, version: int, window: int, judged: Judged) -> Finding:
    one = watch.series.grid[window]
    return Finding(
        id=f"{kind}-{version}-{window}",
        model=watch.series.name,
        kind=kind,
        answer=judged.answer,
        where=judged.where,
        version=version,
        window_start=one.start,
        window_end=one.end,
        reason=judged.reason,
        figures={},
        found_at=one.end,
        expires_at=one.end + timedelta(seconds=watch.config.finding_seconds),
    )
