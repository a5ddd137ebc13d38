"""Which parameters should a model have? `grownet bench search MODEL` repeats the search behind its configuration.

One file a model, found here by its name, each with `main`: looks at nothing the holdout of `grownet bench quality` holds.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable, Iterable, Sequence

from benchmarks import Facts, parts
from errors import UsageError


def main(argv: Sequence[str]) -> None:
    """The model first, then what its search takes."""
    name = argv[0] if argv else ""
    if name not in parts("search"):
        raise UsageError("bench search", expected=f"one of {parts('search')}", got=name or "nothing")
    importlib.import_module(f"benchmarks.search.{name}").main(argv[1:])


def report(
    argv: Sequence[str],
    trials: Callable[[], Iterable[Facts]],
    line: Callable[[Facts], str],
    choose: Callable[[list[Facts]], Facts] = lambda made: made[-1]["best"],
) -> None:
    """Makes the trials on one thread, printing a line of each, and prints what was chosen; `--json` prints one document."""
    from threadpoolctl import threadpool_limits

    parser = argparse.ArgumentParser(prog="grownet bench search")
    parser.add_argument("--json", action="store_true")
    quiet, made = parser.parse_args(argv).json, list[Facts]()
    with threadpool_limits(limits=1):
        for trial in trials():
            made.append(trial)
            if not quiet:
                print(line(trial), flush=True)
    chosen = choose(made)
    print(json.dumps({"chosen": chosen, "trials": made} if quiet else chosen, indent=2))
