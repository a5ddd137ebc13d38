"""Reputation: that later totals reach neither features nor lessons, bad requests, and the rest of its contract."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks import bundled
from configs.load import load
from errors import DataError, InputError
from models import reputation as model
from models.contract import Decided, configure, find
from models.kit import conduct, trust
from models.kit.trust import Fitted
from tests.models.kit.site import NOW, Post, tables

CONFIG = load()
RECIPE = CONFIG.models["reputation"]
PARAMS, POLICY = configure(find("reputation"), RECIPE)
QUICK = msgspec.structs.replace(PARAMS, learner=msgspec.structs.replace(PARAMS.learner, trees=20))
EACH = 150


def site() -> dict[str, pd.DataFrame]:
    """Every fifth day a newcomer who keeps posting each 10 days, for good, and three who ask once; scores say nothing."""
    accounts: list[tuple[str, float]] = []
    posts: list[Post] = []
    for at in range(EACH):
        start = 5.0 * at + 0.5
        accounts += [(f"steady {at}", start), *((f"once {at} {one}", start) for one in range(3))]
        posts += [(f"steady {at}", day, 2, at % 5) for day in np.arange(start, 0, -10.0)]
        posts += [(f"once {at} {one}", start, 1, at % 7) for one in range(3)]
    return tables(accounts, posts, [(f"steady {at}", 5.0 * at + 0.25) for at in range(EACH)])


@pytest.fixture(scope="module")
def shop() -> dict[str, pd.DataFrame]:
    return site()


@pytest.fixture(scope="module")
def fitted(shop: dict[str, pd.DataFrame]) -> Fitted:
    return model.fit(shop, NOW, QUICK, seed=1)


def ask(fitted: Fitted | None, index: Any, who: str) -> Decided:
    requests = [model.Request(contributor=who)]
    proposals = model.predict(fitted, index, requests) if fitted else model.rules(index, requests)
    return model.decide(proposals, requests, index, POLICY)[0]


# ---- what may be known when ------------------------------------------------------------------------


@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**16), days=st.integers(0, 400))
def test_totals_of_a_later_dump_change_no_feature_and_nothing_learned(
    shop: dict[str, pd.DataFrame], fitted: Fitted, seed: int, days: int
) -> None:
    rng, posts = np.random.default_rng(seed), shop["posts"]
    other = posts.assign(score=rng.integers(-20, 200, len(posts)), view_count=rng.integers(0, 1000, len(posts)))
    as_of = NOW - timedelta(days=days)
    told = {**shop, "posts": other}
    pd.testing.assert_frame_equal(model.build(told, as_of, QUICK), model.build(shop, as_of, QUICK))
    assert model.dump(model.fit(told, NOW, QUICK, 1)) == model.dump(fitted)


def test_the_future_changes_nothing_learned(shop: dict[str, pd.DataFrame]) -> None:
    as_of = NOW - timedelta(days=100)
    times = {alias: CONFIG.datasets[name].event_time for alias, name in RECIPE.tables.items()}
    known = {alias: frame[frame[times[alias]] < as_of] for alias, frame in shop.items()}
    assert model.dump(model.fit(known, as_of, QUICK, 1)) == model.dump(model.fit(shop, as_of, QUICK, 1))


def test_which_pseudonym_somebody_has_changes_nothing_learned(shop: dict[str, pd.DataFrame], fitted: Fitted) -> None:
    """Keys of pseudonyms rotate; the model and its figures stay."""
    columns = {"users": "id", "posts": "owner_user_id", "badges": "user_id"}
    turned = {alias: shop[alias].assign(**{who: shop[alias][who].str[::-1]}) for alias, who in columns.items()}
    assert model.dump(model.fit(turned, NOW, QUICK, 1)) == model.dump(fitted)


def test_only_one_total_enters_the_table_and_it_says_that_it_is_a_label() -> None:
    posts = CONFIG.datasets["stats_posts"]
    totals = {"view_count", "answer_count", "comment_count", "favorite_count", "last_editor_user_id"}
    assert totals == set(posts.dropped)
    assert "never a feature" in posts.columns["score"].meaning
    assert "score" not in {feature.name for feature in model.FEATURES} | set(trust.INPUTS)


# ---- answers ---------------------------------------------------------------------------------------


def test_who_goes_on_is_trusted_and_who_asked_once_is_not(shop: dict[str, pd.DataFrame], fitted: Fitted) -> None:
    index = model.index(model.build(shop, NOW, QUICK))
    high, low = ask(fitted, index, "steady 16"), ask(fitted, index, "once 10 0")
    assert high.value is not None
    assert low.value is not None
    assert high.value > 0.5 > 0.2 > low.value
    assert high.items == (conduct.TRUSTED,)
    assert low.items[0] in {conduct.WATCH, conduct.REVIEW}


def test_the_rules_know_posts_and_account_only(shop: dict[str, pd.DataFrame]) -> None:
    index = model.index(model.build(shop, NOW, QUICK))
    assert ask(None, index, "steady 16") == Decided(items=("trusted",), scores=(0.45,), value=0.45)  # nine posts
    assert ask(None, index, "once 5 0").value == 0.13  # a young account
    assert ask(None, index, "once 10 0").value == 0.07


def test_a_stranger_is_unknown(shop: dict[str, pd.DataFrame], fitted: Fitted) -> None:
    index = model.index(model.build(shop, NOW, QUICK))
    for how in (fitted, None):
        assert ask(how, index, "a stranger").items == ("unknown",)
    assert ask(fitted, index, "a stranger").value == fitted.everyone
    assert ask(None, None, "steady 16") == Decided(items=("unknown",), scores=(0.15,), value=0.15)
    assert ask(fitted, index, "steady 120").items == ("unknown",)  # known for long, so not new


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{}", "contributor"),
        (b'{"contributor": null}', r"\$\.contributor"),
        (b'{"contributor": 919}', r"\$\.contributor"),
        (b'{"contributor": ""}', r"\$\.contributor"),
        (b'{"contributor": "' + b"x" * 129 + b'"}', r"\$\.contributor"),
        (b'{"contributor": "ada", "k": 3}', "k"),
    ],
)
def test_a_request_of_another_shape_is_refused_with_its_field(body: bytes, named: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=named):
        msgspec.json.decode(body, type=model.Request)


@pytest.mark.parametrize("who", ["", "x" * 129])
def test_requests_made_in_python_meet_the_same_limits(shop: dict[str, pd.DataFrame], fitted: Fitted, who: str) -> None:
    index = model.index(model.build(shop, NOW, QUICK))
    for answer in (
        lambda: model.predict(fitted, index, [model.Request(contributor=who)]),
        lambda: ask(None, index, who),
    ):
        with pytest.raises(InputError, match=r"\$\.contributor"):
            answer()


@pytest.mark.parametrize("body", [b'{"valued": 1}', b'{"valued": "yes"}', b"{}", b'{"valued": true, "x": 1}'])
def test_an_outcome_is_yes_or_no(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=model.Outcome)


# ---- the margins of the rollout ----------------------------------------------------------------------


def test_the_margins_see_a_model_that_trusts_the_wrong_people() -> None:
    """On the real holdout: its answers dealt to other people, and as many trusted of whom not one is valued."""
    real, cut = bundled("reputation"), datetime(2013, 6, 2, tzinfo=UTC)
    index, learned = model.index(model.build(real, cut, PARAMS)), model.fit(real, cut, PARAMS, RECIPE.seed)
    truth = model.outcomes(real, cut, cut + timedelta(days=RECIPE.split.outcome_days), PARAMS)
    requests = [model.Request(contributor=who) for who in truth["subject"]]
    answers = model.decide(model.predict(learned, index, requests), requests, index, POLICY)
    came = [model.Outcome(valued=valued) for valued in truth["valued"].tolist()]

    def mean(given: Sequence[Decided]) -> float:
        return float(np.mean([model.kpi(*one) for one in zip(given, came, strict=True)]))

    dealt = [answers[at] for at in np.random.default_rng(1).permutation(len(answers))]
    worst_first = sorted(range(len(came)), key=lambda at: came[at].valued)
    trust_first = sorted(answers, key=lambda one: one.items != (conduct.TRUSTED,))
    turned = dict(zip(worst_first, trust_first, strict=True))
    wrong = [turned[at] for at in range(len(came))]
    for broken in (dealt, wrong):
        assert mean(broken) / mean(answers) - 1 < -2 * RECIPE.rollout.margin_fail
    assert not any(one.valued for one, given in zip(came, wrong, strict=True) if given.items == (conduct.TRUSTED,))


# ---- the rest of the contract ----------------------------------------------------------------------


def test_kpi_is_above_break_even_exactly_when_the_trusted_are_right_often_enough() -> None:
    yes, no = model.Outcome(valued=True), model.Outcome(valued=False)
    trusted, watched = Decided(items=("trusted",), scores=(0.8,), value=0.8), Decided(items=("watch",), scores=(0.2,))
    assert (model.kpi(trusted, yes), model.kpi(trusted, no)) == (1.0, 0.0)
    assert model.kpi(watched, yes) == model.kpi(watched, no) == model.BREAK_EVEN
    for right in range(11):
        answers = [(trusted, yes)] * right + [(trusted, no)] * (10 - right) + [(watched, yes)] * 30
        mean = np.mean([model.kpi(*one) for one in answers])
        assert (mean > model.BREAK_EVEN) == (right / 10 > model.BREAK_EVEN)


def test_the_horizon_is_the_window_of_the_outcome() -> None:
    assert RECIPE.split.outcome_days == PARAMS.horizon_days
    assert RECIPE.rollout.attribution_seconds == PARAMS.horizon_days * 86400


def test_the_past_is_a_weekly_list(shop: dict[str, pd.DataFrame]) -> None:
    start = NOW - timedelta(days=120)
    found = model.past(shop, start, start + timedelta(days=8), QUICK)
    assert sorted({one.time for one in found}) == [start, start + timedelta(days=7)]
    assert {one.due - one.time for one in found} == {timedelta(days=90)}
    first = {one.request.contributor: one.outcome.valued for one in found if one.time == start}
    assert len(first) == 4 * 18  # every fifth day of 90
    assert first["steady 28"]  # their posts have a score of 3
    assert not first["steady 30"]  # of 0


def test_score_by_eye(shop: dict[str, pd.DataFrame], fitted: Fitted) -> None:
    as_of = NOW - timedelta(days=90)
    index, truth = model.index(model.build(shop, as_of, QUICK)), model.outcomes(shop, as_of, NOW, QUICK)
    scores = model.score(fitted, index, truth)
    assert len(scores) == len(truth) == 4 * 18
    assert truth.set_index("subject")["again"].sum() == 18
    assert scores["placed"].notna().sum() == truth["valued"].sum()
    assert scores["placed"].mean() > 0.9
    assert scores["precision_at_50"].mean() == pytest.approx(truth["valued"].sum() / 50, abs=0.01)
    assert scores["again_score"].mean() > model.score(None, index, truth)["again_score"].mean()


def test_segments_by_eye(shop: dict[str, pd.DataFrame]) -> None:
    whole = tables([("ada", 200.0), ("bob", 4.0), ("cy", 60.0)], [("ada", 50.0, 2, 1), ("bob", 3.0, 1, 1)])
    found = model.segments(model.build(whole, NOW, PARAMS))
    assert found.loc["ada"].tolist() == ["later", "answers", "old account"]
    assert found.loc["bob"].tolist() == ["first month", "asks", "new account"]


def test_what_is_watched_of_a_stranger_is_missing(shop: dict[str, pd.DataFrame]) -> None:
    index = model.index(model.build(shop, NOW, QUICK))
    frame = model.observe(index, [model.Request(contributor=who) for who in ("a stranger", "once 10 0")])
    assert frame.iloc[0].isna().all()
    assert frame.loc[1, ["posts", "role"]].tolist() == [1.0, "asks"]


def test_masking_and_routing() -> None:
    masked = model.mask(model.Request(contributor="ada"), lambda subject: f"p1_{len(subject)}")
    assert masked == model.Request(contributor="p1_3")
    assert model.routing_key(masked) == "p1_3"


def test_nothing_to_learn_from_is_an_error(shop: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(DataError, match="take more history in"):
        model.fit(shop, NOW - timedelta(days=700), QUICK, seed=1)


@pytest.mark.parametrize(
    "change", [{"window_days": 0}, {"trusted_share": 1.5}, {"step_days": 0}, {"horizon_days": 400}]
)
def test_parameters_have_limits(change: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**msgspec.to_builtins(PARAMS), **change}, model.Params)
