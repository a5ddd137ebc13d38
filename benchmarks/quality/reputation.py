"""Is the trust score better than account age and number of posts? `grownet bench quality reputation`.

Four quarterly cohorts of new contributors after September 2012, each scored by what was learned before it; the last is the
holdout of a release. Figures are means over the cohorts; intervals (95 %) resample the people of each cohort and count every
figure anew, the same people for both sides. The truth is votes (as of September 2014), what is learned is dates; two rows
show what learning from votes or from badges would have given. Everything was chosen on the four cohorts before these.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks import bundled
from benchmarks.quality._cohorts import EARLIER, HOLDOUT, QUARTER, Cohort, cohort
from checks import metrics
from configs.load import load
from models import reputation as model
from models.contract import Decided, configure, find
from models.kit import conduct, contributors, picks, trust
from models.kit.contributors import Index
from models.kit.trust import Lessons

SAMPLES, SEED, WIDTH = 1000, 1, 150
OURS, RANDOM, ORACLE = "ours", "random", "oracle"
Floats = npt.NDArray[np.float64]
Scores = dict[str, Floats]
Cohorts = Callable[[datetime], Cohort]


class Truth(NamedTuple):
    """What came of the people of a cohort."""

    valued: npt.NDArray[np.bool_]
    worth: Floats

    def drawn(self, rows: npt.NDArray[np.int64]) -> Truth:
        return Truth(self.valued[rows], self.worth[rows])


FIGURES: dict[str, Callable[[Floats, Truth], float]] = {
    "precision_at_50": lambda scores, truth: float(picks.precision(scores, truth.valued, 50).mean()),
    "precision_at_100": lambda scores, truth: float(picks.precision(scores, truth.valued, 100).mean()),
    "auc": lambda scores, truth: float(np.nanmean(picks.placed(scores, truth.valued))),
    "somers_d": lambda scores, truth: picks.somers(scores, truth.worth),
    "spearman": lambda scores, truth: float(picks.spearman(scores, truth.worth).mean()),
}


def measure() -> dict[str, Any]:
    """Every figure of the question."""
    tables, recipe = bundled("reputation"), load().models["reputation"]
    params, policy = configure(find("reputation"), recipe)
    of: Cohorts = functools.cache(functools.partial(cohort, tables))
    before, held = [of(at) for at in EARLIER], [of(at) for at in HOLDOUT]
    chosen_on, scored = ([scores(tables, of, one, params, recipe.seed) for one in some] for some in (before, held))
    return {
        "cohorts": [_described(one) for one in (*before, *held)],
        "labels": _labels(before, chosen_on),
        "contest": contest(held, scored),
        "release": _release(held[-1], scored[-1]),
        "calibration": calibration(held, scored),
        "answers": _answers(tables, held, params, policy, recipe.seed),
        "segments": _segments(tables, held, scored, params),
    }


def scores(tables: Mapping[str, pd.DataFrame], of: Cohorts, one: Cohort, params: model.Params, seed: int) -> Scores:
    """What each contestant says of each contributor of the cohort; all but the plain ones learned before its moment."""
    index = model.index(model.build(tables, one.at, params))
    seen = index.values[[index.at(name) for name in one.names]]
    straight = msgspec.structs.replace(
        params, learner=msgspec.structs.replace(params.learner, kind="logistic", ridge=1.0)
    )
    found: Scores = {OURS: trust.probabilities(model.fit(tables, one.at, params, seed), seen)}
    found["the rules"] = conduct.by_table(index)[[index.at(name) for name in one.names]]
    found |= {name: one.plain[name].to_numpy(np.float64) for name in one.plain.columns}
    found["logistic regression"] = trust.probabilities(model.fit(tables, one.at, straight, seed), seen)
    lessons = relabelled(tables, of, one.at, params)
    for name, column in (("learned from votes (leaks)", "valued"), ("learned from badges", "recognised")):
        found[name] = trust.probabilities(trust.learn(lessons[column], params.learner, seed), seen)
    found[RANDOM] = np.zeros(len(one.names))  # all tied: what chance gives on average
    found[ORACLE] = one.truth["worth"].to_numpy(np.float64) + one.truth["valued"].to_numpy(np.float64) * 1e6
    return found


def relabelled(
    tables: Mapping[str, pd.DataFrame], of: Cohorts, at: datetime, params: model.Params
) -> dict[str, Lessons]:
    """The model's own lessons, with columns of the cohorts' truth in place of `again`."""
    known, moment, columns = contributors.events(tables, at), at - QUARTER, ("valued", "recognised")
    parts = []
    while len((then := contributors.cut(known, moment)).posts.who):
        seen = contributors.standing(then, moment, params.window_days)
        truth = of(moment).truth.reindex(seen["subject"])[list(columns)].to_numpy(np.bool_)
        weight = 0.5 ** ((at - QUARTER - moment).days / params.learner.half_life_days)
        parts.append((contributors.numbers(seen), truth, np.full(len(seen), weight)))
        moment -= timedelta(days=params.step_days)
    seen_all, truths, weights = zip(*parts, strict=True)
    return {
        name: trust.lessons(seen_all, [truth[:, at] for truth in truths], weights) for at, name in enumerate(columns)
    }


def contest(cohorts: Sequence[Cohort], scored: Sequence[Scores], samples: int = SAMPLES) -> list[dict[str, Any]]:
    """Each contestant: every figure, and ours minus it with its interval (low, mean, high)."""
    truths = [_truth(one) for one in cohorts]
    means = {name: _figures([found[name] for found in scored], truths) for name in scored[0]}
    rng = np.random.default_rng(SEED)
    drawn: dict[str, list[dict[str, float]]] = {name: [] for name in means}
    for _ in range(samples):
        rows = [rng.integers(0, len(truth.worth), len(truth.worth)) for truth in truths]
        again = [truth.drawn(row) for truth, row in zip(truths, rows, strict=True)]
        for name, many in drawn.items():
            many.append(_figures([found[name][row] for found, row in zip(scored, rows, strict=True)], again))
    ours, rows_out = pd.DataFrame(drawn[OURS]), []
    for name, figures in means.items():
        gaps = ours - pd.DataFrame(drawn[name])
        ends = gaps.quantile([0.025, 0.975])
        row: dict[str, Any] = {"name": name, **{key: _round(value) for key, value in figures.items()}}
        for key in FIGURES:
            row[f"ours_minus_it.{key}"] = [
                _round(value) for value in (ends[key].iloc[0], means[OURS][key] - figures[key], ends[key].iloc[1])
            ]
        rows_out.append(row)
    return rows_out


def calibration(cohorts: Sequence[Cohort], scored: Sequence[Scores]) -> list[dict[str, Any]]:
    """Tenths of the people by what was promised, and how many contributed again, were valued, were recognised."""
    frame = pd.concat([one.truth.assign(promised=found[OURS]) for one, found in zip(cohorts, scored, strict=True)])
    tenth = pd.qcut(frame["promised"].rank(method="first"), 10, labels=range(1, 11))
    table = frame.groupby(tenth, observed=True)[["promised", "again", "valued", "recognised"]].mean()
    return [
        {
            "tenth": int(str(at)),
            "people": int((tenth == at).sum()),
            **{str(key): _round(value) for key, value in row.items()},
        }
        for at, row in table.iterrows()
    ]


def show(facts: Mapping[str, Any]) -> None:
    """The facts as tables."""
    console = Console(width=max(Console().width, WIDTH))
    console.print(_table("cohorts: the first four chose, the last four judge", facts["cohorts"]))
    console.print(_table("what to learn from, on the four cohorts before the holdout", facts["labels"]))
    short = [{key: value for key, value in row.items() if "." not in key} for row in facts["contest"]]
    console.print(_table("contestants, means of four cohorts", short))
    gaps = [{"name": row["name"], **{key[14:]: row[key] for key in row if "." in key}} for row in facts["contest"]]
    console.print(_table("ours minus it: low, mean, high", gaps))
    for key, title in (
        ("release", "the last cohort alone, valued ones placed (the gate): ours minus it"),
        ("calibration", "calibration"),
        ("answers", "answers after the policy rules, four cohorts"),
        ("segments", "segments, four cohorts"),
    ):
        console.print(_table(title, facts[key]))


def _figures(scored: Sequence[Floats], truths: Sequence[Truth]) -> dict[str, float]:
    return {
        name: float(np.mean([figure(*pair) for pair in zip(scored, truths, strict=True)]))
        for name, figure in FIGURES.items()
    }


def _truth(one: Cohort) -> Truth:
    return Truth(one.truth["valued"].to_numpy(np.bool_), one.truth["worth"].to_numpy(np.float64))


def _described(one: Cohort) -> dict[str, Any]:
    shares = {key: _round(float(one.truth[key].mean())) for key in ("again", "valued", "recognised", "worth")}
    return {"from": f"{one.at:%Y-%m-%d}", "people": len(one.truth), **shares}


def _labels(cohorts: Sequence[Cohort], scored: Sequence[Scores]) -> list[dict[str, Any]]:
    """How well each label stands for being valued, and how what is learned from it places the valued."""
    truth = pd.concat([one.truth for one in cohorts])
    names = {"again": OURS, "valued": "learned from votes (leaks)", "recognised": "learned from badges"}
    rows = []
    for label, name in names.items():
        figures = _figures([found[name] for found in scored], [_truth(one) for one in cohorts])
        rows.append({"label": label, "kappa_with_valued": _round(_kappa(truth[label], truth["valued"]))})
        rows[-1] |= {key: _round(value) for key, value in figures.items()}
    return rows


def _kappa(one: pd.Series, other: pd.Series) -> float:
    """Agreement beyond chance (Cohen 1960)."""
    chance = one.mean() * other.mean() + (1 - one.mean()) * (1 - other.mean())
    return float(((one == other).mean() - chance) / (1 - chance))


def _release(one: Cohort, found: Scores) -> list[dict[str, Any]]:
    """As the baseline gate compares: each valued contributor's place, paired."""
    valued, rows = one.truth["valued"].to_numpy(np.bool_), []
    ours = picks.placed(found[OURS], valued)
    for name in ("account age", "volume", "recency", "the rules", "logistic regression", RANDOM):
        gap = metrics.paired_bootstrap(ours, picks.placed(found[name], valued), SAMPLES, SEED)
        rows.append(
            {"name": name, "valued": gap.subjects, "gap": [_round(end) for end in (gap.low, gap.mean, gap.high)]}
        )
    return rows


