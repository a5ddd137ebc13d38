"""A candidate beside the champion, on pairs whose figures are known: decisions, scores, KPI, segments, and what is too few."""

from __future__ import annotations

from math import nan

import numpy as np
import pandas as pd
import pytest

from checks.shadow import ALL, Figures, How, Pair, Said, by_segment, figures, flipped, moves, table

HOW = How(
    paired=True, change=0.05, min_rows=20, alpha=0.05, tuned_at=500.0, bins=10, floor_psi=0.1, samples=200, seed=1
)


def items(*names: str, score: float = 1.0, overruled: bool = False) -> Said:
    return Said(names, score, nan, overruled)


def number(value: float) -> Said:
    return Said((), value, value, False)


def label(name: str, sure: float = 0.5) -> Said:
    return Said((name,), sure, sure, False)


def pair(
    champion: Said, candidate: Said, key: str = "a", bucket: int = 0, kpis: tuple[float, float] | None = None
) -> Pair:
    return Pair(key, key, bucket, champion, candidate, kpis)


def of(*pairs: Pair, how: How = HOW) -> Figures:
    return figures(table(pairs, how.change), how)


@pytest.mark.parametrize(
    ("before", "after", "other"),
    [
        (items("a", "b"), items("a", "c"), False),
        (items("a", "b"), items("b", "a"), True),
        (items(), items("a"), True),
        (items(), items(), False),
        (label("ham", 0.1), label("ham", 0.9), False),  # how sure it is changes no decision
        (label("ham"), label("spam"), True),
        (number(100), number(105), False),
        (number(100), number(94), True),
        (number(0), number(0), False),
        (number(0), number(1), True),
        (number(-100), number(-104), False),
        (number(100), items(), True),  # nothing to say is no number
        (Said(("x", "y"), 60, 100, False), Said(("y", "x"), 60, 101, False), False),  # a sum with its parts
        (Said(("x", "y"), 60, 100, False), Said(("x", "y"), 60, 120, False), True),
    ],
)
def test_what_another_decision_is(before: Said, after: Said, other: bool) -> None:
    assert flipped(before, after, 0.05) is other


def test_shares_and_overlaps_of_lists_of_any_length() -> None:
    found = of(
        pair(items("a", "b", "c"), items("a", "b", "c")),
        pair(items("a", "b", overruled=True), items("a", "b", "c"), key="b"),
        pair(items("a", "b"), items("x", "y"), key="c"),
        pair(items("a", "b", overruled=True), items("b", "a", overruled=True), key="c"),
    )
    assert (found.pairs, found.subjects, found.enough, found.kind, found.name) == (4, 3, False, "", ALL)
    assert (found.flips, found.same) == (0.5, 0.25)
    assert found.jaccard == pytest.approx((1 + 2 / 3 + 0 + 1) / 4)
    assert found.top == pytest.approx((1 + 2 / 3 + 0 + 1) / 4)
    assert found.rank_biased is not None
    assert 0.5 < found.rank_biased < 0.8
    assert (found.champion_overruled, found.candidate_overruled) == (0.5, 0.25)


def test_names_and_numbers_have_no_rank_overlap() -> None:
    for one, other in ((label("ham"), label("spam")), (number(1), number(2))):
        found = of(pair(one, other))
        assert (found.flips, found.jaccard, found.top, found.rank_biased) == (1.0, None, None, None)


def test_the_same_numbers_are_the_same_answer() -> None:
    assert of(pair(number(3), number(3))).same == 1.0
    assert of(pair(number(3), number(3.1))).same == 0.0


def test_scores_that_shift_are_told_with_their_quantiles() -> None:
    draw = np.random.default_rng(3)
    scores = draw.normal(size=600)
    pairs = [pair(number(value), number(value + 0.5), key=f"s{at % 60}") for at, value in enumerate(scores)]
    score = of(*pairs).score
    assert score is not None
    assert (score.pairs, score.shifted) == (600, True)
    assert score.difference == pytest.approx(0.5)
    assert score.low == pytest.approx(0.5)
    assert score.high == pytest.approx(0.5)
    assert score.psi > max(score.chance, 0.1)
    assert score.champion_quantiles[2] == pytest.approx(np.median(scores))
    assert score.candidate_quantiles[2] == pytest.approx(np.median(scores) + 0.5)
    same = of(*(pair(one.champion, one.champion) for one in pairs)).score
    assert same is not None
    assert same.psi == pytest.approx(0.0)
    assert (same.shifted, same.difference) == (False, 0.0)
    assert (same.low, same.high) == (None, None)  # one subject says nothing of others


def test_who_asks_often_widens_the_interval_and_does_not_move_it() -> None:
    """One subject with 200 differences of 1, and 100 with one of 0 each: the mean is that of the pairs, and hangs on one."""
    heavy = [pair(number(0), number(1), key="heavy") for _ in range(200)]
    light = [pair(number(0), number(0), key=f"s{at}") for at in range(100)]
    score = of(*heavy, *light).score
    assert score is not None
    assert score.low is not None
    assert score.high is not None
    assert score.difference == pytest.approx(2 / 3)
    assert score.low < score.difference < score.high
    assert score.high - score.low > 0.5


