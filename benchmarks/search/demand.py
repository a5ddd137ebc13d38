"""Which learner should `demand` have? `grownet bench search demand` repeats the search behind its configuration.

Reads the bundled orders before 2011-08-26 only, where the holdout of `grownet bench quality demand` begins: learned before each
of four moments four weeks apart, judged on the weekly origins of the four weeks after it. One setting after the other,
in the order of GRID, keeps its best value. WAPE over all categories, horizons and origins decides. `--products` searches
for the learner of single products in the same way, before 2011-08-22, judged on the 200 largest.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks import bundled
from benchmarks.quality import _products
from benchmarks.quality.demand import CUT
from benchmarks.search import report
from configs.load import load
from models import demand as model
from models.contract import configure, find
from models.kit import categories, forecast, levels, weekly
from models.kit.forecast import HORIZONS, Fitted, Learner
from models.kit.weekly import Index

WINDOWS, WEEKS = 4, 4  # moments of learning, weekly origins after each
START = Learner(
    trees=100, leaves=7, learning_rate=0.05, min_rows=50, input_share=0.7, row_share=0.7, ridge=1.0, max_ratio=5.0,
    step_days=1, trust_weeks=32.0, cycle_share=0.0,
)  # fmt: skip
GRID: dict[str, tuple[float, ...]] = {
    "leaves": (4, 7, 15, 31),
    "input_share": (0.4, 0.7, 1.0),
    "min_rows": (50, 100, 200),
    "trees": (75, 150, 300),
    "trust_weeks": (8.0, 16.0, 32.0, 64.0),
    "max_ratio": (3.0, 5.0, 10.0),
    "step_days": (1, 7),
    "cycle_share": (0.0, 0.1, 0.2, 0.3),
}
PRODUCTS = msgspec.structs.replace(START, trees=100, leaves=4, max_ratio=10.0, step_days=7, trust_weeks=8.0)
PRODUCT_GRID: dict[str, tuple[Any, ...]] = {
    "loss": ("squares", "absolute"),
    "trees": (50, 100, 300),
    "trust_weeks": (8.0, 32.0),
}
Floats = npt.NDArray[np.float64]


class Window(NamedTuple):
    """What can be learned from, and what each origin knew and then sold."""

    cells: pd.DataFrame
    names: tuple[str, ...]  # of the categories
    asked: tuple[tuple[Index, int, Floats], ...]  # what was known, horizon, sold (of the first so many)
    see: forecast.See = levels.inputs


def main(argv: Sequence[str]) -> None:
    """The trials, the rules first, and the learner chosen; `--products` for single products."""
    parser = argparse.ArgumentParser(prog="grownet bench search demand", description=__doc__)
    parser.add_argument("--products", action="store_true", help="single products instead of categories")
    given, rest = parser.parse_known_args(argv)
    report(rest, lambda: trials(products=given.products), lambda made: f"{_changed(made):40} WAPE {made['wape']:.4f}")


def trials(*, products: bool) -> Iterator[dict[str, Any]]:
    """The rules on the windows, then every trial of the search."""
    made = of_products() if products else windows()
    start, grid = (PRODUCTS, PRODUCT_GRID) if products else (START, GRID)
    yield {"key": "the rules", "value": "median of 8 weeks", "wape": wape(made, [Fitted(kind="median")] * len(made))}
    yield from search(made, start, grid)


def _changed(made: Mapping[str, Any]) -> str:
    return f"{made['key']} = {made['value']}"


def search(made: Sequence[Window], start: Learner, grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every trial that was made, with the best learner so far."""
    best, seed, seen = start, load().models["demand"].seed, dict[Learner, float]()
    for key, values in grid.items():
        results: dict[Any, float] = {}
        for value in values:
            learner = msgspec.structs.replace(best, **{key: value})
            fresh = learner not in seen
            if fresh:
                seen[learner] = wape(
                    made, [forecast.fit(one.cells, len(one.names), learner, seed, one.see) for one in made]
                )
            results[value] = seen[learner]
            if fresh:
                winner = msgspec.structs.replace(best, **{key: min(results, key=results.__getitem__)})
                yield {"key": key, "value": value, "wape": seen[learner], "best": msgspec.to_builtins(winner)}
        best = msgspec.structs.replace(best, **{key: min(results, key=results.__getitem__)})


def wape(made: Sequence[Window], fitted: Sequence[Fitted]) -> float:
    """Of all that is asked about, horizons and origins together."""
    errors = sold = 0.0
    for window, one in zip(made, fitted, strict=True):
        for known, horizon, units in window.asked:
            made_of = forecast.forecast(one, known, horizon, window.see)[: len(units)]
            errors += float(np.abs(made_of - units).sum())
            sold += float(units.sum())
    return errors / sold


def windows() -> list[Window]:
    """The four windows, oldest first; nothing that was sold after CUT is asked about."""
    tables = {"orders": bundled("demand")["orders"].query("invoice_date < @CUT")}
    params, _ = configure(find("demand"), load().models["demand"])
    starts = [CUT - timedelta(weeks=WEEKS * back) for back in range(WINDOWS, 0, -1)]
    return [_window(tables, start, params) for start in starts]


def of_products() -> list[Window]:
    """The same for the largest products of each moment; nothing that was sold after the cut of their benchmark is asked."""
    params, _ = configure(find("demand"), load().models["demand"])
    found = []
    for back in range(WINDOWS, 0, -1):
        start = _products.CUT - timedelta(weeks=WEEKS * back)
        shelf = _products.shelf(bundled("demand")["orders"], params.rules, start, _products.CUT, WEEKS)
        asked = tuple(
            (known, horizon, shelf.sold[: max(_products.SIZES), origin + horizon - 1])
            for origin, known in enumerate(shelf.then)
            for horizon in HORIZONS
            if origin + horizon <= shelf.sold.shape[1]
        )
        learned = shelf.cells[shelf.cells["known"] < 0]
        found.append(Window(learned, shelf.items, asked, shelf.see))
    return found


def _window(tables: dict[str, pd.DataFrame], start: datetime, params: model.Params) -> Window:
    later = model.outcomes(tables, start, CUT, params)
    index = model.index(model.build(tables, start, params))
    truth = weekly.truth(later, index.categories)
    asked = tuple(
        (weekly.rolled(index, later, origin), horizon, truth[:, origin + horizon - 1])
        for origin in range(WEEKS)
        for horizon in HORIZONS
        if origin + horizon <= truth.shape[1]
    )
    cells = weekly.cells(tables["orders"], start, params.rules, start)
    return Window(cells, categories.names(params.rules), asked)
