"""Recommendation on a shop small enough to see the answer by eye, on bad requests, and on the real holdout."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from benchmarks import bundled
from benchmarks.quality.recommendation import CUT, END, REFERENCE
from checks.metrics import paired_bootstrap
from configs.load import load
from errors import InputError, ModelError, SchemaError
from models import recommendation as model
from models.contract import Decided, Proposal, configure, find
from models.kit.history import Index
from models.kit.recommender import Fitted

NOW = datetime(2011, 6, 1, tzinfo=UTC)
TEA, CAKE, TOYS = ("22001", "22002", "22003"), ("22004", "22005"), ("44001", "44002", "44003")
OLD = "99999"  # sold once, long ago
RECIPE = load().models["recommendation"]
PARAMS, POLICY = configure(find("recommendation"), RECIPE)
SMALL = msgspec.structs.replace(PARAMS, ridge=1.0)


def shop() -> dict[str, pd.DataFrame]:
    """Twenty tea drinkers and twenty toy buyers; each misses one product of the set; one customer ordered long ago."""
    rows: list[tuple[str, str, int, str]] = []
    for at in range(20):
        tea = [code for number, code in enumerate((*TEA, *CAKE)) if number != at % 5]
        toys = [code for number, code in enumerate(TOYS) if number != at % 3]
        rows += [(f"tea{at}", code, at, "United Kingdom") for code in tea]
        rows += [(f"toy{at}", code, at, "France") for code in toys]
    rows.append(("tea0", OLD, 300, "United Kingdom"))
    frame = pd.DataFrame(rows, columns=["customer_id", "stock_code", "days", "country"])
    frame["invoice_no"] = (
        frame["customer_id"].map(lambda customer: f"5{int(customer[3:]):05d}") + frame["customer_id"].str[:1]
    )
    frame["description"], frame["quantity"], frame["unit_price"] = "thing", 2, 1.5
    frame["invoice_date"] = pd.Timestamp(NOW) - pd.to_timedelta(frame["days"] + 1, unit="D")
    return {"orders": frame.drop(columns="days")}


@pytest.fixture(scope="module")
def index() -> Index:
    return model.index(model.build(shop(), NOW, SMALL))


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return model.fit(shop(), NOW, SMALL, seed=1)


def ask(fitted: Fitted | None, index: Index, policy: Any = POLICY, **request: Any) -> Decided:
    requests = [model.Request(**request)]
    proposals = model.rules(index, requests) if fitted is None else model.predict(fitted, index, requests)
    return model.decide(proposals, requests, index, policy)[0]


# ---- what is proposed ----------------------------------------------------------------------------


def test_a_customer_is_offered_the_missing_product_of_the_set_first(fitted: Fitted, index: Index) -> None:
    assert ask(fitted, index, customer="tea0", k=1).items == ("22001",)
    assert ask(fitted, index, customer="tea3", k=1).items == ("22004",)
    assert ask(fitted, index, customer="toy1", k=1).items == ("44002",)


def test_a_basket_without_a_customer_is_enough(fitted: Fitted, index: Index) -> None:
    assert set(ask(fitted, index, recent=("44001", "44002"), k=1).items) == {"44003"}
    assert set(ask(fitted, index, recent=TEA, k=2).items) == set(CAKE)


def test_codes_are_understood_in_any_case_and_with_spaces(fitted: Fitted, index: Index) -> None:
    assert ask(fitted, index, recent=(" 44001 ", "44002"), k=3) == ask(fitted, index, recent=("44001", "44002"), k=3)


def test_what_is_known_is_not_offered_unless_asked_for(fitted: Fitted, index: Index) -> None:
    had = set(TEA[1:] + CAKE)
    assert not set(ask(fitted, index, customer="tea0", k=5).items) & had
    assert set(ask(fitted, index, customer="tea0", k=5, exclude_bought=False).items) & had


@pytest.mark.parametrize(
    "request_",
    [{}, {"customer": "nobody"}, {"recent": ("00000", "no such code")}, {"customer": "nobody", "recent": ("00000",)}],
)
def test_who_is_not_known_is_offered_what_sells(fitted: Fitted, index: Index, request_: dict[str, Any]) -> None:
    answer = ask(fitted, index, k=8, **request_)
    assert answer.items == ask(None, index, k=8, **request_).items
    assert len(answer.items) == 8


def test_unknown_codes_beside_known_ones_are_ignored(fitted: Fitted, index: Index) -> None:
    assert ask(fitted, index, recent=("44001", "00000", "?")).items == ask(fitted, index, recent=("44001",)).items


def test_a_repeated_code_counts_once(fitted: Fitted, index: Index) -> None:
    assert ask(fitted, index, recent=("44001",) * 1000) == ask(fitted, index, recent=("44001",))


def test_the_rules_offer_what_sells_now(index: Index) -> None:
    by_trend = sorted(zip(-index.catalogue.trend, index.catalogue.codes, strict=True))
    assert ask(None, index, k=3).items == tuple(code for _, code in by_trend[:3])
    assert model.rules(None, [model.Request()]) == [Proposal()]


def test_a_proposal_has_some_to_spare(fitted: Fitted, index: Index) -> None:
    assert len(model.predict(fitted, index, [model.Request(k=1)])[0].items) == len(index.catalogue.codes)


def test_a_fitted_model_answers_from_an_index_that_knows_more_or_nothing(fitted: Fitted) -> None:
    later = shop()["orders"].assign(stock_code=lambda frame: frame["stock_code"].replace("44003", "10000"))
    newer = model.index(model.build({"orders": pd.concat([shop()["orders"], later])}, NOW, SMALL))
    request = [model.Request(recent=("44001", "10000"), k=3)]
    assert model.predict(fitted, newer, request)[0].items[:2] == ("44003", "44002")
    nothing = model.index(model.build({"orders": shop()["orders"].iloc[:0]}, NOW, SMALL))
    assert model.predict(fitted, nothing, [model.Request(recent=("44001", "44002"))])[0].items[0] == "44003"
    assert model.rules(nothing, [model.Request()]) == [Proposal()]


# ---- what leaves ---------------------------------------------------------------------------------


def propose(*items: str) -> list[Proposal]:
    return [Proposal(items=items, scores=tuple(float(-at) for at in range(len(items))))]


def decide(index: Index | None, *items: str, policy: Any = POLICY, **request: Any) -> Decided:
    return model.decide(propose(*items), [model.Request(**request)], index, policy)[0]


def test_a_withdrawn_product_never_leaves(index: Index) -> None:
    decided = decide(index, OLD, "22001", k=1)
    assert (decided.items, decided.overruled) == (("22001",), ("withdrawn",))
    assert decide(index, "00001", "22001", k=1).overruled == ("withdrawn",)  # never in the catalogue
    patient = msgspec.structs.replace(POLICY, withdrawn_after_days=400.0)
    assert decide(index, OLD, "22001", k=1, policy=patient).items == (OLD,)


@pytest.mark.parametrize("code", ["POST", "BANK CHARGES", "gift_0001_10", "M", "DCGS0003", "22001\n"])
def test_what_is_no_product_never_leaves(index: Index, code: str) -> None:
    for known in (index, None):
        decided = decide(known, code, "22001", k=1)
        assert (decided.items, decided.overruled) == (("22001",), ("not_a_product",))


def test_bought_products_leave_only_when_asked_for(index: Index) -> None:
    assert decide(index, "22002", "22001", customer="tea0", k=1).overruled == ("already_bought",)
    assert decide(index, "22002", "22001", recent=("22002",), k=1).items == ("22001",)
    again = decide(index, "22002", "22001", customer="tea0", k=1, exclude_bought=False)
    assert (again.items, again.overruled) == (("22002",), ())


def test_what_is_out_of_stock_never_leaves(index: Index) -> None:
    decided = decide(index, "22001", "22002", k=1, out_of_stock=(" 22001 ",))
    assert (decided.items, decided.overruled) == (("22002",), ("out_of_stock",))
    assert decide(None, "85123A", "22001", k=1, out_of_stock=("85123a",)).items == ("22001",)
    assert decide(index, "22001", k=1, out_of_stock=("22002",)).overruled == ()


def test_what_is_withheld_never_leaves_whoever_asks(index: Index) -> None:
    policy = msgspec.structs.replace(POLICY, withheld=("22001",))
    for exclude_bought in (True, False):
        decided = decide(index, "22001", "22002", k=1, policy=policy, exclude_bought=exclude_bought)
        assert (decided.items, decided.overruled) == (("22002",), ("withheld",))
    assert POLICY.withheld == ()


def test_a_slate_is_full_when_the_best_are_out_of_stock(fitted: Fitted, index: Index) -> None:
    best = ask(fitted, index, customer="toy1", k=3).items
    next_best = ask(fitted, index, customer="toy1", k=3, out_of_stock=best)
    assert len(next_best.items) == 3
    assert not set(next_best.items) & set(best)
    assert next_best.overruled == ("out_of_stock",)
    assert "out_of_stock" in ask(None, index, k=8, out_of_stock=TEA).overruled


def test_more_is_proposed_the_more_is_out_of_stock(
    monkeypatch: pytest.MonkeyPatch, fitted: Fitted, index: Index
) -> None:
    monkeypatch.setattr(model, "SPARE", 0)
    assert len(ask(fitted, index, k=2, out_of_stock=TEA[:2]).items) == 2


def test_one_family_has_its_share_of_a_slate() -> None:
    policy = msgspec.structs.replace(POLICY, max_per_family=2)
    decided = decide(None, "85123A", "85123B", "85123C", "22001", k=3, policy=policy)
    assert (decided.items, decided.overruled) == (("85123A", "85123B", "22001"), ("max_per_family",))


def test_a_slate_is_no_longer_than_allowed(index: Index) -> None:
    policy = msgspec.structs.replace(POLICY, max_items=2)
    decided = decide(index, *TEA, *CAKE, k=4, policy=policy)
    assert (len(decided.items), decided.overruled) == (2, ("max_items",))
    assert decide(index, *TEA, k=2, policy=policy).overruled == ()


def test_a_rule_that_changed_nothing_is_not_named(index: Index) -> None:
    assert decide(index, "22001", OLD, k=1).overruled == ()


# ---- bad requests --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"k": 0}', r"\$\.k"),
        (b'{"k": 101}', r"\$\.k"),
        (b'{"k": "ten"}', r"\$\.k"),
        (b'{"k": 2.5}', r"\$\.k"),
        (b'{"customer": 17850}', r"\$\.customer"),
        (b'{"customer": ""}', r"\$\.customer"),
        (b'{"customer": "' + b"x" * 129 + b'"}', r"\$\.customer"),
        (b'{"recent": "85123A"}', r"\$\.recent"),
        (b'{"recent": [null]}', r"\$\.recent\[0\]"),
        (b'{"recent": ["' + b"x" * 33 + b'"]}', r"\$\.recent\[0\]"),
        (b'{"recent": [' + b'"1",' * 1000 + b'"1"]}', r"\$\.recent"),
        (b'{"out_of_stock": "85123A"}', r"\$\.out_of_stock"),
        (b'{"out_of_stock": ["' + b"x" * 33 + b'"]}', r"\$\.out_of_stock\[0\]"),
        (b'{"out_of_stock": [' + b'"1",' * 1000 + b'"1"]}', r"\$\.out_of_stock"),
        (b'{"exclude_bought": 1}', r"\$\.exclude_bought"),
        (b'{"customers": "ada"}', "customers"),
        (b"[]", "object"),
    ],
)
def test_a_request_of_another_shape_is_refused_with_its_field(body: bytes, named: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=named):
        msgspec.json.decode(body, type=model.Request)


@pytest.mark.parametrize("body", [b'{"k": NaN}', b"not json", b"", b'{"recent": ["\xff"]}'])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        msgspec.json.decode(body, type=model.Request)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (model.Request(k=0), r"\$\.k"),
        (model.Request(k=101), r"\$\.k"),
        (model.Request(recent=("1",) * 1001), r"\$\.recent"),
        (model.Request(recent=("1", "x" * 33)), r"\$\.recent\[1\]"),
        (model.Request(out_of_stock=("1",) * 1001), r"\$\.out_of_stock"),
        (model.Request(out_of_stock=("x" * 33,)), r"\$\.out_of_stock\[0\]"),
    ],
)
def test_requests_made_in_python_meet_the_same_limits(
    fitted: Fitted, index: Index, request_: model.Request, field: str
) -> None:
    with pytest.raises(InputError, match=field):
        model.predict(fitted, index, [request_])
    with pytest.raises(InputError, match=field):
        model.rules(index, [request_])


def test_outcomes_have_limits_too() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.purchased"):
        msgspec.json.decode(b'{"purchased": [1]}', type=model.Outcome)


# ---- the rest of the contract --------------------------------------------------------------------


def test_kpi_is_a_hit_in_any_case() -> None:
    shown = Decided(items=("85123A", "22001"), scores=(1.0, 0.5))
    assert model.kpi(shown, model.Outcome(purchased=("00000", " 85123a "))) == 1.0
    assert model.kpi(shown, model.Outcome(purchased=("00000",))) == 0.0
    assert model.kpi(shown, model.Outcome(purchased=())) == 0.0


def test_routing_by_customer_or_basket() -> None:
    assert model.routing_key(model.Request(customer="ada", recent=("1",))) == "ada"
    assert model.routing_key(model.Request(recent=("2", "1"))) == model.routing_key(model.Request(recent=("1", "2")))


def test_masking_touches_the_customer_only() -> None:
    masked = model.mask(model.Request(customer="ada", recent=("1",)), lambda subject: f"p1_{len(subject)}")
    assert masked == model.Request(customer="p1_3", recent=("1",))
    assert model.mask(model.Request(), lambda subject: "never") == model.Request()


def test_segments_by_eye() -> None:
    segments = model.segments(model.build(shop(), NOW, SMALL))
    assert segments.loc["tea0"].tolist() == ["home", "under 10", "last 30 days"]
    assert segments.loc["toy0", "country"] == "abroad"


def test_score_by_eye(fitted: Fitted, index: Index) -> None:
    truth = pd.DataFrame(
        {
            "subject": ["tea0", "tea0", "toy0", "stranger", "tea1"],
            "item": ["22001", "22002", "44002", "22001", OLD],
            "time": pd.Timestamp(NOW),
            "units": 1.0,
            "revenue": 2.0,
        }
    )
    scores = model.score(fitted, index, truth)
    assert scores.index.tolist() == ["tea0", "toy0"]  # a stranger has no history; OLD has too few buyers to count
    assert scores.loc["tea0", ["hit_at_10", "recall_at_20", "ndcg_at_20", "repeat_hit_at_10"]].tolist() == [1, 1, 1, 1]
    assert np.isnan(scores.loc["toy0", "ndcg_at_20"])  # bought nothing new
    assert scores.loc["toy0", "repeat_hit_at_10"] == 1


def test_outcomes_are_net_and_of_the_window() -> None:
    tables = shop()
    found = model.outcomes(tables, NOW - timedelta(days=5), NOW - timedelta(days=3), PARAMS)
    assert set(found["subject"]) == {"tea3", "tea4", "toy3", "toy4"}  # the end is not in the window
    taken_back = tables["orders"].assign(invoice_no="C" + tables["orders"]["invoice_no"], quantity=-2)
    both = {"orders": pd.concat([tables["orders"], taken_back])}
    assert model.outcomes(both, NOW - timedelta(days=5), NOW, PARAMS).empty


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(ModelError, match="a purchase before"):
        model.fit({"orders": shop()["orders"].iloc[:0]}, NOW, SMALL, seed=1)
    with pytest.raises(ModelError, match="a purchase before"):
        model.fit(shop(), NOW - timedelta(days=999), SMALL, seed=1)


def test_a_table_of_another_shape_is_an_error() -> None:
    with pytest.raises(SchemaError, match="stock_code"):
        model.build({"orders": shop()["orders"].rename(columns={"stock_code": "sku"})}, NOW, SMALL)


# ---- the real holdout ----------------------------------------------------------------------------


@pytest.mark.slow  # the whole of the real data
def test_it_beats_its_baselines_and_the_reference_on_the_real_holdout() -> None:
    tables = bundled("recommendation")
    index = model.index(model.build(tables, CUT, PARAMS))
    fitted = model.learn(index, PARAMS)  # what `fit` does once it has the index
    truth = model.outcomes(tables, CUT, END, PARAMS)
    ours = model.score(fitted, index, truth)
    assert ours["ndcg_at_20"].count() > 1800
    for metric, figure in REFERENCE.items():
        assert ours[metric].mean() >= figure, metric
    rivals = {**model.baselines(tables, CUT, PARAMS, RECIPE.seed), "rules": None}
    for name, rival in rivals.items():
        theirs = model.score(rival, index, truth)
        for metric in REFERENCE:
            gap = paired_bootstrap(ours[metric].to_numpy(), theirs[metric].to_numpy(), samples=300, seed=1)
            assert gap.low > 0, (name, metric, gap)
    assert sum(map(len, model.dump(fitted).values())) < 10_000_000
