"""How good is the spam filter? `grownet bench quality spam`.

Reads the bundled messages, redacted as the door does it. Five folds, at random, by exact text, and by text without digits and
punctuation; the 30/70 split of Almeida et al. (2011); and the holdout, the last 126 days of the file, which nothing was chosen on.
Limits come from folds of what is learned from. Intervals are a bootstrap over messages, or over texts where folds keep them
together (95 %). F1, false-positive rate (FPR) and share of spam caught are those of what is marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks import bundled
from benchmarks.quality import _filters as filters
from benchmarks.quality._filters import FILTERS, LIMITED, REFERENCE, Filter, Judged
from configs.load import load
from models import spam as model
from models.kit import mailbox, texts
from models.spam import HAM, Request
from tasks.sources import file_chunks

END = datetime.fromisoformat("2011-12-31T22:25:42.000001+00:00")  # just after the newest message
CUT = END - timedelta(days=126)
FOLDS, SAMPLES, SEED, WIDTH = 5, 2000, 1, 150
STRICT = "by text"  # the folds that repeats of a text cannot flatter
CAUGHT = 0.95  # recall at which the false-positive rate is given too
PUBLISHED = {"accuracy": 0.976, "caught": 0.831, "fpr": 0.0018}  # linear SVM, Almeida et al. 2011
Truths = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Split = Sequence[tuple[Ints, Ints]]


def measure() -> dict[str, Any]:
    """Every figure of the question."""
    table = bundled("spam")["messages"]
    given, spam = table["text"].tolist(), table["is_spam"].to_numpy(np.bool_)
    raw = [text for chunk in file_chunks(load().datasets["sms_spam"]) for text in chunk.rows["text"].to_pylist()]
    groups = {
        "at random": np.arange(len(given)),
        "by exact text": pd.factorize(pd.Series(raw))[0],
        STRICT: pd.factorize(pd.Series([texts.digest(text) for text in given]))[0],
    }
    return {
        "folds": {kind: _folds(given, raw, spam, group, kind) for kind, group in groups.items()},
        "thirty": _thirty(given, spam),
        "holdout": _holdout(table),
        "signs": _signs(table),
        "segments": _segments(table),
        "policy": _policy(table),
    }


def show(facts: Mapping[str, Any]) -> None:
    """The facts as tables."""
    console = Console(width=max(Console().width, WIDTH))
    for kind, rows in facts["folds"].items():
        console.print(_table(f"{FOLDS} folds {kind}", rows))
    console.print(
        _table("first 30 % to learn, 70 % to judge", [*facts["thirty"]["rows"], {"name": "published", **PUBLISHED}])
    )
    console.print(_table("five random splits of 30/70: mean", [facts["thirty"]["random"]]))
    held = facts["holdout"]
    console.print(
        _table(f"holdout from {held['cut']}: {held['texts']} texts not seen before, {held['spam']} spam", held["rows"])
    )
    console.print(_table("ours on the holdout, by segment", facts["segments"]))
    console.print(_table("plain signs before the holdout", facts["signs"]))
    console.print(facts["policy"])


def scored(found: Judged, spam: Truths, groups: Ints, against: Judged | None = None) -> dict[str, Any]:
    """Figures of what a filter said, with intervals, and ours - it in F1 when `against` is ours."""
    from sklearn.metrics import average_precision_score

    counts = _counts(found.marked, spam)
    figures: dict[str, Any] = {
        "f1": _between(counts, groups, _f1),
        "fpr": _between(counts, groups, _fpr),
        "caught": _between(counts, groups, _caught),
        "accuracy": _round(float((found.marked == spam).mean())),
        "wrong": int((found.marked & ~spam).sum()),
        "lost": int((found.away & ~spam).sum()),
        "pr_auc": _round(float(average_precision_score(spam, found.value))),
        "fpr_at_95": _round(fpr_at(found.value, spam, CAUGHT)),
        "brier": _round(float(np.mean((found.value - spam) ** 2)), 5),
    }
    if against is not None:
        both = np.hstack([_counts(against.marked, spam), counts])
        figures["ours_minus_it"] = _between(both, groups, lambda sums: _f1(sums[:, :4]) - _f1(sums[:, 4:]))
    return figures


def fpr_at(value: npt.NDArray[np.float64], spam: Truths, caught: float) -> float:
    """The share of ham that is marked when the limit is set so that a share `caught` of the spam is."""
    limit = np.sort(value[spam])[int(np.floor((1 - caught) * spam.sum()))]
    return float((value[~spam] >= limit).mean())


# ---- the splits ----------------------------------------------------------------------------------


def _folds(given: Sequence[str], raw: Sequence[str], spam: Truths, groups: Ints, kind: str) -> list[dict[str, Any]]:
    """Every filter on the same folds, without redaction too; where folds are kinder, only ours and the reference, at one half and with our limits."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    plain, grouped = (made(FOLDS, shuffle=True, random_state=SEED) for made in (StratifiedKFold, StratifiedGroupKFold))
    split = list(plain.split(groups, spam) if kind == "at random" else grouped.split(groups, spam, groups))
    chosen = FILTERS if kind == STRICT else {name: FILTERS[name] for name in ("ours", REFERENCE, LIMITED)}
    said = {name: _across(one, given, spam, split) for name, one in chosen.items()}
    said["ours, without redaction"] = _across(filters.ours, raw, spam, split)
    return [
        {"name": name, **scored(one, spam, groups, said["ours"] if name != "ours" else None)}
        for name, one in said.items()
    ]


