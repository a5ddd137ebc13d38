"""What does orchestration cost, and how long do all models take? `grownet bench lifecycle [MODEL ...]`, `--json` the facts.

Every bundled dataset and model (switched on for this) goes through the deployments `ingest` and `lifecycle` of a stack of
its own: Prefect server, worker, MLflow. Beside each run, in the same minute, the same functions are called plainly on a
second home, each in a process of its own. Seconds of a flow are its run time as Prefect has it. With `--home FOLDER` what
was made stays there (`GROWNET_HOME=FOLDER/flows GROWNET_CONFIGS=FOLDER/configs GROWNET_DEMO=true grownet models` shows it); with `--vote` reviewers let each model go.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import Facts
from benchmarks.lifecycle.race import Race, Run, racing
from errors import UsageError
from models.contract import names

STAGES = {  # as people say them, by the names of the tasks
    "data": ("find_batches", "take_batch"),
    "feature": ("build_features",),
    "train": ("train_candidate",),
    "validate": ("judge",),
}
WIDTH = 130


def main(argv: Sequence[str]) -> None:
    """All models on disk, or those named."""
    parser = argparse.ArgumentParser(prog="grownet bench lifecycle", description=__doc__)
    parser.add_argument("model", nargs="*", metavar="MODEL", help=f"of {', '.join(names())}")
    parser.add_argument("--home", type=Path, help="a new folder that keeps what was made")
    parser.add_argument("--vote", action="store_true", help="let reviewers of the benchmark release each candidate")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(argv)
    if unknown := sorted(set(chosen.model) - set(names())):
        parser.error(f"no such model: {', '.join(unknown)}")
    with _folder(chosen.home) as folder, racing(folder, chosen.model or names()) as race:
        facts = measured(race)
        facts["models"] = race.released() if chosen.vote else race.standing()
    if chosen.json:
        print(json.dumps(facts, indent=2, sort_keys=True))
    else:
        show(facts)


def measured(race: Race) -> Facts:
    """Every dataset, then every model, each as a flow and plainly."""
    runs = [race.ingest(dataset) for dataset in race.datasets]
    runs += [race.lifecycle(model) for model in race.models]
    return {"runs": [row(run) for run in runs], "total": total(runs), "peak_bytes": race.peak_bytes}


def row(run: Run) -> Facts:
    """One run for the table: seconds, and what the flow adds to the plain calls, as a share of them."""
    stages = {name: sum(run.flow_stages.get(task, 0.0) for task in tasks) for name, tasks in STAGES.items()}
    return {
        "name": run.name,
        "state": run.state,
        **stages,
        "flow": run.flow_seconds,
        "plain": run.plain_seconds,
        "added": run.flow_seconds / run.plain_seconds - 1.0,
        "waited": run.waited_seconds,
    }


def total(runs: Sequence[Run]) -> Facts:
    """All runs together; `until_trained` is data, features and training alone."""
    rows = [row(run) for run in runs]
    sums: Facts = {name: sum(one[name] for one in rows) for name in (*STAGES, "flow", "plain", "waited")}
    until_trained = sums["data"] + sums["feature"] + sums["train"]
    return {**sums, "added": sums["flow"] / sums["plain"] - 1.0, "until_trained": until_trained}


def show(facts: Facts) -> None:
    """The facts as a table."""
    console = Console(width=max(Console().width, WIDTH))
    table = Table(title="seconds of each flow run, and of the same functions called plainly", title_justify="left")
    for name in ("", *STAGES, "flow", "plain", "added", "waited for a process"):
        table.add_column(name, justify="right" if name else "left")
    for one in [*facts["runs"], {"name": "all", **facts["total"]}]:
        figures = [f"{one[name]:.1f}" for name in (*STAGES, "flow", "plain")]
        table.add_row(one["name"], *figures, f"{one['added']:+.0%}", f"{one['waited']:.1f}")
    console.print(table)
    console.print(
        f"until trained {facts['total']['until_trained']:.0f} s; largest flow run {facts['peak_bytes'] / 2**30:.2f} GB"
    )
    for line in facts["models"]:
        console.print(line, markup=False, soft_wrap=True)


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """The folder given, which must be new, or one that goes away."""
    if given is not None:
        if given.exists():
            raise UsageError("--home", expected="a folder that is not there yet", got=given)
        given.mkdir(parents=True)
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="grownet-") as made:
        yield Path(made)
