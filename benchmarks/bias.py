"""How differently is each segment served? `grownet bench bias [MODEL ...]` prints tables, `--json` the facts of all.

Each model is trained on the bundled rows before the newest `outcome_days` and audited on these, as the flow `audit` does it with
what serves: the gated metric by the model's own segments; and, of the requests that history would have made, the KPI and who
gets a certain answer, by what was asked, as where subjects are new. One thread, seeds fixed, switched-off models too.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
from msgspec import to_builtins
from rich.console import Console
from rich.table import Table

from benchmarks import Facts, bundled
from checks import bias
from checks.bias import Said
from configs.load import load
from configs.schema import ModelConfig
from models.contract import configure, find, names
from tasks.trial import INSTANT, Trial

REQUESTS = 2000  # of the past, at most
WIDTH = 130
Window = tuple[datetime, datetime]


def main(argv: Sequence[str]) -> None:
    """All models on disk, or those named."""
    from threadpoolctl import threadpool_limits

    parser = argparse.ArgumentParser(prog="grownet bench bias", description=__doc__)
    parser.add_argument("model", nargs="*", choices=[*names(), []], metavar="MODEL")
    parser.add_argument("--json", action="store_true")
    chosen, facts = parser.parse_args(argv), {}
    for name in chosen.model or names():
        with threadpool_limits(limits=1):
            trial, recipe, policy = _opened(name)
            facts[name] = measured(trial, recipe, policy)
        if not chosen.json:
            show(name, facts[name])
    if chosen.json:
        print(json.dumps(facts, indent=2, sort_keys=True))


def measured(trial: Trial, recipe: ModelConfig, policy: Any) -> Facts:
    """The audit of a model trained just before the newest `outcome_days`, and what it costs (seconds of CPU)."""
    end = max(frame[trial.times[alias]].max() for alias, frame in trial.tables.items()).to_pydatetime() + INSTANT
    start = end - timedelta(days=recipe.split.outcome_days)
    began = time.process_time()
    fitted = trial.fit(start)
    trained = time.process_time()
    scores = trial.scores(fitted, start, end)[recipe.metric]
    history = bias.of_metric(scores, trial.segments(start, end), recipe, recipe.gates.bias_max_gap)
    audited = time.process_time()
    return {
        "train_seconds": trained - began,
        "audit_seconds": audited - trained,
        "metric": recipe.metric,
        "kpi": recipe.kpi,
        "history": _facts(history),
        **{name: _facts(said) for name, said in _asked(trial, recipe, policy, fitted, (start, end)).items()},
    }


def show(name: str, facts: Facts) -> None:
    """A table for each of the two, the worst segment first."""
    console = Console(width=WIDTH)
    figures = {"history": facts["metric"], "asked": facts["kpi"], "chosen": "share of the answers compared"}
    for part in [part for part in figures if part in facts]:
        said, figure = facts[part], figures[part]
        table = Table(
            title=f"{name}, {part}: {figure}, beyond {said['limit']:.0%}: {said['answer']}", title_justify="left"
        )
        for column in ("segment", "count", "mean", "gap", "from", "to", "beyond"):
            table.add_column(column, justify="left" if column in {"segment", "beyond"} else "right")
        judged = [one for one in said["segments"] if one["gap"] is not None]
        for one in sorted(judged, key=lambda one: float(one["gap"])):
            shown = [f"{one['mean']:.4f}", *(f"{one[end]:+.0%}" for end in ("gap", "low", "high"))]
            table.add_row(f"{one['kind']} {one['name']}", str(one["count"]), *shown, one["answer"])
        console.print(table, f"{said['reason']}\n")
    console.print(f"training {facts['train_seconds']:.1f} s, audit {facts['audit_seconds']:.1f} s of CPU\n")


def _opened(name: str) -> tuple[Trial, ModelConfig, Any]:
    config, module = load(), find(name)
    recipe = config.models[name]
    params, policy = configure(module, recipe)
    times = {alias: config.datasets[dataset].event_time for alias, dataset in recipe.tables.items()}
    return Trial(module, bundled(name), times, params, recipe.seed), recipe, policy


def _asked(trial: Trial, recipe: ModelConfig, policy: Any, fitted: Any, window: Window) -> dict[str, Said]:
    """The KPI of what history would have asked, by the inputs of each request; and the share of the compared answers."""
    past = trial.model.past(trial.known(window[1]), *window, trial.params)
    past = past[:: -(-len(past) // REQUESTS) or 1]  # evenly from all
    requests, index = [one.request for one in past], trial.index(window[0])
    decided = trial.model.decide(trial.model.predict(fitted, index, requests), requests, index, policy)
    units = [str(at) for at in range(len(past))]
    segments = bias.by_inputs(trial.model.observe(index, requests)).set_axis(units)
    kpis = [trial.model.kpi(answer, one.outcome) for answer, one in zip(decided, past, strict=True)]
    found = {"asked": bias.of_metric(_series(units, kpis), segments, recipe, recipe.audit.live_max_gap)}
    if recipe.audit.chosen:
        shares = [float(answer.items[:1] != () and answer.items[0] in recipe.audit.chosen) for answer in decided]
        found["chosen"] = bias.of_share(_series(units, shares), segments, recipe)
    return found


def _series(units: Sequence[str], values: Sequence[float]) -> pd.Series:
    return pd.Series(list(values), index=pd.Index(units, name="subject"), dtype="float64")


def _facts(said: Said) -> Facts:
    return {**said._asdict(), "segments": to_builtins(said.segments)}
