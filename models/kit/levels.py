"""What recent weeks say of each category: its level, and the inputs that trees see beside it. numpy only.

Arrays are (categories x weeks), the newest week last. Inputs are ratios to the level, so a season that lifts every
category, or a category ten times as large, looks the same to them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.kit.weekly import Index

LONG, SHORT = 8, 4  # weeks
UNKNOWN = (float("nan"),) * 4  # the figures of a category that is not there
MIN_LEVEL = 1.0  # units; a category that hardly sells is no divisor
INPUTS = (
    "week 1", "week 2", "week 3", "week 4", "month over month before", "short median", "mean", "lines 1", "lines 2",
    "lines month over month", "units a line", "all 1", "all month over month", "all lines 1", "all lines month over month",
    "price", "price trend", "level", "spread", "horizon",
)  # fmt: skip
Floats = npt.NDArray[np.float64]


def level(units: Floats) -> Floats:
    """What a category sells in a week; (categories x weeks) to (categories,)."""
    return (_median(units, SHORT) + _median(units, LONG)) / 2


def median(units: Floats) -> Floats:
    """The median of the last eight weeks: what the rules say, and what is to be beaten."""
    return _median(units, LONG)


def trend(layer: Floats) -> Floats:
    """Log of the last four weeks over the four before, on the newest eight; missing where history is shorter."""
    return _trend(last(layer, LONG))


def inputs(known: Index) -> Floats:
    """What the trees see of each category, without the horizon: (categories x inputs). Missing where history is short."""
    units, spend, lines = (last(layer, LONG) for layer in (known.units, known.spend, known.lines))
    base, base_lines = np.maximum(level(known.units), MIN_LEVEL), _median(known.lines, LONG)
    ones = np.ones(len(units))
    every, every_lines = units.sum(axis=0, keepdims=True), lines.sum(axis=0, keepdims=True)
    recent = _month(spend) / np.maximum(_month(units), MIN_LEVEL)
    usual = spend.sum(axis=1) / np.maximum(units.sum(axis=1), MIN_LEVEL)
    columns = [
        *(log_ratio(units[:, -week], base) for week in range(1, SHORT + 1)),
        _trend(units),
        log_ratio(_median(units, SHORT), base),
        log_ratio(units.mean(axis=1), base),
        log_ratio(lines[:, -1], base_lines),
        log_ratio(lines[:, -2:].mean(axis=1), base_lines),
        _trend(lines),
        log_ratio(units[:, -1] / (lines[:, -1] + 1), base / (base_lines + 1)),
        ones * log_ratio(every[:, -1], _median(every, LONG)),
        ones * _trend(every),
        ones * log_ratio(every_lines[:, -1], _median(every_lines, LONG)),
        ones * _trend(every_lines),
        np.log(np.maximum(recent, 0.0) + 0.01),  # a penny, for a category without sales
        log_ratio(np.maximum(recent, 0.0), np.maximum(usual, 0.0)),
        np.log(base),
        units.std(axis=1) / base,
    ]
    return np.stack(columns, axis=1)


def figures(known: Index) -> list[tuple[float, float, float, float]]:
    """Of each category and then of all together: level (median of eight weeks), trend, last week over the level, and
    price (GBP a unit, over four weeks); missing where it cannot be told."""
    units, spend = (np.concatenate([layer, layer.sum(axis=0, keepdims=True)]) for layer in (known.units, known.spend))
    usual, month = median(units), _month(units)
    over = np.where(usual > 0, units[:, -1] / np.maximum(usual, MIN_LEVEL), np.nan)
    price = np.where(month > 0, _month(spend) / np.maximum(month, MIN_LEVEL), np.nan)
    return list(zip(*(column.tolist() for column in (usual, trend(units), over, price)), strict=True))


def last(layer: Floats, count: int) -> Floats:
    """The newest `count` weeks; missing where history is shorter."""
    missing = max(0, count - layer.shape[1])
    return np.concatenate([np.full((len(layer), missing), np.nan), layer], axis=1)[:, -count:]


def _median(layer: Floats, count: int) -> Floats:
    """Over the newest `count` weeks, or as many as there are; zero without any."""
    recent = layer[:, -count:]
    return np.asarray(np.median(recent, axis=1)) if recent.shape[1] else np.zeros(len(layer))


def _month(layer: Floats) -> Floats:
    return np.asarray(layer[:, -SHORT:].sum(axis=1))


def _trend(layer: Floats) -> Floats:
    """The last four weeks over the four before."""
    return log_ratio(layer[:, -SHORT:].mean(axis=1), layer[:, :-SHORT].mean(axis=1))


def log_ratio(over: Floats, under: Floats) -> Floats:
    """log((over + 1) / (under + 1)); what is taken back can make a small week negative, which counts as none."""
    return np.asarray(np.log((np.maximum(over, 0.0) + 1.0) / (np.maximum(under, 0.0) + 1.0)))
