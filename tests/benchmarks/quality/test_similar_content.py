"""The benchmark's own arithmetic: the ranked utility by hand, what is hidden, rivals, and what it prints."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from benchmarks import parts
from benchmarks.quality import similar_content as quality
from benchmarks.quality._contest import OURS, compared
from models.contract import Proposal
from models.kit import neighbours, sessions
from models.kit.sessions import Families

SEEN = {"ada": ["/a", "/b", "/c"], "bob": ["/a", "/d"]}


def test_it_is_a_question_of_the_command_line() -> None:
    assert "similar_content" in parts("quality")
    assert "similar_content" in parts("search")


def test_the_utility_of_a_list_halves_every_four_places() -> None:
    found = np.zeros((3, 9), dtype=np.bool_)
    found[0, 0] = found[1, 4] = found[2, 8] = True
    assert quality.utility(found, np.array([1, 1, 1])).tolist() == [100, 50, 25]
    both = np.array([[True, True], [False, False]])
    assert quality.utility(both, np.array([2, 2])).mean() == pytest.approx(50)


def test_what_is_hidden_is_not_shown_and_follows_the_seed() -> None:
    one = quality.drawn(SEEN, seed=3)
    assert one == quality.drawn(SEEN, seed=3)
    assert one.subjects == ["ada", "bob"]
    for subject, request, hidden in zip(one.subjects, one.requests, one.pages, strict=True):
        assert {*request.session, request.page} | hidden == set(SEEN[subject])
        assert len(hidden) == 1
    two = quality.drawn(SEEN, seed=3, given=2)
    assert two.subjects == ["ada"]  # with two given nothing is left of bob's
    assert len(two.requests[0].session) == 1


def test_found_by_looks_at_every_place() -> None:
    hidden = quality.Hidden(["ada"], [], [frozenset({"/c"})])
    found = quality.found_by([Proposal(items=("/a", "/c"), scores=(1.0, 0.5))], hidden)
    assert found.shape == (1, quality.AREAS)
    assert np.flatnonzero(found[0]).tolist() == [1]


def test_rivals_agree_with_the_model_s_own_arithmetic() -> None:
    """The textbook forms here and the fast ones in models/kit are two writings of the same formulas."""
    rng = np.random.default_rng(2)
    rows = [(f"v{at}", f"/p{page:02d}") for at in range(60) for page in np.flatnonzero(rng.random(12) < 0.3)]
    seen = pd.DataFrame(rows, columns=["subject", "page"]).assign(time=pd.Timestamp("1998-02-10", tz="UTC"))
    kin = Families(prefixes=(), endings=(), named={})
    index = sessions.index(sessions.features(seen, pd.Timestamp("1998-02-11", tz="UTC").to_pydatetime(), kin))
    weights, size = quality._weights(index), len(index.catalogue.pages)
    owners = np.repeat(np.arange(len(index.subjects)), np.diff(index.starts))
    matrix = neighbours.interactions(owners, index.seen, (len(index.subjects), size))
    np.testing.assert_allclose(
        weights["EASE"][:size, :size], neighbours.ease(matrix, quality.RIDGE), rtol=1e-3, atol=1e-5
    )
    np.testing.assert_allclose(weights["item-item cosine"][:size, :size], neighbours.cosine(matrix), atol=1e-5)
    assert weights["popularity"][:size].tolist() == index.catalogue.visitors.tolist()


def test_it_prints_tables_and_stays_json(capsys: pytest.CaptureFixture[str]) -> None:
    one = {key: np.array([0.1, 0.2, 0.3]) for key in ("hit_at_10", "ndcg_at_10", "hit_at_1")}
    rows = compared({"theirs": one, OURS: {key: values + 0.1 for key, values in one.items()}}, "visitors")
    worth = compared({name: {"utility": np.array([50.0, 60.0])} for name in ("theirs", OURS)}, "visitors")
    facts = {
        "split": {"training_visitors": 4, "test_visitors": 3, "areas": 9},
        "reference": {"EASE": [0.7, 0.5]},
        "one_hidden": {"seed 0": rows},
        "policy": {"none": 0.8},
        "published": quality.PUBLISHED,
        "protocols": dict.fromkeys(quality.GIVEN, worth),
        "segments": [
            {"kind": "entry", "name": "rare page", "count": 3, "mean": 0.4, "gap": -0.2, "low": -0.3, "high": -0.1}
        ],
        "cost": {"fit_cpu_seconds": 1.0, "artifact_bytes": 900_000, "predict_ms": {"median": 0.5, "p99": 1.0}},
    }
    quality.show(facts)
    printed = capsys.readouterr().out
    assert "+0.1000 [+0.1000, +0.1000]" in printed
    assert "66.6" in printed
    assert json.loads(json.dumps(facts)) == facts
