"""The plots of the demo's report, drawn as SVG that needs neither script nor network.

Pure: from what the client of the service recorded and what the monitors found, to text.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pandas as pd

from stack.replay import Sent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from stack.timeline import Window

COLOURS = {"rules": "#8d99ae", "champion": "#2a6f97", "canary": "#e76f51", "control": "#6a994e"}
ANSWERS = {"yes": "#b3402a", "no": "#2f7d4f", "undecided": "#c9ced6"}
LEVELS = {
    "ok": "#2f7d4f",
    "warning": "#d9a400",
    "critical": "#b3402a",
    "emergency": "#6d1a36",
    "inconclusive": "#c9ced6",
}
WINDOW = 400  # answers in a rolling hit rate


def of_traffic(sent: Sequence[Sent], switches: Sequence[tuple[datetime, str]]) -> dict[str, str]:
    """Title -> SVG. `switches` are the times of the plan's revisions with their names."""
    frame = pd.DataFrame([vars(item) for item in sent if item.status == 200])
    if frame.empty:
        return {}
    frame["event"] = pd.to_datetime(frame["event"], utc=True)
    frame["who"] = frame["version"].map(lambda number: "rules" if number == 0 else f"v{number}")
    return {
        "Who answered, by arm (share of each 100 answers, in order of the clock)": drawn(
            lambda axes: _arms(axes, frame, switches)
        ),
        f"Hit rate of the answers (rolling mean over {WINDOW}), by version": drawn(lambda axes: _hits(axes, frame)),
        "Latency at the client, through every switch (each dot an answer)": drawn(
            lambda axes: _latency(axes, frame, switches)
        ),
    }


def of_windows(found: Sequence[Window], floor: float, revenue: pd.Series) -> str:
    """Drift, KPI, revenue and verdict of each window over event time, one below the other; empty without windows."""
    if not found:
        return ""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.4), layout="constrained")
    rows = figure.subplots(4, 1, sharex=True, height_ratios=[2.2, 2.2, 1.2, 0.7])
    _shifts(rows[0], found, floor)
    _effects(rows[1], found)
    rows[2].bar(revenue.index + pd.Timedelta(days=3.5), revenue / 1000, width=6.4, color="#8d99ae")
    rows[2].set_ylabel("revenue\n1000 £ a week")
    _verdicts(rows[3], found)
    for axes in rows:
        axes.spines[["top", "right"]].set_visible(False)
    rows[3].xaxis_date()
    return _svg(figure)


def drawn(draw: Callable[[Axes], None]) -> str:
    """One plot as an SVG with readable text, no script and no outside address."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.9), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    return _svg(figure)


def _svg(figure: object) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    assert isinstance(figure, Figure)
    out = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "grownet"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    svg = out.getvalue()
    return svg[svg.index("<svg") :]


def _days(one: Window) -> tuple[float, float]:
    """Start and width of a window in days since 1970, as matplotlib counts them."""
    start, end = (moment.timestamp() / 86400 for moment in (one.start, one.end))
    return start, end - start


def _shifts(axes: Axes, found: Sequence[Window], floor: float) -> None:
    for one in found:
        (start, width), height = _days(one), one.psi
        axes.bar(start, height, width=width, align="edge", color=ANSWERS[one.drift], edgecolor="white")
        if one.drifted:
            axes.annotate(
                one.surest, (start, height), fontsize=6.5, rotation=35, xytext=(4, 1), textcoords="offset points"
            )
    axes.axhline(floor, color="#666", linewidth=0.8, linestyle=":")
    axes.set_ylabel("PSI of the\nsurest shift")
    axes.margins(y=0.25)
    _legend(axes, {f"drift: {name}": colour for name, colour in ANSWERS.items()})


def _effects(axes: Axes, found: Sequence[Window]) -> None:
    for one in found:
        if one.effect is None:
            continue
        start, width = _days(one)
        low, high = (100 * (one.effect if end is None else end) for end in (one.low, one.high))
        axes.vlines(start + width / 2, low, high, color=ANSWERS[one.kpi], linewidth=2)
        axes.plot([start + width / 2], [100 * one.effect], "o", color=ANSWERS[one.kpi], markersize=4)
    axes.axhline(0, color="#666", linewidth=0.8)
    axes.set_ylabel("KPI against\ncontrol, %")
    _legend(axes, {f"drop: {name}": colour for name, colour in ANSWERS.items()})


def _verdicts(axes: Axes, found: Sequence[Window]) -> None:
    for one in found:
        start, width = _days(one)
        axes.barh(0, width, left=start, color=LEVELS[one.level], edgecolor="white", height=1)
    axes.set_yticks([])
    axes.set_ylabel("table", rotation=0, ha="right", va="center")
    _legend(axes, {name: colour for name, colour in LEVELS.items() if any(one.level == name for one in found)})


def _legend(axes: Axes, colours: dict[str, str]) -> None:
    from matplotlib.patches import Patch

    axes.legend(
        handles=[Patch(color=colour, label=name) for name, colour in colours.items()],
        loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8,
    )  # fmt: skip


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
