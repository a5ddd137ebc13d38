"""Which learner should `ranking` have? `grownet bench search ranking` repeats the search behind its configuration.

Reads the tests known before 2014-04-13 only, where the holdout of `grownet bench quality ranking` begins. Each of the 26
weeks before it is ranked by what was learned before its four weeks began. One parameter after the other, NDCG@10 decides.
Two minutes of CPU, one thread.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pandas as pd

from benchmarks import bundled
from benchmarks.quality.ranking import CUT, STEP
from benchmarks.search import report
from models import ranking as model
from models.contract import Tables
from models.kit import split
from models.kit.appeal import Learner

START = CUT - timedelta(days=182)
FIRST: dict[str, float] = {  # letters first, traits as a second opinion
    "letters_ridge": 10.0,
    "bits": 13,
    "longest": 5,
    "traits_ridge": 100.0,
    "traits_weight": 0.5,
}
GRID: dict[str, tuple[float, ...]] = {
    "letters_ridge": (3.0, 10.0, 30.0),
    "bits": (12, 13, 14),
    "longest": (4, 5, 6),
    "traits_ridge": (30.0, 100.0, 300.0),
    "traits_weight": (0.0, 0.25, 0.5, 1.0),
}
RECENT_DAYS = 28  # no part in the order


def main(argv: Sequence[str]) -> None:
    """The trials, and the learner chosen."""
    report(
        argv,
        lambda: search(bundled("ranking")),
        lambda made: (
            f"{made['key']} = {made['value']:g}".ljust(24)
            + f" ndcg@10 {made['ndcg_at_10']:.5f}  best {made['best_first']:.4f}"
        ),
    )


def search(tables: Tables) -> Iterator[dict[str, Any]]:
    """Every trial that was made, with the best learner so far."""
    known = {"packages": split.before(tables["packages"], "tested_until", CUT)}
    best, seen = dict(FIRST), dict[str, dict[str, float]]()
    for key, values in GRID.items():
        results: dict[float, float] = {}
        for value in values:
            flat = {**best, key: value}
            name = json.dumps(flat, sort_keys=True)
            fresh = name not in seen
            if fresh:
                seen[name] = trial(known, learner(flat))
            results[value] = seen[name]["ndcg_at_10"]
            if fresh:
                winner = max(results, key=results.__getitem__)
                yield {"key": key, "value": value, **seen[name], "best": {**best, key: winner}}
        best[key] = max(results, key=results.__getitem__)


def trial(known: Tables, chosen: Learner) -> dict[str, float]:
    """Mean metrics over the tests of the validation weeks."""
    params = model.Params(learner=chosen, recent_days=RECENT_DAYS)
    parts, start = [], START
    while start < CUT:
        end = min(start + STEP, CUT)
        nothing = model.index(model.build({"packages": known["packages"].iloc[:0]}, start, params))
        parts.append(
            model.score(model.fit(known, start, params, 0), nothing, model.outcomes(known, start, end, params))
        )
        start = end
    means = pd.concat(parts).mean()
    return {name: float(means[name]) for name in ("ndcg_at_10", "best_first", "first_lift")}


def learner(flat: Mapping[str, float]) -> Learner:
    """The parameters of one trial, typed."""
    return msgspec.convert(flat, Learner, strict=False)
