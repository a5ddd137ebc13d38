"""The data-quality page of a batch: what was expected, what came, what was done about it. Works offline, no script.

Reads the judgement of one batch; writes `home/pages/data/<table>/<batch>.html` and the same facts as `.json`.
Written by ingestion before a row is stored, for a batch let in and for one refused. Subjects are pseudonyms in it.
"""

from __future__ import annotations

import os
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import Dataset
from records import Record
from tasks.expect import Check, Judgement

TEMPLATES = Path(__file__).resolve().parent / "templates"
SHOWN_ROWS = 12
SHOWN_CHARACTERS = 60


class Profile(Record, frozen=True, kw_only=True):
    """A column at a glance; texts and subjects have no smallest and largest."""

    column: str
    type: str
    meaning: str
    missing: int
    distinct: int
    smallest: str = ""
    median: str = ""
    largest: str = ""


class DoorReport(Record, frozen=True, kw_only=True):
    """All that is known of a batch when it stands at the door."""

    dataset: str
    description: str
    licence: str
    owner: str
    table: str
    batch: str
    digest: str
    suite: str  # digest of the expectations
    rows: int
    quarantined: int
    refused: tuple[str, ...]
    checks: tuple[Check, ...]
    profiles: tuple[Profile, ...]
    quarantine: tuple[dict[str, str], ...]  # the first rows, as text
    days: tuple[tuple[str, int], ...]  # rows by day of the event time, UTC
    extra: tuple[str, ...]  # columns the source has that nobody listed
    dropped: dict[str, str]
    oldest: datetime | None
    newest: datetime | None
    late_seconds: float  # by how much its newest row is older than the table's
    at: datetime

    @property
    def verdict(self) -> str:
        if self.refused:
            return "refused: nothing of it was stored"
        aside = f", {self.quarantined:,} in quarantine" if self.quarantined else ""
        return f"let in: {self.rows - self.quarantined:,} rows{aside}"


def report(dataset: Dataset, batch: str, digest: str, rows: pa.Table, judgement: Judgement, **known: Any) -> DoorReport:
    """The report of a judged batch. `known` are the fields that neither dataset, rows nor judgement tell."""
    aside = np.flatnonzero(judgement.reasons != "")
    clock = rows[dataset.event_time].drop_null()
    span = pc.min_max(clock).as_py() if len(clock) else {"min": None, "max": None}
    return DoorReport(
        dataset=dataset.name,
        description=dataset.description,
        licence=dataset.licence,
        owner=dataset.owner,
        table=dataset.table,
        batch=batch,
        digest=digest,
        rows=rows.num_rows,
        quarantined=len(aside),
        refused=judgement.refused,
        checks=judgement.checks,
        profiles=tuple(_profile(name, rows[name], dataset) for name in dataset.columns),
        quarantine=_shown(rows, aside[:SHOWN_ROWS], judgement.reasons),
        days=_days(clock),
        dropped=dataset.dropped,
        oldest=span["min"],
        newest=span["max"],
        **known,
    )


def write(pages: Path, made: DoorReport) -> Path:
    """Writes the page and the facts beside it; a repeat replaces them whole. Returns the page's path."""
    folder = pages / "data" / made.table
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{made.batch}.html"
    _replace(folder / f"{made.batch}.json", made.to_json())
    _replace(page, html(made).encode())
    return page


def html(made: DoorReport) -> str:
    """The page as one document without outside addresses."""
    shown = [check for check in made.checks if check.level == "row" and check.severity != "critical"]
    return _template().render(
        report=made,
        groups=[
            ("Would refuse the batch", [check for check in made.checks if check.level == "table"]),
            ("Would send a row to quarantine", [c for c in made.checks if c.level == "row" and c not in shown]),
            ("Kept, counted for the model's own cleaning", shown),
        ],
        peak=max((count for _, count in made.days), default=1),
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.get_template("quality.html.j2")


def markdown(made: DoorReport, page: Path) -> str:
    """A short version for the orchestrator's artifact list."""
    broken = [check for check in made.checks if not check.holds]
    lines = [
        f"## {made.table} / {made.batch}: {made.verdict}",
        "",
        f"{made.rows:,} rows came, digest `{made.digest[:12]}`, expectations `{made.suite[:12]}`. Page: `{page}`",
        "",
    ]
    lines += [f"- **{reason}**" for reason in made.refused]
    lines += ["", "| expectation | level | observed |", "|---|---|---|"]
    lines += [f"| {check.name} | {check.level}, {check.severity} | {check.observed} |" for check in broken]
    return "\n".join(lines if broken else [*lines[:-2], "Every expectation holds."])


def _profile(name: str, values: pa.ChunkedArray, dataset: Dataset) -> Profile:
    column = dataset.columns[name]
    facts = {
        "column": name,
        "type": column.type + (" (pseudonym)" if column.subject else ""),
        "meaning": column.meaning,
        "missing": values.null_count,
        "distinct": pc.count_distinct(values, mode="only_valid").as_py(),
    }
    if column.type not in {"int64", "float64", "timestamp"} or values.null_count == len(values):
        return Profile(**facts)
    series = values.drop_null().to_pandas()
    low, middle, high = (_text(value) for value in (series.min(), series.median(), series.max()))
    return Profile(**facts, smallest=low, median=middle, largest=high)


def _text(value: Any) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M}"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"


def _shown(rows: pa.Table, places: np.ndarray, reasons: np.ndarray) -> tuple[dict[str, str], ...]:
    found = rows.take(pa.array(places)).to_pylist()
    return tuple(
        {"row": str(place), "reason": reasons[place], **{name: _cell(value) for name, value in row.items()}}
        for place, row in zip(places, found, strict=True)
    )


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    shown = "" if value is None else str(value)
    return shown if len(shown) <= SHOWN_CHARACTERS else f"{shown[:SHOWN_CHARACTERS]}... ({len(shown):,} characters)"


def _days(clock: pa.ChunkedArray) -> tuple[tuple[str, int], ...]:
    days, counts = np.unique(clock.cast(pa.int64()).to_numpy() // (86_400 * 1_000_000), return_counts=True)
    return tuple((str(np.datetime64(int(day), "D")), int(n)) for day, n in zip(days, counts, strict=True))


def _replace(path: Path, data: bytes) -> None:
    """Whole or not at all, also when two processes write the same page."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(data)
    draft.replace(path)
