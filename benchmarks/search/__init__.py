"""Which parameters should a model have? `grownet bench search MODEL` repeats the search behind its configuration.

One file a model, found here by its name, each with `main`: looks at nothing the holdout of `grownet bench quality` holds.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from benchmarks import parts
from errors import UsageError


def main(argv: Sequence[str]) -> None:
    """The model first, then what its search takes."""
    name = argv[0] if argv else ""
    if name not in parts("search"):
        raise UsageError("bench search", expected=f"one of {parts('search')}", got=name or "nothing")
    importlib.import_module(f"benchmarks.search.{name}").main(argv[1:])
