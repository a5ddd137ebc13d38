"""Segmentation on a shop small enough to see the answer by eye, on bad requests, and on the real holdout."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from benchmarks import bundled
from benchmarks.quality.segmentation import CUT, END
from checks.metrics import paired_bootstrap
from configs.load import load
from errors import InputError, ModelError, SchemaError
from models import segmentation as model
from models.contract import Decided, Proposal, configure, find
from models.kit import groups, rfm
from models.kit.groups import Fitted
from models.kit.standings import Index

NOW = datetime(2011, 6, 1, tzinfo=UTC)
RECIPE = load().models["segmentation"]
PARAMS, POLICY = configure(find("segmentation"), RECIPE)
SMALL = msgspec.structs.replace(PARAMS, resamples=2)
KINDS = {  # days before NOW of each order, GBP of each
    rfm.LOYAL: (tuple(range(4, 310, 18)), 400.0),
    rfm.REGULAR: ((15, 60, 130, 200, 260), 300.0),
    rfm.NEW: ((12,), 250.0),
    rfm.LAPSING: ((90, 200), 300.0),
    rfm.LOST: ((220,), 120.0),
}
EACH = 24


def shop() -> dict[str, pd.DataFrame]:
    """Twenty-four customers of each kind, named by it: "new or occasional 3" ordered once, 12 days and a little ago."""
    rows = []
    for kind, (days, spend) in KINDS.items():
        for at in range(EACH):
            nudge = 1 + (at % 12) / 100
            rows += [(f"{kind} {at}", day * nudge, spend * nudge, at) for day in days]
    frame = pd.DataFrame(rows, columns=["customer_id", "days", "unit_price", "at"])
    frame["invoice_no"] = [f"{500000 + at}" for at in range(len(frame))]
    frame["invoice_date"] = pd.Timestamp(NOW) - pd.to_timedelta(frame["days"], unit="D")
    frame["country"] = np.where(frame["at"] % 2, "United Kingdom", "France")
    return {"orders": frame.assign(stock_code="22001", description="thing", quantity=1).drop(columns=["days", "at"])}


@pytest.fixture(scope="module")
def index() -> Index:
    return model.index(model.build(shop(), NOW, SMALL))


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return model.fit(shop(), NOW, SMALL, seed=1)


def ask(fitted: Fitted | None, index: Index | None, customer: str, policy: Any = POLICY) -> Decided:
    requests = [model.Request(customer=customer)]
    proposals = model.predict(fitted, index, requests) if fitted and index else model.rules(index, requests)
    return model.decide(proposals, requests, index, policy)[0]


# ---- groups and rates ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_each_customer_is_in_the_group_of_its_kind(fitted: Fitted, index: Index, kind: str) -> None:
    for at in range(EACH):
        decided = ask(fitted, index, f"{kind} {at}")
        assert (decided.items, decided.overruled) == ((kind,), ())
        assert decided.value == decided.scores[0] == dict(zip(fitted.names, fitted.rates, strict=True))[kind]


@pytest.mark.parametrize("kind", [rfm.LOYAL, rfm.NEW, rfm.LOST])
def test_the_rules_use_the_same_names(index: Index, kind: str) -> None:
    found = {ask(None, index, f"{kind} {at}").items[0] for at in range(EACH)}
    assert kind in found
    assert found <= set(groups.PLACES)


def test_rates_are_those_of_the_last_horizon(fitted: Fitted, index: Index) -> None:
    """Loyal ones and regulars ordered in the last 28 days, lapsing and lost ones did not; new ones were not there."""
    rates = dict(zip(fitted.names, fitted.rates, strict=True))
    assert rates[rfm.LOYAL] > 0.8
    assert rates[rfm.LOST] < 0.15
    assert fitted.everyone == index.rates.everyone == pytest.approx(0.5)


def test_a_proposal_names_every_group_nearest_first(fitted: Fitted, index: Index) -> None:
    proposal = model.predict(fitted, index, [model.Request(customer="new or occasional 1")])[0]
    assert proposal.items[0] == rfm.NEW
    assert set(proposal.items) == {*fitted.names, rfm.UNKNOWN}
    assert proposal.items[-1] == rfm.UNKNOWN
    assert proposal.value == proposal.scores[0]


def test_a_customer_nobody_knows_is_unknown(fitted: Fitted, index: Index) -> None:
    for how in (fitted, None):
        decided = ask(how, index, "a stranger")
        assert (decided.items, decided.value, decided.overruled) == ((rfm.UNKNOWN,), 0.5, ())
    assert ask(None, None, "a stranger") == Decided(items=(rfm.UNKNOWN,), scores=(0.5,), value=None)


def test_without_a_horizon_of_history_the_rules_name_groups_and_no_rate() -> None:
    late = shop()["orders"]
    late = late[late["invoice_date"] > pd.Timestamp(NOW - timedelta(days=20))]
    decided = ask(None, model.index(model.build({"orders": late}, NOW, SMALL)), "new or occasional 1")
    assert decided.items[0] in groups.PLACES
    assert decided.value is None
    with pytest.raises(ModelError, match="a horizon ago"):
        model.fit({"orders": late}, NOW, SMALL, seed=1)


def test_a_customer_without_net_spend_breaks_nothing(fitted: Fitted) -> None:
    """Everything taken back, or a price of nothing: no standing, no infinity, and the others stay as they are."""
    frame = shop()["orders"]
    back = frame[frame["customer_id"] == "new or occasional 3"].assign(invoice_no="C599999", quantity=-1)
    free = frame[frame["customer_id"] == "new or occasional 4"].assign(customer_id="gifted", unit_price=0.0)
    odd = model.index(model.build({"orders": pd.concat([frame, back, free])}, NOW, SMALL))
    assert ask(fitted, odd, "new or occasional 3").items == ask(fitted, odd, "gifted").items == (rfm.UNKNOWN,)
    assert ask(fitted, odd, "new or occasional 5").items == (rfm.NEW,)


def test_learned_again_next_month_the_names_stay(fitted: Fitted) -> None:
    month = shop()["orders"].assign(invoice_date=lambda frame: frame["invoice_date"] + pd.Timedelta(days=30))
    again = model.fit({"orders": month}, NOW + timedelta(days=30), SMALL, seed=7)
    assert again.names == fitted.names
    assert np.abs(np.array(again.centres) - np.array(fitted.centres)).max() < 1e-3


# ---- what leaves ---------------------------------------------------------------------------------


def decide(index: Index | None, customer: str, *items: str, policy: Any = POLICY) -> Decided:
    proposal = Proposal(items=items, scores=tuple(0.9 - at / 10 for at in range(len(items))), value=0.9)
    return model.decide([proposal], [model.Request(customer=customer)], index, policy)[0]


def test_whoever_ordered_once_and_lately_is_new(index: Index) -> None:
    decided = decide(index, "new or occasional 0", rfm.LOYAL, rfm.LAPSING, rfm.NEW, rfm.UNKNOWN)
    assert (decided.items, decided.overruled) == ((rfm.NEW,), ("newcomer",))
    assert decided.value == decided.scores[0] == pytest.approx(0.7)
    assert decide(index, "lost small 0", rfm.LOST, rfm.NEW).overruled == ()  # once, but long ago
    assert decide(index, "loyal big spenders 0", rfm.LOYAL, rfm.NEW).overruled == ()  # lately, but often


def test_with_few_orders_nobody_is_loyal(index: Index) -> None:
    decided = decide(index, "lapsing 0", rfm.LOYAL, rfm.REGULAR, rfm.LAPSING, rfm.UNKNOWN)
    assert (decided.items, decided.overruled) == ((rfm.LAPSING,), ("too_few_orders",))
    lenient = msgspec.structs.replace(POLICY, loyal_orders=2)
    assert decide(index, "lapsing 0", rfm.LOYAL, rfm.LAPSING, policy=lenient).items == (rfm.LOYAL,)


def test_without_recent_data_a_customer_is_unknown(index: Index) -> None:
    strict = msgspec.structs.replace(POLICY, unknown_after_days=100)
    decided = decide(index, "lost small 0", rfm.LOST, rfm.LAPSING, rfm.UNKNOWN, policy=strict)
    assert (decided.items, decided.overruled) == ((rfm.UNKNOWN,), ("no_recent_data",))


def test_a_rule_invents_no_group(index: Index) -> None:
    assert decide(index, "new or occasional 0", rfm.LOYAL).items == (rfm.LOYAL,)
    assert decide(None, "new or occasional 0", rfm.LOYAL, rfm.NEW).items == (rfm.LOYAL,)


# ---- bad requests --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{}", "customer"),
        (b'{"customer": null}', r"\$\.customer"),
        (b'{"customer": 17850}', r"\$\.customer"),
        (b'{"customer": ""}', r"\$\.customer"),
        (b'{"customer": "' + b"x" * 129 + b'"}', r"\$\.customer"),
        (b'{"customer": "ada", "k": 3}', "k"),
        (b"[]", "object"),
    ],
)
def test_a_request_of_another_shape_is_refused_with_its_field(body: bytes, named: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=named):
        msgspec.json.decode(body, type=model.Request)


@pytest.mark.parametrize("customer", ["", "x" * 129])
def test_requests_made_in_python_meet_the_same_limits(fitted: Fitted, index: Index, customer: str) -> None:
    with pytest.raises(InputError, match=r"\$\.customer"):
        model.predict(fitted, index, [model.Request(customer=customer)])
    with pytest.raises(InputError, match=r"\$\.customer"):
        model.rules(index, [model.Request(customer=customer)])


@pytest.mark.parametrize("body", [b'{"purchased": 1}', b'{"purchased": "yes"}', b"{}", b'{"purchased": true, "x": 1}'])
def test_an_outcome_is_yes_or_no(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=model.Outcome)


@pytest.mark.parametrize(
    "change", [{"groups": 2}, {"groups": 7}, {"min_share": 1.5}, {"horizon_days": 0}, {"resamples": 0}]
)
def test_parameters_have_limits(change: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**msgspec.to_builtins(PARAMS), **change}, model.Params)


# ---- the rest of the contract --------------------------------------------------------------------


def test_kpi_rewards_a_rate_near_the_truth() -> None:
    yes, no = model.Outcome(purchased=True), model.Outcome(purchased=False)
    sure = Decided(items=(rfm.LOYAL,), scores=(0.8,), value=0.8)
    assert model.kpi(sure, yes) == pytest.approx(0.96)
    assert model.kpi(sure, no) == pytest.approx(0.36)
    assert model.kpi(Decided(items=(rfm.UNKNOWN,), scores=(0.5,)), yes) == 0.75  # no rate says nothing


def test_the_horizon_is_the_window_of_the_outcome() -> None:
    assert RECIPE.split.outcome_days == PARAMS.horizon_days
    assert RECIPE.rollout.attribution_seconds == PARAMS.horizon_days * 86400


def test_masking_and_routing() -> None:
    masked = model.mask(model.Request(customer="ada"), lambda subject: f"p1_{len(subject)}")
    assert masked == model.Request(customer="p1_3")
    assert model.routing_key(masked) == "p1_3"


def test_outcomes_tell_of_every_customer_known_before() -> None:
    start = NOW - timedelta(days=28)
    found = model.outcomes(shop(), start, NOW, SMALL).set_index("subject")["purchased"]
    assert len(found) == 4 * EACH  # the new ones came later
    assert found["regulars 0"]
    assert not found["lost small 0"]
    assert model.outcomes(shop(), NOW, NOW, SMALL).empty


def test_score_by_eye(fitted: Fitted, index: Index) -> None:
    truth = pd.DataFrame(
        {"subject": ["new or occasional 0", "loyal big spenders 0", "a stranger"], "purchased": [False, True, True]}
    )
    scores = model.score(fitted, index, truth)
    rates = dict(zip(fitted.names, fitted.rates, strict=True))
    assert scores.index.tolist() == ["loyal big spenders 0", "new or occasional 0"]  # a stranger is in no index
    assert scores["repeat_score"].tolist() == pytest.approx([1 - (1 - rates[rfm.LOYAL]) ** 2, 1 - rates[rfm.NEW] ** 2])
    assert scores["stability"].tolist() == [fitted.stability] * 2
    assert scores["smallest_share"].tolist() == [0.5, 0.5]
    whole = model.score(fitted, index, model.outcomes(shop(), NOW, NOW + timedelta(days=1), SMALL))
    assert whole["silhouette"].mean() > 0.7
    assert whole["smallest_share"].iloc[0] == pytest.approx(0.2)
    assert model.score(None, index, truth)["stability"].isna().all()


def test_segments_by_eye() -> None:
    found = model.segments(model.build(shop(), NOW, SMALL))
    assert found.loc["new or occasional 0"].tolist() == ["abroad", "under 60 days"]
    assert found.loc["lost small 1"].tolist() == ["home", "over 180 days"]


def test_what_is_watched_of_a_stranger_is_missing(index: Index) -> None:
    frame = model.observe(index, [model.Request(customer="a stranger"), model.Request(customer="lapsing 0")])
    assert frame.iloc[0].isna().all()
    assert frame.iloc[1].tolist() == [90.0, 2.0, 600.0, 200.0, "France"]


def test_the_past_is_a_weekly_mailing() -> None:
    start = NOW - timedelta(days=28)
    found = model.past(shop(), start, start + timedelta(days=8), SMALL)
    assert sorted({one.time for one in found}) == [start, start + timedelta(days=7)]
    assert {one.due - one.time for one in found} == {timedelta(days=28)}
    first = {one.request.customer: one.outcome.purchased for one in found if one.time == start}
    assert len(first) == 4 * EACH
    assert first["loyal big spenders 0"]
    assert not first["lapsing 0"]


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(ModelError, match="take more history in"):
        model.fit({"orders": shop()["orders"].iloc[:0]}, NOW, SMALL, seed=1)
    with pytest.raises(SchemaError, match="unit_price"):
        model.build({"orders": shop()["orders"].drop(columns="unit_price")}, NOW, SMALL)


# ---- the real holdout ----------------------------------------------------------------------------


def test_it_beats_its_baselines_and_the_rules_on_the_real_holdout() -> None:
    tables = bundled("segmentation")
    index = model.index(model.build(tables, CUT, PARAMS))
    fitted = model.fit(tables, CUT, PARAMS, RECIPE.seed)
    truth = model.outcomes(tables, CUT, END, PARAMS)
    ours = model.score(fitted, index, truth)
    assert len(ours) == 4094
    assert set(fitted.names) == {rfm.LOYAL, rfm.REGULAR, rfm.NEW, rfm.LAPSING, rfm.LOST}
    assert min(fitted.shares) > 0.05
    assert fitted.stability is not None
    assert fitted.stability > 0.9
    assert ours["silhouette"].mean() > 0.3
    rivals = {**model.baselines(tables, CUT, PARAMS, RECIPE.seed), "rules": None}
    for name, rival in rivals.items():
        theirs = model.score(rival, index, truth)
        gap = paired_bootstrap(ours["repeat_score"].to_numpy(), theirs["repeat_score"].to_numpy(), samples=500, seed=1)
        assert gap.low > 0, (name, gap)
