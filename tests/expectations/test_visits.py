"""Visits with a bad cell of each kind, each quarantined for its own reason; and two real days, let in whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks import bundled
from expectations.visits import COLUMNS, SUITE
from tasks.expect import Judgement, judge

NOW = datetime(1998, 3, 1, tzinfo=UTC)
BAD: list[tuple[str, Any, str]] = [
    ("visitor", None, "visitor_given"),
    ("page", None, "page_given"),
    ("page", "support", "page_form"),
    ("page", "/search?q=ada+lovelace", "page_form"),
    ("page", "/" + "x" * 128, "page_form"),
    ("title", None, "title_given"),
    ("title", "x" * 201, "title_length"),
    ("seen_at", None, "time_given"),
    ("seen_at", NOW + timedelta(days=1), "time_range"),
    ("seen_at", datetime(1970, 1, 1, tzinfo=UTC), "time_range"),
]


def verdict(frame: pd.DataFrame) -> Judgement:
    rows = pa.Table.from_pandas(frame[list(COLUMNS)], preserve_index=False)
    return judge(rows, np.full(len(frame), "", dtype=object), SUITE, NOW)


def real(days: tuple[int, ...]) -> pd.DataFrame:
    visits = bundled("similar_content")["visits"]
    chosen = visits[visits["seen_at"].dt.day.isin(days)].reset_index(drop=True)
    numbers = pd.factorize(chosen["visitor"])[0]
    return chosen.assign(visitor=pd.Series([f"p1_{number:032x}" for number in numbers], dtype="str"))


def test_real_days_are_let_in_whole() -> None:
    judgement = verdict(real((9, 15)))
    assert judgement.refused == ()
    assert not judgement.reasons.any()
    assert {check.name for check in judgement.checks if not check.holds} <= {"address_without_slip"}


def test_each_bad_cell_is_quarantined_for_its_reason() -> None:
    frame = real((9,)).head(2000).copy()
    for at, (column, value, _) in enumerate(BAD):
        frame.loc[10 + at, column] = value
    judgement = verdict(frame)
    assert [judgement.reasons[10 + at] for at in range(len(BAD))] == [name for *_, name in BAD]
    assert sum(bool(reason) for reason in judgement.reasons) == len(BAD)
    assert judgement.refused == ()


def test_a_visitor_s_own_number_or_doubled_rows_refuse_the_batch() -> None:
    frame = real((9,)).head(1000).copy()
    frame.loc[3, "visitor"] = "train-10001"
    twice = pd.concat([frame, frame.head(200)], ignore_index=True)
    assert {told.split(":")[0] for told in verdict(twice).refused} == {"subjects_masked", "visits_not_doubled"}
    empty = verdict(frame.head(0))
    assert "rows_present" in {told.split(":")[0] for told in empty.refused}
