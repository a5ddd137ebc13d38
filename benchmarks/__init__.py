"""What is measured against peers or floors in the same run: one file a question."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Facts = dict[str, Any]


def ask(
    name: str, about: str, argv: Sequence[str], measure: Callable[[], Facts], show: Callable[[Facts], None]
) -> None:
    """A question's command line: measures on one thread, then shows tables, or prints one document with `--json`."""
    from threadpoolctl import threadpool_limits

    parser = argparse.ArgumentParser(prog=f"grownet bench {name}", description=about)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(argv)
    with threadpool_limits(limits=1):
        facts = measure()
    if chosen.json:
        print(json.dumps(facts, indent=2, sort_keys=True))
    else:
        show(facts)


def questions() -> list[str]:
    """The questions there are, by the files of this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
