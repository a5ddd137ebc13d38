"""Profiles: they add up, travel as JSON, and survive any column there may be."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import pytest

from checks import profiles
from checks.profiles import EMPTY, Profile, References
from errors import UsageError
from models.contract import Feature
from tests.checks.watched import FEATURES, reference, week


def test_windows_add_up_in_any_order() -> None:
    known, parts = reference(), [week(seed, rows) for seed, rows in ((1, 40), (2, 70), (3, 1))]
    counted = [profiles.profile(known, part) for part in parts]
    whole = profiles.profile(known, pd.concat(parts, ignore_index=True))
    for order in (counted, counted[::-1]):
        added = reduce(profiles.add, order, EMPTY)
        assert (added.rows, added.anomalies) == (whole.rows, whole.anomalies)
        for name, column in whole.columns.items():
            assert added.columns[name].counts == column.counts
            assert added.columns[name].total == pytest.approx(column.total)
            assert added.columns[name].least == column.least
    assert added.columns["amount"].mean == pytest.approx(pd.concat(parts)["amount"].mean())
    assert added.columns["place"].mean is None


def test_both_come_back_from_json() -> None:
    known = reference()
    assert References.from_json(known.to_json()) == known
    counted = profiles.profile(known, week(5))
    assert Profile.from_json(counted.to_json()) == counted


def test_a_reference_keeps_the_counts_of_its_blocks() -> None:
    known = reference(weeks=4)
    for column in known.columns:
        assert len(column.blocks) == 4
        assert tuple(np.sum(column.blocks, axis=0)) == column.reference.counts
    assert known.rows == 1200


@pytest.mark.parametrize(
    ("column", "values", "missing", "mistyped"),
    [
        ("amount", [None] * 4, 4, 0),
        ("amount", ["1", "2", None, "x"], 1, 3),
        ("amount", [1, "2", True, None], 1, 2),
        ("amount", [True, False, True, True], 0, 4),
        ("amount", [10**400, -(10**400), 1.0, 2**70], 0, 2),  # no float holds them
        ("place", [1, 2, 3, 4], 0, 4),
        ("place", ["\ud800", "a", "\udfff", None], 1, 2),  # half a surrogate pair
        ("place", ["a", 7, None, "new"], 1, 1),
        ("new", [1.0, 0.0, 1.0, 0.0], 0, 4),
        ("new", [True, None, "yes", False], 1, 1),
        ("times", [[1], {}, None, 2], 1, 2),
    ],
)
def test_any_column_is_survived(column: str, values: list[Any], missing: int, mistyped: int) -> None:
    plain = column != "times" and not {10**400, "\ud800"} & {value for value in values if isinstance(value, int | str)}
    frame = week(1, rows=4).assign(**{column: pd.Series(values, dtype=None if plain else "object")})
    counted = profiles.profile(reference(), frame).columns[column]
    assert (counted.rows, counted.missing, counted.mistyped) == (4, missing, mistyped)


def test_one_absurd_value_is_an_anomaly_and_out_of_range_and_nothing_else() -> None:
    known = reference()
    plain = week(1, rows=200)
    absurd = plain.assign(amount=[1e7, np.inf, *plain["amount"][2:]])
    counted = profiles.profile(known, absurd)
    assert counted.columns["amount"].outside == 2
    assert 2 <= counted.anomalies <= profiles.profile(known, plain).anomalies + 2
    assert Profile.from_json(counted.to_json()) == counted  # infinity is no JSON number


def test_anomalies_are_counted_beyond_what_the_reference_has() -> None:
    known = reference()
    assert profiles.anomaly_rate(known, profiles.profile(known, week(1, 2000))) == pytest.approx(0.0, abs=0.01)
    strange = week(1, 200).assign(place="never seen")
    assert profiles.anomaly_rate(known, profiles.profile(known, strange)) == pytest.approx(0.98, abs=0.02)
    assert profiles.anomaly_rate(known, EMPTY) is None


def test_a_column_nobody_looked_at_is_not_missing() -> None:
    counted = profiles.profile(reference(), week(1).drop(columns="amount"))
    assert "amount" not in counted.columns
    both = profiles.add(counted, profiles.profile(reference(), week(2)))
    assert (both.columns["amount"].rows, both.columns["place"].rows) == (300, 600)


def test_a_reference_that_was_always_missing_sees_a_value() -> None:
    known = profiles.reference([week(1).assign(amount=np.nan)], FEATURES, 10)
    assert profiles.profile(known, week(2)).columns["amount"].counts == (300, 0)


def test_what_said_what_is_kept_beside_what_was_seen() -> None:
    said = profiles.reference([week(n)[["amount"]] for n in range(3)], FEATURES[:1], 10, inputs=False)
    seen = profiles.reference([week(n) for n in range(3)], FEATURES[1:], 10)
    both = profiles.joined(seen, said)
    counted = profiles.profile(both, pd.DataFrame({"amount": [1e7] * 5}))
    assert (counted.rows, counted.anomalies) == (0, 0)  # an answer is no input
    assert both.column("amount").input is False


def test_what_has_no_bins_is_refused() -> None:
    with pytest.raises(UsageError, match="0 rows"):
        profiles.reference([], FEATURES, 10)
    with pytest.raises(UsageError, match="a number, a name or a flag"):
        profiles.reference([week(1)], [Feature(name="amount", dtype="timestamp", meaning="no")], 10)
    few, many = reference(), profiles.reference([week(1)], FEATURES, 20)
    with pytest.raises(UsageError, match="one reference for both"):
        profiles.add(profiles.profile(few, week(1)), profiles.profile(many, week(1)))
    with pytest.raises(UsageError, match="one of"):
        few.column("nothing")
