"""A bias audit's answer: by hand, with planted gaps, for too few, for figures that are none; and what of it is news."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

from checks import bias
from checks.bias import STRANGER, beyond, is_over, is_worse, of_metric, of_share, per_subject, placed
from configs.load import load
from configs.schema import ModelConfig
from records import Answered, BiasAudit, SegmentFigure
from tests.stores.ledger.world import NOON


def config(**audit: Any) -> ModelConfig:
    made = next(iter(load().models.values())).model_dump()
    made["gates"] |= {"bias_max_gap": 0.3, "bias_min_rows": 50, "bootstrap_samples": 200}
    made["audit"] |= {"chosen": ("spam",), "chosen_max_gap": 0.2} | audit
    return ModelConfig.model_validate(made)


RECIPE = config()


def town(few: float, most: float, count: int = 600) -> tuple[pd.Series, pd.DataFrame]:
    """A third of the subjects live abroad; the metric is 0 or 1, at these rates."""
    draw, names = np.random.default_rng(3), pd.Index([f"s{at}" for at in range(count)], name="subject")
    abroad = np.arange(count) % 3 == 0
    values = (draw.random(count) < np.where(abroad, few, most)).astype(float)
    return pd.Series(values, index=names), pd.DataFrame({"country": np.where(abroad, "abroad", "home")}, index=names)


@pytest.mark.parametrize(("few", "answer"), [(0.1, "yes"), (0.34, "undecided"), (0.5, "no"), (0.9, "no")])
def test_who_is_served_worse_is_found_and_who_is_served_better_is_no_reason(few: float, answer: str) -> None:
    said = of_metric(*town(few, 0.5), RECIPE, 0.3)
    assert said.answer == answer, said.reason
    assert {one.name: one.count for one in said.segments} == {"abroad": 200, "home": 400}
    assert said.limit == 0.3
    if answer == "yes":
        assert "country 'abroad'" in said.reason
        assert [one.name for one in said.segments if one.answer == "yes"] == ["abroad"]


def test_a_limit_that_is_wider_forgives_the_gap() -> None:
    values, segments = town(0.1, 0.5)
    assert of_metric(values, segments, RECIPE, 0.9).answer == "no"


@pytest.mark.parametrize(("few", "answer"), [(0.6, "yes"), (0.1, "no")])
def test_a_share_is_compared_by_difference_and_either_way_counts(few: float, answer: str) -> None:
    said = of_share(*town(few, 0.1), RECIPE)
    assert said.answer == answer, said.reason
    assert "points" in said.reason
    turned = of_share(1.0 - town(few, 0.1)[0], town(few, 0.1)[1], RECIPE)
    assert turned.answer == answer


def test_a_share_that_nobody_has_is_no_gap() -> None:
    values, segments = town(0.0, 0.0)
    said = of_share(values, segments, RECIPE)
    assert (said.answer, said.overall) == ("no", 0.0)
    assert of_metric(values, segments, RECIPE, 0.3).answer == "undecided"  # nothing to be relative to


def test_too_few_is_undecided_and_said() -> None:
    said = of_metric(*town(0.0, 1.0, count=60), RECIPE, 0.3)
    assert said.answer == "undecided"
    assert "2 too small to judge" in said.reason
    assert [(one.gap, one.answer) for one in said.segments] == [(None, "undecided")] * 2


def test_nobody_is_compared_with_himself() -> None:
    values, segments = town(0.5, 0.5)
    alone = of_metric(values, segments.assign(country="home"), RECIPE, 0.3)
    assert alone.answer == "undecided"
    assert "no segment is large enough to compare with the rest of 600" in alone.reason
    nobody = of_metric(values.iloc[:0], segments, RECIPE, 0.3)
    assert (nobody.answer, nobody.overall, nobody.subjects) == ("undecided", None, 0)


def test_figures_that_are_none_are_left_out_and_counted() -> None:
    values, segments = town(0.5, 0.5)
    values.iloc[:3] = [np.nan, np.inf, -np.inf]
    said = of_metric(values, segments, RECIPE, 0.3)
    assert said.subjects == 597
    assert said.reason.endswith("3 subjects without a figure are left out")


def test_who_asks_often_counts_once() -> None:
    found = per_subject(["a", "a", "a", "b", "c"], [1.0, 0.0, float("nan"), 1.0, float("inf")])
    assert found.to_dict() == pytest.approx({"a": 0.5, "b": 1.0, "c": float("nan")}, nan_ok=True)


def test_strangers_are_a_segment_of_each_kind() -> None:
    known = pd.DataFrame({"country": ["home"], "age": ["new"]}, index=pd.Index(["a"], name="subject"))
    found = placed(pd.concat([known, known]), pd.Index(["b", "a"], name="subject"))
    assert found.to_dict("list") == {"country": [STRANGER, "home"], "age": [STRANGER, "new"]}


def test_what_was_asked_makes_segments() -> None:
    seen = pd.DataFrame(
        {
            "size": [1.0, 2.0, 3.0, 4.0, 5.0, None],
            "link": [True, False, True, True, False, True],
            "page": ["a", "a", None, "b", "c", "a"],
            "never": [None] * 6,
        }
    )
    found = bias.by_inputs(seen)
    assert found["size"].tolist() == [bias.LOWEST] * 2 + [bias.MIDDLE] + [bias.HIGHEST] * 2 + ["missing"]
    assert found.attrs == {bias.EDGES: {"size": "up to 2.333, up to 3.667, over"}}
    assert found["link"].tolist() == ["True", "False", "True", "True", "False", "True"]
    assert found["page"].tolist() == ["a", "a", "missing", "b", "c", "a"]
    assert found["never"].tolist() == ["missing"] * 6
    many = bias.by_inputs(pd.DataFrame({"page": [f"p{at}" for at in range(20)] + ["often"] * 9}))
    assert many["page"].nunique() == bias.MOST_NAMES + 1
    assert many["page"].iloc[-1] == "often"


def test_two_values_are_lowest_and_highest_whichever_is_commoner() -> None:
    for sizes in ([3, 3, 20], [3, 20]):
        assert bias.by_inputs(pd.DataFrame({"k": sizes}))["k"].iloc[-1] == bias.HIGHEST


def test_a_value_that_is_called_as_one_of_our_names_is_not_taken_for_it() -> None:
    pages = ["missing"] * 3 + ["other"] * 3 + ["'other'"] * 3 + [None] + [f"p{at}" for at in range(20)]
    found = bias.by_inputs(pd.DataFrame({"page": pages}))["page"]
    assert found.tolist()[:10] == ["'missing'"] * 3 + ["'other'"] * 3 + ["''other''"] * 3 + ["missing"]
    assert found.iloc[-1] == "other"


def asked(week: int) -> bias.Said:
    """Requests of a week, the shortest of which are served badly."""
    draw = np.random.default_rng(week)
    sizes = draw.integers(5, 160, 600)
    seen = pd.DataFrame({"characters": sizes.astype(float)}, index=pd.Index([f"p{at}" for at in range(600)]))
    segments = placed(bias.by_inputs(seen), seen.index)
    return of_metric(pd.Series(np.where(sizes < 40, 0.1, 0.9), index=seen.index), segments, RECIPE, 0.3)


def test_the_same_gap_next_week_is_no_news_though_the_edges_moved() -> None:
    weeks = [asked(week) for week in range(4)]
    assert {one.answer for one in weeks} == {"yes"}
    assert len({one.reason for one in weeks}) == 4
    assert "thirds of characters: up to " in weeks[0].reason
    assert "answers, allowed" in weeks[0].reason
    audits = [replace(audit("yes"), segments=one.segments) for one in weeks]
    assert {frozenset(beyond(one)) for one in audits} == {frozenset({f"characters={bias.LOWEST}"})}
    assert [is_worse(now, before) for before, now in pairwise(audits)] == [False] * 3


def audit(answer: Answered, *segments: str, version: int = 1) -> BiasAudit:
    return BiasAudit(
        id="bias-1", model="m", source="live", metric="hit", answer=answer, version=version, window_start=NOON,
        window_end=NOON, subjects=9, overall=0.5, limit=0.3, reason="so", report="page", found_at=NOON,
        segments=tuple(
            SegmentFigure(kind="country", name=name, count=9, mean=0.1, gap=-0.8, answer="yes") for name in segments
        ),
    )  # fmt: skip


def test_news_is_a_gap_that_was_not_there() -> None:
    first, wider = audit("yes", "abroad"), audit("yes", "abroad", "moon")
    assert is_worse(first, None)
    assert is_worse(first, audit("no"))
    assert not is_worse(first, first)
    assert is_worse(wider, first)
    assert not is_worse(first, wider)
    assert not is_worse(audit("no"), None)
    assert not is_worse(audit("undecided"), None)
    assert beyond(wider) == {"country=abroad", "country=moon"}


def test_another_version_with_the_same_gap_is_news() -> None:
    assert is_worse(audit("yes", "abroad", version=2), audit("yes", "abroad"))


def test_a_gap_is_over_only_when_it_is_known_to_be() -> None:
    assert is_over(audit("no"), audit("yes", "abroad"))
    assert not is_over(audit("undecided"), audit("yes", "abroad"))
    assert not is_over(audit("no"), audit("no"))
    assert not is_over(audit("no"), None)


def test_nothing_is_undecided_with_its_reason() -> None:
    said = bias.nothing("no rows", 0.5)
    assert (said.answer, said.reason, said.segments) == ("undecided", "no rows", ())
    assert replace(audit("undecided"), segments=said.segments).to_json()
