"""The search looks at nothing after the holdout's start, and its grid holds what the configuration chose."""

from __future__ import annotations

import msgspec

from benchmarks.quality.recommendation import CUT
from benchmarks.search import recommendation as search
from configs.load import load
from models import recommendation as model


def test_windows_end_before_the_holdout() -> None:
    assert search.WINDOWS
    assert all(start < end <= CUT for start, end in search.WINDOWS)


def flat(params: model.Params) -> dict[str, float]:
    nested = msgspec.to_builtins(params)
    blend = nested.pop("blend")
    return {**nested, **{f"blend.{key}": value for key, value in blend.items()}}


def test_every_parameter_is_searched_and_the_grid_holds_its_start() -> None:
    assert flat(search.nested(search.START)) == search.START
    assert set(search.START) == set(search.GRID)
    assert all(value in search.GRID[key] for key, value in search.START.items())


def test_the_configuration_is_a_point_of_the_grid() -> None:
    chosen = flat(msgspec.convert(load().models["recommendation"].params, model.Params))
    assert {key: value for key, value in chosen.items() if value not in search.GRID[key]} == {}
