"""The demo's report: one HTML page that works offline, with plots drawn from what the client of the service recorded.

Reads the demo's `Story`; writes `index.html` and `facts.json` into the folder it is given.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import msgspec
import pandas as pd

from stack.endpoints import Mailbox
from stack.replay import Sent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEMPLATES = Path(__file__).resolve().parent / "templates"
COLOURS = {"rules": "#8d99ae", "champion": "#2a6f97", "canary": "#e76f51", "control": "#6a994e"}
WINDOW = 400  # answers in a rolling hit rate


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
    frame = pd.DataFrame([vars(item) for item in story.sent if item.status == 200])
    if frame.empty:
        return {}
    frame["event"] = pd.to_datetime(frame["event"], utc=True)
    frame["who"] = frame["version"].map(lambda number: "rules" if number == 0 else f"v{number}")
    switches = [(datetime.fromisoformat(str(plan["created_at"])), f"r{plan['revision']}") for plan in story.releases]
    return {
        "Who answered, by arm (share of each 100 answers, in order of the clock)": _drawn(
            lambda axes: _arms(axes, frame, switches)
        ),
        f"Hit rate of the answers (rolling mean over {WINDOW}), by version": _drawn(lambda axes: _hits(axes, frame)),
        "Latency at the client, through every switch (each dot an answer)": _drawn(
            lambda axes: _latency(axes, frame, switches)
        ),
    }


def _drawn(draw: Callable[[Axes], None]) -> str:
    """An SVG with readable text, no script and no outside address."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "grownet"}):
        figure = Figure(figsize=(10, 2.9), layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    svg = out.getvalue()
    return svg[svg.index("<svg") :]


def _clock(frame: pd.DataFrame) -> pd.Series:
    return frame["wall"] - frame["wall"].min()


def _marks(axes: Axes, frame: pd.DataFrame, switches: Sequence[tuple[datetime, str]]) -> None:
    start = float(frame["wall"].min())
    for when, label in switches:
        at = when.astimezone(UTC).timestamp() - start
        if at >= 0:
            axes.axvline(at, color="#999", linewidth=0.7, linestyle=":")
            axes.text(at, 1.01, label, fontsize=7, color="#666", transform=axes.get_xaxis_transform(), ha="center")
    axes.set_xlabel("seconds since the first request")


def _arms(axes: Axes, frame: pd.DataFrame, switches: Sequence[tuple[datetime, str]]) -> None:
    ordered = frame.sort_values("wall")
    groups = ordered.groupby(ordered.reset_index().index // 100)
    clock = groups["wall"].mean() - ordered["wall"].min()
    shares = groups["arm"].value_counts(normalize=True).unstack(fill_value=0.0)
    names = [name for name in COLOURS if name in shares] + [name for name in shares if name not in COLOURS]
    axes.stackplot(
        clock, [shares[name] for name in names], labels=names, colors=[COLOURS.get(name, "#444") for name in names]
    )
    axes.set_ylim(0, 1)
    axes.set_ylabel("share")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    _marks(axes, frame, switches)


def _hits(axes: Axes, frame: pd.DataFrame) -> None:
    for who, part in frame.sort_values("event").groupby("who"):
        if len(part) < WINDOW // 4:
            continue
        rolling = part["hit"].rolling(WINDOW, min_periods=WINDOW // 4).mean()
        axes.plot(part["event"], rolling, label=f"{who} ({len(part):,} answers)", linewidth=1.4)
    axes.set_ylabel("hit rate")
    axes.set_xlabel("event time of the orders")
    axes.legend(frameon=False, fontsize=8)


def _latency(axes: Axes, frame: pd.DataFrame, switches: Sequence[tuple[datetime, str]]) -> None:
    axes.scatter(_clock(frame), frame["seconds"] * 1000, s=2, color=COLOURS["champion"], alpha=0.35, rasterized=True)
    axes.set_yscale("log")
    axes.set_ylabel("ms")
    _marks(axes, frame, switches)
