"""The benchmark's rivals on tests whose answer is visible by eye, its split, and what it prints."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from benchmarks import bundled, parts
from benchmarks.quality import ranking as quality
from configs.load import load
from models.contract import configure, find
from models.kit import contests
from tasks.trial import split
from tests.models.kit.test_appeal import NOW, town

RECIPE = load().models["ranking"]
PARAMS = configure(find("ranking"), RECIPE)[0]
KNOWN = contests.features(town(), NOW - timedelta(days=1), 28)
TRUTH = contests.results(town(), NOW, NOW + timedelta(days=1))


def test_it_is_a_question_of_the_command_line() -> None:
    assert "ranking" in parts("quality")


def test_the_holdout_is_the_one_the_gates_use_and_outside_the_erratum() -> None:
    made = split(bundled("ranking")["packages"]["tested_until"].max().to_pydatetime(), RECIPE.split)
    assert (made.cut, made.end) == (quality.CUT, quality.END)
    assert quality.ERRATUM[1] < quality.CUT


@pytest.mark.parametrize("unit", ["word", "char_wb"])
def test_the_textbook_finds_the_question(unit: str) -> None:
    assert quality.placed(TRUTH, quality.words(KNOWN, TRUTH, unit))["best_first"].mean() == 1.0


def test_lambdarank_finds_the_question() -> None:
    many = pd.concat([KNOWN.assign(test=KNOWN["test"] + f" {at}") for at in range(5)], ignore_index=True)
    assert quality.placed(TRUTH, quality.lambdarank(many, TRUTH))["best_first"].mean() == 1.0


def test_random_and_oracle_are_the_ends() -> None:
    random = quality.placed(TRUTH, np.zeros(len(TRUTH)))
    oracle = quality.placed(TRUTH, (TRUTH["clicks"] / TRUTH["impressions"]).to_numpy())
    assert random["best_first"].tolist() == [0.5] * len(random)
    assert oracle["ndcg_at_10"].tolist() == pytest.approx([1.0] * len(oracle))


def test_what_is_attainable_lies_between_chance_and_certainty() -> None:
    found = quality.attainable(KNOWN, TRUTH)
    assert found["spread"] == pytest.approx(np.log(2) / np.sqrt(2), abs=0.1)  # two packages, one clicked twice as often
    assert found["best_first"] is not None
    assert 0.9 < found["best_first"] <= 1.0


def test_learning_anew_uses_what_is_known_by_then_only() -> None:
    tables = {"packages": town()}
    first = NOW - timedelta(days=7)
    ours, theirs, chance = quality.retrained(tables, first, NOW + timedelta(days=1), PARAMS)
    assert ours.index.equals(theirs.index)
    assert len(chance) == 30
    late = tables["packages"].assign(
        clicks=tables["packages"]["clicks"].where(tables["packages"]["tested_until"] < first, 7)
    )
    known = contests.features(late, first, 28)
    assert ours["best_first"].mean() == 1.0
    assert set(known["test"]) == set(contests.features(tables["packages"], first, 28)["test"])


def test_a_row_has_the_difference_with_its_interval() -> None:
    ours, theirs = (
        quality.placed(TRUTH, scores) for scores in (np.tile([0.0, 1.0], len(TRUTH) // 2), np.zeros(len(TRUTH)))
    )
    row = quality._row("random", theirs, ours)
    low, mean, high = row["ours_minus_it.best_first"]
    assert low <= mean <= high
    assert mean == pytest.approx(float((ours["best_first"] - theirs["best_first"]).mean()))
    assert quality._row("ours", ours, ours)["ours_minus_it.ndcg_at_10"] == [0.0, 0.0, 0.0]


def test_it_prints_tables_and_stays_json(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        quality._row("ours", quality.placed(TRUTH, np.zeros(len(TRUTH))), quality.placed(TRUTH, np.zeros(len(TRUTH))))
    ]
    facts = {
        "holdout": {"from": "2014-04-13", "tests": 4, "packages": 8},
        "learned_from": {"tests": 4, "packages": 8},
        "contestants": rows,
        "attainable": quality.attainable(KNOWN, TRUTH),
        "by_what_differs": rows,
        "erratum": rows,
        "after_the_rules": {"first_ctr": 0.02, "random": 0.01, "overruled": {"twin": 1}},
    }
    quality.show(facts)
    printed = capsys.readouterr().out
    assert "with and without the tests of the erratum" in printed
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert quality._round(float("nan")) is None
