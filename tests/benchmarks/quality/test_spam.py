"""Figures by eye, that the holdout is nobody's, and what is printed."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pytest

from benchmarks import bundled, parts
from benchmarks.quality import _filters as filters
from benchmarks.quality import spam as question
from benchmarks.quality._filters import Judged
from configs.load import load

SPAM = np.array([True, True, True, False, False, False, False, False])


def said(*value: float) -> Judged:
    given = np.array(value)
    return Judged(given, given >= 0.5, given >= 0.9)


def test_it_is_a_question_of_the_command_line() -> None:
    assert "spam" in parts("quality")
    assert "_filters" not in parts("quality")


def test_the_holdout_is_that_of_the_gates() -> None:
    newest = bundled("spam")["messages"]["received_at"].max().to_pydatetime()
    assert newest + timedelta(microseconds=1) == question.END
    assert timedelta(days=load().models["spam"].split.holdout_days) == question.END - question.CUT


def test_figures_by_eye() -> None:
    found = question.scored(said(0.95, 0.6, 0.1, 0.91, 0.2, 0.2, 0.1, 0.0), SPAM, np.arange(8))
    assert found["f1"][1] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1), abs=1e-4)
    assert (found["fpr"][1], found["caught"][1], found["accuracy"]) == (0.2, 0.6667, 0.75)
    assert (found["wrong"], found["lost"]) == (1, 1)
    assert found["f1"][0] <= found["f1"][1] <= found["f1"][2]
    assert question.fpr_at(said(0.9, 0.8, 0.3, 0.5, 0.2, 0.2, 0.1, 0.0).value, SPAM, 1.0) == 0.2
    assert question.fpr_at(said(0.9, 0.8, 0.3, 0.5, 0.2, 0.2, 0.1, 0.0).value, SPAM, 0.66) == 0.0


def test_a_difference_is_taken_on_the_same_draws() -> None:
    one = said(0.95, 0.6, 0.1, 0.91, 0.2, 0.2, 0.1, 0.0)
    assert question.scored(one, SPAM, np.arange(8), against=one)["ours_minus_it"] == [0.0, 0.0, 0.0]
    better = said(0.95, 0.6, 0.7, 0.1, 0.2, 0.2, 0.1, 0.0)
    low, middle, high = question.scored(one, SPAM, np.arange(8), against=better)["ours_minus_it"]
    assert low <= middle <= high
    assert middle == pytest.approx(1 - 2 / 3, abs=1e-3)


def test_groups_are_drawn_whole() -> None:
    """With all of it in one group every draw is the same."""
    low, middle, high = question.scored(said(0.95, 0.6, 0.1, 0.91, 0.2, 0.2, 0.1, 0.0), SPAM, np.zeros(8, np.int64))[
        "f1"
    ]
    assert low == middle == high


def test_every_filter_judges_apart_from_what_it_learned() -> None:
    words = [f"{one}{two}" for one in "abcdefgh" for two in "ijklmnop"]
    given = [f"win a {word} prize call 00000" for word in words] + [f"lunch with {word}?" for word in words]
    spam = np.arange(len(given)) < len(words)
    for name, one in filters.FILTERS.items():
        found = one(given, spam, ["win the prize, call 00000, 150ppm", "lunch at one?"])
        assert found.marked.tolist() == [True, False], name


def test_a_text_is_learned_once() -> None:
    given, spam = filters.distinct(["Call 5", "call 7!", "lunch"], np.array([True, False, False]))
    assert given == ["Call 5", "lunch"]
    assert spam.tolist() == [True, False]


def test_it_prints_tables_and_stays_json(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"name": "ours", **question.scored(said(0.95, 0.6, 0.1, 0.91, 0.2, 0.2, 0.1, 0.0), SPAM, np.arange(8))}
    facts = {
        "folds": {"by text": [row, {**row, "name": "another", "ours_minus_it": [-0.1, 0.0, 0.1]}]},
        "thirty": {"rows": [row], "random": {"name": "ours", "accuracy": 0.98}},
        "holdout": {"cut": "2011-08-27", "texts": 8, "spam": 3, "rows": [row]},
        "segments": [{"name": "length: up to 40", "texts": 8, "spam": 3}],
        "signs": [{"name": "0", "texts": 8, "share": 0.1}],
        "policy": {"answers": {"ham": 5}},
    }
    question.show(facts)
    printed = capsys.readouterr().out
    assert "0 [-0.1, 0.1]" in printed
    assert "0.831" in printed  # what was published
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
