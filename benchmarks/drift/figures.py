"""The figures of a replayed series: delays, retrains and KPI of each policy, as plain values for `--json` and the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.drift.replay import DRIFT, FLAT, HELD, NEVER, POLICIES, TABLE, Run
from benchmarks.drift.series import Series
from benchmarks.drift.watch import Watch
from checks import metrics

Floats = npt.NDArray[np.float64]
SAMPLES = 2000


def figures(watch: Watch, runs: Mapping[str, Run]) -> dict[str, Any]:
    """Everything that is said of a series."""
    series = watch.series
    asked = {name: len(runs[name].asked) for name in POLICIES}
    return {
        "series": series.name,
        "rows": len(series.rows),
        "windows": len(series.grid) - series.start,
        "change": {"at": f"{series.change:%Y-%m-%d}", "what": series.about},
        "label_delay_days": series.delay.total_seconds() / 86_400,
        "control": {"what": series.rule, "kpi": _mean(watch.control[_replayed(series)])},
        "first": firsts(watch, runs),
        "answers": {name: _answers(runs[name]) for name in (NEVER, TABLE)},
        "policies": [_policy(watch, runs, name) for name in POLICIES],
        "avoided": {"against_drift_only": asked[DRIFT] - asked[TABLE], "against_flat_psi": asked[FLAT] - asked[TABLE]},
    }


def firsts(watch: Watch, runs: Mapping[str, Run]) -> dict[str, Any]:
    """When each thing was first said of the model that is never retrained, at all and after the change; None if never."""
    steps, series = runs[NEVER].steps, watch.series
    said = {
        "drift": [one.window for one in steps if one.look.drift.answer == "yes"],
        "kpi_drop": [one.window for one in steps if one.look.kpi.answer == "yes"],
        "kpi_drop_against_holdout": [one.window for one in steps if one.look.held.answer == "yes"],
        "drift_and_drop": [one.window for one in steps if one.ruling.row == "drift_and_drop"],
    }
    return {name: _first(series, windows) for name, windows in said.items()}


def _first(series: Series, windows: list[int]) -> dict[str, Any]:
    changed = next(at for at, one in enumerate(series.grid) if one.end > series.change)
    after = next((at for at in windows if at >= changed), None)
    return {
        "ever": f"{series.grid[windows[0]].end:%Y-%m-%d}" if windows else None,
        "windows_from_start": windows[0] - series.start + 1 if windows else None,
        "after_change": f"{series.grid[after].end:%Y-%m-%d}" if after is not None else None,
        "delay_windows": after - changed + 1 if after is not None else None,
        "delay_days": round((series.grid[after].end - series.change).total_seconds() / 86_400, 1)
        if after is not None
        else None,
    }


def _answers(run: Run) -> dict[str, dict[str, int]]:
    """How often each answer and each row of the table was given."""
    count: dict[str, dict[str, int]] = {"drift": {}, "corruption": {}, "kpi": {}, "row": {}}
    for one in run.steps:
        kpi = one.look.held if run.policy == HELD else one.look.kpi
        given = (one.look.drift.answer, one.look.corruption.answer, kpi.answer, one.ruling.row)
        for kind, answer in zip(count, given, strict=True):
            count[kind][answer] = count[kind].get(answer, 0) + 1
    return count


def _policy(watch: Watch, runs: Mapping[str, Run], name: str) -> dict[str, Any]:
    """KPI of a policy over the replay, and against the table's on the same answers, by units of variance."""
    series, run = watch.series, runs[name]
    rows = _replayed(series)
    units = series.rows["unit"].to_numpy()[rows]
    ours, theirs = (by_unit(units, one.kpi[rows]) for one in (runs[TABLE], run))
    gap = metrics.paired_bootstrap(ours, theirs, SAMPLES, seed=1)
    asked = runs[TABLE].asked
    after = slice(series.grid[asked[0] + 1].first, len(series.rows)) if asked else None
    return {
        "policy": name,
        "retrains": len(run.asked),
        "retrained_at": [f"{series.grid[at].end:%Y-%m-%d}" for at in run.asked],
        "kpi": _mean(run.kpi[rows]),
        "kpi_with_fallback": _mean(run.guarded[rows]),
        "kpi_after_table_retrained": _mean(run.kpi[after]) if after else None,
        "table_minus_it": [round(one, 4) for one in (gap.low, gap.mean, gap.high)],
    }


def by_unit(units: npt.NDArray[Any], values: Floats) -> Floats:
    """Mean of the values in each unit."""
    _, place = np.unique(units, return_inverse=True)
    return np.asarray(np.bincount(place, values) / np.bincount(place), dtype=np.float64)


def _replayed(series: Series) -> slice:
    return slice(series.grid[series.start].first, series.grid[-1].last)


def _mean(values: Floats) -> float:
    return round(float(np.nanmean(values)), 4)
