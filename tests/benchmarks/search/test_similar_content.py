"""The search looks at training visitors only, and its grid holds what the configuration chose."""

from __future__ import annotations

import msgspec
import pandas as pd

from benchmarks import bundled
from benchmarks.quality.similar_content import CUT, drawn
from benchmarks.search import similar_content as search
from configs.load import load
from models import similar_content as model
from models.kit import sessions


def test_what_is_asked_about_is_no_official_test_visitor() -> None:
    given = search.course(CUT - search.DAY, CUT, draws=1)
    visits = bundled("similar_content")["visits"]
    official = set(visits.loc[visits["seen_at"] >= CUT, "visitor"])
    asked = set(given.hidden[0].subjects)
    assert len(asked) > 3000
    assert not asked & official
    assert not set(given.known.subjects) & (official | asked)


def test_the_search_keeps_the_best_of_each_parameter() -> None:
    small = {"hidden": (0, 2), "epochs": (1, 2)}
    visits = bundled("similar_content")["visits"]
    first = visits[visits["visitor"].isin(pd.unique(visits["visitor"])[:300])]
    params = msgspec.convert(load().models["similar_content"].params, model.Params)
    known = model.index(model.build({"visits": first}, CUT, params))
    seen = sessions.sessions(model.outcomes({"visits": first}, first["seen_at"].min(), CUT, params))
    given = search.Course(known, [drawn(seen, 0)])
    trials = list(search.search(given, small))
    assert [one["key"] for one in trials] == ["hidden", "hidden", "epochs", "epochs"]
    assert all(one["ndcg_at_10"] > 0 for one in trials)
    last = max(trials[2:], key=lambda one: one["ndcg_at_10"])
    assert trials[-1]["best"]["epochs"] == last["value"]


def test_the_configuration_is_a_point_of_the_grid() -> None:
    chosen = msgspec.to_builtins(msgspec.convert(load().models["similar_content"].params, model.Params).network)
    assert set(chosen) == set(search.GRID) == set(search.FIRST)
    assert {key: value for key, value in chosen.items() if value not in search.GRID[key]} == {}
    assert {key: value for key, value in search.FIRST.items() if value not in search.GRID[key]} == {}
