"""Do releases take themselves back in time? `grownet drill [FAULT ...] [--repeats 20] [--out FOLDER | --resume FOLDER] [--json]`.

Starts the whole stack on a home of its own (Prefect, MLflow, a worker, two guards, the service with two workers), sends traffic
with outcomes, injects one fault after another (all when none is named), and measures from the ledger's and the client's own
records. Writes FOLDER/facts.json after each repeat, index.html and timeline.png at the end (default: a new folder below
GROWNET_HOME/drill). One that was stopped goes on with --resume. Exit code 1 when a fault exceeded a limit.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.drill.measures import Repeat
    from benchmarks.drill.sittings import Asked, Drill

REPEATS, PER_SECOND = 20, 60.0
WIDTH = 150


def main(argv: Sequence[str]) -> None:
    """The faults named, one after the other, each so many times."""
    chosen = _chosen(argv)
    from benchmarks.drill import page, sittings
    from configs.load import settings

    folder = chosen.resume or chosen.out or settings().home / "drill" / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}"
    if not chosen.resume:
        sittings.make(folder)
    with sittings.alone(folder):
        if chosen.resume:
            found = sittings.resumed(folder, _given(chosen))
        else:
            found = sittings.new(folder, asked(**_given(chosen)))
        try:
            drill(found)
        finally:
            page.write(folder, found.facts())
    report(found.facts(), folder, as_json=chosen.json)


def asked(
    faults: Sequence[str] = (), repeats: int = REPEATS, per_second: float = PER_SECOND, *, flows: bool = True
) -> Asked:
    """What a drill is to play.

    Args:
        faults: by name; all that the stack allows when empty.
        flows: whether Prefect, its worker and MLflow run.

    Raises:
        UsageError: for a fault that needs them when they do not.
    """
    from benchmarks.drill.faults import FAULTS
    from benchmarks.drill.sittings import Asked
    from errors import UsageError

    wanted = [*faults] or [name for name, fault in FAULTS.items() if flows or not fault.flows]
    if not flows and (without := [name for name in wanted if FAULTS[name].flows]):
        raise UsageError("drill --without-flows", expected="faults without Prefect and MLflow", got=", ".join(without))
    return Asked(faults=tuple(wanted), repeats=repeats, per_second=per_second, flows=flows)


def drill(found: Drill) -> None:
    """Plays what a drill still lacks, in a sitting on a home of its own.

    Raises:
        StackError: when the stack does not come up, or cannot be brought back to good.
        TamperError: when the audit log does not verify after a repeat.
    """
    if not found.left():
        return
    from threadpoolctl import threadpool_limits  # these here, because the client's process pays for none of them

    from benchmarks.drill.faults import FAULTS
    from benchmarks.drill.house import running
    from benchmarks.drill.measures import exceeded
    from benchmarks.drill.play import play
    from benchmarks.drill.sittings import HOME
    from stack.processes import ending_on_signals

    def tell(repeat: Repeat) -> None:
        said = exceeded(repeat, FAULTS[repeat.fault].limit) or [f"{repeat.fault} {repeat.number}: {_line(repeat)}"]
        print("\n".join(said), file=sys.stderr, flush=True)

    with (
        tempfile.TemporaryDirectory(prefix=HOME, dir=found.folder) as folder,
        threadpool_limits(limits=1),
        ending_on_signals(),
        found.sitting() as sitting,
    ):
        with running(Path(folder), flows=found.asked.flows) as made:
            play(made, found, tell)
        sitting.whole = True


def report(facts: Mapping[str, Any], out: Path, *, as_json: bool) -> None:
    """Shows what a drill found. Raises SystemExit(1) when a limit was exceeded, or a sitting did not end well."""
    if as_json:
        print(json.dumps(facts, indent=2, sort_keys=True))
    else:
        show(facts)
        print(f"page: {out / 'index.html'}")
    if not facts["held"]:
        raise SystemExit(1)


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
        table.add_row(name, *times, pair(one["switch"], 2), *counted, sample, _held(one))
    console.print(table)
    for said in [*(said for one in facts["faults"].values() for said in one["exceeded"]), *troubles(facts)]:
        console.print(said, markup=False)


def troubles(facts: Mapping[str, Any]) -> list[str]:
    """The sittings that did not end well, in words."""
    return [f"sitting {at}: {one['trouble']}" for at, one in enumerate(facts["sittings"], 1) if one["trouble"]]


def pair(spread: Mapping[str, float] | None, digits: int = 1) -> str:
    """p50 and the largest; a dash for what did not happen."""
    return "-" if spread is None else f"{spread['p50']:.{digits}f} / {spread['max']:.{digits}f}"


def _held(one: Mapping[str, Any]) -> str:
    if one["exceeded"]:
        return "NO"
    return "yes" if one["repeats"] else "-"


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

    parser = argparse.ArgumentParser(prog="grownet drill", description=__doc__, argument_default=argparse.SUPPRESS)
    parser.add_argument("faults", nargs="*", type=known, metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--repeats", type=_at_least(int, 1), help=f"of each fault; {REPEATS}")
    parser.add_argument(
        "--rate", dest="per_second", type=_at_least(float, 1), help=f"requests a second; {PER_SECOND:g}"
    )
    parser.add_argument(
        "--without-flows", dest="flows", action="store_false", help="leave Prefect, its worker and MLflow out"
    )
    parser.add_argument("--json", action="store_true", default=False)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, default=None, help="folder of a new drill")
    where.add_argument("--resume", type=Path, default=None, help="folder of a drill to go on with, for as many repeats")
    return parser.parse_args(argv)


def _at_least(kind: type, least: float) -> Callable[[str], Any]:
    def number(text: str) -> Any:
        if not least <= (value := kind(text)) < inf:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        return value

    return number


def _given(chosen: argparse.Namespace) -> dict[str, Any]:
    """What the command names of what can be asked for; faults in the order they are played."""
    from benchmarks.drill.faults import FAULTS

    named = {name: value for name, value in vars(chosen).items() if name in {"repeats", "per_second", "flows"}}
    faults = tuple(name for name in FAULTS if name in getattr(chosen, "faults", ()))
    return {**named, "faults": faults} if faults else named
