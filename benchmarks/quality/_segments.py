"""How a metric differs between the segments of a model, as facts and as a table; part of every `grownet bench quality`.

The arithmetic is that of the bias gate (`checks.fairness`): each segment's gap to the whole, with a 95 % interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pandas as pd
from rich.table import Table

from checks import fairness

SAMPLES = 2000


def by_segment(values: pd.Series, segments: pd.DataFrame, metric: str, min_rows: int) -> dict[str, Any]:
    """The metric of every segment with at least `min_rows` subjects, and the names of smaller ones with their counts.

    Args:
        values: the metric per subject (index `subject`), of the model's `score`.
        segments: of the model's `segments`.
    """
    found = fairness.by_segment(values, segments, min_rows=min_rows, samples=SAMPLES, seed=1)
    rows = [
        {key: round(value, 4) if isinstance(value, float) else value for key, value in msgspec.to_builtins(one).items()}
        for one in found.segments
    ]
    small = [{"kind": kind, "name": name, "count": count} for kind, name, count in found.small]
    return {"metric": metric, "overall": round(found.overall, 4), "count": found.count, "rows": rows, "small": small}


def table(facts: Mapping[str, Any]) -> Table:
    """The facts of `by_segment` as a table."""
    title = f"by segment: {facts['metric']} of {facts['count']}, {facts['overall']:.4f} overall"
    made = Table(title=title, title_justify="left")
    for head in ("kind", "segment", "count", facts["metric"], "gap to the whole"):
        made.add_column(head, justify="left" if head in {"kind", "segment"} else "right")
    for row in facts["rows"]:
        gap = f"{row['gap']:+.1%} [{row['low']:+.1%}, {row['high']:+.1%}]"
        made.add_row(row["kind"], row["name"], str(row["count"]), f"{row['mean']:.4f}", gap)
    for row in facts["small"]:
        made.add_row(row["kind"], row["name"], str(row["count"]), "", "too few to judge")
    return made
