"""False alarms of the drift monitor when nothing drifts: quarters made of real weeks in an order drawn by lot.

The weeks of a quiet stretch are shuffled; the first twelve are the reference, as many as the house keeps, and thirteen
others are the windows of a quarter. Whatever is said of them is false: which weeks came first was drawn. What differs
between real weeks is all there (a block bootstrap, Künsch 1989). Beside the product's rule stand two that are common.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import beta

from benchmarks import bundled
from benchmarks.drift import series
from benchmarks.drift.replay import FLAT_PSI
from checks import drift
from checks.profiles import Profile, References, profile, reference
from checks.shifts import LIMITS, answer_of, drifted
from configs.schema import Config, MonitorConfig
from models.contract import Feature, configure, find, names

WEEKS = 13  # of a quarter
OURS, FLAT, SINGLE = RULES = ("k of n, calibrated", "flat PSI 0.2", "a test per column")
START, STOP = datetime(2011, 3, 7, tzinfo=UTC), datetime(2011, 8, 29, tzinfo=UTC)  # of the shop, before its season
SNAPSHOT = timedelta(days=28)  # as old as a served snapshot may be
REQUESTS_MOST = 500  # of a week, as in a training reference
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pool:
    """Weeks of a quiet stretch, and how they are watched."""

    name: str
    weeks: tuple[pd.DataFrame, ...]
    watched: tuple[Feature, ...]
    config: MonitorConfig


def pools(house: Config) -> Iterator[Pool]:
    """The training stretches of the three series, and what the models of the shop see of its requests."""
    for name in series.names():
        one = series.series(name)
        weeks = tuple(one.rows.iloc[window.first : window.last] for window in one.grid[: one.start])
        yield Pool(name, weeks, one.watched, series.settings(one, house.defaults))
    for name in names():
        if set(house.models[name].tables) == {"orders"}:
            yield _shop(house, name)


def _shop(house: Config, name: str) -> Pool:
    """Each week's past requests as the model sees them with the snapshot of its four weeks."""
    model, recipe = find(name), house.models[name]
    params, _ = configure(model, recipe)
    tables, weeks, draw = bundled(name), list[pd.DataFrame](), np.random.default_rng(recipe.seed)
    for as_of in _every(START, STOP, SNAPSHOT):
        index = model.index(model.build(tables, as_of, params))
        for begin in _every(as_of, min(as_of + SNAPSHOT, STOP), series.WEEK):
            asked = [one.request for one in model.past(tables, begin, begin + series.WEEK, params)]
            if len(asked) > REQUESTS_MOST:
                asked = [asked[at] for at in np.sort(draw.choice(len(asked), REQUESTS_MOST, replace=False))]
            if asked:
                weeks.append(model.observe(index, asked))
    return Pool(name, tuple(weeks), model.WATCHED, recipe.monitor)


def _every(start: datetime, stop: datetime, step: timedelta) -> list[datetime]:
    return [start + step * at for at in range(-(-(stop - start) // step))]


def quarters(pool: Pool, count: int, seed: int = 1) -> dict[str, Flags]:
    """What each rule says of each window: (quarters x weeks), all of it false."""
    draw = np.random.default_rng(seed)
    told = {rule: np.zeros((count, WEEKS), dtype=np.bool_) for rule in (*RULES, "one window")}
    known = pool.config.reference_days // pool.config.block_days
    for quarter in range(count):
        order = draw.permutation(len(pool.weeks))
        references = reference([pool.weeks[at] for at in order[:known]], pool.watched, pool.config.bins)
        rest = order[known:]
        chosen = np.concatenate([draw.permutation(rest) for _ in range(-(-WEEKS // len(rest)))])[:WEEKS]
        windows = [profile(references, pool.weeks[at]) for at in chosen]
        for rule, flags in _said(references, windows, pool.config).items():
            told[rule][quarter] = flags
    return told


def _said(references: References, windows: Sequence[Profile], config: MonitorConfig) -> dict[str, list[bool]]:
    """Each window by each rule; ours from the figures of single windows, by the product's own `answer_of`."""
    alone = [drifted(references, [window], config).figures for window in windows]
    limits = config.model_dump(include=set(LIMITS), mode="json")
    kept = [one["windows"][0] for one in alone]
    ours = [
        answer_of({"limits": limits, "windows": kept[max(0, at + 1 - config.windows) : at + 1]}) == "yes"
        for at in range(len(kept))
    ]
    found = [
        [
            drift.drift(column.reference, window.columns[column.name].counts)
            for column in references.columns
            if window.columns[column.name].rows >= config.min_rows
        ]
        for window in windows
    ]
    return {
        OURS: ours,
        FLAT: [any(one.psi > FLAT_PSI for one in columns) for columns in found],
        SINGLE: [any(one.psi > one.limit for one in columns) for columns in found],
        "one window": [any(column["drifted"] for column in one["columns"].values()) for one in alone],
    }


def figures(told: Mapping[str, Flags]) -> dict[str, dict[str, float]]:
    """Of each rule: share of windows flagged, alarms a quarter (a window flagged after one that was not), and the share
    of quarters with an alarm, with the upper end of its one-sided 95 % interval (Clopper and Pearson 1934)."""
    return {rule: _figures(flags) for rule, flags in told.items()}


def _figures(flags: Flags) -> dict[str, float]:
    before = np.hstack([np.zeros((len(flags), 1), dtype=np.bool_), flags[:, :-1]])
    alarms = (flags & ~before).sum(axis=1)
    hit, count = int((alarms > 0).sum()), len(flags)
    return {
        "windows": float(flags.mean()),
        "alarms_per_quarter": float(alarms.mean()),
        "quarters_with_alarm": hit / count,
        "quarters_upper_95": float(beta.ppf(0.95, hit + 1, count - hit)) if hit < count else 1.0,
        "quarters": count,
    }
