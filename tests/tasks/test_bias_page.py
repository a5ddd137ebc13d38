"""Where a segment stands on its track, and in which order; the page on a real audit is in test_bias."""

from __future__ import annotations

from records import SegmentFigure
from tasks.bias import shown
from tasks.bias_page import bar, rows
from tests.stores.ledger.test_bias import made


def figure(name: str, gap: float | None, answer: str = "no") -> SegmentFigure:
    ends = {} if gap is None else {"low": gap - 0.1, "high": gap + 0.1}
    return SegmentFigure(kind="k", name=name, count=9, mean=0.1, gap=gap, answer=answer, **ends)  # type: ignore[arg-type]


SEGMENTS = (figure("better", 0.5), figure("few", None, "undecided"), figure("worst", -0.9, "yes"), figure("fine", -0.1))


def test_those_beyond_come_first_and_those_too_small_last() -> None:
    assert [one.name for one, _ in rows(made(1, "yes", segments=SEGMENTS))] == ["worst", "fine", "better", "few"]
    both = rows(made(1, "yes", segments=SEGMENTS, source="chosen"))
    assert [one.name for one, _ in both] == ["worst", "better", "fine", "few"]


def test_the_track_is_wide_enough_and_zero_is_its_middle() -> None:
    found = {one.name: track for one, track in rows(made(1, "yes", segments=SEGMENTS))}
    assert found["few"] is None
    for track in (found["worst"], found["better"]):
        assert track is not None
        assert track.zero == 50
        assert track.low is not None
        assert 0 <= track.low < track.gap < track.low + track.width <= 100
    assert len(rows(made(1, "yes", segments=SEGMENTS, source="chosen"))[0][1].limits) == 2  # type: ignore[union-attr]
    assert bar(figure("x", None), (0.3,), 1.0) is None
    assert rows(made(1, "undecided", limit=0.0)) == []


def test_a_gap_in_words_is_relative_or_in_points() -> None:
    assert shown(SEGMENTS[2], made(1, "yes")) == "-90 % [-100, -80]"
    assert shown(SEGMENTS[2], made(1, "yes", source="chosen")) == "-90 points [-100, -80]"
    assert shown(SEGMENTS[1], made(1, "yes")) == "too few: 9"
