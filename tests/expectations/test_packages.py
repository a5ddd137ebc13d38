"""Packages with a bad cell of each kind, each quarantined for its own reason; and two real months, let in whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks import bundled
from expectations.packages import COLUMNS, SUITE
from tasks.expect import Judgement, judge

NOW = datetime(2014, 9, 1, tzinfo=UTC)
BAD: list[tuple[str, Any, str]] = [
    ("test_id", None, "test_given"),
    ("test_id", "a test", "test_form"),
    ("package", None, "package_given"),
    ("package", "winner", "package_form"),
    ("tested_until", None, "time_given"),
    ("tested_until", NOW + timedelta(days=1), "time_range"),
    ("tested_until", datetime(1970, 1, 1, tzinfo=UTC), "time_range"),
    ("headline", None, "headline_given"),
    ("headline", "x" * 501, "headline_length"),
    ("image", "5332bd021fae79f09f00782f", "image_form"),
    ("impressions", None, "impressions_given"),
    ("impressions", 0, "impressions_range"),
    ("clicks", None, "clicks_given"),
    ("clicks", -1, "clicks_range"),
]


def verdict(frame: pd.DataFrame) -> Judgement:
    counts = frame.astype({"impressions": "Int64", "clicks": "Int64"})
    rows = pa.Table.from_pandas(counts[list(COLUMNS)], preserve_index=False)
    return judge(rows, np.full(len(frame), "", dtype=object), SUITE, NOW)


def real(month: str) -> pd.DataFrame:
    packages = bundled("ranking")["packages"]
    return packages[packages["tested_until"].dt.strftime("%Y-%m") == month].reset_index(drop=True)


def test_real_months_are_let_in_whole() -> None:
    """The smallest, of three packages, and one with the odd rows that are kept and counted."""
    for month, counted in (("2013-01", set()), ("2014-04", {"shown_enough", "clicked_at_all"})):
        judgement = verdict(real(month))
        assert judgement.refused == ()
        assert not judgement.reasons.any()
        assert {check.name for check in judgement.checks if not check.holds} == counted


def test_each_bad_cell_is_quarantined_for_its_reason() -> None:
    frame = pd.concat([real("2014-06"), real("2014-07")], ignore_index=True).astype(
        {"impressions": "Int64", "clicks": "Int64"}
    )
    for at, (column, value, _) in enumerate(BAD):
        frame.loc[10 + at, column] = value
    judgement = verdict(frame)
    assert [judgement.reasons[10 + at] for at in range(len(BAD))] == [name for *_, name in BAD]
    assert sum(bool(reason) for reason in judgement.reasons) == len(BAD)
    assert judgement.refused == ()


def test_doubled_rows_swapped_counts_and_lost_pictures_refuse_the_batch() -> None:
    frame = real("2014-05")
    twice = pd.concat([frame, frame.head(len(frame) // 4)], ignore_index=True)
    assert "packages_not_doubled" in {told.split(":")[0] for told in verdict(twice).refused}
    swapped = frame.assign(impressions=frame["clicks"], clicks=frame["impressions"], image=None)
    swapped = swapped.astype({"image": "str"}).assign(image=pd.Series([None] * len(frame), dtype="str"))
    refused = {told.split(":")[0] for told in verdict(swapped).refused}
    assert {"impressions_level", "clicks_level", "images_named_enough"} <= refused
