"""The bundled series: their files are those of the README, in time order, and nothing is known before it is due."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from benchmarks.drift import series
from errors import NotFound


def test_there_are_three_and_no_other() -> None:
    assert series.names() == ["bank_marketing", "bike_sharing", "nannyml_california"]
    with pytest.raises(NotFound, match="elec2"):
        series.series("elec2")


@pytest.mark.parametrize("name", series.names())
def test_the_file_is_the_one_the_notice_is_about(name: str) -> None:
    folder = series.DATA / name
    stated = re.search(r"SHA-256[^|]*\| `([0-9a-f]{64})`", (folder / "README.md").read_text(encoding="utf-8"))
    assert stated is not None
    assert hashlib.sha256((folder / f"{name}.parquet").read_bytes()).hexdigest() == stated.group(1)
    assert f"{name}.parquet" in (folder / "LICENCE").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", series.names())
def test_rows_are_in_order_of_time_and_windows_follow_one_another(name: str) -> None:
    one = series.series(name)
    assert one.rows["time"].is_monotonic_increasing
    assert one.rows["due"].is_monotonic_increasing
    assert (one.rows["due"] - one.rows["time"] == one.delay).all()
    assert all(a.last == b.first and a.end == b.start for a, b in pairwise(one.grid))
    assert len(one.grid) > one.start > one.held
    assert one.rows[[feature.name for feature in one.watched]].notna().any().all()
    times = one.rows["time"]
    assert all(times.iloc[w.first] >= w.start and times.iloc[w.last - 1] < w.end for w in one.grid)


def test_a_call_gets_a_time_within_its_month_and_the_years_are_counted() -> None:
    months = pd.Series(["nov", "nov", "dec", "mar", "mar", "mar", "feb"])
    times = series.call_times(months)
    assert times.dt.strftime("%Y-%m").tolist() == ["2008-11"] * 2 + ["2008-12"] + ["2009-03"] * 3 + ["2010-02"]
    assert times[1] == datetime(2008, 11, 16, tzinfo=UTC)


def test_the_control_s_rate_is_of_labels_that_were_due() -> None:
    time = pd.date_range("2020-01-01", periods=6, freq="D", tz="UTC")
    rows = pd.DataFrame({"time": time, "due": time + pd.Timedelta(days=2), "label": [1.0, 0.0, 1.0, 1.0, 0.0, 0.0]})
    np.testing.assert_allclose(series.latest_rate(rows, 2), [np.nan, np.nan, np.nan, 1.0, 0.5, 0.5])
