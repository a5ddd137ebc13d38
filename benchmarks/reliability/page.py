"""Pictures of a run: requests, latency and errors over time with the fault marked, and a page with all scenarios.

Writes FOLDER/NAME.png, index.html and facts.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.client.record import Sent
from benchmarks.reliability.figures import OK
from benchmarks.reliability.play import Played
from benchmarks.reliability.stage import Window

TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
BINS = 100
KINDS = {  # what became of a request, with its colour; drawn from below in this order
    "as the plan says": "#5aa469",
    "by a fallback": "#e8c547",
    "garbage, refused": "#c9ccd1",
    "told to come back (503)": "#e07b39",
    "no reply": "#b3202a",
    "another error": "#7a3fa0",
}
FALLBACK = re.compile(rb'"override":"[a-z]')  # of any answer of a batch
Floats = npt.NDArray[np.float64]


def write(folder: Path, facts: Mapping[str, Mapping[str, Any]]) -> None:
    """The page and the facts; the pictures are there already."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "facts.json").write_text(json.dumps(facts, indent=2, sort_keys=True), encoding="utf-8")
    text = TEMPLATES.get_template("page.html.j2").render(facts=facts)
    (folder / "index.html").write_text(text, encoding="utf-8")


def plot(folder: Path, name: str, played: Played) -> None:
    """The timeline of a scenario."""
    folder.mkdir(parents=True, exist_ok=True)
    records = played.run.records
    begin = min(one.due for one in records)
    edges = np.linspace(0.0, max(one.done for one in records) - begin, BINS + 1)
    figure = Figure(figsize=(11, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1])
    _requests(above, records, begin, edges)
    _latency(below, records, begin, edges)
    for axis in (above, below):
        _faults(axis, played.run.windows, begin)
    above.set_title(f"{name}: {played.facts['what']}", loc="left", fontsize=10)
    below.set_xlabel("seconds since the first request")
    figure.savefig(folder / f"{name}.png", dpi=110, metadata={"Software": None})


def kind(one: Sent) -> str:
    """What became of a request, as the legend has it."""
    if one.status == OK:
        return "by a fallback" if FALLBACK.search(one.body) else "as the plan says"
    if one.stream == "hostile":
        return "garbage, refused"
    return {0: "no reply", 503: "told to come back (503)"}.get(one.status, "another error")


def _requests(axis: Axes, records: Sequence[Sent], begin: float, edges: Floats) -> None:
    width = edges[1] - edges[0]
    bottom = np.zeros(BINS)
    kinds = [kind(one) for one in records]
    for name, colour in KINDS.items():
        moments = [one.due - begin for one, its in zip(records, kinds, strict=True) if its == name]
        if moments:
            height = np.histogram(moments, edges)[0] / width
            axis.bar(edges[:-1], height, width, bottom, align="edge", color=colour, label=f"{name}: {len(moments)}")
            bottom += height
    axis.set_ylim(0.0, 1.1 * bottom.max())
    axis.set_ylabel("requests a second, when due")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)


def _latency(axis: Axes, records: Sequence[Sent], begin: float, edges: Floats) -> None:
    """p50, p99 and the largest of each bin, of the requests with an answer."""
    good = [one for one in records if one.status == OK]
    places = np.clip(np.digitize([one.due - begin for one in good], edges) - 1, 0, BINS - 1)
    times = np.array([1e3 * one.seconds for one in good])
    middle = (edges[:-1] + edges[1:]) / 2
    for name, quantile, colour in (("p50", 50, "#2a6fb3"), ("p99", 99, "#333333"), ("max", 100, "#b3202a")):
        values = [
            np.percentile(times[places == at], quantile) if (places == at).any() else np.nan for at in range(BINS)
        ]
        axis.plot(middle, values, ".-", markersize=3, linewidth=1, color=colour, label=name)
    axis.set_yscale("log")
    axis.set_ylabel("ms from due to answered")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)


def _faults(axis: Axes, windows: Sequence[Window], begin: float) -> None:
    for window in windows:
        axis.axvspan(window.start - begin, window.end - begin, color="#b3202a", alpha=0.08, linewidth=0)
        axis.axvline(window.start - begin, color="#b3202a", linestyle="--", linewidth=1)
