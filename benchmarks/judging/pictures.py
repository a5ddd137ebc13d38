"""The pictures of `grownet bench judging`: false alarms as they grow, time to a drop, a swinging KPI, wrong shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.judging import delay, late, looks
from benchmarks.judging.judges import ALPHA, ANSWERS, FIXED, MARGIN, OURS, THRESHOLD, ends
from benchmarks.judging.world import SLOTS_A_DAY, Flags, Floats, World
from benchmarks.judging.world import draw as drawn_from

COLOURS = {OURS: "#1b6ca8", ANSWERS: "#c0392b", FIXED: "#e08e0b", THRESHOLD: "#7f7f7f"}
DPI = 90
Facts = Mapping[str, Any]


def draw(folder: Path, facts: Facts, seed: int) -> list[Path]:
    """Writes all of them; returns where."""
    made: dict[str, Callable[[], Figure]] = {
        "alarms": lambda: alarms(facts["main"]["at the margin"]),
        "delay": lambda: delays(facts["delay"]),
        "late": lambda: falls(facts["falls"]),
        "swing": lambda: swing(seed),
        "ratio": lambda: ratios(facts["ratio"]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        for name, make in made.items():
            paths.append(folder / f"judging_{name}.png")
            make().savefig(paths[-1], dpi=DPI, metadata={"Software": None})
    return paths


def alarms(forms: Facts) -> Figure:
    """Share of runs in which a drop had been said by each day, of an arm that is just good enough."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for axes, (form, said) in zip(_panels(figure, len(forms)), forms.items(), strict=True):
        for judge, colour in COLOURS.items():
            days = said[judge]["by_day"]
            axes.plot(range(1, len(days) + 1), days, color=colour, label=judge, lw=2 if judge == OURS else 1.3)
        axes.axhline(ALPHA, color="black", lw=0.8, ls=":")
        axes.annotate(f"stated: {ALPHA:.0%}", (1, ALPHA), xytext=(0, 3), textcoords="offset points", fontsize=8)
        axes.set(
            title=f"{form}, {said[OURS]['runs']:,} runs", xlabel="day of the rollout", yscale="log", ylim=(3e-4, 1.2)
        )
    figure.axes[0].set_ylabel("a false drop was said")
    figure.axes[0].yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value * 100:g}%"))
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def delays(rows: list[Facts]) -> Figure:
    """Matured answers until a drop was said against its size: the median, up to the 90th percentile."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    forms = sorted({row["form"] for row in rows})
    for axes, form in zip(_panels(figure, len(forms)), forms, strict=True):
        for number, a_day in enumerate(delay.TRAFFIC):
            mine = [row for row in rows if row["form"] == form and row["a_day"] == a_day]
            _delay_line(axes, mine, f"{a_day:,} answers a day", mpl.colormaps["viridis"](0.15 + 0.3 * number))
        plan = [(-row["effect"], row["planned"]) for row in rows if row["form"] == form and row["planned"]]
        axes.plot(*zip(*sorted(set(plan)), strict=True), color="black", ls=":", lw=1, label="planned")
        axes.set(title=form, xlabel="how much worse the canary is", xscale="log", yscale="log")
        axes.set_xticks([-one for one in delay.EFFECTS], [f"{-one:.0%}" for one in delay.EFFECTS], minor=False)
        axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    figure.axes[0].set_ylabel("matured answers until the drop")
    figure.axes[-1].legend(frameon=False, fontsize=8)
    return figure


def falls(rows: list[Facts]) -> Figure:
    """Matured answers from a fall until it was said, against the good time before it: the median, up to the 90th percentile."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    forms = sorted({row["form"] for row in rows})
    for axes, form in zip(_panels(figure, len(forms)), forms, strict=True):
        for judge, line in ((late.ALONE, ":"), (late.BESIDE, "-")):
            for effect, colour in zip(late.EFFECTS, ("#1b6ca8", "#c0392b"), strict=True):
                mine = [row for row in rows if (row["form"], row["effect"]) == (form, effect)]
                known = [
                    (row["good_days"], *row[judge]["answers"]) for row in mine if row[judge]["answers"][0] is not None
                ]
                label = f"{effect:.0%}, {judge}" + ("" if known else ": never in half of the runs")
                days, middle, most = zip(*known, strict=True) if known else ((), (), ())
                axes.plot(days, middle, line, color=colour, marker="o", ms=4, label=label)
                ends = [most or middle for middle, most in zip(middle, most, strict=True)]
                axes.fill_between(days, middle, ends, color=colour, alpha=0.12, lw=0)
        axes.set(title=form, xlabel="good days before the fall", xticks=late.GOOD_DAYS, ylim=(0, None))
        axes.legend(frameon=False, fontsize=8)
    figure.axes[0].set_ylabel("matured answers until it was said")
    return figure


