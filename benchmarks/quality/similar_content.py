"""Does `similar_content` beat what it must beat? `grownet bench quality similar_content`.

Reads the bundled visits. Learns from the 32,711 official training visitors and is judged on the official test visitors:
one page of each of the 3,453 with at least two is hidden (two draws by seed, and the one that `score` makes), and all 294
areas are ranked. Then the protocols of Breese, Heckerman and Kadie (1998) with their ranked utility. Intervals are a
paired bootstrap over visitors (95 %). The rivals are textbook forms written here, apart from the code compared with.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks import bundled
from benchmarks.quality._contest import OURS, Measured, compared, milliseconds
from checks import metrics
from checks.fairness import by_segment
from configs.load import load
from models import similar_content as model
from models.contract import Proposal, configure, find
from models.kit import sessions
from models.kit.nextpage import Fitted
from models.kit.sessions import Index

CUT, END = datetime(1998, 2, 15, tzinfo=UTC), datetime(1998, 2, 16, tzinfo=UTC)
AREAS = 294  # described in the source; eight were never visited, and no ranking but the random one puts them forward
REFERENCE = {"popularity": (0.636, 0.404), "item-item cosine": (0.751, 0.520), "EASE": (0.778, 0.568)}  # older scripts
# Heckerman, Chickering, Meek, Rounthwaite, Kadie (2000), JMLR 1, 49-75, table 3 (MS.COM)
PUBLISHED = {
    "given 2": {"Bayesian network": 53.18, "dependency network": 52.68, "popularity": 43.37},
    "given 5": {"Bayesian network": 52.48, "dependency network": 52.54, "popularity": 39.34},
    "given 10": {"Bayesian network": 51.64, "dependency network": 51.48, "popularity": 39.32},
    "all but 1": {"Bayesian network": 66.54, "dependency network": 66.60, "popularity": 49.77},
}
GIVEN = {"given 2": 2, "given 5": 5, "given 10": 10, "all but 1": 0}
HALF_LIFE = 5  # places: a page there is looked at half as often as the first
RIDGE, DRAWS, SEEDS = 50.0, 5, (0, 1)
WIDTH = 150
Floats = npt.NDArray[np.float64]


class Hidden(NamedTuple):
    """What is asked about each visitor, and what was hidden."""

    subjects: list[str]
    requests: list[model.Request]
    pages: list[frozenset[str]]


def drawn(seen: Mapping[str, Sequence[str]], seed: int, given: int = 0) -> Hidden:
    """Hides all but `given` pages of each visitor who has more, or one page when 0, chosen by chance."""
    rng = np.random.default_rng(seed)
    subjects, requests, hidden = [], [], []
    for subject, pages in seen.items():
        order = [pages[at] for at in rng.permutation(len(pages))]
        shown = order[:given] if given else order[:-1]
        if len(shown) < len(order):
            subjects.append(subject)
            requests.append(model.Request(page=shown[-1], session=tuple(shown[:-1]), k=model.MAX_K))
            hidden.append(frozenset(order[len(shown) :]))
    return Hidden(subjects, requests, hidden)


def found_by(answers: Sequence[Proposal], hidden: Hidden) -> npt.NDArray[np.bool_]:
    """Whether each place of each answer holds a hidden page. Shape (visitors, AREAS)."""
    found = np.zeros((len(answers), AREAS), dtype=np.bool_)
    for row, answer, pages in zip(found, answers, hidden.pages, strict=True):
        row[: len(answer.items)] = [item in pages for item in answer.items]
    return found


def utility(found: npt.NDArray[np.bool_], relevant: npt.NDArray[Any]) -> Floats:
    """R_a of Breese et al. (1998) for votes of 0 and 1, scaled so that the mean is their R.

    R_a sums 2^-((j - 1) / (half-life - 1)) over the places j of hidden pages; R is 100 times the sum of R_a over the
    sum of the largest possible ones.
    """
    worth = 2.0 ** (-np.arange(found.shape[1]) / (HALF_LIFE - 1))
    best = np.append(0.0, np.cumsum(worth))[relevant.astype(np.int64)]
    return np.asarray(100.0 * (found @ worth) / best.mean())


def measure() -> dict[str, Any]:
    """Every figure of the question."""
    tables, recipe = bundled("similar_content"), load().models["similar_content"]
    params, policy = configure(find("similar_content"), recipe)
    index = model.index(model.build(tables, CUT, params))
    began = time.process_time()
    fitted = model.fit(tables, CUT, params, recipe.seed)
    fit_seconds = time.process_time() - began
    outcomes = model.outcomes(tables, CUT, END, params)
    seen = sessions.sessions(outcomes)
    weights = _weights(index)
    hidden = {f"seed {seed}": drawn(seen, seed) for seed in SEEDS} | {"as `score` hides it": _as_scored(seen)}
    parts = {name: _one_hidden(fitted, index, weights, one, policy) for name, one in hidden.items()}
    protocols = {
        name: compared(_protocol(fitted, index, weights, drawn(seen, 0, given)), "visitors")
        for name, given in GIVEN.items()
    }
    return {
        "split": {"training_visitors": len(index.subjects), "test_visitors": len(seen), "areas": AREAS},
        "reference": REFERENCE,
        "one_hidden": {name: compared(part, "visitors") for name, part in parts.items()},
        "policy": _policy(fitted, index, hidden[f"seed {SEEDS[0]}"], policy),
        "published": PUBLISHED,
        "protocols": protocols,
        "segments": _segments(parts[f"seed {SEEDS[0]}"], hidden[f"seed {SEEDS[0]}"], tables, params, recipe),
        "cost": {
            "fit_cpu_seconds": round(fit_seconds, 2),
            "artifact_bytes": sum(map(len, model.dump(fitted).values())),
            "predict_ms": milliseconds(
                lambda request: model.predict(fitted, index, [request]), hidden[f"seed {SEEDS[0]}"].requests
            ),
        },
    }


def show(facts: Mapping[str, Any]) -> None:
    """The facts as tables."""
    console = Console(width=max(Console().width, WIDTH))
    split, cost = facts["split"], facts["cost"]
    console.print(f"learned from {split['training_visitors']} visitors; {split['test_visitors']} others have two pages")
    for name, rows in facts["one_hidden"].items():
        console.print(
            _table(f"one page hidden, {name} ({rows[0]['visitors']} visitors)", rows, ("ndcg_at_10", "hit_at_10"))
        )
    console.print(f"HR@10 of what leaves, by policy rule: {facts['policy']}")
    console.print(f"older scripts, HR@10 and NDCG@10: {facts['reference']}")
    for name, rows in facts["protocols"].items():
        console.print(_table(f"{name} ({rows[0]['visitors']} visitors)", rows, ("utility",)))
        console.print(f"published utility (JMLR 1, 2000, table 3): {facts['published'][name]}")
    table = Table(title="by segment, NDCG@10 against the whole", title_justify="left")
    for column in ("kind", "segment", "visitors", "NDCG@10", "gap", "interval"):
        table.add_column(column)
    for one in facts["segments"]:
        ends = f"[{one['low']:+.0%}, {one['high']:+.0%}]"
        table.add_row(one["kind"], one["name"], str(one["count"]), f"{one['mean']:.3f}", f"{one['gap']:+.0%}", ends)
    console.print(table)
    console.print(
        f"fit {cost['fit_cpu_seconds']} s CPU on one thread, artifact {cost['artifact_bytes'] / 1e6:.1f} MB, "
        f"one request {cost['predict_ms']['median']} ms (99 %: {cost['predict_ms']['p99']})"
    )


def _table(title: str, rows: Sequence[Mapping[str, Any]], judged: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    keys = [key for key in rows[0] if key not in {"name", "visitors", "ours_minus_it"}]
    table.add_column("")
    for key in [*keys, *(f"ours - it, {key}" for key in judged)]:
        table.add_column(key, justify="right")
    for row in rows:
        gaps = [row["ours_minus_it"].get(key) for key in judged]
        told = [f"{gap[1]:+.4f} [{gap[0]:+.4f}, {gap[2]:+.4f}]" if gap else "" for gap in gaps]
        table.add_row(row["name"], *(f"{row[key]:.4f}" for key in keys), *told)
    return table


# ---- what is compared ----------------------------------------------------------------------------


def _as_scored(seen: Mapping[str, Sequence[str]]) -> Hidden:
    """The page of each visitor that the model's own `score` hides."""
    asked = {subject: sessions.hide(subject, pages) for subject, pages in seen.items()}
    requests = [model.Request(page=rest[-1], session=tuple(rest[:-1]), k=model.MAX_K) for rest, _ in asked.values()]
    return Hidden(list(asked), requests, [frozenset({page}) for _, page in asked.values()])


