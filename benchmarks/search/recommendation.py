"""Which parameters should `recommendation` have? `grownet bench search recommendation` repeats the search behind its configuration.

Reads the bundled orders before 2011-09-01 only: three windows of two months, each learned from what came before it.
One parameter after the other, in the order of GRID, keeps its best value; the rounds are two. Discovery decides all
but what only repeats depend on. Nothing is drawn at random.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from benchmarks import bundled
from benchmarks.quality.recommendation import CUT
from benchmarks.search import report
from models import recommendation as model
from models.kit import slates, split
from models.kit.history import Index

WINDOWS = tuple((datetime(2011, month, 1, tzinfo=UTC), datetime(2011, month + 2, 1, tzinfo=UTC)) for month in (5, 6, 7))
START: dict[str, float] = {  # plain EASE, as the older scripts had it
    "ridge": 500,
    "subject_power": 0.0,
    "neighbours": 200,
    "trend_half_life_days": 14,
    "blend.history_half_life_days": 60,
    "blend.history_floor": 1.0,
    "blend.trend_power": 0.0,
    "blend.popularity_weight": 0.0001,
    "blend.repeat_weight": 0.1,
    "blend.repeat_half_life_days": 120,
}
GRID: dict[str, tuple[float, ...]] = {
    "blend.trend_power": (0.0, 0.4, 0.5, 0.6, 0.7, 0.8),
    "trend_half_life_days": (3, 5, 7, 10, 14),
    "subject_power": (0.0, 0.15, 0.25, 0.4),
    "ridge": (125, 250, 500, 1000),
    "blend.history_floor": (0.1, 0.2, 0.4, 1.0),
    "blend.history_half_life_days": (30, 60, 120),
    "neighbours": (50, 100, 200, 400),
    "blend.popularity_weight": (0.0001, 0.001, 0.003, 0.01),
    "blend.repeat_half_life_days": (60, 120, 240),
    "blend.repeat_weight": (0.003, 0.01, 0.03, 0.1),
}
ROUNDS = 2
ONLY_REPEATS = {"blend.repeat_half_life_days", "blend.repeat_weight"}
Flat = dict[str, float]


class Window(NamedTuple):
    """What was known at its start, and what each customer bought in it."""

    known: Index
    subjects: Sequence[str]
    new: Sequence[slates.Worth]
    anything: Sequence[slates.Worth]


def main(argv: Sequence[str]) -> None:
    """The trials, and the parameters chosen."""
    report(
        argv,
        lambda: search(bundled("recommendation")["orders"]),
        lambda made: (
            f"{made['key']} = {made['value']:g}".ljust(40)
            + f" discovery {made['discovery']:.4f}  anything {made['anything']:.4f}"
        ),
    )


def search(orders: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Every trial that was made, with the best parameters so far."""
    windows = functools.cache(functools.partial(_windows, {"orders": split.before(orders, "invoice_date", CUT)}))
    best, seen = dict(START), dict[str, tuple[float, float]]()
    for key, values in list(GRID.items()) * ROUNDS:
        results: dict[float, float] = {}
        for value in values:
            flat = {**best, key: value}
            name = json.dumps(flat, sort_keys=True)
            fresh = name not in seen
            if fresh:
                seen[name] = trial(windows(flat["trend_half_life_days"]), flat)
            results[value] = seen[name][1 if key in ONLY_REPEATS else 0]
            if fresh:
                winner = max(results, key=results.__getitem__)
                figures = dict(zip(("discovery", "anything"), seen[name], strict=True))
                yield {"key": key, "value": value, **figures, "best": {**best, key: winner}}
        best[key] = max(results, key=results.__getitem__)


def trial(windows: Sequence[Window], flat: Flat) -> tuple[float, float]:
    """Mean NDCG@20 over the windows: of what is bought for the first time, and of anything when nothing is excluded."""
    params = nested(flat)
    figures = []
    for index, subjects, new, anything in windows:
        fitted = model.learn(index, params)
        for truth, exclude in ((new, True), (anything, False)):
            ask = [model.Request(customer=subject, k=slates.DEPTH, exclude_bought=exclude) for subject in subjects]
            measured = slates.discovery(model.predict(fitted, index, ask), truth)
            figures.append(float(np.nanmean(measured["ndcg_at_20"])))
    return float(np.mean(figures[::2])), float(np.mean(figures[1::2]))


def nested(flat: Flat) -> model.Params:
    """The parameters of one trial, typed."""
    outer: dict[str, Any] = {key: value for key, value in flat.items() if "." not in key}
    outer["blend"] = {key.removeprefix("blend."): value for key, value in flat.items() if "." in key}
    return msgspec.convert(outer, model.Params)


def _windows(tables: dict[str, pd.DataFrame], trend_half_life_days: float) -> list[Window]:
    """Each window seen from its start; features depend on one parameter only."""
    params = nested({**START, "trend_half_life_days": trend_half_life_days})
    windows = []
    for start, end in WINDOWS:
        index = model.index(model.build(tables, start, params))
        subjects, new, again = slates.truths(index, model.outcomes(tables, start, end, params))
        both = [{**first, **second} for first, second in zip(new, again, strict=True)]
        windows.append(Window(index, subjects, new, both))
    return windows
