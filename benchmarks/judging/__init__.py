"""Does the judge of a rollout hold the rate it states? `grownet bench judging` prints tables and draws the pictures.

Made-up fortnights of returning subjects, a week of its own and late labels, judged by the guard's own arithmetic at every
tick and by three judges that are common: false alarms, time to a drop, a fall after a long good time, a swinging KPI, wrong shares, falls of both arms. Nothing is read; with
`--pictures FOLDER` the pictures are written there (default: benchmarks/judging below GROWNET_HOME). Started by hand.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.judging import delay, judges, late, level, pictures, ratio, swing
from benchmarks.judging.judges import ANSWERS, BEFORE, FIXED, MARGIN, OURS, THRESHOLD
from benchmarks.judging.world import World
from configs.load import settings

RUNS = 10_000
SEED = 1
WIDTH = 150
EQUAL, AT_MARGIN = World(), World(effect=-MARGIN)
MAIN = {"equal arms": EQUAL, "at the margin": AT_MARGIN}
OTHERS = {  # what could break it, at the margin; a tenth of the runs
    "few heavy users": replace(AT_MARGIN, tail=1.1, subjects=1000),
    "nobody returns": replace(AT_MARGIN, tail=inf, personal=0.001, subjects=20_000),
    "a rare hit": replace(AT_MARGIN, rate=0.05),
    "arms that agree": replace(AT_MARGIN, shared=1.0),
}
CALM = World(
    tail=1.6
)  # the heaviest of 2,000 makes 3 % of the traffic, not 7: where time is measured, not what is false
HASTY = World(effect=-0.1, a_day=20_000, days=2, subjects=100_000, steps=((0.0, 0.25),), misses_wait=True)
PROMPT = replace(HASTY, effect=0.0, a_day=4000, days=5, subjects=20_000, prompt=0.0, closed=True)
LABELS = {"counted as they come": HASTY, "when the window is over": replace(HASTY, closed=True)}
SHOWN = (OURS, ANSWERS, FIXED, THRESHOLD)


def main(argv: Sequence[str]) -> None:
    """`--runs N`, `--seed N`, `--pictures FOLDER`, `--json` for one document."""
    parser = argparse.ArgumentParser(prog="grownet bench judging", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(argv)
    if chosen.runs < 1:
        parser.error("--runs: expected 1 or more")
    folder = chosen.pictures or settings().home / "benchmarks" / "judging"
    with threadpool_limits(limits=1):
        facts = measured(chosen.runs, chosen.seed)
        paths = pictures.draw(folder, facts, chosen.seed)
    if chosen.json:
        print(json.dumps(facts, indent=2, sort_keys=True))
        return
    show(facts)
    print("pictures: " + ", ".join(str(path) for path in paths))


def measured(runs: int, seed: int) -> dict[str, Any]:
    """Every figure, as plain values."""
    few = max(runs // 10, 1)
    return {
        "runs": runs,
        "seed": seed,
        "main": {name: judges.alarms(world, runs, seed) for name, world in MAIN.items()},
        "others": {name: judges.alarms(world, few, seed) for name, world in OTHERS.items()},
        "labels": {name: judges.alarms(world, max(few // 10, 1), seed, ["split"]) for name, world in LABELS.items()},
        "delay": delay.delays(CALM, max(runs // 100, 1), seed),
        "late": late.alarms(MAIN, few, seed)
        + late.alarms({"its hits are known at once": PROMPT}, max(few // 10, 1), seed),
        "falls": late.falls(CALM, max(runs // 200, 1), seed),
        "swing": swing.swings(replace(CALM, a_day=800, subjects=4000), max(runs // 500, 1), seed),
        "ratio": ratio.alarms(EQUAL, few, seed),
        "level": level.alarms(max(few // 2, 1), seed),
    }


def show(facts: Mapping[str, Any]) -> None:
    """The figures as tables."""
    console = Console(width=max(Console().width, WIDTH))
    for name, forms in facts["main"].items():
        _alarms(console, name, {"": forms}, SHOWN)
    _alarms(console, "what could break it, at the margin", facts["others"], (OURS, BEFORE, ANSWERS))
    _alarms(console, "an arm 10 % worse whose hits are known first", facts["labels"], (OURS,))
    _delays(console, facts["delay"])
    _late(console, facts["late"])
    _falls(console, facts["falls"])
    _swings(console, facts["swing"])
    _ratios(console, facts["ratio"])
    _levels(console, facts["level"])


def _alarms(console: Console, title: str, worlds: Mapping[str, Any], shown: Sequence[str]) -> None:
    table = _table(title, "world", "form", "judge", "runs", "excluded the truth", "said drop", "said pass")
    for world, forms in worlds.items():
        for form, said in forms.items():
            for judge in shown:
                one = said[judge]
                excluded = "-" if judge == THRESHOLD else _share(one["excluded"])
                table.add_row(
                    world, form, judge, str(one["runs"]), excluded, _share(one["drops"]), _share(one["passes"])
                )
    console.print(table)


def _delays(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    heads = ("form", "answers a day", "effect", "never", "days", "90 %", "answers", "90 %", "printed", "planned")
    table = _table("time and matured answers of the canary until a drop is said", *heads)
    for row in rows:
        table.add_row(
            row["form"],
            str(row["a_day"]),
            f"{row['effect']:.0%}",
            f"{row['never']:.0%}",
            *(_number(one, ".1f") for one in row["days"]),
            *(_number(one, ",.0f") for one in row["answers"]),
            _number(row["printed"], ",.0f"),
            _number(row["planned"], ",.0f"),
        )
    console.print(table)


def _late(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    heads = ("world", "form", "judge", "runs", "excluded the truth", "said drop")
    table = _table("with comparisons that begin later", *heads)
    for row in rows:
        shares = _share(row["excluded"]), _share(row["drops"])
        table.add_row(row["world"], row["form"], row["judge"], str(row["runs"]), *shares)
    console.print(table)


def _falls(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    heads = ("form", "good days", "effect", "judge", "before it", "never", "days", "90 %", "answers", "90 %")
    table = _table("a canary that falls after a good time: how long until it is said", *heads)
    for row in rows:
        for judge in (late.ALONE, late.BESIDE):
            one = row[judge]
            numbers = (
                *(_number(day, ".1f") for day in one["days"]),
                *(_number(some, ",.0f") for some in one["answers"]),
            )
            shares = f"{one['drops'][0]:.0%}", f"{one['never']:.0%}"
            table.add_row(row["form"], str(row["good_days"]), f"{row['effect']:.0%}", judge, *shares, *numbers)
    console.print(table)


def _swings(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    heads = (
        "swing",
        "runs",
        "rolled back",
        "rollbacks at most",
        "changes at most",
        "after it",
        "threshold: mean",
        "most",
    )
    table = _table("a KPI that swings from day to day: changes of the version that answers", *heads)
    for row in rows:
        table.add_row(
            f"{row['swing']:.0%}",
            str(row["runs"]),
            f"{row['taken_back']:.0%}",
            str(row["rollbacks_most"]),
            str(row["changes_most"]),
            str(row["after_rollback"]),
            f"{row['threshold_mean']:.1f}",
            str(row["threshold_most"]),
        )
    console.print(table)


def _ratios(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    table = _table("the sample-ratio check", "said", "got", "answers a day", "runs", "alarmed", "day of it")
    for row in rows:
        table.add_row(
            f"{row['said']:.0%}",
            f"{row['got']:.0%}",
            str(row["a_day"]),
            str(row["runs"]),
            _share(row["alarmed"]),
            _number(row["day"], ".1f"),
        )
    console.print(table)


def _levels(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    table = _table("both fell below the level of before: said in a quarter", "world", "runs", "said", "days", "90 %")
    for row in rows:
        days = row["days"] or (None, None)
        table.add_row(row["world"], str(row["runs"]), _share(row["said"]), *(_number(one, "d") for one in days))
    console.print(table)


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left")
    for head in heads:
        table.add_column(head, justify="left" if head in {"world", "form", "judge"} else "right")
    return table


def _share(one: Sequence[float]) -> str:
    """A share with its interval."""
    return f"{one[0]:.2%} [{one[1]:.2%}, {one[2]:.2%}]"


def _number(one: float | None, form: str) -> str:
    return "-" if one is None else format(one, form)
