"""Corruption of the stream: what makes it, what is merely unusual, and what says nothing."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from checks import corruption, profiles
from checks.profiles import EMPTY
from tests.checks.watched import config, reference, week


def judged(frame: pd.DataFrame, **limits: Any) -> Any:
    known = reference()
    return corruption.corrupted(known, profiles.profile(known, frame), config(**limits))


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("amount", np.nan, "is missing in 100%"),
        ("place", None, "is missing in 100%"),
        ("amount", "12.5", "is of another type in 100%"),
        ("place", 7, "is of another type in 100%"),
        ("amount", 1e7, "is out of range in 100%"),
        ("amount", 3.0, "has one value only"),
        ("place", "b", "has one value only"),
    ],
)
def test_a_broken_input_is_corruption(column: str, value: Any, why: str) -> None:
    said = judged(week(1).assign(**{column: value}))
    assert (said.answer, said.where) == ("yes", "stream")
    assert f"{column} {why}" in said.reason
    assert corruption.answer_of(json.loads(json.dumps(said.figures))) == "yes"


def test_what_is_as_it_was_is_not() -> None:
    said = judged(week(1))
    assert (said.answer, said.where) == ("no", "")
    spoilt = week(1)
    spoilt.loc[0, ["amount", "place"]] = [1e7, None]
    assert judged(spoilt).answer == "no"
    assert judged(week(1, shift=2.0)).answer == "no"  # another world, not a broken sender


def test_a_column_that_hardly_varied_may_stand_still() -> None:
    assert judged(week(1).assign(new=False)).answer == "no"


def test_two_equal_values_in_a_column_that_is_rarely_there_are_not_stuck() -> None:
    known = profiles.reference([week(n) for n in range(4)], _features(), 10)
    rare = week(1).assign(amount=lambda rows: rows["amount"].where(rows.index < 2).where(rows.index > 1, 3.0))
    limits = {"missing_limit": 1.0}
    assert corruption.corrupted(known, profiles.profile(known, rare), config(**limits)).answer == "no"
    assert judged(week(1).assign(amount=3.0), **limits).answer == "yes"


def test_an_hour_is_bad_by_itself_however_small() -> None:
    known = reference()
    small = profiles.profile(known, week(1, rows=3).assign(amount=np.nan))
    assert corruption.broken(known, small, config())
    assert not corruption.broken(known, profiles.profile(known, week(1, rows=3)), config())


def test_new_names_everywhere_are_drift_and_not_stuck() -> None:
    assert judged(week(1).assign(place=[f"n{n}" for n in range(300)])).answer == "no"


def test_too_few_rows_say_nothing() -> None:
    assert judged(week(1, rows=99).assign(amount=np.nan)).answer == "undecided"
    assert corruption.corrupted(reference(), EMPTY, config()).answer == "undecided"


def test_missing_counts_beyond_what_was_missing_before() -> None:
    holes = [week(n).assign(amount=lambda rows: rows["amount"].where(rows.index % 2 == 0)) for n in range(4)]
    known = profiles.reference(holes, [one for one in _features() if one.name == "amount"], 10)
    assert corruption.corrupted(known, profiles.profile(known, holes[0]), config(missing_limit=0.2)).answer == "no"
    worse = week(9).assign(amount=lambda rows: rows["amount"].where(rows.index % 10 == 0))
    assert corruption.corrupted(known, profiles.profile(known, worse), config(missing_limit=0.2)).answer == "yes"


def _features() -> tuple[profiles.Watched, ...]:
    from tests.checks.watched import FEATURES

    return FEATURES
