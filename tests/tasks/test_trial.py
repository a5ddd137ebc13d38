from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from configs.load import load
from configs.schema import GatesConfig, SplitConfig
from errors import DataError
from models.contract import Model
from tasks.trial import INSTANT, Trial, compare, mean_interval, split

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LIMITS = GatesConfig.model_validate(load().defaults.model["gates"])


def visits(days: int = 100) -> pd.DataFrame:
    """Ann always visits a, Bob b, and Cem and Dan c, once a day."""
    rows = [
        {"subject": who, "item": item, "time": START + DAY * day}
        for day in range(days)
        for who, item in (("ann", "a"), ("bob", "b"), ("cem", "c"), ("dan", "c"))
    ]
    return pd.DataFrame(rows)


def trial(toy: Model, frame: pd.DataFrame | None = None, **params: Any) -> Trial:
    tables = {"visits": visits() if frame is None else frame}
    return Trial(model=toy, tables=tables, times={"visits": "time"}, params=toy.Params(**params), seed=1)


def test_the_split_follows_time() -> None:
    newest = START + DAY * 99
    made = split(newest, SplitConfig(holdout_days=28, validation_days=28, outcome_days=28))
    assert (made.cut, made.end, made.now) == (newest - DAY * 28, newest, newest + INSTANT)
    short = split(newest, SplitConfig(holdout_days=28, validation_days=28, outcome_days=7))
    assert short.end == short.cut + DAY * 7
    long = split(newest, SplitConfig(holdout_days=28, validation_days=28, outcome_days=90))
    assert long.end == long.now


def test_the_model_beats_the_rules_where_the_eye_says_so(toy: Model) -> None:
    bench = trial(toy)
    cut = START + DAY * 70
    ours = bench.scores(bench.fit(cut), cut, cut + DAY * 28)
    rules = bench.scores(None, cut, cut + DAY * 28)
    assert ours["hit"].to_dict() == {"ann": 1.0, "bob": 1.0, "cem": 1.0, "dan": 1.0}
    assert rules["hit"].to_dict() == {"ann": 0.0, "bob": 0.0, "cem": 1.0, "dan": 1.0}
    difference = compare(ours, rules, "hit", LIMITS, seed=1)
    assert (difference.mean, difference.subjects) == (0.5, 4)


def test_a_model_that_looks_ahead_finds_nothing_there(toy: Model) -> None:
    frame = visits()
    frame.loc[frame["time"] >= START + DAY * 70, "item"] = "z"
    honest, peeking = trial(toy, frame), trial(toy, frame, peek=True)
    cut = START + DAY * 70
    assert peeking.fit(cut) == honest.fit(cut)
    assert peeking.features(cut).equals(honest.features(cut))


def test_the_backtest_trains_anew_in_each_window_and_names_the_rival(toy: Model) -> None:
    cut = START + DAY * 72
    windows = trial(toy).backtest("hit", cut, days=28, count=2)
    assert [window.start for window in windows] == ["2026-01-17", "2026-02-14"]
    assert {(window.ours, window.theirs, window.against) for window in windows} == {(1.0, 0.5, "rules")}
    wrong = trial(toy, wrong=True).backtest("hit", cut, days=28, count=2)
    assert all(window.ours < window.theirs for window in wrong)


def test_a_short_history_has_fewer_windows(toy: Model) -> None:
    assert len(trial(toy).backtest("hit", START + DAY * 40, days=28, count=3)) == 1


def test_a_window_with_too_little_to_learn_from_is_left_out(toy: Model) -> None:
    """Twelve days of four rows are too few in the first window, forty days are enough in the second."""
    (window,) = trial(toy, least_rows=100).backtest("hit", START + DAY * 68, days=28, count=2)
    assert window.start == "2026-02-10"


def test_no_history_before_the_cut_is_said(toy: Model) -> None:
    with pytest.raises(DataError, match="rows before 2026-01-01, got none"):
        trial(toy).fit(START)


def test_only_subjects_that_both_scored_are_compared() -> None:
    ours = pd.DataFrame({"hit": [1.0, 1.0]}, index=["ann", "bob"])
    theirs = pd.DataFrame({"hit": [0.0, 0.0]}, index=["bob", "cem"])
    assert compare(ours, theirs, "hit", LIMITS, seed=1).subjects == 1


def test_the_interval_of_a_mean() -> None:
    low, high = mean_interval(pd.Series([0.0, 1.0] * 200), LIMITS, seed=1) or (0.0, 0.0)
    assert 0.43 < low < 0.5 < high < 0.57
    assert mean_interval(pd.Series([float("nan")]), LIMITS, seed=1) is None


def test_measuring_needs_neither_prefect_nor_mlflow() -> None:
    code = "import sys, tasks.trial; print({'prefect', 'mlflow', 'evidently', 'great_expectations'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_who_came_after_the_cut_has_the_segment_known_at_the_end(toy: Model) -> None:
    """Ann moves from a to b after the cut and stays where she was scored; Eve was not there before."""
    frame = visits(50)
    later = [
        {"subject": who, "item": "b", "time": START + DAY * day} for day in range(50, 160) for who in ("ann", "eve")
    ]
    bench = trial(toy, pd.concat([frame, pd.DataFrame(later)], ignore_index=True))
    found = bench.segments(START + DAY * 50, START + DAY * 160)["item"]
    assert found.to_dict() == {"ann": "a", "bob": "b", "cem": "c", "dan": "c", "eve": "b"}
