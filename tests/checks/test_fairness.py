"""The gap of a segment to the whole: by hand, with its interval, and for segments too small to judge."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from checks.fairness import Segment, by_segment, members, parse, refuse_unknown
from errors import UsageError


def subjects(count: int) -> pd.Index:
    return pd.Index([f"s{at}" for at in range(count)], name="subject")


def test_gap_by_hand() -> None:
    values = pd.Series([1.0] * 6 + [0.0] * 2, index=subjects(8))
    segments = pd.DataFrame({"home": ["uk"] * 4 + ["abroad"] * 4}, index=subjects(8))
    found = by_segment(values, segments, min_rows=4)
    assert found.overall == 0.75
    assert [(one.name, one.count, one.mean) for one in found.segments] == [("abroad", 4, 0.5), ("uk", 4, 1.0)]
    assert [one.gap for one in found.segments] == pytest.approx([-1 / 3, 1 / 3])
    assert found.worst is not None
    assert abs(found.worst.gap) == pytest.approx(1 / 3)


def test_a_real_gap_is_decided_and_chance_is_not() -> None:
    rng = np.random.default_rng(2)
    names = np.where(np.arange(4000) % 4 == 0, "few", "most")
    values = pd.Series((rng.random(4000) < np.where(names == "few", 0.3, 0.5)).astype(float), index=subjects(4000))
    segments = pd.DataFrame({"planted": names, "chance": rng.choice(["a", "b"], 4000)}, index=subjects(4000))
    found = {(one.kind, one.name): one for one in by_segment(values, segments, min_rows=100, seed=1).segments}
    planted = found["planted", "few"]
    assert planted.high < -0.2
    assert planted.low < planted.gap < planted.high
    assert planted.gap == pytest.approx((0.3 - 0.45) / 0.45, abs=0.06)
    assert found["chance", "a"].low < 0 < found["chance", "a"].high


def test_small_segments_are_counted_not_judged() -> None:
    values = pd.Series(np.linspace(0, 1, 12), index=subjects(12))
    segments = pd.DataFrame({"kind": ["big"] * 10 + ["tiny"] * 2}, index=subjects(12))
    found = by_segment(values, segments, min_rows=5)
    assert [one.name for one in found.segments] == ["big"]
    assert found.small == (("kind", "tiny", 2),)


def test_subjects_without_value_or_segment_are_left_out() -> None:
    values = pd.Series([1.0, np.nan, 0.0, 1.0], index=subjects(4))
    segments = pd.DataFrame({"kind": ["a", "a", "a"]}, index=subjects(3))
    found = by_segment(values, segments, min_rows=1)
    assert (found.count, found.overall) == (2, 0.5)
    assert found.segments[0].gap == 0.0
    assert (found.segments[0].low, found.segments[0].high) == (0.0, 0.0)  # a segment that is the whole


def test_who_lacks_one_kind_is_in_no_segment_of_it_and_counts_for_the_whole() -> None:
    values = pd.Series([1.0, 0.0, 1.0, 0.0, 1.0], index=subjects(5))
    segments = pd.DataFrame(
        {"home": ["uk", None, "uk", "abroad", None], "age": ["new", "new", "new", "new", None]}, index=subjects(5)
    )
    found = by_segment(values, segments, min_rows=1, samples=50)
    assert (found.count, found.overall) == (4, 0.5)
    counted = {(one.kind, one.name): (one.count, one.mean) for one in found.segments}
    assert counted == {("home", "uk"): (2, 1.0), ("home", "abroad"): (1, 0.0), ("age", "new"): (4, 0.5)}
    assert by_segment(values, segments.assign(home=None), min_rows=1, samples=50).count == 4


def test_nobody_is_judged_when_there_is_nobody() -> None:
    empty = by_segment(pd.Series([], dtype="float64"), pd.DataFrame({"kind": []}), min_rows=1)
    assert empty.worst is None
    assert math.isnan(empty.overall)


def test_a_metric_of_zero_has_no_relative_gap() -> None:
    found = by_segment(pd.Series(0.0, index=subjects(6)), pd.DataFrame({"k": ["a"] * 6}, index=subjects(6)), min_rows=1)
    assert found.worst is None
    assert found.small == (("k", "a", 6),)


def test_a_segment_is_named_by_kind_and_name() -> None:
    known = pd.DataFrame({"country": ["home", "abroad", "home"]}, index=pd.Index(["a", "b", "c"], name="subject"))
    assert parse(" country = home ") == ("country", "home")
    assert list(members(known, "country=home")) == ["a", "c"]
    assert members(known, "country=moon").empty
    assert members(known, "planet=earth").empty
    refuse_unknown(known, "country=abroad")
    with pytest.raises(UsageError, match=r"one of \['country=abroad', 'country=home'\], got country=moon"):
        refuse_unknown(known, "country=moon")


def test_the_gap_of_a_share_is_a_difference() -> None:
    values = pd.Series([1.0, 0.0, 0.0, 0.0], index=subjects(4))
    segments = pd.DataFrame({"home": ["uk", "uk", "abroad", "abroad"]}, index=subjects(4))
    found = by_segment(values, segments, min_rows=2, relative=False)
    assert {one.name: (one.mean, one.gap) for one in found.segments} == {"abroad": (0.0, -0.25), "uk": (0.5, 0.25)}
    nobody = by_segment(values * 0, segments, min_rows=2, relative=False)
    assert [(one.gap, one.low, one.high) for one in nobody.segments] == [(0.0, 0.0, 0.0)] * 2


@pytest.mark.parametrize(
    ("gap", "low", "high", "below", "apart"),
    [
        (-0.5, -0.6, -0.4, "yes", "yes"),
        (-0.5, -0.8, -0.2, "undecided", "undecided"),
        (-0.1, -0.4, 0.2, "no", "no"),
        (0.5, 0.4, 0.6, "no", "yes"),
        (0.5, 0.1, 0.9, "no", "undecided"),
        (-0.5, math.nan, math.nan, "undecided", "undecided"),
    ],
)
def test_a_segment_is_beyond_a_limit_when_its_interval_is(
    gap: float, low: float, high: float, below: str, apart: str
) -> None:
    one = Segment(kind="k", name="n", count=9, mean=0.1, gap=gap, low=low, high=high)
    assert (one.below(0.3), one.apart(0.3)) == (below, apart)
