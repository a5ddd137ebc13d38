"""The page about a candidate: verdict, gates, comparisons with their intervals, bias, drift, versions, rollout steps.

Reads evidence, candidate, plan and configuration; writes `home/pages/models/<candidate>.html`, which works offline,
and the short form for the artifacts of a flow run. Written by validation, for what passed and for what did not.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import jinja2
import msgspec

from checks.gates import segments_of
from configs.schema import Config, ModelConfig
from records import Candidate, Evidence, Gate, ReleasePlan

TEMPLATES = Path(__file__).resolve().parent / "templates"
MARKS = {"pass": "✅ pass", "fail": "❌ fail", "inconclusive": "❔ inconclusive"}


class Figure(msgspec.Struct, frozen=True):
    """A mean and, where it was computed, its interval."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None


class Bar(msgspec.Struct, frozen=True):
    """A difference drawn on a line from 0 to 100: the interval, its mean and where nothing would be."""

    name: str
    figure: Figure
    left: float
    width: float
    mean: float
    zero: float


def write(pages: Path, config: Config, candidate: Candidate, found: Evidence, plan: ReleasePlan | None) -> Path:
    """Writes the page whole and returns its path; a repeat replaces it."""
    folder = pages / "models"
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{candidate.id}.html"
    temporary = folder / f".{page.name}.{uuid.uuid4().hex}"
    temporary.write_text(html(config, candidate, found, plan), encoding="utf-8")
    temporary.replace(page)
    return page


def html(config: Config, candidate: Candidate, found: Evidence, plan: ReleasePlan | None) -> str:
    """The page as one document without outside addresses."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    recipe = config.models[candidate.model]
    return environment.get_template("evidence.html.j2").render(
        candidate=candidate,
        evidence=found,
        recipe=recipe,
        champion=plan.champion if plan else None,
        scored=scored(found),
        metrics=own_metrics(found),
        figure=lambda who, metric: figure(found, f"{who}.{metric}" if who else metric),
        bars=bars(found, recipe.metric),
        gate={gate.name: gate for gate in found.gates},
        segments=[one for gate in found.gates if gate.name == "bias" for one in segments_of(gate)],
        facts=facts(config, candidate, plan),
    )


def scored(found: Evidence) -> list[str]:
    """Whose figures there are, the candidate ("") first and the champion next."""
    others = {name.split(".", 1)[0] for name in found.metrics if "." in name and " - " not in name}
    order = {"champion": 0, "rules": 1, "training": 3}
    return ["", *sorted(others, key=lambda name: (order.get(name, 2), name))] if found.metrics else []


def own_metrics(found: Evidence) -> list[str]:
    """The metrics of the candidate itself."""
    return sorted(name for name in found.metrics if "." not in name and " - " not in name and name != "subjects")


def figure(found: Evidence, name: str) -> Figure:
    low, high = found.intervals.get(name, (None, None))
    return Figure(found.metrics.get(name), low, high)


def bars(found: Evidence, metric: str) -> list[Bar]:
    """The differences of the deciding metric on one common scale that holds zero."""
    first = f"{metric} - champion"
    names = sorted(
        (name for name in found.intervals if name.startswith(f"{metric} - ")), key=lambda name: name != first
    )
    ends = [end for name in names for end in found.intervals[name]]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    span = (high - low) or 1.0

    def at(value: float) -> float:
        return round(100 * (value - low) / span, 2)

    drawn = []
    for name in names:
        start, end = found.intervals[name]
        mean = found.metrics.get(name, (start + end) / 2)
        shown = Figure(mean, start, end)
        drawn.append(Bar(name, shown, at(start), round(at(end) - at(start), 2), at(mean), at(0.0)))
    return drawn


def facts(config: Config, candidate: Candidate, plan: ReleasePlan | None) -> list[tuple[str, str, str]]:
    """What changed: kind, of the champion, of the candidate."""
    new, old = candidate.versions, plan.champion.versions if plan else None
    rows = [
        (
            kind,
            getattr(old, kind).name if old else "-",
            f"{getattr(new, kind).name} ({getattr(new, kind).content[:12]})",
        )
        for kind in ("data", "feature", "model", "pipeline")
    ]
    arm = plan.champion if plan else None
    rows += [
        ("configuration", arm.config[:12] if arm and arm.config else "-", candidate.config_digest[:12]),
        ("artifact", arm.artifact.content[:12] if arm and arm.artifact else "-", candidate.artifact.content),
    ]
    for snapshot in candidate.features.snapshots:
        rows.append((f"table {snapshot.table}", "", f"{snapshot.rows:,} rows, Delta version {snapshot.delta_version}"))
    rows += [
        ("learned from", "", f"rows before {candidate.trained_until:%Y-%m-%d %H:%M} UTC"),
        ("features", "", f"{candidate.features.rows:,} rows as of {candidate.features.as_of:%Y-%m-%d %H:%M} UTC"),
        ("commit", "", f"{candidate.commit} by {', '.join(candidate.authors)}"),
        ("owners", "", ", ".join(config.models[candidate.model].owners)),
        ("MLflow run", "", candidate.run_id),
    ]
    return rows


def markdown(candidate: Candidate, found: Evidence, pages: Sequence[Path], recipe: ModelConfig) -> str:
    """The short form: verdict, gates, the deciding metric, and where the page and the model card are."""
    lines = [
        f"## {candidate.versions.model.name}: {'passed all gates' if found.passed else 'discarded'}",
        "",
        f"Candidate `{candidate.id}`, {candidate.versions.data.name}. Pages: {', '.join(f'`{page}`' for page in pages)}",
        "",
    ]
    own = figure(found, recipe.metric)
    if own.mean is not None:
        interval = f" [{own.low:.4f}, {own.high:.4f}]" if own.low is not None and own.high is not None else ""
        lines += [f"{recipe.metric} {own.mean:.4f}{interval} on the holdout", ""]
    return "\n".join([*lines, *_gate_table(found.gates)])


def _gate_table(gates: Sequence[Gate]) -> list[str]:
    rows = [f"| {gate.name} | {MARKS[gate.outcome]} | {gate.reason.replace('|', '/')} |" for gate in gates]
    return ["| gate | result | why |", "|---|---|---|", *rows]
