"""What the report makes of the monitors' windows: the policy that looks at drift alone, and the plot."""

from datetime import UTC, datetime, timedelta

import pandas as pd

from configs.schema import RetrainConfig
from stack import plots
from stack.timeline import Window, retrainings

MONDAY = datetime(2011, 10, 3, tzinfo=UTC)


def window(week: int, drift: str, kpi: str = "no") -> Window:
    start = MONDAY + timedelta(weeks=week)
    return Window(
        start=start,
        end=start + timedelta(weeks=1),
        version=1,
        answers=400,
        drift=drift,  # type: ignore[arg-type]  # one of the three answers
        drifted=("days",) if drift == "yes" else (),
        surest="days",
        psi=0.3,
        kpi=kpi,  # type: ignore[arg-type]  # as above
        effect=-0.2 if kpi == "yes" else None,
        low=None,
        high=-0.1 if kpi == "yes" else None,
        row="drift",
        level="warning",
    )


def test_retraining_on_drift_alone_keeps_to_the_same_cool_down_and_cap() -> None:
    found = [window(0, "no"), *(window(week, "yes") for week in range(1, 20)), window(20, "undecided")]
    weekly = retrainings(found, RetrainConfig(cool_down_hours=24 * 14, max_per_quarter=3))
    ends = [(at - MONDAY).days // 7 for at in weekly]
    assert ends == [2, 4, 6, 15, 17, 19]
    assert retrainings(found, RetrainConfig(cool_down_hours=0, max_per_quarter=0)) == []
    assert retrainings([], RetrainConfig(cool_down_hours=0, max_per_quarter=3)) == []


def test_the_plot_has_every_window_and_names_what_shifted() -> None:
    revenue = pd.Series([1.0, 2.0], index=pd.DatetimeIndex(["2011-10-03", "2011-10-10"]))
    svg = plots.of_windows([window(0, "no"), window(1, "yes"), window(2, "yes", "yes")], 0.1, revenue)
    assert svg.count(">days<") == 2
    assert "drop: yes" in svg
    assert "<script" not in svg
    assert 'href="http' not in svg
    assert plots.of_windows([], 0.1, revenue) == ""
