"""The replay on the first calls of the bank: what is known when, what is said when, and who trains again."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.drift import learner
from benchmarks.drift.figures import figures
from benchmarks.drift.replay import DRIFT, FLAT, NEVER, POLICIES, TABLE, Run, run
from benchmarks.drift.series import Series, series
from benchmarks.drift.watch import Watch
from checks.shifts import answer_of
from configs.load import load
from errors import DataError

START, LAST = 24, 30  # windows of 500 calls; the calls turn to mobiles in the first one


def bank(start: int = START, last: int = LAST) -> Series:
    """Some windows of the bank; what is after them does not exist."""
    whole = series("bank_marketing")
    grid = whole.grid[:last]
    return replace(whole, rows=whole.rows.iloc[: grid[-1].last], grid=grid, start=start, change=grid[start].start)


@cache
def town() -> tuple[Watch, dict[str, Run]]:
    house = load()
    watch = Watch(bank(), house.defaults)
    return watch, {name: run(watch, house.decisions, name) for name in POLICIES}


@pytest.mark.slow  # a whole replay
def test_the_turn_to_mobiles_is_found_within_two_windows() -> None:
    _, runs = town()
    first = next(step for step in runs[NEVER].steps if step.look.drift.answer == "yes")
    assert first.window <= START + 1
    assert first.look.columns["contact"]["drifted"]
    assert answer_of(first.look.drift.figures) == "yes"


def test_a_rate_that_moves_every_week_is_large_and_yet_no_drift() -> None:
    """Each block of the reference has its own interest rate: a PSI beyond 5 is what such blocks give without drift."""
    _, runs = town()
    rate = runs[NEVER].steps[1].look.columns["euribor3m"]
    assert rate["psi"] > 5
    assert not rate["drifted"]


def test_while_the_kpi_holds_the_table_trains_less_than_drift_alone() -> None:
    _, runs = town()
    assert all(step.look.kpi.answer != "yes" for step in runs[TABLE].steps)
    assert runs[TABLE].asked == []
    assert len(runs[DRIFT].asked) > 0
    assert len(runs[FLAT].asked) >= len(runs[DRIFT].asked)


def test_cool_down_and_cap_bind_every_policy() -> None:
    watch, runs = town()
    for one in runs.values():
        ends = [watch.series.grid[at].end for at in one.asked]
        assert all((b - a).total_seconds() >= 72 * 3600 for a, b in pairwise(ends))
        assert len(ends) <= 3


def test_labels_that_are_not_due_leave_the_kpi_undecided() -> None:
    watch, runs = town()
    first = runs[NEVER].steps[0]
    assert watch.series.rows["due"].iloc[watch.series.grid[START].first] > watch.series.grid[START].end
    assert first.look.kpi.answer == "undecided"
    assert first.ruling.row == "otherwise"


def test_a_version_trained_again_answers_from_the_next_window() -> None:
    _, runs = town()
    asked = runs[DRIFT].asked[0]
    assert {step.window: step.since for step in runs[DRIFT].steps}[asked + 1] == asked + 1


def test_what_comes_later_changes_nothing_that_was_learned() -> None:
    one = bank()
    known = learner.released(one, START, 10).holdout
    labels = one.rows["label"].to_numpy().copy()
    labels[known[0] :] = 1.0 - labels[known[0] :]
    changed = replace(one, rows=one.rows.assign(label=labels))
    np.testing.assert_array_equal(
        learner.released(one, START, 10).answers, learner.released(changed, START, 10).answers
    )
    assert one.rows["due"].iloc[known[1] - 1] <= one.grid[START].start < one.rows["due"].iloc[known[1]]


def test_a_series_without_known_labels_is_refused() -> None:
    with pytest.raises(DataError, match="bank_marketing"):
        learner.released(bank(start=3, last=6), 3, 10)


def test_the_kpi_is_one_for_a_perfect_answer_and_falls_with_the_error() -> None:
    one = bank()
    label = one.rows["label"].to_numpy(dtype=np.float64)
    assert learner.kpi(one, label).min() == 1.0
    amounts = replace(one, kind="amount", rows=one.rows.head(3).assign(label=10.0))
    np.testing.assert_allclose(learner.kpi(amounts, np.array([10.0, 15.0, 40.0])), [1.0, 0.5, 0.0])


def test_the_figures_compare_every_policy_with_the_table() -> None:
    watch, runs = town()
    facts = figures(watch, runs)
    told = {one["policy"]: one for one in facts["policies"]}
    assert list(told) == list(POLICIES)
    assert told[TABLE]["table_minus_it"] == [0.0, 0.0, 0.0]
    assert facts["avoided"]["against_drift_only"] == told[DRIFT]["retrains"] - told[TABLE]["retrains"] > 0
    assert facts["first"]["drift"]["delay_windows"] in {1, 2}
    assert facts["first"]["kpi_drop"]["ever"] is None
    assert sum(facts["answers"][NEVER]["row"].values()) == facts["windows"] == LAST - START
