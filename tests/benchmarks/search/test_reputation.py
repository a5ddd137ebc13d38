"""The search looks at nothing of the holdout, and its grid holds what the configuration chose."""

from __future__ import annotations

import msgspec

from benchmarks.quality._cohorts import EARLIER, HOLDOUT, QUARTER
from benchmarks.search import reputation as search
from configs.load import load
from models import reputation as model

CHOSEN = msgspec.convert(load().models["reputation"].params, model.Params)


def test_what_came_of_the_cohorts_was_known_before_the_holdout() -> None:
    assert EARLIER
    assert all(at + QUARTER <= HOLDOUT[0] for at in EARLIER)


def test_the_start_lies_in_the_grid() -> None:
    fixed = set(search.START) - set(search.GRID)
    assert fixed == {"learning_rate", "row_share"}
    assert all(search.START[key] in values for key, values in search.GRID.items())


def test_the_configuration_is_a_point_of_the_grid() -> None:
    flat = {**msgspec.to_builtins(CHOSEN.learner), "step_days": CHOSEN.step_days}
    assert set(flat) == set(search.START)
    assert {key: flat[key] for key, values in search.GRID.items() if flat[key] not in values} == {}
    assert search.params(CHOSEN, flat) == CHOSEN
