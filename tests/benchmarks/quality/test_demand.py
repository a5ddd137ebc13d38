"""The benchmarks' own arithmetic on made-up figures: intervals, rivals, what they print, and a search on few trees."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from benchmarks import parts
from benchmarks.quality import demand
from benchmarks.search import demand as demand_search
from models.kit.forecast import HORIZONS
from models.kit.weekly import Index

NAMES = ("last week", "four weeks earlier", "mean of 8 weeks", demand.RULES, demand.OURS, demand.AGAIN)


def made(shift: float) -> demand.Made:
    """Everybody is 30 off per category but ours, which is 30 - shift off; twelve origins, three categories."""
    return {
        name: {horizon: np.full((12, 3), 130.0 - (shift if name == demand.OURS else 0.0)) for horizon in HORIZONS}
        for name in NAMES
    }


SOLD = {horizon: np.full((12, 3), 100.0) for horizon in HORIZONS}


def test_they_are_questions_of_the_command_line() -> None:
    assert "demand" in parts("quality")
    assert "demand" in parts("search")


@pytest.mark.parametrize("total", [True, False])
def test_a_constant_lead_has_an_interval_of_no_width(total: bool) -> None:
    rows = {row["name"]: row for row in demand.compared(made(10.0), SOLD, total=total)}
    for horizon in HORIZONS:
        ours, rules = rows[demand.OURS][f"h{horizon}"], rows[demand.RULES][f"h{horizon}"]
        assert (ours["wape"], rules["wape"], ours["gain"]) == (0.2, 0.3, 0.1)
        assert ours["over weeks"] == pytest.approx([0.1, 0.1])
        assert ("over categories" in ours) == (not total)


def test_an_even_game_does_not_exclude_zero() -> None:
    gain = np.array([30.0, -30.0] * 8)
    for low, high in (
        demand.over_categories(gain, np.full(16, 100.0)),
        demand.over_weeks(gain + [5.0, -5.0] * 8, np.full(16, 100.0)),
    ):
        assert low <= 0 <= high


def test_rivals_say_what_their_names_say() -> None:
    units = np.array([[1.0, 2, 3, 4, 5, 6, 7, 80]])
    known = Index(categories=("a",), position={"a": 0}, units=units, spend=units, lines=units)
    assert demand.RIVALS["last week"](known, 1).tolist() == [80]
    assert [demand.RIVALS["four weeks earlier"](known, h).tolist() for h in HORIZONS] == [[5], [6], [7], [80]]
    assert demand.RIVALS["mean of 8 weeks"](known, 1).tolist() == [13.5]
    assert demand.RIVALS[demand.RULES](known, 1).tolist() == [4.5]


def test_it_prints_tables_and_stays_json(capsys: pytest.CaptureFixture[str]) -> None:
    listed = [{"category": "mugs", "products": 3, "units": 0.25, "revenue": 0.5}]
    facts = {
        "split": {"cut": demand.CUT.isoformat(), "end": demand.END.isoformat(), "categories": 3},
        "categories": listed,
        "by category": demand.compared(made(10.0), SOLD, total=False),
        "total": demand.compared(made(10.0), SOLD, total=True),
        "each category": [{"category": "mugs", "ours": 0.2, "rules": 0.3}],
        **{f"{size} products": demand.compared(made(10.0), SOLD, total=False) for size in (50, 200)},
        "by segment": {"metric": "accuracy", "overall": 0.5, "count": 3, "rows": [], "small": []},
    }
    demand.show(facts)
    printed = capsys.readouterr().out
    assert "+0.100 [+0.100, +0.100]" in printed
    assert "25.0%" in printed
    assert "over products" in printed
    assert "by segment: accuracy" in printed
    assert json.loads(json.dumps(facts)) == facts


def test_the_search_looks_at_nothing_after_the_cut_and_keeps_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demand_search, "WINDOWS", 1)
    start = msgspec.structs.replace(demand_search.START, trees=1, step_days=14)
    windows = demand_search.windows()
    assert len(windows) == 1
    assert windows[0].cells["known"].max() < 0
    assert len(windows[0].asked) == 4 + 3 + 2 + 1  # origins and horizons that are over at the cut
    trials = list(demand_search.search(windows, start, {"trees": (1, 20), "step_days": (14, 28)}))
    assert [trial["key"] for trial in trials] == ["trees", "trees", "step_days"]
    best = min(trials, key=lambda trial: trial["wape"])
    assert trials[-1]["best"][best["key"]] == best["value"]
