from __future__ import annotations

from msgspec.structs import replace

from tasks.feature_sheet import changes, limits, sheets
from tests.tasks.papers import DAYS, KNOWN, moved, origin

FIRST = origin(1)
WIDER = replace(DAYS, high=2e4, meaning="since the last *order*")


def test_definitions_have_range_unit_and_meaning() -> None:
    (only,) = sheets([FIRST])
    assert only.name == "feature_v1"
    assert "| `days` | float64 | 0 .. 10000 | days | since the last order |" in only.markdown
    assert "| `known` | bool | any | - | somebody \\| asks |" in only.markdown
    assert "nothing to compare it with" in only.markdown


def test_a_page_for_each_number_says_who_uses_it_and_what_changed() -> None:
    known = [FIRST, origin(2), moved(origin(3), 2, features=(WIDER,), watched=())]
    first, second = sheets(known)
    assert "Used by recommendation-v1, recommendation-v2." in first.markdown
    assert "Used by recommendation-v3." in second.markdown
    assert "## What changed since feature_v1" in second.markdown
    assert "range was 0 .. 10000, is 0 .. 20000" in second.markdown
    assert "is since the last \\*order\\*" in second.markdown
    assert "watched `known` is gone" in second.markdown


def test_the_same_definitions_under_a_new_number_mean_other_code() -> None:
    assert changes(moved(FIRST, 2), FIRST) == ["the definitions are the same; the code that builds them changed"]
    assert changes(FIRST, FIRST) == []


def test_new_and_reordered_columns_are_told() -> None:
    two = moved(FIRST, 2, features=(DAYS, KNOWN))
    assert changes(two, FIRST) == ["feature `known` is new: somebody \\| asks"]
    assert changes(moved(FIRST, 3, features=(KNOWN, DAYS)), two) == ["feature columns are in another order"]


def test_a_range_may_be_open_at_one_end() -> None:
    assert limits(replace(DAYS, high=None)) == "0 .."
    assert limits(replace(DAYS, low=None, high=None)) == "any"
