"""The search looks at nothing of the holdout, and its grid holds what the configuration chose."""

from __future__ import annotations

import msgspec
import pandas as pd

from benchmarks.quality.ranking import CUT, STEP
from benchmarks.search import ranking as search
from configs.load import load
from models.contract import configure, find
from tests.models.kit.test_appeal import town

PARAMS = configure(find("ranking"), load().models["ranking"])[0]
SMALL = {**search.FIRST, "bits": 8, "longest": 3}


def test_the_weeks_are_those_configured_and_end_before_the_holdout() -> None:
    chosen = load().models["ranking"].split
    assert (CUT - search.START).days == chosen.validation_days
    assert search.START + STEP < CUT


def test_every_parameter_is_searched_and_the_configuration_is_a_point_of_the_grid() -> None:
    flat = msgspec.to_builtins(PARAMS.learner)
    assert set(flat) == set(search.GRID) == set(search.FIRST)
    assert all(flat[key] in values for key, values in search.GRID.items())
    assert all(search.FIRST[key] in values for key, values in search.GRID.items())
    assert search.learner(flat) == PARAMS.learner


def test_a_trial_sees_nothing_from_the_holdout_on() -> None:
    frame = town()
    shifted = frame.assign(tested_until=frame["tested_until"] + (search.START - frame["tested_until"].max()))
    later = shifted.assign(
        tested_until=shifted["tested_until"] + pd.Timedelta(days=14),
        test_id="later " + shifted["test_id"],
        package="later " + shifted["package"],
    )
    tables = {"packages": pd.concat([shifted, later], ignore_index=True)}
    found = search.trial(tables, search.learner(SMALL))
    assert found["best_first"] == 1.0
    beyond = later.assign(
        tested_until=later["tested_until"] + pd.Timedelta(days=365), test_id="x" + later["test_id"], clicks=1
    )
    with_beyond = {"packages": pd.concat([tables["packages"], beyond], ignore_index=True)}
    assert search.trial(with_beyond, search.learner(SMALL)) == found
