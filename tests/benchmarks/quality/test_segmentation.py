"""The choice of a number of groups on made-up figures, the rules that only the benchmark has, and what it prints."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from benchmarks import parts
from benchmarks.quality import segmentation as segments
from configs.load import load
from models.kit import rfm

MARKS = {"silhouette": [0.3, 0.3, 0.3], "reseeded": [1.0, 1.0, 1.0]}


def count(groups: int, score: float, smallest: float = 0.1, resampled: float = 0.9) -> dict[str, Any]:
    return MARKS | {
        "groups": groups,
        "smallest_share": smallest,
        "resampled": [0.95, resampled, 0.95],
        "repeat_score": score,
    }


def test_it_is_a_question_of_the_command_line() -> None:
    assert "segmentation" in parts("quality")


def test_all_that_is_chosen_by_lies_before_the_holdout() -> None:
    assert segments.MOMENTS
    assert all(at + segments.HORIZON <= segments.CUT for at in segments.MOMENTS)
    assert segments.CUT + segments.HORIZON == segments.END


def test_the_most_telling_of_the_steady_is_chosen() -> None:
    assert segments.choose([count(3, 0.80), count(4, 0.82), count(5, 0.81)]) == 4
    assert segments.choose([count(3, 0.80), count(4, 0.82, smallest=0.04), count(5, 0.81)]) == 5
    assert segments.choose([count(3, 0.80), count(4, 0.82), count(5, 0.83, resampled=0.7)]) == 4
    assert segments.choose([count(2, 0.99), count(3, 0.80), count(7, 0.99)]) == 3
    assert segments.choose([count(3, 0.80), count(4, 0.80)]) == 3


def test_the_configuration_is_among_the_choices() -> None:
    assert load().models["segmentation"].params["groups"] in segments.CHOICES


def test_limits_by_hand_by_eye() -> None:
    values = [(5, 9, 4000, 300), (30, 3, 200, 200), (10, 1, 100, 10), (150, 1, 100, 150), (300, 1, 100, 300)]
    found = segments.by_thresholds(np.array(values, dtype=np.float64))
    assert found == [rfm.LOYAL, rfm.REGULAR, rfm.NEW, rfm.LAPSING, rfm.LOST]
    assert segments.by_recency(np.array(values, dtype=np.float64)) == ["5", "3", "4", "2", "1"]


def test_it_prints_tables_and_stays_json(capsys: pytest.CaptureFixture[str]) -> None:
    described = {"group": rfm.NEW, "customers": 4.0, "promised": 0.25}
    rival = {"name": "one_rate", "repeat_score": 0.78, "silhouette": None, "smallest_share": 1.0}
    facts = {
        "moments": ["2011-08-19"],
        "holdout": {"cut": "2011-11-11", "customers": 4, "bought": 0.3},
        "counts": {"logs": [count(3, 0.8)], "raw": [count(3, 0.7)]},
        "chosen": 3,
        "configured": 3,
        "groups": [described],
        "contestants": [rival | {"ours_minus_it": [0.01, 0.02, 0.03]}],
        "by segment": {"metric": "repeat_score", "overall": 0.5, "count": 3, "rows": [], "small": []},
    }
    segments.show(facts)
    printed = capsys.readouterr().out
    assert "0.01 0.02 0.03" in printed
    assert "the trap" in printed
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert segments._round(float("nan")) is None
