"""One batch of posts with a bad cell of each kind: each goes to quarantine for its own reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from expectations.posts import COLUMNS, SUITE
from tasks.expect import Judgement, judge

NOW = datetime(2013, 9, 1, tzinfo=UTC)
BAD: list[tuple[str, Any, str]] = [
    ("id", None, "post_given"),
    ("post_type_id", None, "kind_given"),
    ("post_type_id", 12, "kind_known"),
    ("creation_date", None, "date_given"),
    ("creation_date", NOW + timedelta(days=1), "date_range"),
    ("creation_date", datetime(2000, 1, 1, tzinfo=UTC), "date_range"),
    ("score", None, "score_given"),
    ("score", 175_495, "score_range"),
]


def posts(rows: int = 1000) -> pd.DataFrame:
    """Questions and answers, all fine; some of deleted users."""
    number = np.arange(rows)
    owners = pd.Series([None if at % 50 == 0 else f"p1_{at % 90:032x}" for at in number], dtype="str")
    dates = pd.Series(pd.Timestamp(NOW) - pd.to_timedelta(number + 1, unit="h")).dt.as_unit("us")
    frame = pd.DataFrame(
        {"id": number, "post_type_id": 1 + number % 2, "creation_date": dates, "score": number % 9 - 1}
    )
    kinds = {"id": "Int64", "post_type_id": "Int64", "score": "Int64"}
    return frame.astype(kinds).assign(owner_user_id=owners)[list(COLUMNS)]


def verdict(frame: pd.DataFrame) -> Judgement:
    rows = pa.Table.from_pandas(frame, preserve_index=False)
    return judge(rows, np.full(len(frame), "", dtype=object), SUITE, NOW)


@pytest.fixture(scope="module")
def spoiled() -> Judgement:
    frame = posts()
    for at, (column, value, _) in enumerate(BAD):
        frame.loc[10 + at, column] = value
    return verdict(frame)


def test_each_bad_cell_is_quarantined_for_its_reason(spoiled: Judgement) -> None:
    assert [spoiled.reasons[10 + at] for at in range(len(BAD))] == [name for *_, name in BAD]
    assert sum(bool(reason) for reason in spoiled.reasons) == len(BAD)
    assert spoiled.refused == ()


def test_a_number_that_escaped_the_masking_or_doubled_rows_refuse_the_batch() -> None:
    frame = posts()
    frame.loc[3, "owner_user_id"] = "919"
    twice = pd.concat([frame, frame.head(100)], ignore_index=True)
    refused = {told.split(":")[0] for told in verdict(twice).refused}
    assert refused == {"subjects_masked", "posts_not_doubled"}
