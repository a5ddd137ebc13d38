"""Does reading headlines order packages better than chance, and than TF-IDF with a ridge? `grownet bench quality ranking`.

Reads the bundled tests. The holdout is the last 19 weeks: tests known from 2014-04-13 on, none of them in the months the
archive's erratum warns of. All rivals learn once, from the same tests before it, with parameters chosen on the 26 weeks
before it. Rivals are written out here with scikit-learn and LightGBM, apart from the model. The unit is the test;
intervals are a paired bootstrap (95 %). Packages scored alike share their places, so no order of a file helps anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks import bundled
from checks import metrics
from configs.load import load
from models import ranking as model
from models.contract import Tables, configure, find
from models.kit import contests, headlines, placing
from tasks.trial import INSTANT

CUT = datetime(2014, 4, 13, tzinfo=UTC)
END = datetime(2014, 8, 17, tzinfo=UTC) + INSTANT
STEP = timedelta(days=28)  # between two trainings, as the cadence has it
ERRATUM = (datetime(2013, 6, 30, tzinfo=UTC), datetime(2014, 1, 12, tzinfo=UTC) + INSTANT)  # weeks it touches
RIVAL_RIDGE = 10.0  # of 1, 3, 10, 30: best NDCG@10 on the 26 weeks before the holdout
SAMPLES, WIDTH, DRAWS, SEED = 2000, 190, 20, 1
SHOWN = ("ndcg_at_10", "best_first", "first_ctr", "first_lift", "kept")
COMPARED = ("ndcg_at_10", "best_first", "first_lift")
HEADS = ("tests", "NDCG@10", "best", "first CTR", "lift", "kept", "ours - it: NDCG@10", "best", "lift")
Floats = npt.NDArray[np.float64]


def measure() -> dict[str, Any]:
    """Every figure of the question."""
    tables, recipe = bundled("ranking"), load().models["ranking"]
    params, policy = configure(find("ranking"), recipe)
    truth = model.outcomes(tables, CUT, END, params)
    known = model.build(tables, CUT, params)
    index, fitted = model.index(known), model.fit(tables, CUT, params, recipe.seed)
    ours = model.score(fitted, index, truth)
    rivals = {name: placed(truth, scores) for name, scores in _rivals(known, truth).items()}
    rivals |= {"retrained every four weeks": retrained(tables, CUT, END, params)[0]}
    clean = _without_erratum(tables, params, index, truth)
    differs = model.segments(model.build(tables, END, params))["differs"].reindex(ours.index)
    return {
        "holdout": {"from": f"{CUT:%Y-%m-%d}", "tests": len(ours), "packages": len(truth)},
        "learned_from": {"tests": int(known["test"].nunique()), "packages": len(known)},
        "contestants": [_row("ours", ours, ours), *(_row(name, rows, ours) for name, rows in rivals.items())],
        "attainable": attainable(known, truth),
        "by_what_differs": [
            _row(f"{name}: {kind}", rows[differs == name], ours[differs == name])
            for name in sorted(differs.unique())
            for kind, rows in {"ours": ours, "random": rivals["random"], "TF-IDF": rivals["words, ridge"]}.items()
        ],
        "erratum": [*_through_time(tables, params), _row("holdout, learned without those tests", clean, ours)],
        "after_the_rules": _decided(fitted, index, tables, params, policy),
    }


def placed(truth: pd.DataFrame, scores: Floats) -> pd.DataFrame:
    """Metrics per test of any scores of the packages in `truth`."""
    return placing.table(list(truth["subject"]), _rates(truth), np.round(scores, 9))


def retrained(
    tables: Tables, start: datetime, end: datetime, params: model.Params
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Metrics of tests in [start, end) when all is learned anew each four weeks: ours, words with a ridge, random."""
    parts: list[tuple[pd.DataFrame, ...]] = []
    while start < end:
        stop = min(start + STEP, end)
        known, truth = model.build(tables, start, params), model.outcomes(tables, start, stop, params)
        if len(truth):
            fitted = model.fit(tables, start, params, SEED)
            ours = model.score(fitted, model.index(known), truth)
            parts.append((ours, placed(truth, words(known, truth)), placed(truth, np.zeros(len(truth)))))
        start = stop
    ours, theirs, chance = (pd.concat(frames) for frames in zip(*parts, strict=True))
    return ours, theirs, chance


