"""Which learner should `reputation` have? `grownet bench search reputation` repeats the search behind its configuration.

Looks at the four cohorts before the holdout only, each learned from what came before it. What decides is the log loss of
the probability of contributing again: dated events, no vote. One parameter after the other, in the order of GRID, keeps its
best value; the rounds are two. The placing of valued contributors (votes) is printed and decides nothing.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from benchmarks import bundled
from benchmarks.quality._cohorts import EARLIER, QUARTER
from benchmarks.search import report
from configs.load import load
from models import reputation as model
from models.contract import configure, find
from models.kit import picks, trust
from models.kit.contributors import Index

START: dict[str, Any] = {
    "kind": "trees",
    "trees": 100,
    "leaves": 7,
    "learning_rate": 0.03,
    "min_rows": 20,
    "input_share": 0.8,
    "row_share": 0.8,
    "ridge": 1.0,
    "half_life_days": 3650.0,
    "step_days": 30,
}
GRID: dict[str, tuple[Any, ...]] = {
    "kind": ("trees", "logistic"),
    "trees": (50, 100, 200, 400),
    "leaves": (3, 4, 7, 15),
    "half_life_days": (90.0, 180.0, 365.0, 3650.0),
    "min_rows": (20, 60, 120),
    "input_share": (0.3, 0.5, 0.8),
    "ridge": (0.2, 1.0, 5.0, 20.0),
    "step_days": (15, 30, 90),
}
ROUNDS = 2
SMALLEST = 1e-6  # a probability nearer to 0 or 1 counts as this


class Moment(NamedTuple):
    """Who was new at it, and what they did."""

    at: Any
    known: Index
    truth: pd.DataFrame


def main(argv: Sequence[str]) -> None:
    """The trials, and the parameters chosen."""
    report(
        argv,
        lambda: search(bundled("reputation")),
        lambda made: (
            f"{made['key']} = {made['value']}".ljust(28)
            + f" log loss {made['loss']:.5f}  valued placed {made['placed']:.4f}"
        ),
    )


def search(tables: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    """Every trial that was made, with the best parameters so far."""
    base, seed = configure(find("reputation"), load().models["reputation"])[0], load().models["reputation"].seed
    moments = [_moment(tables, at, base) for at in EARLIER]
    tried = functools.cache(lambda name: trial(tables, moments, params(base, json.loads(name)), seed))
    best, seen = dict(START), set[str]()
    for key, values in list(GRID.items()) * ROUNDS:
        losses = {}
        for value in values:
            name = json.dumps({**best, key: value}, sort_keys=True)
            losses[value], placed = tried(name)
            if name not in seen:
                seen.add(name)
                winner = min(losses, key=losses.__getitem__)
                yield {
                    "key": key,
                    "value": value,
                    "loss": losses[value],
                    "placed": placed,
                    "best": {**best, key: winner},
                }
        best[key] = min(losses, key=losses.__getitem__)


def trial(
    tables: Mapping[str, pd.DataFrame], moments: Sequence[Moment], chosen: model.Params, seed: int
) -> tuple[float, float]:
    """Log loss of contributing again, and the placing of valued contributors: means over the moments."""
    losses, places = [], []
    for moment in moments:
        fitted = model.fit(tables, moment.at, chosen, seed)
        values = np.clip(trust.probabilities(fitted, moment.known.values), SMALLEST, 1 - SMALLEST)
        again = moment.truth["again"].to_numpy(np.bool_)
        losses.append(float(-np.log(np.where(again, values, 1 - values)).mean()))
        places.append(float(np.nanmean(picks.placed(values, moment.truth["valued"].to_numpy(np.bool_)))))
    return float(np.mean(losses)), float(np.mean(places))


def params(base: model.Params, flat: Mapping[str, Any]) -> model.Params:
    """The parameters of one trial, typed."""
    learner = {key: value for key, value in flat.items() if key != "step_days"}
    typed = msgspec.convert(learner, trust.Learner)
    return msgspec.structs.replace(base, learner=typed, step_days=int(flat["step_days"]))


def _moment(tables: Mapping[str, pd.DataFrame], at: Any, base: model.Params) -> Moment:
    known = model.index(model.build(tables, at, base))
    return Moment(at=at, known=known, truth=model.outcomes(tables, at, at + QUARTER, base))