def _answers(
    tables: Mapping[str, pd.DataFrame], cohorts: Sequence[Cohort], params: model.Params, policy: Any, seed: int
) -> list[dict[str, Any]]:
    """How often each answer leaves, by model and by rules, what became of those people, and the rules that overruled."""
    rows = []
    for who in ("model", "rules"):
        said = [_said(tables, one, params, policy, seed if who == "model" else None) for one in cohorts]
        frame = pd.concat(
            [one.truth.assign(answer=[d.items[0] for d in all_]) for one, all_ in zip(cohorts, said, strict=True)]
        )
        broken = pd.Series([rule for all_ in said for one in all_ for rule in one.overruled], dtype="str")
        for answer, group in frame.groupby("answer"):
            shares = {key: _round(float(group[key].mean())) for key in ("again", "valued")}
            rows.append({"by": who, "answer": str(answer), "people": len(group), **shares})
        kpis = [
            model.kpi(one, model.Outcome(valued=bool(valued)))
            for all_, chosen in zip(said, cohorts, strict=True)
            for one, valued in zip(all_, chosen.truth["valued"], strict=True)
        ]
        counts = ", ".join(f"{name} {count}" for name, count in broken.value_counts().sort_index().items())
        rows.append(
            {
                "by": who,
                "answer": f"all; overruled: {counts}",
                "people": len(frame),
                "kpi": _round(float(np.mean(kpis))),
            }
        )
    return rows


