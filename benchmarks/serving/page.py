"""The facts of `grownet bench serving` as tables."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from benchmarks import Facts

WIDTH = 110


def show(facts: Facts) -> None:
    """Everything that was measured, and what was not."""
    console = Console(width=max(Console().width, WIDTH))
    for count in dict.fromkeys(line["rows"] for line in facts["servers"]):
        console.print(_servers(facts, count))
    for name, error in facts["not_run"].items():
        console.print(f"not run: {name}: {error}", markup=False, soft_wrap=True)
    if half := facts.get("half"):
        console.print(_half(half))
    if release := facts.get("release"):
        console.print(
            f"{release['releases']} releases while asked: {release['answered_during']:.0f} answers in {release['seconds']:.1f} s, failed "
            f"{release['failed']}, p99 {release['p99_before_ms']:.1f} ms before, {release['p99_during_ms']:.1f} ms during, "
            f"{release['times']:.1f} times; a version more in memory {release['memory_bytes'] / 2**20:.1f} MB, "
            f"its own text {release['model_bytes'] / 2**20:.1f} MB"
        )
    for rows, parts in facts.get("profile", {}).items():
        console.print(_parts(rows, parts))
    if trees := facts.get("trees"):
        for rows, one in trees["sizes"].items():
            console.print(
                f"{rows} rows: quick {one['quick']:.0f} us, Booster {one['booster']:.0f} us, "
                f"{one['booster'] / one['quick']:.1f} times, the same to the bit: {one['same']}"
            )
    console.print(f"{facts['cores']} cores; load average {facts['load_before']:.1f} to {facts['load_after']:.1f}")


def _servers(facts: Facts, count: int) -> Table:
    table = Table(title=f"{count} rows a request, one worker each", title_justify="left")
    for name in ("", "CPU us a request", "times ours", "requests/s", "p50 ms", "p99 ms", "failed"):
        table.add_column(name, justify="right" if name else "left")
    lines = [line for line in facts["servers"] if line["rows"] == count]
    for line in sorted(lines, key=lambda one: float(one["cpu_us"])):
        title = facts["titles"][line["name"]]
        figures = [f"{line['cpu_us']:.0f}", f"{line['times']:.2f}", f"{line['per_second']:.0f}"]
        table.add_row(title, *figures, f"{line['p50_ms']:.1f}", f"{line['p99_ms']:.1f}", str(line["failed"]))
    return table


def _half(half: Facts) -> Table:
    table = Table(
        title=f"At half of what ours can take, {half['per_second']:.0f} requests a second", title_justify="left"
    )
    for name in ("", "p50 ms", "p99 ms", "failed"):
        table.add_column(name, justify="right" if name else "left")
    for title, one in half["servers"].items():
        table.add_row(title, f"{one['p50_ms']:.1f}", f"{one['p99_ms']:.1f}", str(one["failed"]))
    return table


def _parts(rows: str, parts: Facts) -> Table:
    table = Table(title=f"CPU us of an answer to {rows} rows, without HTTP", title_justify="left")
    table.add_column("")
    table.add_column("us", justify="right")
    for name, cost in parts.items():
        table.add_row(
            {"rest": "neither decoding, predicting nor encoding"}.get(name, name),
            f"{cost:.1f}",
            style="bold" if name in {"total", "rest"} else None,
        )
    return table