def _delay_line(axes: Axes, rows: list[Facts], label: str, colour: Any) -> None:
    known = [(-row["effect"], *row["answers"]) for row in rows if row["answers"][0] is not None]
    if not known:
        axes.plot([], [], color=colour, marker="o", label=f"{label}: never in half of the runs")
        return
    at, half, most = zip(*known, strict=True)
    ends = [half[place] if one is None else one for place, one in enumerate(most)]
    axes.errorbar(
        at,
        half,
        yerr=np.array([np.zeros(len(at)), np.subtract(ends, half)]),
        color=colour,
        marker="o",
        ms=4,
        label=label,
    )


def swing(seed: int) -> Figure:
    """One rollout whose KPI swings by 30 % from day to day: what a threshold on the last day sees, and the guard's interval."""
    world = World(tail=1.6, a_day=800, subjects=4000, swing=0.3)
    run = drawn_from(world, 1, np.random.default_rng([seed, 7]))
    seen = looks.paired(run)
    low, high = (one[0] for one in ends(OURS, seen))
    days = seen.time[0] / SLOTS_A_DAY
    when, last = _last_day(run.known[0] / SLOTS_A_DAY, run.arm[0], run.control[0], world.days)
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    (axes,) = _panels(figure, 1)
    axes.fill_between(days, np.maximum(low, -1), np.minimum(high, 1), color=COLOURS[OURS], alpha=0.35, lw=0)
    axes.plot(when, last, color=COLOURS[THRESHOLD], lw=1.2)
    spoken = (high < -MARGIN) | (low > -MARGIN)
    minds = _changes(last < -MARGIN), _changes((high < -MARGIN)[spoken])
    axes.axhline(-MARGIN, color="black", lw=0.8, ls=":")
    axes.set(xlim=(0, world.days), ylim=(-0.5, 0.5), xlabel="day of the rollout", ylabel="relative effect")
    axes.set_title(
        f"a threshold on the last day changes its mind {minds[0]} times, the guard's interval (blue) {minds[1]} times"
    )
    axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
    return figure


def _changes(said: Flags) -> int:
    return int(np.count_nonzero(said[1:] != said[:-1]))


def _last_day(known: Floats, arm: Floats, control: Floats, days: int) -> tuple[Floats, Floats]:
    when = np.arange(1, days, 1 / SLOTS_A_DAY)
    sums = [
        np.array([one[(known > at - 1) & (known <= at)].sum() for at in when], dtype=np.float64)
        for one in (arm, control)
    ]
    return when, sums[0] / np.maximum(sums[1], 1.0) - 1


def ratios(rows: list[Facts]) -> Figure:
    """Share of runs in which the shares were called wrong."""
    figure = Figure(figsize=(6, 2.8), layout="constrained")
    (axes,) = _panels(figure, 1)
    names = [f"said {row['said']:.0%}, got {row['got']:.0%}" for row in rows]
    colours = [COLOURS[OURS] if row["said"] != row["got"] else COLOURS[ANSWERS] for row in rows]
    found = np.array([row["alarmed"] for row in rows])
    reach = [np.maximum(found[:, 0] - found[:, 1], 0), found[:, 2] - found[:, 0]]
    bars = axes.barh(names, found[:, 0], xerr=reach, color=colours, error_kw={"lw": 0.8})
    axes.bar_label(bars, labels=[f"{one:.0%}" for one in found[:, 0]], padding=4, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="runs with an alarm within a fortnight (red: false)", xlim=(0, 1.12))
    axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
    return figure


def _panels(figure: Figure, number: int) -> list[Axes]:
    return list(np.atleast_1d(figure.subplots(1, number, sharey=True)))
