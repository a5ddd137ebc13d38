"""The page about a window: what was decided and why, column by column; Evidently's report below, which decides nothing.

Reads findings; writes `home/pages/monitor/<model>/<window>.html`, which works offline, and the short form for the
artifacts of a flow run. Written by the monitor flow, anew whenever the window was judged again.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from records import Finding

TEMPLATES = Path(__file__).resolve().parent / "templates"
MARKS = {"yes": "❌ yes", "no": "✅ no", "undecided": "❔ undecided"}


class Theirs(NamedTuple):
    """Evidently's report beside the page."""

    file: str  # name of the page, empty when there is none
    rows: int  # of the window's sample
    answers: int  # of the window
    reference_rows: int
    left_out: tuple[str, ...]


def write(home: Path, found: Sequence[Finding], theirs: Theirs | None) -> Path:
    """Writes the page of the newest drift finding whole and returns its path.

    Args:
        found: findings about one version: the drift finding whose page this is, and the others of the run.
    """
    drift = next(one for one in reversed(found) if one.kind == "drift")
    page = home / drift.report
    page.parent.mkdir(parents=True, exist_ok=True)
    temporary = page.with_name(f".{page.name}.{uuid.uuid4().hex}")
    temporary.write_text(html(drift, found, theirs), encoding="utf-8")
    temporary.replace(page)
    return page


def html(drift: Finding, found: Sequence[Finding], theirs: Theirs | None) -> str:
    """The page as one document without outside addresses."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("drift.html.j2").render(
        drift=drift,
        others=[one for one in found if one.kind != "drift"],
        columns=columns(drift),
        limits=drift.figures.get("limits", {}),
        worst=drift.figures.get("worst"),
        shown=drift.figures.get("shown") or {},
        rate=drift.figures.get("anomaly_rate"),
        answers=drift.figures.get("answers", 0),
        windows=drift.figures.get("windows", []),
        theirs=theirs,
    )


def columns(drift: Finding) -> list[Mapping[str, Any]]:
    """The columns of the newest window: those that drifted first, then by PSI; those not decided last."""
    found: Mapping[str, Mapping[str, Any]] = drift.figures.get("columns") or {}
    return sorted(found.values(), key=lambda one: (not one["drifted"], not one["decided"], -one["psi"]))


def markdown(found: Sequence[Finding], page: Path) -> str:
    """The short form: the answers, the worst columns, where the page is."""
    drift = next(one for one in reversed(found) if one.kind == "drift")
    lines = [
        f"## {drift.model}, version {drift.version or 'rules'}",
        f"Window {drift.window_start:%Y-%m-%d %H:%M} to {drift.window_end:%Y-%m-%d %H:%M} UTC of event time.",
        "",
        "| question | answer | why |",
        "|---|---|---|",
        *(f"| {one.kind} | {MARKS[one.answer]} | {one.reason} |" for one in found),
        "",
        "| column | PSI | adjusted p | answers | |",
        "|---|---|---|---|---|",
    ]
    for one in columns(drift)[:8]:
        said = "shifted" if one["drifted"] else "" if one["decided"] else "too few"
        lines.append(f"| {one['column']} | {one['psi']:.3f} | {one['adjusted']:.4f} | {one['rows']} | {said} |")
    return "\n".join([*lines, "", f"Full page, with Evidently's report: `{page}`"])


def name_of(found: Sequence[Finding]) -> str:
    """What the page is called among artifacts: the model and its version."""
    return f"{found[0].model} v{found[0].version}"