def words(known: pd.DataFrame, truth: pd.DataFrame, unit: str = "word", ridge: float = RIVAL_RIDGE) -> Floats:
    """The textbook way: TF-IDF, and a ridge on the log click rate minus the test's mean."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    spans = {"word": (1, 2), "char_wb": (2, 5)}
    made = TfidfVectorizer(analyzer=unit, ngram_range=spans[unit], min_df=2, sublinear_tf=True)
    learner = Ridge(alpha=ridge).fit(made.fit_transform(known["headline"]), known["relative"])
    return np.asarray(learner.predict(made.transform(truth["headline"])), dtype=np.float64)


def lambdarank(known: pd.DataFrame, truth: pd.DataFrame) -> Floats:
    """LightGBM's lambdarank on the traits of a headline, the relevance of a package its place in its test."""
    import lightgbm

    settings = {
        "objective": "lambdarank",
        "label_gain": list(range(64)),
        "num_leaves": 6,
        "learning_rate": 0.03,
        "min_data_in_leaf": 60,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "seed": SEED,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    places = known.groupby("test")["relative"].rank(method="first").astype(int) - 1
    data = lightgbm.Dataset(known[list(headlines.NAMES)], places, group=known.groupby("test").size())
    booster = lightgbm.train(settings, data, 150)
    return np.asarray(booster.predict(headlines.traits(list(truth["headline"]))), dtype=np.float64)


def attainable(known: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float | None]:
    """What somebody gets who knows the true rates, when clicks are as noisy as they are: the oracle that counts.

    True log rates are drawn as what is known of them allows (normal, spread estimated before the holdout), clicks from
    them (Poisson), and the order by true rates is scored on those clicks.
    """
    spread = _spread(known)
    chance = 1.0 / (truth["clicks"].to_numpy(np.float64) + 1.0)
    shown = truth["impressions"].to_numpy(np.float64)
    log_rates = np.log((truth["clicks"] + 1.0) / (shown + 50.0)).to_numpy(np.float64)
    centre = pd.Series(log_rates).groupby(truth["subject"].to_numpy()).transform("mean").to_numpy()
    trust, draw = spread**2 / (spread**2 + chance), np.random.default_rng(SEED)
    made = []
    for _ in range(DRAWS):
        true = centre + trust * (log_rates - centre) + np.sqrt(trust * chance) * draw.standard_normal(len(truth))
        clicks = draw.poisson(np.exp(true) * shown)
        made.append(placing.table(list(truth["subject"]), clicks / shown, true).mean())
    means = pd.concat(made, axis=1).mean(axis=1)
    return {"spread": _round(spread), **{name: _round(means[name]) for name in SHOWN}}


def show(facts: Mapping[str, Any]) -> None:
    """The facts as tables."""
    console = Console(width=max(Console().width, WIDTH))
    found = facts["holdout"]
    title = (
        f"holdout from {found['from']}: {found['tests']} tests; learned from {facts['learned_from']['tests']} before"
    )
    console.print(_table(title, facts["contestants"]))
    told = ", ".join(f"{name} {facts['attainable'][name]:.4g}" for name in SHOWN)
    console.print(f"attainable with the true rates (spread {facts['attainable']['spread']:.3g}): {told}")
    console.print(_table("by what differs between the packages of a test", facts["by_what_differs"]))
    console.print(_table("with and without the tests of the erratum", facts["erratum"]))
    after = facts["after_the_rules"]
    console.print(
        f"after the policy rules: {after['first_ctr']:.5f} against {after['random']:.5f}; {after['overruled']}"
    )


def _rivals(known: pd.DataFrame, truth: pd.DataFrame) -> dict[str, Floats]:
    return {
        "random": np.zeros(len(truth)),
        "oracle": _rates(truth),
        "longest headline": truth["headline"].str.len().to_numpy(np.float64),
        "words, ridge as it comes": words(known, truth, ridge=1.0),
        "words, ridge": words(known, truth),
        "letters, ridge": words(known, truth, "char_wb"),
        "traits, lambdarank": lambdarank(known, truth),
    }


def _row(name: str, rows: pd.DataFrame, ours: pd.DataFrame) -> dict[str, Any]:
    """Means, and ours - theirs with its interval."""
    theirs = rows.reindex(ours.index)
    made: dict[str, Any] = {"name": name, "tests": len(rows)} | {key: _round(rows[key].mean()) for key in SHOWN}
    for key in COMPARED:
        gap = metrics.paired_bootstrap(ours[key].to_numpy(), theirs[key].to_numpy(), SAMPLES, seed=SEED)
        made[f"ours_minus_it.{key}"] = [_round(end) for end in (gap.low, gap.mean, gap.high)]
    return made


def _through_time(tables: Tables, params: model.Params) -> list[dict[str, Any]]:
    """Retrained every four weeks from the first week of the erratum on: the figures inside it and outside."""
    ours, theirs, chance = retrained(tables, ERRATUM[0], END, params)
    times = tables["packages"].groupby("test_id")["tested_until"].max().reindex(ours.index)
    inside = (times >= ERRATUM[0]) & (times < ERRATUM[1])
    return [
        _row(f"{where}: {kind}", rows[chosen], ours[chosen])
        for where, chosen in {"erratum": inside, "after it": ~inside, "both": inside | ~inside}.items()
        for kind, rows in {"ours": ours, "random": chance, "TF-IDF": theirs}.items()
    ]


def _without_erratum(tables: Tables, params: model.Params, index: Any, truth: pd.DataFrame) -> pd.DataFrame:
    table = tables["packages"]
    touched = (table["tested_until"] >= ERRATUM[0]) & (table["tested_until"] < ERRATUM[1])
    return model.score(model.fit({"packages": table[~touched]}, CUT, params, SEED), index, truth)


def _decided(fitted: Any, index: Any, tables: Tables, params: model.Params, policy: Any) -> dict[str, Any]:
    """Click rate of the first package that leaves the service, and which rules changed how many answers."""
    asked = model.past(tables, CUT, END, params)
    requests = [one.request for one in asked]
    decided = model.decide(model.predict(fitted, index, requests), requests, index, policy)
    counts = pd.Series([rule for one in decided for rule in one.overruled], dtype="str").value_counts()
    first = [model.kpi(answer, one.outcome) for answer, one in zip(decided, asked, strict=True)]
    chance = [float(np.mean(list(one.outcome.rates.values()))) for one in asked]
    return {
        "first_ctr": _round(float(np.mean(first))),
        "random": _round(float(np.mean(chance))),
        "overruled": {str(rule): int(count) for rule, count in counts.items()},
    }


def _spread(known: pd.DataFrame) -> float:
    """Of true log rates within a test: the variance there is, less what chance explains, by moments."""
    size = known.groupby("test")["package"].transform("size")
    chance = 1.0 / known["weight"] - contests.SPREAD**2
    centred = known["relative"] - known.groupby("test")["relative"].transform("mean")
    return float(np.sqrt(max(0.0, float((centred**2 * size / (size - 1) - chance).mean()))))


def _rates(truth: pd.DataFrame) -> Floats:
    return np.asarray(truth["clicks"].to_numpy(np.float64) / truth["impressions"].to_numpy(np.float64))


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for at, head in enumerate(["", *HEADS]):
        table.add_column(head, justify="right" if at else "left", no_wrap=True)
    for row in rows:
        table.add_row(row["name"], *(_written(value) for key, value in row.items() if key != "name"))
    return table


def _written(value: Any) -> str:
    if isinstance(value, list):
        low, mean, high = value
        return "" if not any(value) else f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)


def _round(value: float) -> float | None:
    """Five places; JSON has no figure for none."""
    return round(float(value), 5) if np.isfinite(value) else None