def _across(one: Filter, given: Sequence[str], spam: Truths, split: Split) -> Judged:
    """What a filter says of each text, taught by the folds that do not hold it."""
    value, marked, away = np.zeros(len(given)), np.zeros(len(given), np.bool_), np.zeros(len(given), np.bool_)
    for inside, outside in split:
        found = one([given[at] for at in inside], spam[inside], [given[at] for at in outside])
        value[outside], marked[outside], away[outside] = found
    return Judged(value, marked, away)


def _thirty(given: Sequence[str], spam: Truths) -> dict[str, Any]:
    """The split of the paper in the order of the file; and five random ones, for its order is not known to be ours."""
    cut, rows = int(0.3 * len(given)), []
    for name in ("ours", REFERENCE):
        found = FILTERS[name](given[:cut], spam[:cut], given[cut:])
        rows.append({"name": name, **scored(found, spam[cut:], np.arange(len(given) - cut))})
    means = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(given))
        shuffled, truth = [given[at] for at in order], spam[order]
        found = filters.ours(shuffled[:cut], truth[:cut], shuffled[cut:])
        figures = scored(found, truth[cut:], np.arange(len(given) - cut))
        means.append([figures["accuracy"], figures["caught"][1], figures["fpr"][1], figures["f1"][1]])
    random = {
        name: _round(value)
        for name, value in zip(("accuracy", "caught", "fpr", "f1"), np.mean(means, axis=0), strict=True)
    }
    return {"rows": rows, "random": {"name": "ours", **random}}


def _holdout(table: pd.DataFrame) -> dict[str, Any]:
    """Every filter, taught by all messages before CUT, on texts that came first after it."""
    known, truth = _cut(table)
    spam, said = truth["spam"].to_numpy(np.bool_), {}
    for name, one in FILTERS.items():
        said[name] = one(known["text"].tolist(), known["is_spam"].to_numpy(np.bool_), truth["text"].tolist())
    everyone = np.arange(len(truth))
    rows = [
        {"name": name, **scored(one, spam, everyone, said["ours"] if name != "ours" else None)}
        for name, one in said.items()
    ]
    return {"cut": f"{CUT:%Y-%m-%d}", "texts": len(truth), "spam": int(spam.sum()), "rows": rows}


