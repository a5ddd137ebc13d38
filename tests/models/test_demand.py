"""Demand on a shop small enough to see the answer by eye, on bad requests, and on the real holdout."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import bundled
from benchmarks.quality.demand import CUT, END
from checks.metrics import paired_bootstrap
from configs.load import load
from errors import InputError, SchemaError
from models import demand as model
from models.contract import Decided, Proposal, configure, find
from models.kit.categories import OTHER, TOTAL, Rule
from models.kit.forecast import HORIZONS, Fitted
from models.kit.weekly import Index

NOW = datetime(2011, 6, 1, tzinfo=UTC)
RECIPE = load().models["demand"]
PARAMS, POLICY = configure(find("demand"), RECIPE)
SMALL = msgspec.structs.replace(PARAMS, rules=(Rule(category="mugs", words=("mug",)), Rule(category="bags", words=("bag",))))  # fmt: skip
WEEKLY = {"RED MUG": 70, "BLUE BAG": 700, "SILVER SPADE": 7}
WEEKS = 24


def shop() -> dict[str, pd.DataFrame]:
    """Three products that sell the same every day."""
    rows = [
        (f"{20000 + number}", name, units // 7, NOW - timedelta(days=day) + timedelta(minutes=number))
        for day in range(1, 7 * WEEKS + 1)
        for number, (name, units) in enumerate(WEEKLY.items())
    ]
    frame = pd.DataFrame(rows, columns=["stock_code", "description", "quantity", "invoice_date"])
    frame["invoice_no"] = [f"{500000 + at}" for at in range(len(frame))]
    frame["invoice_date"] = frame["invoice_date"].astype("datetime64[us, UTC]")
    return {"orders": frame.assign(unit_price=2.0, customer_id="ada", country="France")}


@pytest.fixture(scope="module")
def index() -> Index:
    return model.index(model.build(shop(), NOW, SMALL))


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return model.fit(shop(), NOW, SMALL, seed=1)


def ask(fitted: Fitted | None, index: Index, category: str, horizon: int = 1, policy: Any = POLICY) -> Decided:
    requests = [model.Request(category=category, horizon_weeks=horizon)]
    proposals = model.rules(index, requests) if fitted is None else model.predict(fitted, index, requests)
    return model.decide(proposals, requests, index, policy)[0]


# ---- what is forecast ----------------------------------------------------------------------------


def test_a_steady_shop_goes_on(fitted: Fitted, index: Index) -> None:
    for horizon in HORIZONS:
        for category, units in (("mugs", 70), ("bags", 700), (OTHER, 7)):
            assert ask(None, index, category, horizon).value == units
            assert ask(fitted, index, category, horizon).value == pytest.approx(units, rel=0.02)


@pytest.mark.parametrize("horizon", HORIZONS)
def test_the_total_is_the_sum_of_the_categories(fitted: Fitted, index: Index, horizon: int) -> None:
    for one in (fitted, None):
        total = ask(one, index, TOTAL, horizon)
        parts = {name: ask(one, index, name, horizon).value for name in index.categories}
        assert total.value == sum(value for value in parts.values() if value is not None)
        assert dict(zip(total.items, total.scores, strict=True)) == parts
        assert list(total.scores) == sorted(total.scores, reverse=True)


@pytest.mark.parametrize("category", ["shoes", "Mugs", "mugs ", "", "\ud800", "x" * 200])
def test_an_unknown_category_is_refused_by_name(fitted: Fitted, index: Index, category: str) -> None:
    for one in (fitted, None):
        with pytest.raises(InputError, match=r"\$\.category.*mugs"):
            ask(one, index, category)


@pytest.mark.parametrize("horizon", [0, 5, -1, 10**9])
def test_a_horizon_it_has_not_learned_is_refused_by_name(fitted: Fitted, index: Index, horizon: int) -> None:
    with pytest.raises(InputError, match=r"\$\.horizon_weeks"):
        ask(fitted, index, "mugs", horizon)


@pytest.mark.parametrize("body", [b"{}", b'{"category":""}', b'{"category":"mugs","horizon_weeks":0}', b'{"category":"mugs","horizon_weeks":1.5}', b'{"category":"mugs","shop":1}'])  # fmt: skip
def test_a_body_over_its_limits_is_refused_when_it_is_read(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=model.Request)


def test_without_descriptions_it_says_so() -> None:
    with pytest.raises(SchemaError, match="description"):
        model.build({"orders": shop()["orders"].drop(columns="description")}, NOW, SMALL)


# ---- what leaves ---------------------------------------------------------------------------------


def decide(index: Index | None, *values: float, category: str = TOTAL) -> Decided:
    items = ("bags", "mugs", OTHER)[: len(values)] if category == TOTAL else ()
    proposal = Proposal(items=items, scores=values if items else (), value=float(sum(values)))
    return model.decide([proposal], [model.Request(category=category)], index, POLICY)[0]


def test_a_forecast_below_zero_becomes_zero(index: Index) -> None:
    decided = decide(index, -5.0, category="mugs")
    assert (decided.value, decided.overruled) == (0.0, ("below_zero",))


def test_a_forecast_far_above_the_recent_best_is_held_back(index: Index) -> None:
    decided = decide(index, 1e7, category="mugs")
    assert (decided.value, decided.overruled) == (70 * POLICY.max_over_recent, ("above_recent",))


def test_the_total_stays_the_sum_after_the_bounds(index: Index) -> None:
    decided = decide(index, 600.0, 1e7, -3.0)
    assert decided.scores == (600.0, 210.0, 0.0)
    assert decided.value == 810.0
    assert decided.overruled == ("above_recent", "below_zero")


def test_what_is_within_its_bounds_is_left_alone(index: Index) -> None:
    assert decide(index, 600.0, 80.0, 3.0).overruled == ()


def test_without_history_nothing_is_answered_and_it_says_so() -> None:
    request = model.Request(category="mugs")
    assert model.rules(None, [request]) == [Proposal()]
    assert model.decide([Proposal()], [request], None, POLICY) == [Decided(overruled=("no_history",))]


# ---- how it is judged ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answered", "sold", "accuracy"),
    [(100, 100, 1.0), (80, 100, 0.8), (120, 100, 0.8), (500, 100, 0.0), (0, 100, 0.0), (0, 0, 1.0), (1, 0, 0.0)],
)
def test_the_kpi_is_one_minus_the_relative_error(answered: float, sold: float, accuracy: float) -> None:
    assert model.kpi(Decided(value=answered), model.Outcome(units=sold)) == pytest.approx(accuracy)


def test_no_answer_is_no_accuracy() -> None:
    assert model.kpi(Decided(overruled=("no_history",)), model.Outcome(units=5.0)) == 0.0


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(100, 1000)), min_size=1))
@settings(max_examples=50, deadline=None)
def test_weighted_by_what_was_sold_the_kpi_is_the_wape(pairs: list[tuple[float, float]]) -> None:
    answered, sold = (np.array(side) for side in zip(*pairs, strict=True))
    kpis = [model.kpi(Decided(value=a), model.Outcome(units=s)) for a, s in zip(answered, sold, strict=True)]
    wape = np.minimum(np.abs(answered - sold), sold).sum() / sold.sum()
    assert 1 - np.average(kpis, weights=sold) == pytest.approx(wape, abs=1e-9)


def test_scores_of_a_steady_shop_are_perfect(fitted: Fitted) -> None:
    start = NOW - timedelta(weeks=6)
    then = model.index(model.build(shop(), start, SMALL))
    scores = model.score(None, then, model.outcomes(shop(), start, NOW, SMALL))
    assert sorted(scores.index) == ["bags", "mugs", OTHER]
    assert (scores[["accuracy", "wape_accuracy", "wape_accuracy_h4", "total_accuracy"]] == 1.0).all().all()


def test_a_later_origin_knows_what_was_sold_before_it() -> None:
    """Mugs stop selling in the window: the median of eight weeks follows five weeks later, and not before."""
    start = NOW - timedelta(weeks=8)
    orders = shop()["orders"]
    stopped = {"orders": orders[(orders["description"] != "RED MUG") | (orders["invoice_date"] < pd.Timestamp(start))]}
    then = model.index(model.build(stopped, start, SMALL))
    scores = model.score(None, then, model.outcomes(stopped, start, NOW, SMALL))
    wrong = [70 if origin < 4 else 35 if origin == 4 else 0 for origin in range(8) for _ in HORIZONS[: 8 - origin]]
    assert scores.loc["mugs", "mae"] == pytest.approx(-np.mean(wrong))


def test_outcomes_are_net_and_of_the_window() -> None:
    orders = shop()["orders"]
    taken = orders.assign(invoice_no="C" + orders["invoice_no"], quantity=-orders["quantity"])
    start = NOW - timedelta(weeks=2)
    found = model.outcomes({"orders": pd.concat([orders, taken])}, start, NOW, SMALL)
    assert found["units"].sum() == 0
    assert model.outcomes({"orders": orders}, start, NOW, SMALL)["units"].sum() == 2 * sum(WEEKLY.values())


# ---- what monitors see ---------------------------------------------------------------------------


def test_what_is_watched_is_what_the_index_knows(index: Index) -> None:
    requests = [model.Request(category=name, horizon_weeks=2) for name in ("mugs", TOTAL, "shoes")]
    frame = model.observe(index, requests)
    assert list(frame.columns) == [feature.name for feature in model.WATCHED]
    assert frame["category"].tolist() == ["mugs", TOTAL, "shoes"]
    assert frame["level"].tolist()[:2] == [70, 777]
    assert frame["last_over_level"].tolist()[:2] == [1, 1]
    assert frame["price"].tolist()[:2] == [2, 2]
    assert frame.loc[2, ["level", "trend", "last_over_level", "price"]].isna().all()


def test_what_is_watched_stays_in_its_range(index: Index) -> None:
    empty = model.index(model.build(shop(), NOW - timedelta(weeks=WEEKS), SMALL))
    assert model.observe(empty, model.example())["level"].isna().all()
    frame = model.observe(index, model.example())
    for feature in model.WATCHED[1:]:
        assert frame[feature.name].between(feature.low, feature.high).all(), feature.name


def test_the_past_asks_every_week_and_knows_what_came_of_it() -> None:
    start, end = NOW - timedelta(weeks=6), NOW - timedelta(weeks=4)
    past = model.past(shop(), start, end, SMALL)
    assert len(past) == 2 * 4 * len(HORIZONS)  # weeks, names with the total, horizons
    assert [one.time for one in past] == sorted(one.time for one in past)
    assert {one.time for one in past} == {start, start + timedelta(weeks=1)}
    for one in past:
        expected = {"mugs": 70, "bags": 700, OTHER: 7, TOTAL: 777}[one.request.category]
        assert one.outcome.units == expected
        assert one.due == one.time + timedelta(weeks=one.request.horizon_weeks)


def test_the_past_leaves_out_what_is_not_due_yet() -> None:
    newest = NOW - timedelta(days=1) + timedelta(minutes=2, microseconds=1)
    past = model.past(shop(), newest - timedelta(weeks=2), newest, SMALL)
    assert max(one.due for one in past) <= newest
    assert {one.request.horizon_weeks for one in past} == {1, 2}
    assert model.past(shop(), newest - timedelta(days=3), newest, SMALL) == []
    assert model.past({"orders": shop()["orders"].iloc[:0]}, newest, NOW, SMALL) == []


# ---- the real shop -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return bundled("demand")


def test_it_beats_the_median_of_eight_weeks_at_every_horizon(tables: dict[str, pd.DataFrame]) -> None:
    fitted = model.fit(tables, CUT, PARAMS, RECIPE.seed)
    index = model.index(model.build(tables, CUT, PARAMS))
    truth = model.outcomes(tables, CUT, END, PARAMS)
    ours, theirs = model.score(fitted, index, truth), model.score(None, index, truth)
    assert len(ours) >= 20
    for metric in ("accuracy", *(f"wape_accuracy_h{horizon}" for horizon in HORIZONS)):
        gap = paired_bootstrap(ours[metric].to_numpy(), theirs[metric].to_numpy(), seed=1)
        assert gap.low > 0, (metric, gap)
    assert ours["total_accuracy"].mean() > theirs["total_accuracy"].mean() + 0.03


def test_hardly_anything_is_left_uncategorised(tables: dict[str, pd.DataFrame]) -> None:
    frame = model.build(tables, END, PARAMS)
    left = frame[frame["category"] == OTHER]
    assert left["units"].sum() / frame["units"].sum() < 0.02
    assert left["spend"].sum() / frame["spend"].sum() < 0.02
