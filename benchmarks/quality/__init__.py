"""How good is each model? `grownet bench quality [MODEL ...]` prints tables, `--json` the facts of all.

One file a model, found here by its name: `measure` gives every figure from the bundled data, `show` prints them.
What is compared, on which split and with which intervals stands on top of each file. One thread, seeds fixed.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Sequence

from benchmarks import parts


def main(argv: Sequence[str]) -> None:
    """All models, or those named."""
    from threadpoolctl import threadpool_limits

    parser = argparse.ArgumentParser(prog="grownet bench quality", description=__doc__)
    parser.add_argument("model", nargs="*", choices=[*parts("quality"), []], metavar="MODEL")
    parser.add_argument("--json", action="store_true")
    chosen, facts = parser.parse_args(argv), {}
    for name in chosen.model or parts("quality"):
        question = importlib.import_module(f"benchmarks.quality.{name}")
        with threadpool_limits(limits=1):
            facts[name] = question.measure()
        if not chosen.json:
            print(f"\n{name}\n")
            question.show(facts[name])
    if chosen.json:
        print(json.dumps(facts, indent=2, sort_keys=True))
