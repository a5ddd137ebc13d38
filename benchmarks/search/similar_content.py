"""Which parameters should `similar_content` have? `grownet bench search similar_content` repeats the search behind its configuration.

Reads the bundled visits of the official training visitors only. The first five of their six days are learned from, the
sixth is asked about: of each visitor with at least two pages one is hidden, four times over with other draws, and NDCG@10
is averaged. One parameter after the other, in the order of GRID, keeps its best value. About a minute of CPU.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import numpy as np

from benchmarks import bundled
from benchmarks.quality.similar_content import CUT, Hidden, drawn, found_by
from benchmarks.search import report
from checks import metrics
from configs.load import load
from models import similar_content as model
from models.contract import configure, find
from models.kit import nextpage, sessions
from models.kit.sessions import Index

START = datetime(1998, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
DRAWS = 4
FIRST: dict[str, float] = {"hidden": 0, "epochs": 6, "batch": 512, "rate": 0.03, "decay": 1e-5}  # no inner layer
GRID: dict[str, tuple[float, ...]] = {
    "hidden": (0, 32, 64),
    "rate": (0.01, 0.02, 0.03),
    "epochs": (4, 6, 8, 12),
    "decay": (1e-5, 3e-5, 1e-4),
    "batch": (256, 512),
}


class Course(NamedTuple):
    """What is learned from, and what is asked about it."""

    known: Index
    hidden: Sequence[Hidden]


def main(argv: Sequence[str]) -> None:
    """The trials, and the parameters chosen."""
    report(
        argv,
        lambda: search(course(CUT - DAY, CUT)),
        lambda made: f"{made['key']} = {made['value']:<8g} NDCG@10 {made['ndcg_at_10']:.4f}",
    )


def course(start: datetime, end: datetime, draws: int = DRAWS) -> Course:
    """Learn before `start`, ask about the visitors of [start, end), each of the draws hiding one page of each."""
    params, _ = configure(find("similar_content"), load().models["similar_content"])
    tables = bundled("similar_content")
    known = model.index(model.build(tables, start, params))
    seen = sessions.sessions(model.outcomes(tables, start, end, params))
    return Course(known, [drawn(seen, seed) for seed in range(draws)])


def search(given: Course, grid: Mapping[str, Sequence[float]] = GRID) -> Iterator[dict[str, Any]]:
    """Every trial that was made, with the best parameters so far."""
    best, seen = dict(FIRST), dict[str, float]()
    for key, values in grid.items():
        results: dict[float, float] = {}
        for value in values:
            flat = {**best, key: value}
            name = json.dumps(flat, sort_keys=True)
            if name in seen:
                results[value] = seen[name]
                continue
            results[value] = seen[name] = trial(given, flat)
            winner = max(results, key=results.__getitem__)
            yield {"key": key, "value": value, "ndcg_at_10": results[value], "best": {**best, key: winner}}
        best[key] = max(results, key=results.__getitem__)


def trial(given: Course, flat: dict[str, float]) -> float:
    """Mean NDCG@10 over the draws."""
    recipe = msgspec.convert(flat, nextpage.Recipe, strict=False)
    together = [own.tolist() for own in np.split(given.known.seen, given.known.starts[1:-1])]
    fitted = nextpage.fit(together, given.known.catalogue.pages, recipe, seed=1)
    figures = []
    for hidden in given.hidden:
        found = found_by(model.predict(fitted, given.known, hidden.requests), hidden)
        figures.append(float(metrics.ndcg_at(found, np.ones(len(found)), model.DEPTH).mean()))
    return float(np.mean(figures))
