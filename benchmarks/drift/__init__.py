"""What do monitor and decision table make of real drift? `grownet bench drift` prints tables and writes a page for each.

Reads the bundled series bank_marketing, bike_sharing and nannyml_california, replays each in time order under the
product's table and under policies that look at drift alone; and quiet quarters of real weeks, where every alarm is false.
Writes FOLDER/NAME.html (default: benchmarks/drift below GROWNET_HOME). Started by hand.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.drift import page, quiet, series
from benchmarks.drift.figures import figures
from benchmarks.drift.replay import POLICIES, TABLE, run
from benchmarks.drift.watch import Watch
from configs.load import load, settings
from configs.schema import Config

QUIET = "quiet"
QUARTERS = 80
WIDTH = 150


def main(argv: Sequence[str]) -> None:
    """`--data NAME` for one series (or `quiet`), `--out FOLDER` for the pages, `--json` for one document."""
    parser = argparse.ArgumentParser(prog="grownet bench drift", description=__doc__)
    parser.add_argument("--data", choices=[*series.names(), QUIET])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quarters", type=int, default=QUARTERS)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(argv)
    folder = chosen.out or settings().home / "benchmarks" / "drift"
    house, facts = load(), dict[str, Any]()
    with threadpool_limits(limits=1):
        for name in [chosen.data] if chosen.data else [*series.names(), QUIET]:
            facts[name] = quarters(house, folder, chosen.quarters) if name == QUIET else replayed(house, folder, name)
            if not chosen.json:
                show_quiet(facts[name]) if name == QUIET else show(facts[name])
    if chosen.json:
        print(json.dumps(facts, indent=2, sort_keys=True))
    else:
        print(f"pages: {folder}")


def replayed(house: Config, folder: Path, name: str) -> dict[str, Any]:
    """A series under all policies; its page is written."""
    watch = Watch(series.series(name), house.defaults)
    runs = {policy: run(watch, house.decisions, policy) for policy in POLICIES}
    facts = figures(watch, runs)
    page.series_page(folder, watch, runs, facts)
    return facts


def quarters(house: Config, folder: Path, count: int) -> dict[str, Any]:
    """False alarms in quiet quarters; their page is written."""
    facts = {pool.name: quiet.figures(quiet.quarters(pool, count)) for pool in quiet.pools(house)}
    page.quiet_page(folder, facts)
    return facts


def show(facts: Mapping[str, Any]) -> None:
    """The figures of a series as tables."""
    console = Console(width=max(Console().width, WIDTH))
    console.print(f"[bold]{facts['series']}[/]: {facts['windows']} windows; {facts['change']['what']}")
    table = Table()
    for head in ("policy", "retrains", "KPI", "with fallback", "after the table's first", "table - it [95 %]"):
        table.add_column(head, justify="left" if head == "policy" else "right")
    for one in facts["policies"]:
        low, mean, high = one["table_minus_it"]
        after = one["kpi_after_table_retrained"]
        table.add_row(
            one["policy"],
            str(one["retrains"]),
            f"{one['kpi']:.4f}",
            f"{one['kpi_with_fallback']:.4f}",
            "-" if after is None else f"{after:.4f}",
            "" if one["policy"] == TABLE else f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]",
        )
    console.print(table)
    for name, one in facts["first"].items():
        late = (
            "" if one["delay_days"] is None else f", {one['delay_windows']} windows ({one['delay_days']} days) after it"
        )
        console.print(f"  {name}: first {one['ever']}; after the change {one['after_change']}{late}")
    console.print(f"  control: KPI {facts['control']['kpi']}; retrains avoided: {facts['avoided']}\n")


def show_quiet(facts: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """False alarms as a table."""
    console = Console(width=max(Console().width, WIDTH))
    table = Table(title="quiet quarters: every alarm is false", title_justify="left")
    for head in (
        "weeks of",
        "rule",
        "quarters",
        "windows flagged",
        "alarms a quarter",
        "quarters with one",
        "at most (95 %)",
    ):
        table.add_column(head, justify="left" if head in {"weeks of", "rule"} else "right")
    for name, rules in facts.items():
        for rule, one in rules.items():
            shares = (f"{one[key]:.1%}" for key in ("quarters_with_alarm", "quarters_upper_95"))
            row = (f"{one['quarters']:.0f}", f"{one['windows']:.1%}", f"{one['alarms_per_quarter']:.2f}", *shares)
            table.add_row(name, rule, *row)
    console.print(table)
