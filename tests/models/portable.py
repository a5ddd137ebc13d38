"""Run as a process of its own by test_portable: every model trained, measured and asked where the big packages are not.

Prints one JSON line a model. Reads the bundled data; writes the files of each `dump` below the folder it is given, and
answers from what it reads back.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from importlib import import_module
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

ABSENT = {"prefect", "mlflow", "evidently", "great_expectations"}
ASKED = 20
LEARNED = 2.5  # holdouts of history are learned from, the fewest that every model can begin with


class Absent(MetaPathFinder):
    """These packages cannot be imported, as where they were never installed."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def once(name: str, folder: Path) -> dict[str, Any]:
    """One model from raw rows to answers, as figures that the test looks at."""
    from tasks.measure import Rival, measure
    from tasks.trial import Trial, split
    from tests.models.conftest import case_of

    started, case = time.process_time(), case_of(name)
    model, gates = case.model, case.config.gates.model_copy(update={"bootstrap_samples": 100, "backtest_windows": 1})
    recipe = case.config.model_copy(update={"gates": gates})
    newest = max(case.tables[key][column].max() for key, column in case.times.items())
    moments = split(newest, recipe.split)
    since = moments.cut - LEARNED * timedelta(days=recipe.split.holdout_days)
    tables = {key: frame[frame[case.times[key]] >= since] for key, frame in case.tables.items()}
    trial = Trial(model, tables, case.times, case.params, recipe.seed)
    fitted = trial.fit(moments.cut)
    found = measure(trial, fitted, Rival(), recipe, moments)
    for file, data in model.dump(fitted).items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data)
    read = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
    asked = [past.request for past in model.past(trial.known(moments.end), moments.cut, moments.end, case.params)]
    requests, index = [*model.example(), *asked[:ASKED]], trial.index(moments.now)
    decided = model.decide(model.predict(model.load(read), index, requests), requests, index, case.policy)
    straight = model.decide(model.predict(fitted, index, requests), requests, index, case.policy)
    return {
        "model": name,
        "asked": len(asked[:ASKED]),
        "answered": sum(bool(one.items) or one.value is not None for one in decided),
        "same": decided == straight,
        "gates": [gate.name for gate in found.gates],
        "metric": found.metrics.get(recipe.metric),
        "seconds": round(time.process_time() - started, 2),
    }


def refused(name: str) -> bool:
    """Whether a package cannot be imported; one that came in before it was taken away can."""
    try:
        import_module(name)
    except ModuleNotFoundError:
        return True
    return False


def main(folder: Path) -> None:
    from models.contract import names

    for name in names():
        print(json.dumps(once(name, folder / name)), flush=True)


if __name__ == "__main__":
    sys.meta_path.insert(0, Absent())
    main(Path(sys.argv[1]))
    print(json.dumps({"refused": sorted(name for name in ABSENT if refused(name))}))