def _answers(fitted: Fitted, index: Index, weights: Mapping[str, Floats], hidden: Hidden) -> dict[str, list[Proposal]]:
    """The ranking of every contestant for each visitor."""
    pages = [*index.catalogue.pages, *(f"never visited {at}" for at in range(AREAS - len(index.catalogue.pages)))]
    position = {page: at for at, page in enumerate(pages)}
    shown = np.zeros((len(hidden.requests), AREAS))
    for row, request in zip(shown, hidden.requests, strict=True):
        row[[position[page] for page in (*request.session, request.page) if page in position]] = 1.0
    answers = {}
    for name, weight in weights.items():
        values = shown @ weight if weight.ndim == 2 else np.tile(weight, (len(shown), 1))
        order = np.argsort(-np.where(shown > 0, -np.inf, values), axis=1, kind="stable")
        answers[name] = [Proposal(items=tuple(pages[at] for at in row)) for row in order]
    answers["same family, then popular (the rules)"] = model.rules(index, hidden.requests)
    answers[OURS] = model.predict(fitted, index, hidden.requests)
    answers["oracle"] = [Proposal(items=tuple(sorted(page))) for page in hidden.pages]
    return answers


def _one_hidden(
    fitted: Fitted, index: Index, weights: Mapping[str, Floats], hidden: Hidden, policy: model.Policy
) -> dict[str, Measured]:
    answers = _answers(fitted, index, weights, hidden)
    decided = model.decide(answers[OURS], hidden.requests, index, policy)
    answers["ours, after the policy rule"] = [Proposal(items=one.items) for one in decided]
    results = {"random": _random(hidden, _ranked)}
    for name, answer in answers.items():
        shown = {page for one in answer for page in one.items[: model.DEPTH]}
        results[name] = _ranked(found_by(answer, hidden)) | {"coverage": np.array([len(shown) / AREAS])}
    results["random"]["coverage"] = np.array([1.0])
    return results


