"""Finds the suite of a table and turns it into the configuration Great Expectations reads.

A suite is `expectations/NAME.py` with a `SUITE`; `tasks.expect` is the only one that hands it to Great Expectations.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from errors import NotFound
from expectations.declare import Expectation, Suite

HERE = Path(__file__).resolve().parent
NOT_SUITES = {"__init__", "declare", "suites"}


def names() -> list[str]:
    """The suites on disk, sorted."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_SUITES)


def find(name: str) -> Suite:
    """The suite of that name.

    Raises:
        NotFound: when there is no expectations/NAME.py.
    """
    if name not in names():
        raise NotFound(f"suite {name!r}", expected=f"one of {names()}", got=name, do=f"add expectations/{name}.py")
    suite: Suite = importlib.import_module(f"expectations.{name}").SUITE
    return suite


def configurations(suite: Suite) -> list[dict[str, Any]]:
    """The suite as Great Expectations' own JSON: type, kwargs, severity, and our name as meta."""
    return [
        {
            "type": expectation.type,
            "kwargs": {**expectation.kwargs, **_condition(expectation)},
            "severity": expectation.severity,
            "meta": {"name": expectation.name},
        }
        for expectation in suite.expectations
    ]


def _condition(expectation: Expectation) -> dict[str, Any]:
    """The `where` of an expectation as a row condition; the shape is the one Great Expectations 1.24 writes itself."""
    compared = [
        {"type": "comparison", "column": {"name": column}, "operator": operator, "parameter": number}
        for column, operator, number in expectation.where
    ]
    return {"row_condition": {"type": "and", "conditions": compared}} if compared else {}
