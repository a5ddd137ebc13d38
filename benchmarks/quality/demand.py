"""Does `demand` beat the median of eight weeks at every horizon? `grownet bench quality demand`.

Reads the bundled orders. Learns before 2011-08-26 and forecasts one to four weeks ahead from fifteen weekly origins
until 2011-12-09 (twelve for four weeks ahead), every origin knowing what was known then. Intervals of a difference in
WAPE (95 %): over categories, resampled whole; over weeks, resampled in blocks of four origins, since they overlap.
Single products beside them: see `benchmarks.quality._products`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks import bundled
from benchmarks.quality import _products, _segments
from configs.load import load
from models import demand as model
from models.contract import configure, find
from models.kit import categories, forecast, levels, orders, weekly
from models.kit.forecast import HORIZONS, Fitted
from models.kit.weekly import Index

CUT, END = datetime(2011, 8, 26, 12, 50, tzinfo=UTC), datetime(2011, 12, 9, 12, 50, tzinfo=UTC)
ORIGINS, RETRAINED = 15, 4  # weekly origins; weeks between trainings
SAMPLES, BLOCK, WIDTH = 4000, 4, 185
OURS, AGAIN, RULES = "ours", "ours, retrained monthly", "median of 8 weeks (the rules)"
Floats = npt.NDArray[np.float64]
Made = dict[str, dict[int, Floats]]  # contestant -> horizon -> forecasts (origins x categories)

RIVALS: dict[str, Callable[[Index, int], Floats]] = {
    "last week": lambda known, _: known.units[:, -1],
    "four weeks earlier": lambda known, horizon: known.units[:, -forecast.CYCLE + horizon - 1],
    "mean of 8 weeks": lambda known, _: np.asarray(known.units[:, -levels.LONG :].mean(axis=1)),
    "level (mean of the medians of 4 and 8)": lambda known, _: levels.level(known.units),
    RULES: lambda known, _: np.asarray(np.median(known.units[:, -levels.LONG :], axis=1)),
}


def measure() -> dict[str, Any]:
    """Every figure of the question."""
    tables, recipe = bundled("demand"), load().models["demand"]
    params, _ = configure(find("demand"), recipe)
    features = model.build(tables, CUT, params)
    index = model.index(features)
    later = model.outcomes(tables, CUT, END, params)
    then = [weekly.rolled(index, later, origin) for origin in range(ORIGINS)]
    fitted = {
        origin: model.fit(tables, CUT + timedelta(weeks=origin), params, recipe.seed)
        for origin in range(0, ORIGINS, RETRAINED)
    }
    truth = weekly.truth(later, index.categories)
    sold = {horizon: truth[:, horizon - 1 : ORIGINS].T for horizon in HORIZONS}
    made = forecasts(then, fitted)
    scored = model.score(fitted[0], index, later)[recipe.metric]
    segments = _segments.by_segment(scored, model.segments(features), recipe.metric, recipe.gates.bias_min_rows)
    return {
        "split": {"cut": CUT.isoformat(), "end": END.isoformat(), "categories": len(index.categories)},
        "categories": shares(tables["orders"], params.rules),
        "by category": compared(made, sold, total=False),
        "total": compared(made, sold, total=True),
        "each category": each(made[OURS], made[RULES], sold, index.categories),
        **products(tables["orders"], params.rules, recipe.seed),
        "by segment": segments,
    }


def products(table: pd.DataFrame, rules: categories.Rules, seed: int) -> dict[str, list[dict[str, Any]]]:
    """The learner on the largest single products, by how many they are; intervals over products where it says categories."""
    made, sold = _products.contest(table, rules, RIVALS, (OURS, AGAIN), seed)
    return {f"{size} products": compared(*_products.largest(made, sold, size), total=False) for size in _products.SIZES}


def forecasts(then: Sequence[Index], fitted: Mapping[int, Fitted]) -> Made:
    """What every contestant says from every origin whose week was over at the end."""
    made: Made = {name: {} for name in (*RIVALS, OURS, AGAIN)}
    for horizon in HORIZONS:
        seen = then[: ORIGINS - horizon + 1]
        for name, rival in RIVALS.items():
            made[name][horizon] = np.array([rival(known, horizon) for known in seen])
        made[OURS][horizon] = np.array([forecast.forecast(fitted[0], known, horizon) for known in seen])
        made[AGAIN][horizon] = np.array(
            [
                forecast.forecast(fitted[origin // RETRAINED * RETRAINED], known, horizon)
                for origin, known in enumerate(seen)
            ]
        )
    return made


def shares(table: pd.DataFrame, rules: categories.Rules) -> list[dict[str, Any]]:
    """Every category with its products and its share of units and of revenue, the largest first."""
    lines = orders.purchases(table, END + timedelta(days=1))
    names = categories.names(rules)
    lines["category"] = categories.codes(lines["item"], categories.of_products(table, END, rules), rules)
    lines["revenue"] = lines["units"] * lines["price"]
    by = lines.groupby("category")
    units, revenue, products = by["units"].sum(), by["revenue"].sum(), by["item"].nunique()
    found = [
        {
            "category": names[at],
            "products": int(products[at]),
            "units": round(float(units[at] / units.sum()), 4),
            "revenue": round(float(revenue[at] / revenue.sum()), 4),
        }
        for at in units.index
    ]
    return sorted(found, key=lambda row: -row["revenue"])


def compared(made: Made, sold: Mapping[int, Floats], *, total: bool) -> list[dict[str, Any]]:
    """WAPE of every contestant per horizon, with the intervals of (the rules - it): above zero it is better."""
    rows = []
    for name in made:
        row: dict[str, Any] = {"name": name}
        for horizon in HORIZONS:
            actual = sold[horizon]
            off, rules_off = (_off(made[who][horizon], actual, total) for who in (name, RULES))
            gain = rules_off - off
            row[f"h{horizon}"] = {
                "wape": round(float(off.sum() / actual.sum()), 4),
                "gain": round(float(gain.sum() / actual.sum()), 4),
                "over weeks": over_weeks(gain.sum(axis=1), actual.sum(axis=1)),
                **({} if total else {"over categories": over_categories(gain.sum(axis=0), actual.sum(axis=0))}),
            }
        rows.append(row)
    return rows


def _off(forecast_units: Floats, actual: Floats, total: bool) -> Floats:
    """Absolute errors (origins x categories), or of their sum (origins x 1)."""
    if total:
        forecast_units, actual = (units.sum(axis=1, keepdims=True) for units in (forecast_units, actual))
    return np.asarray(np.abs(forecast_units - actual))


def over_categories(gain: Floats, actual: Floats) -> list[float]:
    """Interval of sum(gain) / sum(actual) when whole categories are drawn anew."""
    drawn = np.random.default_rng(1).integers(0, len(gain), (SAMPLES, len(gain)))
    return _interval(gain[drawn].sum(axis=1) / actual[drawn].sum(axis=1))


def over_weeks(gain: Floats, actual: Floats) -> list[float]:
    """The same when circular blocks of BLOCK neighbouring origins are drawn (Politis and Romano 1992)."""
    count = len(gain)
    starts = np.random.default_rng(1).integers(0, count, (SAMPLES, -(-count // BLOCK)))
    drawn = ((starts[:, :, None] + np.arange(BLOCK)) % count).reshape(SAMPLES, -1)[:, :count]
    return _interval(gain[drawn].sum(axis=1) / actual[drawn].sum(axis=1))


def each(ours: Mapping[int, Floats], theirs: Mapping[int, Floats], sold: Mapping[int, Floats], names: Sequence[str]) -> list[dict[str, Any]]:  # fmt: skip
    """WAPE of each category over all horizons, ours and of the rules, the largest category first."""
    actual = np.sum([sold[horizon].sum(axis=0) for horizon in HORIZONS], axis=0)
    errors = [
        np.sum([np.abs(made[horizon] - sold[horizon]).sum(axis=0) for horizon in HORIZONS], axis=0)
        for made in (ours, theirs)
    ]
    ours_off, rules_off = (error / actual for error in errors)
    return [
        {"category": names[at], "ours": round(float(ours_off[at]), 3), "rules": round(float(rules_off[at]), 3)}
        for at in np.argsort(-actual)
    ]


def show(facts: Mapping[str, Any]) -> None:
    """The facts as tables."""
    console = Console(width=max(Console().width, WIDTH))
    split = facts["split"]
    console.print(
        f"learned before {split['cut'][:10]}, weekly origins until {split['end'][:10]}; WAPE, lower is better"
    )
    singles = [f"{size} products" for size in _products.SIZES]
    drawn = [(part, kind) for part in ("by category", *singles) for kind in ("over categories", "over weeks")]
    for part, kind in (*drawn, ("total", "over weeks")):
        unit = kind.replace("categories", "products") if part in singles else kind
        table = Table(title=f"{part}: WAPE, and the rules' minus it {unit}", title_justify="left")
        table.add_column("")
        for horizon in HORIZONS:
            table.add_column(f"{horizon} ahead", justify="right")
        for row in facts[part]:
            table.add_row(row["name"], *(_cell(row[f"h{horizon}"], kind) for horizon in HORIZONS))
        console.print(table)
    listed = Table(title="categories", title_justify="left")
    for name in ("category", "products", "units", "revenue", "WAPE ours", "WAPE rules"):
        listed.add_column(name, justify="left" if name == "category" else "right")
    wapes = {row["category"]: row for row in facts["each category"]}
    for row in facts["categories"]:
        own = wapes[row["category"]]
        listed.add_row(row["category"], str(row["products"]), f"{row['units']:.1%}", f"{row['revenue']:.1%}", f"{own['ours']:.3f}", f"{own['rules']:.3f}")  # fmt: skip
    console.print(listed)
    console.print(_segments.table(facts["by segment"]))


def _cell(found: Mapping[str, Any], kind: str) -> str:
    low, high = found[kind]
    return f"{found['wape']:.3f}  {found['gain']:+.3f} [{low:+.3f}, {high:+.3f}]"


def _interval(values: Floats) -> list[float]:
    return [round(float(end), 4) for end in np.quantile(values, [0.025, 0.975])]
