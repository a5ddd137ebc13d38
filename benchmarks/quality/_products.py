"""The learner of `demand` on single products instead of categories; part of `grownet bench quality demand`.

Reads the orders. The products are the largest by net units before the cut; a week runs from Monday to Sunday. Twelve
weeks from 2011-09-12 on are forecast one to four weeks before they end, every origin knowing what was known then.
Absolute loss, since weeks of a product are skewed; trees see what its order lines usually bring beside `levels.inputs`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.kit import categories, forecast, levels, orders, weekly
from models.kit.forecast import HORIZONS, Learner
from models.kit.weekly import DAYS, Index

CUT = datetime(2011, 8, 22, tzinfo=UTC)  # a Monday; the origin four weeks before the first week that is judged ends
TARGETS, SIZES, LEARNED = 12, (50, 200), 1000  # weeks judged; largest products judged, and learned from
END = CUT + timedelta(weeks=TARGETS + HORIZONS[-1] - 1)
RETRAINED = 4  # weeks between trainings
QUARTER = 13  # weeks
LEARNER = Learner(  # chosen before the cut: grownet bench search demand
    loss="absolute", trees=50, leaves=4, learning_rate=0.05, min_rows=50, input_share=0.7, row_share=0.7, ridge=1.0,
    max_ratio=10.0, step_days=7, trust_weeks=8.0,
)  # fmt: skip
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Rival = Callable[[Index, int], Floats]
Made = dict[str, dict[int, Floats]]  # contestant -> horizon -> forecasts (weeks x products)


class Shelf(NamedTuple):
    """The largest products at a moment: what was sold of them, by day after it, and what each later Monday knew."""

    items: tuple[str, ...]
    see: forecast.See
    cells: pd.DataFrame
    then: tuple[Index, ...]
    sold: Floats  # (products x weeks after the moment)


def shelf(table: pd.DataFrame, rules: categories.Rules, moment: datetime, end: datetime, origins: int) -> Shelf:
    """The LEARNED largest products by what was known at `moment`, followed until `end` from `origins` Mondays."""
    moved = orders.movements(table, end)
    known = moved[moved["known"] < pd.Timestamp(moment)]
    units = known.groupby("item", observed=True)["units"].sum().sort_index()
    items = tuple(str(item) for item in units.nlargest(LEARNED).index)
    numbers = moved["item"].map({item: at for at, item in enumerate(items)}).astype("float64")
    followed = moved[numbers.notna()]
    cells = weekly.added(followed, numbers[followed.index].to_numpy(np.int64), moment)
    weeks = (end - moment) // timedelta(weeks=1)
    sold = weekly.weeks(weekly.days(cells, len(items), 0, weeks * DAYS))[0]
    of = categories.of_products(table, moment, rules).reindex(items).fillna(categories.OTHER)
    see = functools.partial(inputs, np.unique(of, return_inverse=True)[1])
    return Shelf(items, see, cells, tuple(_seen(cells, items, origin) for origin in range(origins)), sold)


def inputs(group: Ints, known: Index) -> Floats:
    """`levels.inputs`, and: what the product's order lines usually bring, a quarter, weeks without a sale, a low and a
    high week, and how the category goes. (products x inputs); `group` is each product's category."""
    units, lines, base = known.units, known.lines, levels.level(known.units)
    quarter, recent = units[:, -QUARTER:], np.sort(units[:, -levels.LONG :], axis=1)
    size, every = _usual_size(known), np.zeros((group.max() + 1, known.weeks))
    np.add.at(every, group, units)
    late, before = every[:, -levels.SHORT :], every[:, -levels.LONG : -levels.SHORT]
    usual_lines = np.median(lines[:, -levels.LONG :], axis=1)
    columns = [
        levels.log_ratio(np.median(quarter, axis=1), base),
        levels.log_ratio(quarter.mean(axis=1), base),
        (units[:, -levels.LONG :] <= 0).mean(axis=1),
        (units[:, -levels.SHORT :] <= 0).mean(axis=1),
        levels.log_ratio(np.median(lines[:, -levels.SHORT :], axis=1) * size, base),
        levels.log_ratio(usual_lines * size, base),
        levels.log_ratio(lines[:, -2:].mean(axis=1) * size, base),
        levels.log_ratio(late.mean(axis=1), before.mean(axis=1))[group],
        levels.log_ratio(every[:, -1], np.median(every[:, -levels.LONG :], axis=1))[group],
        levels.log_ratio(recent[:, 2], base),
        levels.log_ratio(recent[:, -3], base),
        np.log1p(usual_lines),
    ]
    return np.column_stack([levels.inputs(known), *columns])


def contest(
    table: pd.DataFrame, rules: categories.Rules, rivals: Mapping[str, Rival], ours: Sequence[str], seed: int
) -> tuple[Made, dict[int, Floats]]:
    """What everybody says of each judged week, and what was sold in it: horizon -> (weeks x products).

    Args:
        ours: names of the learner trained once and, when there are two, of the one trained again every RETRAINED weeks.
    """
    origins = TARGETS + HORIZONS[-1] - 1
    found = shelf(table, rules, CUT, END, origins)
    step = RETRAINED if len(ours) > 1 else origins
    fitted = {
        origin: forecast.fit(_anchored(found.cells, origin), len(found.items), LEARNER, seed, found.see)
        for origin in range(0, origins, step)
    }
    made: Made = {name: {} for name in (*rivals, *ours)}
    for horizon in HORIZONS:
        asked = range(HORIZONS[-1] - horizon, origins - horizon + 1)
        seen = [found.then[origin] for origin in asked]
        for name, rival in rivals.items():
            made[name][horizon] = np.array([rival(known, horizon) for known in seen])
        for name, every in zip(ours, (origins, step), strict=False):
            made[name][horizon] = np.array(
                [
                    forecast.forecast(fitted[origin // every * every], known, horizon, found.see)
                    for origin, known in zip(asked, seen, strict=True)
                ]
            )
    return made, dict.fromkeys(HORIZONS, found.sold[:, HORIZONS[-1] - 1 :].T)


def largest(made: Made, sold: Mapping[int, Floats], size: int) -> tuple[Made, dict[int, Floats]]:
    """The `size` largest products of a contest; columns are ordered by size."""
    kept = {name: {horizon: units[:, :size] for horizon, units in each.items()} for name, each in made.items()}
    return kept, {horizon: units[:, :size] for horizon, units in sold.items()}


def _seen(cells: pd.DataFrame, items: tuple[str, ...], origin: int) -> Index:
    """The whole weeks before an origin, as known then."""
    known = cells[cells["known"] < origin * DAYS]
    daily = weekly.days(known, len(items), (origin - weekly.MOST_WEEKS) * DAYS, origin * DAYS)
    units, spend, lines = weekly.weeks(daily)
    return Index(categories=items, position={}, units=units, spend=spend, lines=lines)


def _usual_size(known: Index) -> Floats:
    """Units of an order line in the median week of a quarter that had one: a single large order does not move it."""
    units, lines = known.units[:, -QUARTER:], known.lines[:, -QUARTER:]
    had = (lines > 0).any(axis=1)
    sizes = np.where(lines > 0, units / np.maximum(lines, 1.0), np.nan)
    sizes[~had] = 0.0
    return np.asarray(np.nanmedian(sizes, axis=1))


def _anchored(cells: pd.DataFrame, origin: int) -> pd.DataFrame:
    """The cells known at an origin, counted from it."""
    known = cells[cells["known"] < origin * DAYS]
    return known.assign(known=known["known"] - origin * DAYS, sold=known["sold"] - origin * DAYS)