def test_how_sure_a_label_is_makes_no_other_answer() -> None:
    assert of(pair(label("ham", 0.1), label("ham", 0.2))).same is None
    assert of(pair(items("a"), items("a", score=7.0))).same == 1.0


def test_scores_that_are_no_numbers_are_left_out() -> None:
    found = of(pair(items("a", score=nan), items("a")), pair(items("a", score=2.0), items("a", score=float("inf"))))
    assert found.score is None
    found = of(pair(items("a", score=nan), items("a")), pair(items("a", score=2.0), items("b", score=4.0)))
    assert found.score is not None
    assert (found.score.pairs, found.score.difference) == (1, 2.0)
    assert found.flips == 0.5


def rated(count: int, ours: float, theirs: float) -> list[Pair]:
    """Hits of so many subjects at these rates, one luck for both."""
    luck = np.random.default_rng(5).random(count)
    return [
        pair(items("a"), items("b"), f"s{at}", at % 200, (float(one < ours), float(one < theirs)))
        for at, one in enumerate(luck)
    ]


def test_the_kpi_to_expect_has_the_guards_interval() -> None:
    kpi = of(*rated(4000, 0.2, 0.4)).kpi
    assert kpi is not None
    assert kpi.effect is not None
    assert kpi.low is not None
    assert kpi.high is not None
    assert kpi.matured == 4000
    assert kpi.low < kpi.effect < kpi.high < 0
    assert kpi.candidate == pytest.approx(0.2, abs=0.03)
    assert kpi.champion == pytest.approx(0.4, abs=0.03)


def test_few_outcomes_have_no_interval_and_none_no_figure() -> None:
    few = of(*rated(30, 0.5, 0.5)).kpi
    assert few is not None
    assert (few.matured, few.effect, few.low, few.high) == (30, None, None, None)
    assert few.candidate is not None
    none = of(pair(items("a"), items("b"))).kpi
    assert none is not None
    assert (none.matured, none.candidate, none.champion, none.effect) == (0, None, None, None)


def test_where_the_outcome_depends_on_the_answer_only_the_champions_is_known() -> None:
    pairs = [
        pair(items("a"), items("a"), kpis=(nan, 1.0)),
        pair(items("a"), items("a"), kpis=(nan, 0.0)),
        pair(items("a"), items("b"), kpis=(nan, 0.25)),
        pair(items("a"), items("b")),
    ]
    kpi = of(*pairs, how=HOW._replace(paired=False)).kpi
    assert kpi is not None
    assert (kpi.matured, kpi.effect, kpi.candidate) == (3, None, None)
    assert (kpi.where_same, kpi.where_other) == (0.5, 0.25)
    assert kpi.champion == pytest.approx(1.25 / 3)
    labels = [
        pair(label("ham", 0.1), label("ham", 0.9), kpis=(nan, 1.0)),  # the same, and more sure of it
        pair(label("ham"), label("spam"), kpis=(nan, 0.5)),
    ]
    kpi = of(*labels, how=HOW._replace(paired=False)).kpi
    assert kpi is not None
    assert (kpi.where_same, kpi.where_other) == (1.0, 0.5)


def test_a_kpi_that_is_no_number_tells_nothing() -> None:
    kpi = of(*rated(4000, 0.2, 0.4), pair(items("a"), items("a"), kpis=(np.inf, 1.0))).kpi
    assert kpi == of(*rated(4000, 0.2, 0.4)).kpi


def test_a_segment_that_flips_is_seen_and_a_small_one_is_only_counted() -> None:
    home = [pair(items("a"), items("a"), f"h{at}") for at in range(40)]
    abroad = [pair(items("a"), items("b"), f"f{at % 30}") for at in range(60)]
    rest = [pair(items("a"), items("b"), f"m{at % 3}") for at in range(50)]
    strangers = [pair(items("a"), items("b"), "nobody")]
    names = {**{f"h{at}": "home" for at in range(40)}, **{f"f{at}": "abroad" for at in range(30)}}
    segments = pd.DataFrame({"country": names | {f"m{at}": "moon" for at in range(3)}})
    found = by_segment(table([*home, *abroad, *rest, *strangers], 0.05), segments, HOW)
    assert [(one.kind, one.name, one.pairs, one.subjects, one.enough, one.flips) for one in found] == [
        ("country", "abroad", 60, 30, True, 1.0),
        ("country", "home", 40, 40, True, 0.0),
        ("country", "moon", 50, 3, False, None),
    ]
    assert found[2].kpi is None


def test_nothing_to_compare_is_no_figure() -> None:
    found = of()
    assert (found.pairs, found.subjects, found.enough, found.flips, found.score, found.kpi) == (
        0,
        0,
        False,
        None,
        None,
        None,
    )
    empty = pd.DataFrame(index=pd.Index([], dtype="object"))
    assert by_segment(table([], 0.05), empty, HOW) == ()


def test_the_commonest_changes_of_a_named_decision() -> None:
    said = [("ham", "spam")] * 3 + [("ham", "ham")] * 9 + [("spam", "ham")]
    pairs = [pair(label(before), label(after)) for before, after in said]
    found = moves([*pairs, pair(items("a", "b"), items("b", "a"))])
    assert [(one.champion, one.candidate, one.count) for one in found] == [("ham", "spam", 3), ("spam", "ham", 1)]
