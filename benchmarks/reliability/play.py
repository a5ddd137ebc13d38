"""Plays one scenario from its set-up to its facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.reliability import kept
from benchmarks.reliability.oracle import Oracle
from benchmarks.reliability.scenarios import SCENARIOS
from benchmarks.reliability.stage import Run, Stage
from benchmarks.reliability.verdict import judge
from benchmarks.reliability.village import Village, copied
from models import contract
from records import Answer


class Played(NamedTuple):
    """A scenario that is over, with all it was judged by."""

    facts: dict[str, Any]
    run: Run
    oracle: Oracle
    written: list[Answer]


def play(name: str, base: Path, folder: Path, seconds: float, per_second: float) -> Played:
    """Runs a scenario on a copy of the home `base`, below `folder`.

    Raises:
        StackError: when the service or the client does not come up, or what the scenario waits for does not happen.
    """
    scenario = SCENARIOS[name]
    folder.mkdir(parents=True)
    changes = {"service": dict(scenario.service), "model": dict(scenario.model)}
    village = copied(base, folder / "home", {"defaults.yaml": changes})
    options = ("--workers", str(scenario.workers)) if scenario.workers > 1 else ()
    stage = Stage(village, folder, seconds, per_second, options)
    try:
        scenario.play(stage)
        written = kept.answers(stage.fleet.view / "journal")  # before the end: a small disk goes with its service
        stage.promise("it ends in order when told to", stage.end() == 0, stage.exit_code)
        run, oracle = stage.over(scenario.stated), oracle_of(village)
        said = judge(run, oracle, written)
    finally:
        stage.close()
    told = [promise._asdict() for promise in (*said.promises, *stage.promises)]
    facts = {**said.facts, **stage.facts, "scenario": name, "seconds": seconds, "promises": told}
    facts |= {"held": all(one["held"] for one in told), "what": (scenario.play.__doc__ or "").strip()}
    return Played(facts, run, oracle, written)


def oracle_of(village: Village) -> Oracle:
    """What a client can work out of a home's released artifacts."""
    model = contract.find(village.lesson.model)
    _, policy = contract.configure(model, village.config.models[village.lesson.model])
    return Oracle(model, village.artifacts, policy, village.pseudonym)
