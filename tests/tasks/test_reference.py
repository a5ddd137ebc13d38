"""The training reference: what it is made of, that it comes back, and that equal input gives equal bytes."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from msgspec.structs import replace

from configs.load import load
from errors import DataError, TamperError
from models.contract import Decided, Past, configure, find
from tasks.reference import RECORD, SAMPLE, opened, said, sample, training_reference
from tasks.trial import Trial, split
from tests.tasks import toy
from tests.tasks.school import NAME, orders

START = datetime(2026, 3, 2, tzinfo=orders()["invoice_date"].iloc[0].tzinfo)


def made(most: int = 5000, late: timedelta = timedelta()) -> tuple[dict[str, bytes], Any]:
    config = load().models[NAME]
    config = config.model_copy(update={"monitor": config.monitor.model_copy(update={"report_rows": most})})
    model = find(NAME)
    params, policy = configure(model, config)

    def past(*of: Any) -> list[Past]:
        return [replace(one, due=one.due + late) for one in model.past(*of)]

    slower: Any = SimpleNamespace(**{**vars(model), "past": past})
    trial = Trial(slower, {"orders": orders()}, {"orders": "invoice_date"}, params, config.seed)
    moments = split(orders()["invoice_date"].max().to_pydatetime(), config.split)
    return training_reference(trial, trial.fit(moments.cut), config, moments, policy), moments


def test_it_has_inputs_of_all_blocks_and_answers_of_the_holdout() -> None:
    files, _ = made()
    references, rows = opened(files)
    inputs = [column for column in references.columns if column.input]
    answers = {column.name: column for column in references.columns if not column.input}
    assert [column.name for column in inputs] == [feature.name for feature in find(NAME).WATCHED]
    assert set(answers) == {"score", "decision", "overruled", "outcome"}
    assert all(len(column.blocks) == 12 for column in inputs)
    assert all(len(column.blocks) == 4 for column in answers.values())
    assert references.rows == len(rows) == sum(map(sum, inputs[0].blocks))
    assert rows["score"].notna().sum() == answers["score"].counted.rows
    assert not [value for value in rows.astype("object").to_numpy().ravel() if str(value).startswith("p1_")]  # nobody


@pytest.mark.parametrize(("days", "blocks"), [(9, 3), (16, 0)])
def test_outcomes_that_are_not_due_are_left_out_and_too_few_blocks_of_them_too(days: int, blocks: int) -> None:
    references, rows = opened(made(late=timedelta(days=days))[0])
    columns = {column.name: column for column in references.columns}
    assert len(columns["score"].blocks) == 4
    assert ("outcome" in columns) == (blocks > 0)
    if blocks:
        found = columns["outcome"]
        assert (len(found.blocks), found.counted.missing) == (blocks, 0)
        assert found.counted.rows == rows["outcome"].notna().sum()
        assert found.counted.rows < columns["score"].counted.rows


def test_equal_input_gives_equal_bytes() -> None:
    assert made()[0] == made()[0]


def test_the_sample_is_bounded_and_drawn_by_the_seed() -> None:
    first, again = opened(made(100)[0])[1], opened(made(100)[0])[1]
    assert len(first) == 100
    pd.testing.assert_frame_equal(first, again)
    few = pd.DataFrame({"x": [1, 2]})
    assert len(sample(few, load().models[NAME])) == 2


def test_what_a_model_does_not_give_is_missing() -> None:
    frame = said([Decided(value=2.0), Decided(items=("a",), scores=(0.5,), overruled=("rule",)), Decided()])
    assert frame["score"].tolist()[:2] == [2.0, 0.5]
    assert frame["decision"].isna().tolist() == [True, False, True]
    assert frame["overruled"].tolist() == [False, True, False]
    assert frame["score"].isna().tolist() == [False, False, True]


def test_a_history_without_requests_is_refused() -> None:
    config = load().models[NAME]
    visits = pd.DataFrame({"subject": ["a"], "item": ["x"], "time": [pd.Timestamp(START)]})
    trial = Trial(toy, {"visits": visits}, {"visits": "time"}, toy.Params(), 1)  # type: ignore[arg-type]  # a module
    moments = split(START + timedelta(days=900), config.split)
    with pytest.raises(DataError, match="a past request"):
        training_reference(trial, {}, config, moments, toy.Policy())


def test_a_damaged_reference_is_refused() -> None:
    files, _ = made()
    for name in (RECORD, SAMPLE):
        for spoilt in ({**files, name: b"no"}, {key: value for key, value in files.items() if key != name}):
            with pytest.raises(TamperError):
                opened(spoilt)
    assert Path(RECORD).suffix == ".json"
