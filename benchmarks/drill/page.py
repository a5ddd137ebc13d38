"""The report of a drill: a timeline of every fault with all its repeats, a page with the figures.

Writes FOLDER/timeline.png and index.html; `benchmarks.drill.sittings` writes the facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.drill import pair, troubles
from benchmarks.drill.measures import MOMENTS

TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
COLOURS = dict(zip(MOMENTS, ("#e8c547", "#e07b39", "#2a6fb3", "#5aa469"), strict=True))
LIMIT = "#b3202a"
APART = 0.18  # between the moments of a fault
LEAST_SECONDS, MOST_SECONDS = 0.05, 400.0  # the axis
INCHES = 0.62  # of a fault


def write(folder: Path, facts: Mapping[str, Any]) -> None:
    """Everything; the folder is made when it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    plot(folder, facts["faults"])
    text = TEMPLATES.get_template("page.html.j2").render(
        facts=facts, moments=MOMENTS, pair=pair, troubles=troubles(facts)
    )
    (folder / "index.html").write_text(text, encoding="utf-8")


def plot(folder: Path, faults: Mapping[str, Mapping[str, Any]]) -> None:
    """A row a fault, which begins at the left end: each repeat a dot, its median a bar, the limit a red line."""
    figure = Figure(figsize=(11, 1.4 + INCHES * len(faults)), layout="constrained")
    axis = figure.subplots()
    for row, one in enumerate(faults.values()):
        for place, moment in enumerate(MOMENTS):
            _moment(axis, row + (place - 1.5) * APART, moment, [each[moment] for each in one["each"]])
        seconds = one["limit"]["restored"] or one["limit"]["switched"] or one["limit"]["end"]
        axis.plot([seconds, seconds], [row - 0.4, row + 0.4], color=LIMIT, linewidth=1.5)
    for moment, colour in COLOURS.items():
        axis.scatter([], [], color=colour, label=moment)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlim(LEAST_SECONDS / 1.5, MOST_SECONDS)
    axis.set_yticks(range(len(faults)), list(faults))
    axis.invert_yaxis()
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_xlabel("seconds since the fault")
    axis.set_title("dots: repeats; bars: medians; red: the limit", loc="left", fontsize=9)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
    figure.savefig(folder / "timeline.png", dpi=110, metadata={"Software": None})


def _moment(axis: Axes, height: float, moment: str, seconds: list[float | None]) -> None:
    """One moment of all repeats; what comes before the axis begins is drawn at its beginning."""
    known = np.maximum([one for one in seconds if one is not None], LEAST_SECONDS)
    if not len(known):
        return
    axis.scatter(known, np.full(len(known), height), s=14, color=COLOURS[moment], alpha=0.7, linewidths=0)
    middle = float(np.median(known))
    axis.plot([middle, middle], [height - APART / 2, height + APART / 2], color=COLOURS[moment], linewidth=2.5)
