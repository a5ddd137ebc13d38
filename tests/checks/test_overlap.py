"""Overlap of two lists: by eye, against the definition summed far, and what must hold for any two lists."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.overlap import PERSISTENCE, at_top, jaccard, rank_biased

LISTS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


def test_by_eye() -> None:
    assert jaccard("abcd", "cdef") == 2 / 6
    assert (jaccard("", ""), jaccard("a", ""), jaccard("ab", "ba")) == (1.0, 0.0, 1.0)
    assert at_top("abcdef", "bafghi", 3) == 2 / 3
    assert at_top("abcdef", "badcfe", 3) == 2 / 3
    assert (at_top("ab", "abc"), at_top("abc", "abcd", 2), at_top("", "")) == (2 / 3, 1.0, 1.0)
    assert rank_biased("abc", "abc") == pytest.approx(1.0)
    assert rank_biased("abc", "xyz") == 0.0
    assert (rank_biased("", ""), rank_biased("", "abc")) == (1.0, 0.0)
    assert rank_biased("a", "a") == pytest.approx(1.0)


def test_the_top_counts_more() -> None:
    late, early = rank_biased("abcdef", "abcdfe"), rank_biased("abcdef", "bacdef")
    assert 0 < early < late < 1
    assert rank_biased("abcdef", "badcfe", 0.5) < rank_biased("abcdef", "badcfe", 0.99)


def test_a_list_of_two_is_worked_out_by_hand() -> None:
    """("ab", "ba"): nothing agrees at depth 1, all from depth 2 on, so the sum is p."""
    assert rank_biased("ab", "ba", 0.9) == pytest.approx(0.9)
    # ("a", "ba"): 0, then 1 shared plus half a place of agreement the short list has nowhere: (1 - p) p X_2/2 + p^2 / 2
    assert rank_biased("a", "ba", 0.9) == pytest.approx(0.1 * 0.9 / 2 + 0.81 * 0.5)


def summed(one: Sequence[str], other: Sequence[str], p: float) -> float:
    """The definition: agreement at each depth, weighted and summed far; beyond an end it goes on as it was, as extrapolated
    in section 4.2 of Webber, Moffat and Zobel (2010)."""
    short, long = sorted((one, other), key=len)
    ends, depth = len(short), len(long)
    at_end = len({*short} & {*long[:ends]})
    total, agreed = 0.0, 0.0
    for d in range(1, 2000):
        if d <= depth:
            missing = at_end * max(d - ends, 0) / ends
            agreed = (len({*short[:d]} & {*long[:d]}) + missing) / d
        total += (1 - p) * p ** (d - 1) * agreed
    return total


@given(LISTS.filter(bool), LISTS.filter(bool), st.sampled_from([0.5, PERSISTENCE, 0.98]))
def test_it_is_the_sum_of_its_definition(one: list[str], other: list[str], p: float) -> None:
    assert rank_biased(one, other, p) == pytest.approx(summed(one, other, p), abs=1e-9)


@given(LISTS, LISTS)
def test_it_is_symmetric_and_between_0_and_1(one: list[str], other: list[str]) -> None:
    for measure in (jaccard, at_top, rank_biased):
        assert measure(one, other) == pytest.approx(measure(other, one))
        assert -1e-12 <= measure(one, other) <= 1 + 1e-12
        assert measure(one, one) == pytest.approx(1.0)


def test_an_item_that_stands_twice_counts_once() -> None:
    assert rank_biased("aab", "ab") == pytest.approx(1.0)
    assert jaccard("aab", "ab") == 1.0
    assert at_top("aab", "ab", 3) == at_top("aabc", "abc", 2) == 1.0
