"""The demo's report: one HTML page that works offline, with plots drawn from what the client of the service recorded.

Reads the demo's `Story`; writes `index.html` and `facts.json` into the folder it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import msgspec
import pandas as pd

from stack import plots
from stack.endpoints import Mailbox
from stack.replay import Sent

TEMPLATES = Path(__file__).resolve().parent / "templates"


@dataclass
class Stage:
    """A chapter of the story: what was done, how long it took, what came of it."""

    title: str
    seconds: float = 0.0
    lines: list[str] = field(default_factory=list)


@dataclass
class Story:
    """Everything the demo saw, as facts; the same go to --json."""

    started: datetime
    stages: list[Stage] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    gates: list[dict[str, Any]] = field(default_factory=list)
    votes: list[dict[str, Any]] = field(default_factory=list)
    releases: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    incidents: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    rulings: list[dict[str, Any]] = field(default_factory=list)
    retraining: dict[str, Any] = field(default_factory=dict)
    timeline: list[dict[str, Any]] = field(default_factory=list)  # what was found of each window of event time
    timeline_plot: str = ""
    trace: dict[str, Any] = field(default_factory=dict)
    reports: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    mailbox: Mailbox = field(default_factory=Mailbox)
    seconds: float = 0.0
    peak_bytes: int = 0

    def facts(self) -> dict[str, Any]:
        """The document of --json."""
        requests = len(self.sent)
        failed = sum(item.status != 200 for item in self.sent)
        return {
            "models": self.models,
            "gates": self.gates,
            "votes": self.votes,
            "releases": self.releases,
            "verdicts": self.verdicts,
            "incidents": self.incidents,
            "rulings": self.rulings,
            "retraining": self.retraining,
            "timeline": self.timeline,
            "refused": self.refused,
            "trace": self.trace,
            "reports": self.reports,
            "requests": {"sent": requests, "failed": failed, "latency_ms": latencies(self.sent)},
            "alerts": {"slack": len(self.mailbox.slack), "mail": len(self.mailbox.mails)},
            "stages": [{"title": stage.title, "seconds": round(stage.seconds, 1)} for stage in self.stages],
            "seconds": round(self.seconds, 1),
            "peak_memory_bytes": self.peak_bytes,
        }


def latencies(sent: Sequence[Sent]) -> dict[str, float]:
    """Client-side latency of the answers in milliseconds: median, 99th percentile, largest."""
    times = pd.Series([item.seconds * 1000 for item in sent if item.status == 200], dtype=float)
    if times.empty:
        return {}
    return {
        "p50": round(float(times.median()), 2),
        "p99": round(float(times.quantile(0.99)), 2),
        "max": round(float(times.max()), 2),
    }


def write(folder: Path, story: Story) -> Path:
    """Writes the page and the facts; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = folder / "index.html"
    story.reports["demo"] = str(page)
    facts = story.facts()
    (folder / "facts.json").write_bytes(msgspec.json.format(msgspec.json.encode(facts, order="sorted")))
    page.write_text(
        environment.get_template("report.html.j2").render(story=story, facts=facts, plots=_plots(story)),
        encoding="utf-8",
    )
    return page


def _plots(story: Story) -> dict[str, str]:
    switches = [(datetime.fromisoformat(str(plan["created_at"])), f"r{plan['revision']}") for plan in story.releases]
    return plots.of_traffic(story.sent, switches)
