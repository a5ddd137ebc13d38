"""How many customer groups, and are they worth having? `grownet bench quality segmentation`.

Reads the bundled orders. The number of groups is chosen at three moments, four weeks apart, whose outcomes were all
known before the holdout: enough customers in the smallest group, groups that resampled customers give again, and among
those the groups that tell most about who buys within four weeks. The holdout is the last four weeks; intervals are a
paired bootstrap over customers (95 %). KMeans on raw values stands beside it as the trap it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks import bundled
from benchmarks.quality import _segments
from checks import metrics
from configs.load import load
from models import segmentation as model
from models.contract import configure, find
from models.kit import groups, rfm, standings
from models.kit.groups import Fitted, Recipe, Seen

END = datetime.fromisoformat("2011-12-09T12:50:00+00:00")  # the newest row
HORIZON = timedelta(days=28)
CUT = END - HORIZON
MOMENTS = tuple(CUT - HORIZON * back for back in (3, 2, 1))  # each with its outcome before CUT
COUNTS, CHOICES = range(2, 9), range(3, 7)  # groups that are looked at, and that a marketer can tell apart
LEAST_SHARE, LEAST_AGREEMENT = 0.05, 0.8  # of the smallest group; mean adjusted Rand index, at each moment
RESAMPLES, SEEDS, SAMPLES, WIDTH = 10, 5, 2000, 150
Floats = npt.NDArray[np.float64]


class Moment:
    """What was known at a moment, and who bought within the horizon after it."""

    def __init__(self, tables: Mapping[str, pd.DataFrame], at: datetime, params: model.Params) -> None:
        self.at, self.features = at, model.build(tables, at, params)
        self.index = model.index(self.features)
        self.outcomes = model.outcomes(tables, at, at + HORIZON, params)
        now, before = (self.features[self.features["days_ago"] == days] for days in (0, params.horizon_days))
        bought = (before["bought"] == standings.YES).to_numpy(np.bool_)
        self.seen = Seen(now=standings.numbers(now), before=standings.numbers(before), bought=bought)
        self.bought = self.outcomes["purchased"].to_numpy(np.float64)


def measure() -> dict[str, Any]:
    """Every figure of the question."""
    tables, recipe = bundled("segmentation"), load().models["segmentation"]
    params, policy = configure(find("segmentation"), recipe)
    before = [Moment(tables, at, params) for at in MOMENTS]
    searched = {
        kind: [_looked_at(before, count, recipe.seed, logs=kind == "logs") for count in COUNTS]
        for kind in ("logs", "raw")
    }
    last = Moment(tables, CUT, params)
    fitted = model.fit(tables, CUT, params, recipe.seed)
    scored = model.score(fitted, last.index, last.outcomes)[recipe.metric]
    segments = _segments.by_segment(scored, model.segments(last.features), recipe.metric, recipe.gates.bias_min_rows)
    return {
        "moments": [f"{at:%Y-%m-%d}" for at in MOMENTS],
        "holdout": {"cut": f"{CUT:%Y-%m-%d}", "customers": len(last.bought), "bought": _round(last.bought.mean())},
        "counts": searched,
        "chosen": choose(searched["logs"]),
        "configured": params.groups,
        "groups": _described(last, fitted, policy),
        "contestants": _contest(last, fitted, model.baselines(tables, CUT, params, recipe.seed)),
        "by segment": segments,
    }


def choose(counts: Sequence[Mapping[str, Any]]) -> int:
    """The number of groups by the criterion on top of this file."""
    fit = [
        row
        for row in counts
        if row["groups"] in CHOICES
        and row["smallest_share"] >= LEAST_SHARE
        and min(row["resampled"]) >= LEAST_AGREEMENT
    ]
    return int(max(fit, key=lambda row: (row["repeat_score"], -row["groups"]))["groups"])


def by_thresholds(values: Floats) -> list[str]:
    """Groups by limits that somebody set who knows this shop, with `tenure` to say who is new."""
    recency, orders, spend, tenure = values.T
    cases = {
        rfm.LOYAL: (recency <= 60) & (orders >= 6) & (spend >= 1500),
        rfm.REGULAR: (recency <= 90) & (orders >= 3),
        rfm.NEW: tenure <= 60,
        rfm.LAPSING: recency <= 180,
    }
    return [str(name) for name in np.select(list(cases.values()), list(cases), rfm.LOST)]


def by_recency(values: Floats) -> list[str]:
    """Fifths of recency alone."""
    return [f"{fifth:.0f}" for fifth in rfm.fifth(-values[:, 0])]


def show(facts: Mapping[str, Any]) -> None:
    """The facts as tables."""
    console = Console(width=max(Console().width, WIDTH))
    for kind, title in (("logs", "log RFM"), ("raw", "raw values: the trap")):
        keys = ["silhouette", "smallest_share", "resampled", "reseeded", "repeat_score"]
        rows = [[row["groups"], *(row[key] for key in keys)] for row in facts["counts"][kind]]
        console.print(_table(f"{title}, at {', '.join(facts['moments'])}", ["groups", *keys], rows))
    console.print(f"chosen: {facts['chosen']} groups, configured: {facts['configured']}")
    found = facts["holdout"]
    title = f"holdout from {found['cut']}: {found['customers']} customers, {found['bought']:.3f} bought again"
    keys = [key for key in facts["groups"][0] if key != "group"]
    rows = [[row["group"], *(row[key] for key in keys)] for row in facts["groups"]]
    console.print(_table(title, ["group", *keys], rows))
    keys = ["repeat_score", "silhouette", "smallest_share", "ours_minus_it"]
    rows = [[row["name"], *(row[key] for key in keys)] for row in facts["contestants"]]
    console.print(_table("contestants on the holdout", ["", *keys], rows))
    console.print(_segments.table(facts["by segment"]))


# ---- before the holdout --------------------------------------------------------------------------


def _looked_at(moments: Sequence[Moment], count: int, seed: int, *, logs: bool) -> dict[str, Any]:
    """Figures of one number of groups; lists have one entry a moment."""
    found = [_at(moment, count, seed, logs=logs) for moment in moments]
    return {
        "groups": count,
        "silhouette": [_round(one["silhouette"]) for one in found],
        "smallest_share": _round(min(one["smallest"] for one in found)),
        "resampled": [_round(one["resampled"]) for one in found],
        "reseeded": [_round(one["reseeded"]) for one in found],
        "repeat_score": _round(float(np.mean([one["score"] for one in found]))),
    }


def _at(moment: Moment, count: int, seed: int, *, logs: bool) -> dict[str, float]:
    recipe = Recipe(groups=count, resamples=RESAMPLES, logs=logs, named=False)
    fitted = groups.learn(moment.seen, recipe, seed)
    points = groups.space(moment.seen.now, logs=logs)
    scaled = (points - np.array(fitted.mean)) / np.array(fitted.scale)
    labels = groups.nearest(scaled, np.array(fitted.centres))[:, 0]
    scored = model.score(fitted, moment.index, moment.outcomes)
    return {
        "silhouette": float(np.mean(groups.silhouettes(scaled, labels))),  # in the space it was learned in
        "smallest": min(fitted.shares),
        "resampled": float(fitted.stability or 0.0),
        "reseeded": _reseeded(scaled, count, seed),
        "score": float(scored["repeat_score"].mean()),
    }


def _reseeded(scaled: Floats, count: int, seed: int) -> float:
    """Mean adjusted Rand index between pairs of seeds, each of so few starts that seeds could matter."""
    from sklearn.metrics import adjusted_rand_score

    centres = [groups.kmeans(scaled, count, seed + at, groups.RESTARTS) for at in range(SEEDS)]
    labels = [groups.nearest(scaled, one)[:, 0] for one in centres]
    return float(np.mean([adjusted_rand_score(one, two) for one, two in itertools.combinations(labels, 2)]))


# ---- on the holdout ------------------------------------------------------------------------------


def _described(moment: Moment, fitted: Fitted, policy: model.Policy) -> list[dict[str, Any]]:
    """Each group as it leaves the service (after the policy rule): medians, promised and true repeat rate."""
    requests = [model.Request(customer=subject) for subject in moment.outcomes["subject"]]
    proposed = model.predict(fitted, moment.index, requests)
    decided = model.decide(proposed, requests, moment.index, policy)
    frame = pd.DataFrame(moment.index.values, columns=list(standings.NUMBERS))
    frame = frame.assign(
        group=[one.items[0] for one in decided], promised=[one.value for one in decided], bought=moment.bought
    )
    frame = frame.assign(overruled=[float(bool(one.overruled)) for one in decided])
    table = frame.groupby("group").agg(
        customers=("bought", "size"),
        **{f"{name}_median": (name, "median") for name in standings.NUMBERS},
        promised=("promised", "mean"),
        bought=("bought", "mean"),
        overruled=("overruled", "mean"),
    )
    table.insert(1, "share", table["customers"] / len(frame))
    return [
        {"group": str(name), **{key: _round(float(value)) for key, value in row.items()}}
        for name, row in table.sort_values("bought", ascending=False).iterrows()
    ]


def _contest(moment: Moment, fitted: Fitted, stand_ins: Mapping[str, Fitted]) -> list[dict[str, Any]]:
    """Everybody on the same customers: the model, the rules, the stand-ins of the gates, and rules of other kinds."""
    scored = {"ours": model.score(fitted, moment.index, moment.outcomes)}
    scored["RFM scores (the rules)"] = model.score(None, moment.index, moment.outcomes)
    scored |= {name: model.score(one, moment.index, moment.outcomes) for name, one in stand_ins.items()}
    alone = Recipe(groups=len(fitted.names) - 1, axes=(1,), named=False)  # with one more its smallest is under 5 %
    alone_fitted = groups.learn(moment.seen, alone, seed=1)
    scored["KMeans on orders alone"] = model.score(alone_fitted, moment.index, moment.outcomes)
    for name, rule in {"fifths of recency": by_recency, "limits set by hand": by_thresholds}.items():
        scored[name] = _by(moment, rule)
    ours, rows = scored["ours"]["repeat_score"].to_numpy(), []
    for name, frame in scored.items():
        gap = metrics.paired_bootstrap(ours, frame["repeat_score"].to_numpy(), SAMPLES, seed=1)
        means = {key: _round(float(frame[key].mean())) for key in ("repeat_score", "silhouette", "smallest_share")}
        limits = [_round(end) for end in (gap.low, gap.mean, gap.high)]
        rows.append({"name": name, **means, "ours_minus_it": limits})
    return rows


def _by(moment: Moment, rule: Callable[[Floats], Sequence[str]]) -> pd.DataFrame:
    """The scores of other rules: their groups, with the rates of those groups a horizon ago."""
    whole = standings.index(moment.features, rule)
    return model.score(None, whole, moment.outcomes)


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for at, head in enumerate(heads):
        table.add_column(head, justify="right" if at else "left")
    for row in rows:
        table.add_row(*(_written(value) for value in row))
    return table


def _written(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_written(one) for one in value)
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _round(value: float) -> float | None:
    """Four places; JSON has no figure for none."""
    return round(float(value), 4) if np.isfinite(value) else None
