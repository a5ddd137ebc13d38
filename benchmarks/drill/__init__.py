"""Do releases take themselves back in time? `grownet drill [FAULT ...] [--repeats 20] [--out FOLDER] [--json]`.

Starts the whole stack on a home of its own (Prefect, MLflow, a worker, two guards, the service with two workers), sends traffic
with outcomes, injects one fault after another (all when none is named), and measures from the ledger's and the client's own
records. Writes FOLDER/index.html, timeline.png and facts.json (default: drill below GROWNET_HOME). Exit code 1 when a fault
exceeded a limit.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REPEATS, PER_SECOND = 20, 60.0
WIDTH = 150


def main(argv: Sequence[str]) -> None:
    """The faults named, one after the other, each so many times."""
    chosen = _chosen(argv)
    from configs.load import settings

    out = chosen.out or settings().home / "drill"
    facts = drill(chosen.fault, chosen.repeats, chosen.rate, flows=not chosen.without_flows)
    report(facts, out, as_json=chosen.json)


def report(facts: Mapping[str, Any], out: Path, *, as_json: bool) -> None:
    """Writes and shows what a drill found. Raises SystemExit(1) when a limit was exceeded."""
    from benchmarks.drill import page

    page.write(out, facts)
    if as_json:
        print(json.dumps(facts, indent=2, sort_keys=True))
    else:
        show(facts)
        print(f"page: {out / 'index.html'}")
    if not facts["held"]:
        raise SystemExit(1)


def drill(names: Sequence[str], repeats: int, per_second: float, *, flows: bool = True) -> dict[str, Any]:
    """The facts of a drill on a home of its own.

    Args:
        names: of faults; all that the stack allows when empty.
        flows: whether Prefect, its worker and MLflow run.

    Raises:
        UsageError: for a fault that needs them when they do not.
        StackError: when the stack does not come up, or cannot be brought back to good.
    """
    from threadpoolctl import threadpool_limits  # these here, because the client's process pays for none of them

    from benchmarks.drill.faults import FAULTS
    from benchmarks.drill.house import running
    from benchmarks.drill.measures import Repeat, exceeded, summary
    from benchmarks.drill.play import play
    from errors import UsageError
    from stack.processes import ending_on_signals

    wanted = [name for name, fault in FAULTS.items() if name in names or (not names and (flows or not fault.flows))]
    if not flows and (without := [name for name in wanted if FAULTS[name].flows]):
        raise UsageError("drill --without-flows", expected="faults without Prefect and MLflow", got=", ".join(without))

    def tell(repeat: Repeat) -> None:
        said = exceeded(repeat, FAULTS[repeat.fault].limit) or [f"{repeat.fault} {repeat.number}: {_line(repeat)}"]
        print("\n".join(said), file=sys.stderr, flush=True)

    began = datetime.now(UTC)
    with (
        tempfile.TemporaryDirectory() as folder,
        threadpool_limits(limits=1),
        ending_on_signals(),
        running(Path(folder), flows=flows) as made,
    ):
        played = play(made, wanted, repeats, per_second, tell)
    faults = {
        name: {"what": (FAULTS[name].play.__doc__ or "").strip(), **summary(found, FAULTS[name].limit)}
        for name, found in played.items()
    }
    return {
        "began": began.isoformat(timespec="seconds"),
        "minutes": round((datetime.now(UTC) - began).total_seconds() / 60, 1),
        "cores": os.cpu_count(),
        "load_1_5_15": [round(one, 1) for one in os.getloadavg()],
        "per_second": per_second,
        "flows": flows,
        "faults": faults,
        "held": not any(one["exceeded"] for one in faults.values()),
    }


def show(facts: Mapping[str, Any]) -> None:
    """A row for each fault, then what was exceeded."""
    from rich.console import Console
    from rich.table import Table

    from benchmarks.drill.measures import MOMENTS

    console = Console(width=max(Console().width, WIDTH))
    table = Table(title="seconds since the fault: p50 / max")
    for head in ("fault", *MOMENTS, "the switch", "requests", "failed", "wrong", "sample / printed", "held"):
        table.add_column(head, justify="left" if head in {"fault", "held"} else "right")
    for name, one in facts["faults"].items():
        times = [pair(one["moments"][moment]) for moment in MOMENTS]
        sample = f"{pair(one['sample'], 0)} of {one['printed']}" if one["printed"] else "-"
        counted = [str(one[key]) for key in ("requests", "failed", "wrong")]
        table.add_row(name, *times, pair(one["switch"], 2), *counted, sample, "NO" if one["exceeded"] else "yes")
    console.print(table)
    for one in facts["faults"].values():
        for said in one["exceeded"]:
            console.print(said, markup=False)


def pair(spread: Mapping[str, float] | None, digits: int = 1) -> str:
    """p50 and the largest; a dash for what did not happen."""
    return "-" if spread is None else f"{spread['p50']:.{digits}f} / {spread['max']:.{digits}f}"


def _line(repeat: Any) -> str:
    from benchmarks.drill.measures import MOMENTS

    known = [(moment, getattr(repeat, moment)) for moment in MOMENTS]
    return ", ".join(f"{moment} {seconds:.1f} s" for moment, seconds in known if seconds is not None)


def _chosen(argv: Sequence[str]) -> argparse.Namespace:
    from benchmarks.drill.faults import FAULTS

    def known(name: str) -> str:
        if name not in FAULTS:
            raise argparse.ArgumentTypeError(f"expected one of {', '.join(FAULTS)}, got {name}")
        return name

    parser = argparse.ArgumentParser(prog="grownet drill", description=__doc__)
    parser.add_argument("fault", nargs="*", type=known, metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--rate", type=float, default=PER_SECOND, help="requests a second")
    parser.add_argument("--out", type=Path, help="folder for the page and the facts")
    parser.add_argument("--without-flows", action="store_true", help="leave Prefect, its worker and MLflow out")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(argv)
    if chosen.repeats < 1:
        parser.error("--repeats must be at least 1")
    return chosen