def _said(
    tables: Mapping[str, pd.DataFrame], one: Cohort, params: model.Params, policy: Any, seed: int | None
) -> list[Decided]:
    index: Index = model.index(model.build(tables, one.at, params))
    requests = [model.Request(contributor=name) for name in one.names]
    fitted = None if seed is None else model.fit(tables, one.at, params, seed)
    proposals = model.rules(index, requests) if fitted is None else model.predict(fitted, index, requests)
    return model.decide(proposals, requests, index, policy)


def _segments(
    tables: Mapping[str, pd.DataFrame], cohorts: Sequence[Cohort], scored: Sequence[Scores], params: model.Params
) -> list[dict[str, Any]]:
    """By segment: the place of its valued people among everybody's others, what was promised and what came."""
    parts = []
    for one, found in zip(cohorts, scored, strict=True):
        kinds = model.segments(model.build(tables, one.at, params)).reindex(one.names)
        placed = picks.placed(found[OURS], one.truth["valued"].to_numpy(np.bool_))
        top = picks.first(found[OURS], max(1, round(params.trusted_share * len(one.names))))
        parts.append(
            one.truth.assign(promised=found[OURS], placed=placed, top=top, quarter=f"{one.at:%Y-%m-%d}").join(kinds)
        )
    frame, rows = pd.concat(parts), []
    for kind in ("quarter", "standing", "role", "era"):
        for name, group in frame.groupby(kind):
            valued = float((group["top"] * group["valued"]).sum() / group["top"].sum()) if group["top"].sum() else None
            shares = {key: _round(float(group[key].mean())) for key in ("promised", "again", "valued", "placed")}
            rows.append({"kind": kind, "segment": str(name), "people": len(group), **shares})
            rows[-1] |= {"in_top_share": _round(float(group["top"].mean())), "valued_of_top": _round(valued)}
    return rows


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    heads = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(title=title, title_justify="left")
    for at, head in enumerate(heads):
        table.add_column(head, justify="right" if at else "left")
    for row in rows:
        table.add_row(*(_written(row.get(head)) for head in heads))
    return table


def _written(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_written(one) for one in value)
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _round(value: float | None) -> float | None:
    """Four places; JSON has no figure for none."""
    return round(float(value), 4) if value is not None and np.isfinite(value) else None