def _policy(fitted: Fitted, index: Index, hidden: Hidden, policy: model.Policy) -> dict[str, float]:
    """HR@10 of what leaves under all rules, without each of them, and without any."""
    never = {"retired": (), "not_promoted": (), "max_per_family": AREAS, "retired_after_days": 1e6}
    kinds = {"all rules": {}, **{f"without {rule}": {rule: value} for rule, value in never.items()}, "none": never}
    requests = [msgspec.structs.replace(one, k=model.DEPTH) for one in hidden.requests]
    proposals = model.predict(fitted, index, requests)
    figures = {}
    for name, changed in kinds.items():
        decided = model.decide(proposals, requests, index, msgspec.structs.replace(policy, **changed))
        found = found_by([Proposal(items=one.items) for one in decided], hidden)
        figures[name] = round(float(metrics.hit_at(found, model.DEPTH).mean()), 4)
    return figures


def _ranked(found: npt.NDArray[np.bool_]) -> Measured:
    ones = np.ones(len(found))
    return {
        "hit_at_10": metrics.hit_at(found, model.DEPTH),
        "ndcg_at_10": metrics.ndcg_at(found, ones, model.DEPTH),
        "hit_at_1": metrics.hit_at(found, 1),
    }


def _protocol(fitted: Fitted, index: Index, weights: Mapping[str, Floats], hidden: Hidden) -> dict[str, Measured]:
    """Ranked utility when some pages are given and all others are to be found."""
    relevant = np.array([len(pages) for pages in hidden.pages])
    answers = _answers(fitted, index, weights, hidden)
    results = {"random": _random(hidden, lambda found: {"utility": utility(found, relevant)})}
    return results | {name: {"utility": utility(found_by(a, hidden), relevant)} for name, a in answers.items()}


def _random(hidden: Hidden, measured: Any) -> Measured:
    """The mean over DRAWS random orders of the areas not shown."""
    rng = np.random.default_rng(1)
    drawn_: list[Measured] = []
    for _ in range(DRAWS):
        found = np.zeros((len(hidden.requests), AREAS), dtype=np.bool_)
        for row, request, pages in zip(found, hidden.requests, hidden.pages, strict=True):
            row[rng.choice(AREAS - 1 - len(request.session), size=len(pages), replace=False)] = True
        drawn_.append(measured(found))
    return {key: np.mean([one[key] for one in drawn_], axis=0) for key in drawn_[0]}


def _segments(
    parts: Mapping[str, Measured], hidden: Hidden, tables: Any, params: Any, recipe: Any
) -> list[dict[str, Any]]:
    import pandas as pd

    values = pd.Series(parts[OURS]["ndcg_at_10"], index=pd.Index(hidden.subjects, dtype="str"))
    kinds = model.segments(model.build(tables, END, params))
    fairness = by_segment(values, kinds, min_rows=recipe.gates.bias_min_rows, seed=recipe.seed)
    return [
        {key: getattr(one, key) for key in ("kind", "name", "count", "mean", "gap", "low", "high")}
        for one in fairness.segments
    ]


# ---- the rivals ----------------------------------------------------------------------------------


def _weights(index: Index) -> dict[str, Floats]:
    """Popularity as a vector, cosine and EASE as item-to-item matrices, over all areas."""
    size = len(index.catalogue.pages)
    seen = np.zeros((len(index.subjects), AREAS))
    seen[np.repeat(np.arange(len(seen)), np.diff(index.starts)), index.seen] = 1.0
    gram = seen.T @ seen
    counts = np.diag(gram).copy()
    norms = np.sqrt(np.maximum(counts, 1e-9))
    near = gram / norms[:, None] / norms[None, :]
    np.fill_diagonal(near, 0.0)
    near[size:] = near[:, size:] = 0.0
    inverse = np.linalg.inv(gram + RIDGE * np.eye(AREAS))
    ease = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(ease, 0.0)
    return {"popularity": counts, "item-item cosine": near, "EASE": ease}
