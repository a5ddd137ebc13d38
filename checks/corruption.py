"""Corruption of the request stream: inputs that are missing, of another type, out of range or stuck, all at once.

Pure; read by the monitor flow. Corruption decides before drift does: the sender, not the world, is to be looked at.
`answer_of` derives a stored answer again from its own figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checks.profiles import Column, Counted, Profile, References
from checks.shifts import Judged
from configs.schema import MonitorConfig
from records import Answered

VARIED = 0.5  # a column of which no bin held more than this share of a block does not get stuck by chance


def corrupted(references: References, profile: Profile, config: MonitorConfig) -> Judged:
    """Whether any input of a window is broken; undecided with fewer than `min_rows` rows of every input."""
    figures = _measured(references, profile, config)
    answer, reason = _settle(figures)
    return Judged(answer=answer, reason=reason, figures=figures, where="stream" if answer == "yes" else "")


def broken(references: References, profile: Profile, config: MonitorConfig) -> bool:
    """Whether a part of a corrupt window is bad itself, however few rows it has."""
    measured = _measured(references, profile, config)
    return any(_why(one, measured["limits"]) for one in measured["columns"].values())


def answer_of(figures: Mapping[str, Any]) -> Answered:
    """The answer that stored figures of `corrupted` lead to."""
    return _settle(figures)[0]


def _measured(references: References, profile: Profile, config: MonitorConfig) -> dict[str, Any]:
    return {
        "limits": config.model_dump(include={"missing_limit", "outside_limit", "min_rows"}, mode="json"),
        "columns": {
            column.name: _figures(column, profile.columns[column.name], config.min_rows)
            for column in references.columns
            if column.input and column.name in profile.columns and profile.columns[column.name].rows
        },
    }


def _figures(column: Column, counted: Counted, enough: int) -> dict[str, Any]:
    """Shares of the window, and of the reference where that is the measure."""
    rows, whole = counted.rows, column.counted
    return {
        "rows": rows,
        "missing": counted.missing / rows,
        "missing_before": whole.missing / whole.rows,
        "mistyped": counted.mistyped / rows,
        "outside": counted.outside / rows,
        "outside_before": whole.outside / whole.rows,
        "stuck": _stuck(column, counted, enough),
    }


def _stuck(column: Column, counted: Counted, enough: int) -> bool:
    """One value only in `enough` that are there, where every block of the reference had many."""
    present = counted.rows - counted.counts[-1]
    if present < enough or not all(_varied(block) for block in column.blocks):
        return False
    if column.reference.kind == "number":
        return counted.least == counted.most
    return present in counted.counts[:-2]  # the bin before the last holds many names


def _varied(block: tuple[int, ...]) -> bool:
    return max(block[:-1]) <= VARIED * sum(block[:-1])


def _settle(figures: Mapping[str, Any]) -> tuple[Answered, str]:
    limits = figures["limits"]
    enough = {name: one for name, one in figures["columns"].items() if one["rows"] >= limits["min_rows"]}
    if not enough:
        return "undecided", f"no input was seen in {limits['min_rows']} answers"
    broken = [f"{name} {why}" for name, one in enough.items() if (why := _why(one, limits))]
    if broken:
        return "yes", "; ".join(broken)
    return "no", f"{len(enough)} inputs are there, of their type and in range"


def _why(one: Mapping[str, Any], limits: Mapping[str, float]) -> str:
    if one["mistyped"] > limits["outside_limit"]:
        return f"is of another type in {one['mistyped']:.0%} of the answers"
    if one["missing"] - one["missing_before"] > limits["missing_limit"]:
        return f"is missing in {one['missing']:.0%} of the answers, {one['missing_before']:.0%} in the reference"
    if one["outside"] - one["outside_before"] > limits["outside_limit"]:
        return f"is out of range in {one['outside']:.0%} of the answers"
    return "has one value only" if one["stuck"] else ""
