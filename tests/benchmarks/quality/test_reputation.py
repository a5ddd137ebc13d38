"""The plain cohorts against the model's own counting, what the benchmark prints, and the bars on the real holdout."""

from __future__ import annotations

import functools
import itertools
import json

import numpy as np
import pandas as pd
import pytest

from benchmarks import bundled, parts
from benchmarks.quality import _cohorts as cohorts
from benchmarks.quality import reputation as bench
from configs.load import load
from models import reputation as model
from models.contract import configure, find
from models.kit import conduct, contributors, trust

RECIPE = load().models["reputation"]
PARAMS = configure(find("reputation"), RECIPE)[0]
Held = list[tuple[cohorts.Cohort, bench.Scores]]


@pytest.fixture(scope="module")
def held() -> Held:
    """The four cohorts of the holdout, scored by the model, the rules and the plain baselines."""
    tables, found = bundled("reputation"), []
    for at in cohorts.HOLDOUT:
        one = cohorts.cohort(tables, at)
        index = model.index(model.build(tables, at, PARAMS))
        ours = trust.probabilities(model.fit(tables, at, PARAMS, RECIPE.seed), index.values)
        plain = {name: one.plain[name].to_numpy(np.float64) for name in one.plain.columns}
        assert list(index.subjects) == one.names
        found.append((one, {bench.OURS: ours, "the rules": conduct.by_table(index), **plain}))
    return found


def test_it_is_a_question_of_the_command_line() -> None:
    assert "reputation" in parts("quality")


def test_cohorts_lie_apart_and_the_last_is_the_holdout_of_a_release() -> None:
    moments = (*cohorts.EARLIER, *cohorts.HOLDOUT)
    assert {later - earlier for earlier, later in itertools.pairwise(moments)} == {cohorts.QUARTER}
    assert moments[-1] + cohorts.QUARTER == cohorts.END
    split = RECIPE.split
    assert split.holdout_days == split.outcome_days == PARAMS.horizon_days == PARAMS.window_days == cohorts.QUARTER.days


def test_plain_pandas_counts_as_the_model_does(held: Held) -> None:
    tables = bundled("reputation")
    for one, _ in held[-2:]:
        truth = model.outcomes(tables, one.at, one.at + cohorts.QUARTER, PARAMS).set_index("subject")
        columns = ["again", "valued", "worth"]
        pd.testing.assert_frame_equal(truth[columns], one.truth[columns], check_names=False, check_index_type=False)
        features = model.build(tables, one.at, PARAMS).set_index("subject")
        assert (features["posts"] == one.plain["volume"]).all()
        assert (features["badges"] == one.plain["badges"]).all()
        assert np.allclose(features["account_days"] * 86400, one.plain["account age"])
        assert np.allclose(-features["silent_days"] * 86400, one.plain["recency"])


def test_the_bars_are_met_on_the_real_holdout(held: Held) -> None:
    """Above account age and above volume in precision@k and in both rank correlations; the intervals exclude zero."""
    rivals = ("account age", "volume", "the rules")
    scored = [{name: found[name] for name in (bench.OURS, *rivals)} for _, found in held]
    rows = {row["name"]: row for row in bench.contest([one for one, _ in held], scored, samples=100)}
    assert rows[bench.OURS]["precision_at_50"] > 0.54
    assert rows[bench.OURS]["auc"] > 0.79
    for rival in rivals:
        for figure in ("precision_at_50", "precision_at_100", "auc", "somers_d", "spearman"):
            assert rows[rival][f"ours_minus_it.{figure}"][0] > 0, (rival, figure, rows[rival])


def test_what_is_promised_comes_true(held: Held) -> None:
    rows = bench.calibration([one for one, _ in held], [found for _, found in held])
    assert len(rows) == 10
    for row in rows:
        assert row["promised"] == pytest.approx(row["again"], abs=0.04), row
    assert rows[-1]["again"] > 10 * rows[0]["again"]


def test_relabelled_lessons_are_those_of_the_model(held: Held) -> None:
    """Only the label differs, so that what is compared is the label."""
    tables, at = bundled("reputation"), cohorts.EARLIER[0]
    of = functools.cache(functools.partial(cohorts.cohort, tables))
    lessons = bench.relabelled(tables, of, at, PARAMS)
    own = model._lessons(contributors.events(tables, at), at, PARAMS)
    for other in lessons.values():
        assert np.array_equal(np.sort(other.seen, axis=0), np.sort(own.seen, axis=0))
        assert np.array_equal(np.sort(other.weights), np.sort(own.weights))
        assert 0 < other.again.sum() < own.again.sum()  # nobody is valued who did not contribute again
    assert held


def test_it_prints_tables_and_stays_json(capsys: pytest.CaptureFixture[str], held: Held) -> None:
    truths, scored = [one for one, _ in held], [found for _, found in held]
    facts = {
        "cohorts": [bench._described(truths[0])],
        "labels": [{"label": "again", "kappa_with_valued": 0.87}],
        "contest": bench.contest(truths[:1], scored[:1], samples=3),
        "release": [{"name": "volume", "valued": 3, "gap": [0.1, 0.2, 0.3]}],
        "calibration": bench.calibration(truths, scored),
        "answers": [{"by": "model", "answer": "trusted", "people": 4, "kpi": None}],
        "segments": [{"kind": "role", "segment": "asks", "people": 4}],
    }
    bench.show(facts)
    printed = capsys.readouterr().out
    assert "0.1 0.2 0.3" in printed
    assert "contestants" in printed
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert bench._round(float("nan")) is None