def _cut(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The messages before CUT, and the truth about texts that came first after it."""
    return table[table["received_at"] < CUT], model.outcomes({"messages": table}, CUT, END, filters.house()[0])


def _segments(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Ours on the holdout, by the segments of the bias check."""
    known, truth = _cut(table)
    found = filters.ours(known["text"].tolist(), known["is_spam"].to_numpy(np.bool_), truth["text"].tolist())
    kinds = model.segments(model.build({"messages": table}, END, filters.house()[0])).loc[truth["subject"]]
    rows, spam = [], truth["spam"].to_numpy(np.bool_)
    for kind in kinds.columns:
        for name in sorted(kinds[kind].unique()):
            own = (kinds[kind] == name).to_numpy()
            part = Judged(*(one[own] for one in found))
            figures = scored(part, spam[own], np.arange(int(own.sum())))
            kept = {key: figures[key] for key in ("f1", "fpr", "caught", "brier")}
            rows.append({"name": f"{kind}: {name}", "texts": int(own.sum()), "spam": int(spam[own].sum()), **kept})
    return rows


def _signs(table: pd.DataFrame) -> list[dict[str, Any]]:
    """How much spam there was before CUT by the number of plain signs: where the rules have their probabilities from."""
    rows = mailbox.distinct(table[table["received_at"] < CUT])
    count = rows["text"].map(lambda text: min(len(texts.signs(text)), len(model.BY_SIGNS) - 1))
    shares = rows["is_spam"].groupby(count).agg(["size", "mean"])
    return [
        {"name": str(number), "texts": int(row["size"]), "share": _round(row["mean"])}
        for number, row in shares.iterrows()
    ]


def _policy(table: pd.DataFrame) -> dict[str, Any]:
    """What leaves the service on the holdout, and how often each rule changed it."""
    known, truth = _cut(table)
    params, policy = filters.house()
    fitted = model.fit({"messages": known}, CUT, params, SEED)
    index = model.index(model.build({"messages": known}, CUT, params))
    requests = [Request(text=text) for text in truth["text"]]
    decided = model.decide(model.predict(fitted, index, requests), requests, index, policy)
    answers = pd.Series([one.items[0] for one in decided])
    rules = pd.Series([rule for one in decided for rule in one.overruled], dtype="str")
    lost = int(((answers != HAM).to_numpy() & ~truth["spam"].to_numpy()).sum())
    return {
        "answers": {str(name): int(count) for name, count in answers.value_counts().items()},
        "overruled": {str(name): int(count) for name, count in rules.value_counts().items()},
        "ham_marked": lost,
        "worth": _round(
            float(
                np.mean(
                    [model.kpi(one, model.Outcome(spam=was)) for one, was in zip(decided, truth["spam"], strict=True)]
                )
            )
        ),
    }


# ---- figures -------------------------------------------------------------------------------------


def _counts(marked: Truths, spam: Truths) -> npt.NDArray[np.float64]:
    """(caught, marked ham, missed, let through) of each text."""
    return np.column_stack([marked & spam, marked & ~spam, ~marked & spam, ~marked & ~spam]).astype(np.float64)


def _f1(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(2 * sums[:, 0] / np.maximum(2 * sums[:, 0] + sums[:, 1] + sums[:, 2], 1), dtype=np.float64)


def _fpr(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(sums[:, 1] / np.maximum(sums[:, 1] + sums[:, 3], 1), dtype=np.float64)


def _caught(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(sums[:, 0] / np.maximum(sums[:, 0] + sums[:, 2], 1), dtype=np.float64)


def _between(counts: npt.NDArray[np.float64], groups: Ints, figure: Any) -> list[float]:
    """(low, figure, high): groups are drawn with replacement, whole."""
    sums = np.zeros((int(groups.max()) + 1, counts.shape[1]))
    np.add.at(sums, groups, counts)
    draw, size = np.random.default_rng(SEED), len(sums)
    drawn = np.vstack([draw.multinomial(size, np.full(size, 1 / size)) @ sums for _ in range(SAMPLES)])
    low, high = np.quantile(figure(drawn), [0.025, 0.975])
    return [_round(low), _round(figure(counts.sum(axis=0, keepdims=True))[0]), _round(high)]


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    heads = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(title=title, title_justify="left")
    for head in heads:
        table.add_column("" if head == "name" else head, justify="left" if head == "name" else "right")
    for row in rows:
        table.add_row(*(_written(row.get(head)) for head in heads))
    return table


def _written(value: Any) -> str:
    if isinstance(value, list):
        low, middle, high = value
        return f"{middle:.4g} [{low:.4g}, {high:.4g}]"
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _round(value: float, places: int = 4) -> float:
    return round(float(value), places)
