"""Does the service keep its promises while it is harmed? `grownet bench reliability [SCENARIO ...] [--seconds S]`.

Runs a real `grownet serve` on loopback for each scenario (all when none is named), with a client process that keeps its own
record; checks every answer against the released artifacts and every acknowledged answer against the journal. Prints a
table or `--json`, writes FOLDER/index.html, NAME.png and facts.json (default: benchmarks/reliability below GROWNET_HOME). Exit
code 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SECONDS, PER_SECOND = 20.0, 100.0
WIDTH = 150


def main(argv: Sequence[str]) -> None:
    """The scenarios named, one after the other."""
    from threadpoolctl import threadpool_limits  # these here, because the client's process pays for none of them

    from benchmarks.reliability import page
    from benchmarks.reliability.play import play
    from benchmarks.reliability.scenarios import SCENARIOS
    from benchmarks.reliability.village import made
    from configs.load import settings

    parser = argparse.ArgumentParser(prog="grownet bench reliability", description=__doc__)
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []], metavar="SCENARIO")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="about how long each takes")
    parser.add_argument("--rate", type=float, default=PER_SECOND, help="requests a second while all is well")
    parser.add_argument("--out", type=Path, help="folder for the page and the facts")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(argv)
    out = chosen.out or settings().home / "benchmarks" / "reliability"
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(limits=1):
        base = Path(folder) / "base"
        made(base).close()
        for name in chosen.scenario or SCENARIOS:
            played = play(name, base, Path(folder) / name, chosen.seconds, chosen.rate)
            facts[name] = played.facts
            page.plot(out, name, played)
    page.write(out, facts)
    if chosen.json:
        print(json.dumps(facts, indent=2, sort_keys=True))
    else:
        show(facts)
        print(f"page: {out / 'index.html'}")
    if not all(one["held"] for one in facts.values()):
        raise SystemExit(1)


def show(facts: Mapping[str, Mapping[str, Any]]) -> None:
    """A row for each scenario, then what was broken."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=max(Console().width, WIDTH))
    table = Table()
    for head in (
        "scenario",
        "requests",
        "failed",
        "at most (95 %)",
        "wrong",
        "lost",
        "p50",
        "p99",
        "max ms",
        "felt s",
        "held",
    ):
        table.add_column(head, justify="left" if head in {"scenario", "held"} else "right")
    for name, one in facts.items():
        times = [f"{one[key]:.1f}" for key in ("p50_ms", "p99_ms", "max_ms")]
        counted = [str(one[key]) for key in ("requests", "failures")]
        errors = [f"{one['upper_95']:.3%}", str(one["wrong"]), str(one["lost"])]
        table.add_row(name, *counted, *errors, *times, f"{one['felt_seconds']:.1f}", "yes" if one["held"] else "NO")
    console.print(table)
    for name, one in facts.items():
        for promise in one["promises"]:
            if not promise["held"]:
                console.print(f"{name}: {promise['what']}: {promise['got']}", markup=False)
