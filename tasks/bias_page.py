"""The page of a bias audit: each question with its answer, each segment with its gap, interval and limit.

Reads audits; writes `home/pages/audit/MODEL/TIME.html`, which works offline and without a script, and the short form for the
artifacts of the flow run. Segment names come from data: they are escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from configs.schema import Config
from records import BiasAudit, SegmentFigure
from tasks import audit_page
from tasks.bias import shown
from tasks.escape import plain

TITLES = {
    "history": "On the newest rows",
    "live": "On what it answered",
    "chosen": "Who gets a certain answer",
}
MEANINGS = {
    "history": "The offline metric of what happened since it was trained, as the gate before a release takes it.",
    "live": "The KPI of answers whose outcome is known, one figure a subject; one an answer where the reason counts answers.",
    "chosen": "How often each segment gets it. A gap is a difference of shares, and either way counts.",
}
MARKS = {"yes": "❌ yes", "no": "✅ no", "undecided": "❔ undecided"}


class Bar(NamedTuple):
    """Where things stand on a segment's track, in percent of its width."""

    zero: float
    limits: tuple[float, ...]
    gap: float
    low: float | None
    width: float


def write(home: Path, config: Config, audits: Sequence[BiasAudit], earlier: Sequence[BiasAudit] = ()) -> Path:
    """Writes the page of the audits of one run of one model whole and returns its path."""
    return audit_page.write(
        home / audits[0].report,
        "bias.html.j2",
        model=audits[0].model,
        audits=audits,
        earlier=earlier,
        owner=config.defaults.owners.validate_,
        titles=TITLES,
        meanings=MEANINGS,
        rows=rows,
        shown=shown,
    )


def rows(audit: BiasAudit) -> list[tuple[SegmentFigure, Bar | None]]:
    """The segments, those furthest beyond first, those too small last; each with its bar."""
    rank: Mapping[str, int] = {"yes": 0, "undecided": 1, "no": 2}
    both = audit.source == "chosen"

    def place(one: SegmentFigure) -> tuple[bool, int, float, str, str]:
        gap = one.gap or 0.0
        return one.gap is None, rank[one.answer], -abs(gap) if both else gap, one.kind, one.name

    limits = (-audit.limit, audit.limit) if both else (-audit.limit,)
    ends = [value for one in audit.segments for value in (one.gap, one.low, one.high) if value is not None]
    span = max([abs(value) for value in (*ends, *limits)], default=0.0) or 1.0
    return [(one, bar(one, limits, 1.05 * span)) for one in sorted(audit.segments, key=place)]


def bar(one: SegmentFigure, limits: Sequence[float], span: float) -> Bar | None:
    """None for a segment without a gap."""
    if one.gap is None:
        return None

    def at(value: float) -> float:
        return round(50 * (1 + value / span), 2)

    low = at(one.low) if one.low is not None and one.high is not None else None
    width = at(one.high) - low if low is not None and one.high is not None else 0.0
    return Bar(at(0.0), tuple(at(limit) for limit in limits), at(one.gap), low, round(width, 2))


def markdown(audits: Sequence[BiasAudit], page: Path) -> str:
    """The short form: the answers, the segments that are or may be beyond, where the page is."""
    first = audits[0]
    lines = [
        f"## {first.model}, {f'version {first.version}' if first.version else 'the rules'}",
        "",
        "| looked at | beyond the limit | why |",
        "|---|---|---|",
        *(f"| {one.source}, {plain(one.metric)} | {MARKS[one.answer]} | {plain(one.reason)} |" for one in audits),
        "",
    ]
    far = [(one, row) for one in audits for row, _ in rows(one) if row.answer != "no" and row.gap is not None]
    if far:
        lines += ["| segment | looked at | gap | how many |", "|---|---|---|---|"]
        lines += [
            f"| {plain(f'{row.kind}: {row.name}')} | {one.source} | {shown(row, one)} | {row.count} |"
            for one, row in far
        ]
    return "\n".join([*lines, "", f"Full page: `{page}`"])
