"""The benchmark's own arithmetic on made-up figures: intervals, rivals, and what it prints."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import parts, questions
from benchmarks.quality import recommendation as quality
from benchmarks.quality._contest import OURS, compared

ROWS = compared(
    {
        "theirs": {"ndcg_at_20": np.array([0.1, 0.2, np.nan, 0.3]), "coverage": np.array([0.5])},
        OURS: {"ndcg_at_20": np.array([0.2, 0.3, np.nan, 0.4]), "coverage": np.array([0.7])},
    },
    "customers",
)


def test_it_is_a_question_of_the_command_line() -> None:
    assert {"quality", "search"} <= set(questions())
    assert "recommendation" in parts("quality")


def test_a_constant_lead_has_an_interval_of_no_width() -> None:
    theirs, ours = ROWS
    assert (theirs["customers"], theirs["ndcg_at_20"], theirs["coverage"]) == (3, 0.2, 0.5)
    assert theirs["ours_minus_it"] == {"ndcg_at_20": pytest.approx([0.1, 0.1, 0.1])}
    assert ours["ours_minus_it"] == {}


def test_rivals_agree_with_the_model_s_own_arithmetic() -> None:
    """The textbook forms here and the fast ones in models/kit are two writings of the same formulas."""
    from models.kit import neighbours

    dense = (np.random.default_rng(2).random((80, 110)) < 0.2).astype(np.float32)
    rows, columns = np.nonzero(dense)
    matrix = neighbours.interactions(rows, columns, (80, 110))
    np.testing.assert_allclose(quality._ease(dense), neighbours.ease(matrix, quality.RIDGE), atol=1e-5)
    near = neighbours.strongest(neighbours.cosine(matrix), quality.COSINE_KEEP).toarray()
    np.testing.assert_allclose(quality._cosine(dense), near, atol=1e-3)


def test_it_prints_tables_and_stays_json(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {
        "split": {"cut": "2011-09-01T00:00:00+00:00", "customers": 4, "products": 9},
        "reference": quality.REFERENCE,
        **dict.fromkeys(("discovery", "repeats", "first_basket"), ROWS),
        "by segment": {"metric": "ndcg_at_20", "overall": 0.5, "count": 3, "rows": [], "small": []},
        "cost": {"fit_cpu_seconds": 1.0, "artifact_bytes": 2_800_000, "predict_ms": {"median": 0.5, "p99": 1.0}},
    }
    quality.show(facts)
    printed = capsys.readouterr().out
    assert "theirs" in printed
    assert "+0.1000 [+0.1000, +0.1000]" in printed
    assert json.loads(json.dumps(facts)) == facts
