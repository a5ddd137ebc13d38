"""The benchmark's audit on the toy model: a segment that is served worse is found both ways."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pandas as pd
import pytest

from benchmarks import bias, questions
from configs.load import load
from configs.schema import ModelConfig
from models.contract import Model
from tasks.trial import Trial
from tests.tasks import toy

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def visits(turn: int) -> pd.DataFrame:
    """Forty people who visit one of two items each day; those of "b" go somewhere else from day `turn` on."""
    rows = [
        (f"s{who}", "a" if who % 4 else "b" if day < turn else "c", NOON + timedelta(days=day, minutes=who))
        for day in range(10)
        for who in range(40)
    ]
    return pd.DataFrame(rows, columns=["subject", "item", "time"])


def measured(turn: int) -> dict[str, Any]:
    made = next(iter(load().models.values())).model_dump() | {"metric": "hit", "kpi": "hit"}
    made["gates"] |= {"bias_max_gap": 0.5, "bias_min_rows": 5, "bootstrap_samples": 100}
    made["split"] |= {"outcome_days": 3}
    recipe = ModelConfig.model_validate(made)
    trial = Trial(cast(Model, toy), {"visits": visits(turn)}, {"visits": "time"}, toy.Params(), 1)
    return bias.measured(trial, recipe, toy.Policy())


def test_a_segment_that_is_served_worse_is_found() -> None:
    found = measured(turn=7)
    assert (found["history"]["answer"], found["history"]["overall"]) == ("yes", 0.75)
    assert {one["name"]: one["answer"] for one in found["history"]["segments"]} == {"a": "no", "b": "yes"}
    assert found["asked"]["answer"] == "undecided"  # the toy sees nothing of a request but that somebody asks
    assert json.dumps(found)


def test_nobody_is_served_worse(capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(turn=99)
    assert found["history"]["answer"] == "no"
    bias.show("toy", found)
    shown = capsys.readouterr().out
    assert "toy, history: hit, beyond 50%: no" in shown
    assert "item a" in shown


def test_it_is_a_question_of_the_command() -> None:
    assert "bias" in questions()
    with pytest.raises(SystemExit):
        bias.main(["nothing"])
