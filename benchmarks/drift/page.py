"""Pages of `grownet bench drift`: a series over event time, and the quiet quarters. HTML with an SVG inside, no script.

Writes FOLDER/NAME.html. Colours are of no meaning alone: each is named in a legend.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmarks.drift.replay import DRIFT, FLAT, HELD, NEVER, POLICIES, TABLE, Run
from benchmarks.drift.watch import Watch

TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
ROWS = {  # of the decision table, by urgency
    "ok": "#5aa469",
    "no_drift": "#a9cfb0",
    "otherwise": "#c9ccd1",
    "drift": "#e8c547",
    "drop": "#e07b39",
    "drift_and_drop": "#b3202a",
    "batch": "#7a3fa0",
    "corrupt": "#2b2d42",
}
SHOWN = 5  # columns that are plotted
MARKS = {TABLE: "D", HELD: "s", DRIFT: "o", FLAT: "x"}


def write(folder: Path, name: str, context: Mapping[str, Any]) -> Path:
    """Writes a page from the template of its kind."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.html"
    path.write_text(TEMPLATES.get_template("page.html.j2").render(**context), encoding="utf-8")
    return path


def series_page(folder: Path, watch: Watch, runs: Mapping[str, Run], facts: Mapping[str, Any]) -> Path:
    """The page of one series."""
    figure = Figure(figsize=(11, 9.5), layout="constrained")
    axes = figure.subplots(4, 1, sharex=True, height_ratios=[3, 3, 0.9, 1.3])
    _drift(axes[0], watch, runs[NEVER])
    _kpi(axes[1], watch, runs)
    _verdicts(axes[2], watch, runs)
    _retrains(axes[3], watch, runs)
    for axis in axes:
        axis.axvline(_day(watch.series.change), color="#444", linestyle=":", linewidth=1)
    axes[3].xaxis_date()
    return write(folder, watch.series.name, {"series": watch.series, "facts": facts, "plot": _svg(figure)})


def quiet_page(folder: Path, facts: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Path:
    """The page of the quiet quarters."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    axis = figure.subplots()
    rules = list(next(iter(facts.values())))
    width = 0.8 / len(rules)
    for at, rule in enumerate(rules):
        values = [one[rule]["quarters_with_alarm"] for one in facts.values()]
        above = [one[rule]["quarters_upper_95"] - one[rule]["quarters_with_alarm"] for one in facts.values()]
        places = np.arange(len(facts)) + (at - (len(rules) - 1) / 2) * width
        axis.bar(places, values, width, label=rule, yerr=[[0] * len(above), above], capsize=3)
    axis.set_xticks(range(len(facts)), list(facts))
    axis.set_ylabel("quarters with a false alarm")
    axis.set_ylim(0, 1.05)
    figure.legend(loc="outside upper center", ncols=len(rules), frameon=False)
    return write(folder, "quiet", {"series": None, "facts": facts, "plot": _svg(figure)})


def _ends(watch: Watch) -> list[float]:
    return [_day(one.end) for one in watch.series.grid[watch.series.start :]]


def _day(moment: datetime) -> float:
    """Days since 1970, as matplotlib counts them."""
    return moment.timestamp() / 86_400


def _drift(axis: Axes, watch: Watch, run: Run) -> None:
    """PSI of the columns that shifted most often, then of those with the largest; a filled point is a shift."""
    looks = [one.look.columns for one in run.steps]
    names = sorted(
        {name for look in looks for name in look},
        key=lambda name: (
            -sum(name in look and look[name]["drifted"] for look in looks),
            -np.median([look[name]["psi"] for look in looks if name in look]),
        ),
    )
    ends = _ends(watch)
    for name in names[:SHOWN]:
        values = [look[name]["psi"] if name in look else np.nan for look in looks]
        line = axis.plot(ends, values, linewidth=1, label=name)[0]
        shifted = [
            (x, v) for x, v, look in zip(ends, values, looks, strict=True) if name in look and look[name]["drifted"]
        ]
        axis.plot(*zip(*shifted, strict=True) if shifted else ([], []), ".", color=line.get_color(), markersize=7)
    axis.axhline(watch.config.floor_psi, color="#888", linewidth=0.8, linestyle="--")
    axis.set_yscale("log")
    axis.set_ylabel("PSI, model never retrained")
    axis.set_title(
        "Drift: a point is a shift beyond chance, beyond what weeks differ, and above the floor (dashed)",
        loc="left",
        fontsize=10,
    )
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)


def _kpi(axis: Axes, watch: Watch, runs: Mapping[str, Run]) -> None:
    series, ends = watch.series, _ends(watch)
    shown = {NEVER: "#888888", TABLE: "#b3202a", DRIFT: "#2a6fb3", FLAT: "#5aa469"}

    def means(values: Any) -> list[float]:
        return [float(np.nanmean(values[one.first : one.last])) for one in series.grid[series.start :]]

    for name, colour in shown.items():
        axis.plot(ends, means(runs[name].kpi), color=colour, linewidth=2 if name == TABLE else 1.1, label=name)
    axis.plot(ends, means(watch.control), color="#333", linewidth=0.8, linestyle=":", label="control (the rule)")
    axis.set_ylabel("KPI of the window")
    axis.set_title("KPI of what answered, 0 to 1, by policy", loc="left", fontsize=10)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)


def _verdicts(axis: Axes, watch: Watch, runs: Mapping[str, Run]) -> None:
    """The row of the table for each window, for the model never retrained and under the table."""
    for at, name in enumerate((TABLE, NEVER)):
        for step in runs[name].steps:
            window = watch.series.grid[step.window]
            start, end = _day(window.start), _day(window.end)
            axis.barh(at, end - start, left=start, color=ROWS[step.ruling.row], height=0.85)
    axis.set_yticks([0, 1], ["table", "never"])
    axis.set_title("Verdict: row of the decision table", loc="left", fontsize=10)
    used = {step.ruling.row for name in (TABLE, NEVER) for step in runs[name].steps}
    patches = [Patch(color=colour, label=row) for row, colour in ROWS.items() if row in used]
    axis.legend(handles=patches, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)


def _retrains(axis: Axes, watch: Watch, runs: Mapping[str, Run]) -> None:
    names = [name for name in reversed(POLICIES) if name != NEVER]
    for at, name in enumerate(names):
        times = [_day(watch.series.grid[one].end) for one in runs[name].asked]
        axis.plot(times, [at] * len(times), MARKS[name], color="#333", markersize=6)
    axis.set_yticks(range(len(names)), [f"{name} ({len(runs[name].asked)})" for name in names])
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.set_title("Retrainings asked for", loc="left", fontsize=10)


def _svg(figure: Figure) -> str:
    """The picture as an element of a page; equal input gives equal text."""
    sink = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "grownet", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    text = sink.getvalue()
    return text[text.index("<svg") :]
