"""Does `recommendation` beat what it must beat? `grownet bench quality recommendation`.

Reads the bundled orders. Learns before 2011-09-01 and is judged on what customers bought after it, by full ranking,
each rival on the same customers; intervals are a paired bootstrap over customers (95 %). The rivals are textbook
forms written here on dense arrays, apart from the code they are compared with; they rank only the products that
count (at least five buyers), which ours does not know.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks import bundled
from benchmarks.quality import _segments
from benchmarks.quality._contest import OURS, Measured, compared, milliseconds
from checks import metrics
from configs.load import load
from models import recommendation as model
from models.contract import Proposal, configure, find
from models.kit import slates
from models.kit.history import Index
from models.kit.recommender import Fitted

CUT, END = datetime(2011, 9, 1, tzinfo=UTC), datetime(2012, 1, 1, tzinfo=UTC)
REFERENCE = {"hit_at_10": 0.540, "recall_at_20": 0.093, "ndcg_at_20": 0.123}  # EASE, from scripts older than this code
RIDGE, COSINE_KEEP, DRAWS = 500.0, 100, 5
WIDTH = 150  # columns of the tables
Floats = npt.NDArray[Any]


def measure() -> dict[str, Any]:
    """Every figure of the question."""
    tables, recipe = bundled("recommendation"), load().models["recommendation"]
    params, policy = configure(find("recommendation"), recipe)
    features = model.build(tables, CUT, params)
    index = model.index(features)
    began = time.process_time()
    fitted = model.fit(tables, CUT, params, recipe.seed)
    fit_seconds = time.process_time() - began
    outcomes = model.outcomes(tables, CUT, END, params)
    subjects, new, again = slates.truths(index, outcomes)
    scored = model.score(fitted, index, outcomes)[recipe.metric]
    return {
        "split": {"cut": CUT.isoformat(), "customers": len(subjects), "products": len(index.catalogue.codes)},
        "reference": REFERENCE,
        "discovery": compared(_discovery(fitted, index, policy, subjects, new), "customers"),
        "repeats": compared(_repeats(fitted, index, subjects, new, again), "customers"),
        "first_basket": compared(_first_basket(fitted, index, outcomes), "customers"),
        "by segment": _segments.by_segment(scored, model.segments(features), recipe.metric, recipe.gates.bias_min_rows),
        "cost": {
            "fit_cpu_seconds": round(fit_seconds, 2),
            "artifact_bytes": sum(map(len, model.dump(fitted).values())),
            "predict_ms": milliseconds(
                lambda subject: model.predict(fitted, index, [model.Request(customer=subject)]), subjects
            ),
        },
    }


def show(facts: Mapping[str, Any]) -> None:
    """The facts as tables."""
    console = Console(width=max(Console().width, WIDTH))
    split, cost = facts["split"], facts["cost"]
    console.print(f"learned before {split['cut'][:10]}; {split['customers']} known customers bought later")
    for part in ("discovery", "repeats", "first_basket"):
        rows = facts[part]
        keys = [key for key in rows[0] if key not in {"name", "customers", "ours_minus_it"}]
        table = Table(title=f"{part} ({rows[0]['customers']} customers)", title_justify="left")
        table.add_column("")
        judged = "ndcg_at_20" if "ndcg_at_20" in keys else keys[0]
        for key in [*keys, f"ours - it, {judged}"]:
            table.add_column(key, justify="right")
        for row in rows:
            low, mean, high = row["ours_minus_it"].get(judged, (0.0, 0.0, 0.0))
            gap = "" if row["name"] == OURS else f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"
            table.add_row(row["name"], *(f"{row[key]:.4f}" for key in keys), gap)
        console.print(table)
    console.print(_segments.table(facts["by segment"]))
    console.print(f"EASE in older scripts, discovery: {facts['reference']}")
    console.print(
        f"fit {cost['fit_cpu_seconds']} s CPU on one thread, artifact {cost['artifact_bytes'] / 1e6:.1f} MB, "
        f"one request {cost['predict_ms']['median']} ms (99 %: {cost['predict_ms']['p99']})"
    )


# ---- what is compared ----------------------------------------------------------------------------


def _discovery(
    fitted: Fitted, index: Index, policy: model.Policy, subjects: list[str], new: list[slates.Worth]
) -> dict[str, Measured]:
    """Products the customer had not bought before."""
    ask = [model.Request(customer=subject, k=slates.DEPTH) for subject in subjects]
    proposed = model.predict(fitted, index, ask)
    decided = model.decide(proposed, ask, index, policy)
    everyone, mine = _bought(index, list(index.subjects)), _bought(index, subjects)
    common = everyone * (index.catalogue.buyers >= slates.MIN_BUYERS)
    popularity = np.where(common.any(axis=0), common.sum(axis=0), -np.inf)
    chance = np.random.default_rng(1)
    values = {f"random {at}": chance.random(mine.shape) for at in range(DRAWS)}
    values["popularity (buyers ever)"] = np.tile(popularity, (len(mine), 1))
    values["item-item cosine"] = mine @ _cosine(common)
    values["EASE"] = mine @ _ease(common)
    answers = {name: _ranked(index, np.where(mine > 0, -np.inf, value)) for name, value in values.items()}
    answers |= {
        "sells now (the rules)": model.rules(index, ask),
        OURS: proposed,
        "ours, after the policy rule": [Proposal(items=one.items) for one in decided],
        "oracle": [Proposal(items=tuple(truth)) for truth in new],
    }
    measured = {
        name: slates.discovery(answer, new) | {"coverage": _coverage(answer, index)} for name, answer in answers.items()
    }
    drawn = [measured.pop(f"random {at}") for at in range(DRAWS)]
    return {"random": {key: np.mean([one[key] for one in drawn], axis=0) for key in drawn[0]}, **measured}


def _repeats(
    fitted: Fitted, index: Index, subjects: list[str], new: list[slates.Worth], again: list[slates.Worth]
) -> dict[str, Measured]:
    """Slates that may hold what the customer has: was anything bought again, and anything at all, among them?"""
    ask = [model.Request(customer=subject, k=slates.DEPTH, exclude_bought=False) for subject in subjects]
    favourites = [_favourites(index, subject) for subject in subjects]
    answers = {
        "sells now (the rules)": model.rules(index, ask),
        "own favourites, then what sells now": [
            Proposal(items=tuple(dict.fromkeys((*own, *filler.items))))
            for own, filler in zip(favourites, model.rules(index, ask), strict=True)
        ],
        OURS: model.predict(fitted, index, ask),
    }
    both = [{**first, **second} for first, second in zip(new, again, strict=True)]
    measured = {}
    for name, answer in answers.items():
        anything = {f"any_{key}": values for key, values in slates.discovery(answer, both).items()}
        measured[name] = slates.repeats(answer, again) | anything
    return measured


def _first_basket(fitted: Fitted, index: Index, outcomes: pd.DataFrame) -> dict[str, Measured]:
    """Customers never seen before: every other product of their first order is shown, the rest is to be found."""
    common = {c for c, n in zip(index.catalogue.codes, index.catalogue.buyers, strict=True) if n >= slates.MIN_BUYERS}
    cold = outcomes[~outcomes["subject"].isin(set(index.subjects)) & outcomes["item"].isin(common)]
    first = cold[cold["time"] == cold.groupby("subject")["time"].transform("min")]
    worth = first.groupby(["subject", "item"])["revenue"].sum()
    ask, hidden = [], []
    for _, basket in worth.groupby(level="subject"):
        items = dict(zip(basket.index.get_level_values("item"), basket.tolist(), strict=True))
        if len(items) > 1:
            ask.append(model.Request(recent=tuple(list(items)[::2]), k=slates.DEPTH))
            hidden.append(dict(list(items.items())[1::2]))
    answers = {"sells now (the rules)": model.rules(index, ask), OURS: model.predict(fitted, index, ask)}
    return {name: slates.discovery(answer, hidden) for name, answer in answers.items()}


# ---- the rivals ----------------------------------------------------------------------------------


def _bought(index: Index, subjects: Sequence[str]) -> Floats:
    """(subjects x products), 1 where bought."""
    matrix = np.zeros((len(subjects), len(index.catalogue.codes)), dtype=np.float32)
    for row, subject in enumerate(subjects):
        matrix[row, index.items[index.rows(subject)]] = 1.0
    return matrix


def _cosine(bought: Floats) -> Floats:
    """Cosine between products; towards each product its COSINE_KEEP nearest."""
    gram = bought.T @ bought
    norms = np.sqrt(np.diag(gram)) + 1e-9
    near = gram / norms[:, None] / norms[None, :]
    np.fill_diagonal(near, 0.0)
    return np.where(near >= np.sort(near, axis=0)[-COSINE_KEEP], near, 0.0)


def _ease(bought: Floats) -> Floats:
    """Steck 2019, equation 8, by a plain inverse."""
    gram = bought.T @ bought
    inverse = np.linalg.inv(gram + RIDGE * np.eye(len(gram), dtype=gram.dtype))
    weights = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights)


def _ranked(index: Index, values: Floats) -> list[Proposal]:
    best = np.argsort(-values, axis=1, kind="stable")[:, : slates.DEPTH]
    return [Proposal(items=tuple(index.catalogue.codes[at] for at in row)) for row in best]


def _favourites(index: Index, subject: str) -> list[str]:
    """The customer's products, most orders first, then the newest."""
    rows = index.rows(subject)
    order = np.lexsort((index.days[rows], -index.orders[rows]))
    return [index.catalogue.codes[at] for at in index.items[rows][order]]


def _coverage(answers: Sequence[Proposal], index: Index) -> Floats:
    position = index.catalogue.position
    shown = [[position[item] for item in one.items[: slates.DEPTH]] for one in answers]
    table = np.full((len(shown), slates.DEPTH), -1)
    for row, places in zip(table, shown, strict=True):
        row[: len(places)] = places
    return np.array([metrics.coverage(table, len(position))])
