from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from errors import SchemaError
from models.kit import contests

WEEK = datetime(2014, 1, 5, tzinfo=UTC)


def table(*rows: tuple[str, str, int, str, int, int]) -> pd.DataFrame:
    """Rows of test, package, week (0 is the first), headline, impressions, clicks."""
    columns = ["test_id", "package", "week", "headline", "impressions", "clicks"]
    frame = pd.DataFrame(list(rows), columns=columns).assign(image=None)
    frame["tested_until"] = [pd.Timestamp(WEEK + timedelta(days=7 * week)) for week in frame.pop("week")]
    return frame


TWO = table(
    ("t1", "b", 0, "Bees", 1000, 40),
    ("t1", "a", 0, "Ants", 1000, 10),
    ("t2", "c", 1, "Cats", 1000, 20),
    ("t2", "d", 1, "Cats", 1000, 20),
)


def test_rates_are_relative_to_their_test() -> None:
    frame = contests.features(TWO, WEEK + timedelta(days=30), recent_days=25).set_index("package")
    assert frame.index.tolist() == ["a", "b", "c", "d"]
    assert frame.loc["b", "relative"] > 0 > frame.loc["a", "relative"]
    assert frame.loc["b", "relative"] - frame.loc["a", "relative"] == pytest.approx(np.log(41 / 11))
    assert frame.loc[["c", "d"], "relative"].abs().max() < 1e-12
    assert frame.loc["b", "weight"] > frame.loc["a", "weight"]  # more clicks, surer
    weighted = (frame["relative"] * frame["weight"]).groupby(frame["test"]).sum()
    assert weighted.abs().max() < 1e-9
    assert frame["same_headline"].tolist() == [0.5, 0.5, 1.0, 1.0]
    assert frame["recent"].tolist() == [False, False, True, True]


def test_a_test_is_known_when_its_week_is_over() -> None:
    assert contests.features(TWO, WEEK, 7).empty
    assert set(contests.features(TWO, WEEK + timedelta(seconds=1), 7)["test"]) == {"t1"}


def test_nobody_saw_it_or_it_stood_alone() -> None:
    odd = pd.concat([TWO, table(("t3", "e", 0, "Eels", 0, 0), ("t3", "f", 0, "Foxes", 10, 1))])
    assert "t3" not in set(contests.features(odd, WEEK + timedelta(days=30), 7)["test"])


def test_a_package_without_a_click_has_a_rate_that_weighs_little() -> None:
    frame = contests.features(
        table(("t", "a", 0, "Ants", 20, 0), ("t", "b", 0, "Bees", 2000, 60)), WEEK + timedelta(days=1), 7
    )
    assert np.isfinite(frame["relative"]).all()
    assert frame["weight"].tolist()[0] < frame["weight"].tolist()[1]


def test_results_leave_out_a_test_that_began_earlier() -> None:
    long = table(("t", "a", 0, "Ants", 10, 1), ("t", "b", 1, "Bees", 10, 1), ("t", "c", 1, "Cats", 10, 1))
    start = WEEK + timedelta(days=7)
    assert contests.results(long, start, start + timedelta(days=7)).empty
    found = contests.results(long, WEEK, start + timedelta(days=1))
    assert found["subject"].unique().tolist() == ["t"]
    assert found["package"].tolist() == ["a", "b", "c"]


def test_a_missing_column_is_named() -> None:
    with pytest.raises(SchemaError, match="clicks"):
        contests.features(TWO.drop(columns="clicks"), WEEK, 7)
