"""Similar content on a site small enough to see the answer by eye, on bad requests, and on the official test visitors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from benchmarks import bundled
from benchmarks.quality.similar_content import CUT, END, REFERENCE
from checks.metrics import paired_bootstrap
from configs.load import load
from errors import InputError, ModelError, SchemaError
from models import similar_content as model
from models.contract import Decided, Proposal, configure, find
from models.kit.nextpage import Fitted
from models.kit.sessions import Index

NOW = datetime(1998, 2, 20, tzinfo=UTC)
WORDS, GAMES = ("/word", "/wordsupport", "/msword", "/worddev"), ("/games", "/kids", "/sports")
OLD = "/fossil"  # visited once, long ago
RECIPE = load().models["similar_content"]
PARAMS, POLICY = configure(find("similar_content"), RECIPE)
SMALL = msgspec.structs.replace(PARAMS, network=msgspec.structs.replace(PARAMS.network, hidden=4, epochs=40, batch=4))


def site() -> dict[str, pd.DataFrame]:
    """Twenty writers and twenty players; each misses one page of the set; /games is the most popular page."""
    rows: list[tuple[str, str, int]] = []
    for at in range(20):
        rows += [(f"writer{at}", page, at) for number, page in enumerate(WORDS) if number != at % 4]
        rows += [(f"player{at}", page, at) for number, page in enumerate(GAMES) if number != at % 3 or at < 9]
    rows.append(("writer0", OLD, 300))
    frame = pd.DataFrame(rows, columns=["visitor", "page", "hours"])
    frame["title"] = frame["page"].str.strip("/")
    order = frame.groupby("visitor").cumcount()
    frame["seen_at"] = pd.Timestamp(NOW) - pd.to_timedelta(frame["hours"] + 1, unit="h") + pd.to_timedelta(order, "s")
    return {"visits": frame.drop(columns="hours")}


@pytest.fixture(scope="module")
def index() -> Index:
    return model.index(model.build(site(), NOW, SMALL))


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return model.fit(site(), NOW, SMALL, seed=1)


def ask(fitted: Fitted | None, index: Index, policy: Any = POLICY, **request: Any) -> Decided:
    requests = [model.Request(**request)]
    proposals = model.rules(index, requests) if fitted is None else model.predict(fitted, index, requests)
    return model.decide(proposals, requests, index, policy)[0]


# ---- what is proposed ----------------------------------------------------------------------------


def test_the_missing_page_of_the_set_comes_first(fitted: Fitted, index: Index) -> None:
    assert ask(fitted, index, page="/word", session=("/msword", "/worddev"), k=1).items == ("/wordsupport",)
    assert ask(fitted, index, page="/kids", session=("/sports",), k=1).items == ("/games",)
    assert set(ask(fitted, index, page="/games", k=2).items) == {"/kids", "/sports"}


def test_a_session_is_a_set(fitted: Fitted, index: Index) -> None:
    one = ask(fitted, index, page="/word", session=("/msword", "/worddev", "/word"))
    assert one == ask(fitted, index, session=("/worddev", "/word", "/msword"))


def test_addresses_are_understood_in_any_case_and_with_slashes(fitted: Fitted, index: Index) -> None:
    assert ask(fitted, index, page=" /Kids/ ") == ask(fitted, index, page="/kids")


def test_a_known_visitor_is_not_shown_what_was_seen(fitted: Fitted, index: Index) -> None:
    assert not {"/kids", "/sports"} & set(ask(fitted, index, visitor="player9").items)
    assert ask(fitted, index, visitor="player9", k=1).items == ("/games",)


@pytest.mark.parametrize(
    "request_", [{}, {"visitor": "nobody"}, {"page": "/no/such"}, {"session": ("/nor", "/this"), "visitor": "nobody"}]
)
def test_who_is_not_known_is_shown_what_is_popular(fitted: Fitted, index: Index, request_: dict[str, Any]) -> None:
    answer = ask(fitted, index, k=4, **request_)
    assert answer.items == ask(None, index, k=4, **request_).items
    most = np.argsort(-index.catalogue.visitors, kind="stable")
    assert answer.items == tuple(index.catalogue.pages[at] for at in most[:4])


def test_scores_are_shares_that_fall(fitted: Fitted, index: Index) -> None:
    proposal = model.predict(fitted, index, [model.Request(page="/word")])[0]
    assert len(proposal.items) == len(index.catalogue.pages) - 1
    assert list(proposal.scores) == sorted(proposal.scores, reverse=True)
    assert sum(proposal.scores) == pytest.approx(1.0)


def test_the_rules_show_the_family_first_then_what_is_popular(index: Index) -> None:
    shown = ask(None, index, page="/word", k=6).items
    assert set(shown[:3]) == set(WORDS[1:])
    assert shown[3] == "/sports"  # of the players' pages the one with most visitors, as /kids; by name
    assert model.rules(None, [model.Request()]) == [Proposal()]


def test_a_page_that_was_not_learned_is_ignored(fitted: Fitted, index: Index) -> None:
    newer = site()["visits"].replace({"page": {"/worddev": "/brand-new"}})
    later = model.index(model.build({"visits": pd.concat([site()["visits"], newer])}, NOW, SMALL))
    request = [model.Request(page="/word", session=("/brand-new",))]
    assert model.predict(fitted, later, request) == model.predict(fitted, index, [model.Request(page="/word")])


# ---- what leaves ---------------------------------------------------------------------------------


def decide(index: Index | None, *items: str, policy: Any = POLICY, **request: Any) -> Decided:
    proposal = Proposal(items=items, scores=tuple(float(-at) for at in range(len(items))))
    return model.decide([proposal], [model.Request(**request)], index, policy)[0]


def test_a_page_seen_already_never_leaves(index: Index) -> None:
    for request in ({"page": "/Word"}, {"session": ("/word",)}, {"visitor": "writer1"}):
        decided = decide(index, "/word", "/games", k=1, **request)
        assert (decided.items, decided.overruled) == (("/games",), ("already_seen",))
    assert decide(None, "/word", "/games", page="/word", k=1).items == ("/games",)


def test_a_retired_page_never_leaves(index: Index) -> None:
    policy = msgspec.structs.replace(POLICY, retired=("/games",))
    assert decide(index, "/games", "/word", k=1, policy=policy).items == ("/word",)
    assert decide(index, OLD, "/word", k=1).overruled == ("retired",)  # nobody came for twelve days
    assert decide(index, "/never/seen", "/word", k=1).overruled == ("retired",)
    patient = msgspec.structs.replace(POLICY, retired_after_days=100.0)
    assert decide(index, OLD, k=1, policy=patient).items == (OLD,)


def test_a_page_that_is_not_promoted_never_leaves() -> None:
    decided = decide(None, "/isapi", "/word", k=1)
    assert (decided.items, decided.overruled) == (("/word",), ("not_promoted",))


@pytest.mark.parametrize("spelled", ["/Games/", "games", " //GAMES "])
@pytest.mark.parametrize("rule", ["retired", "not_promoted"])
def test_a_page_of_the_policy_is_understood_as_it_is_in_a_request(index: Index, rule: str, spelled: str) -> None:
    policy = msgspec.structs.replace(POLICY, **{rule: (spelled,)})
    decided = decide(index, "/games", "/word", k=1, policy=policy)
    assert (decided.items, decided.overruled) == (("/word",), (rule,))


def test_an_empty_slate_says_why(fitted: Fitted, index: Index) -> None:
    for how in (fitted, None):
        everything = ask(how, index, session=index.catalogue.pages)
        assert everything == Decided(overruled=("nothing_left",))
    request = [model.Request(page="/word")]
    assert model.decide(model.rules(None, request), request, None, POLICY) == [Decided(overruled=("no_catalogue",))]


def test_one_family_has_its_share_of_a_slate(index: Index) -> None:
    policy = msgspec.structs.replace(POLICY, max_per_family=2)
    decided = decide(index, "/word", "/msword", "/worddev", "/games", k=3, policy=policy)
    assert (decided.items, decided.overruled) == (("/word", "/msword", "/games"), ("max_per_family",))


def test_a_slate_is_no_longer_than_allowed(index: Index) -> None:
    policy = msgspec.structs.replace(POLICY, max_items=1)
    assert decide(index, *GAMES, k=2, policy=policy).overruled == ("max_items",)
    assert decide(index, *GAMES, k=1, policy=policy).overruled == ()


def test_the_rules_of_the_house_win_over_the_model(fitted: Fitted, index: Index) -> None:
    first = ask(fitted, index, page="/kids", session=("/sports",), k=1)
    assert first.items == ("/games",)
    policy = msgspec.structs.replace(POLICY, not_promoted=("/games",))
    second = ask(fitted, index, policy, page="/kids", session=("/sports",), k=1)
    assert second.items != first.items
    assert second.overruled == ("not_promoted",)


# ---- bad requests --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"k": 0}', r"\$\.k"),
        (b'{"k": 51}', r"\$\.k"),
        (b'{"page": 7}', r"\$\.page"),
        (b'{"page": ""}', r"\$\.page"),
        (b'{"page": "/' + b"x" * 128 + b'"}', r"\$\.page"),
        (b'{"session": "/kb"}', r"\$\.session"),
        (b'{"session": [null]}', r"\$\.session\[0\]"),
        (b'{"session": [' + b'"/a",' * 500 + b'"/a"]}', r"\$\.session"),
        (b'{"visitor": ""}', r"\$\.visitor"),
        (b'{"pages": []}', "pages"),
        (b"[]", "object"),
    ],
)
def test_a_request_of_another_shape_is_refused_with_its_field(body: bytes, named: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=named):
        msgspec.json.decode(body, type=model.Request)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (model.Request(k=0), r"\$\.k"),
        (model.Request(session=("/a",) * 501), r"\$\.session"),
        (model.Request(session=("/a", "")), r"\$\.session\[1\]"),
        (model.Request(page="x" * 129), r"\$\.page"),
    ],
)
def test_requests_made_in_python_meet_the_same_limits(
    fitted: Fitted, index: Index, request_: model.Request, field: str
) -> None:
    with pytest.raises(InputError, match=field):
        model.predict(fitted, index, [request_])
    with pytest.raises(InputError, match=field):
        model.rules(index, [request_])


# ---- the rest of the contract --------------------------------------------------------------------


def test_kpi_is_a_hit_in_any_case() -> None:
    shown = Decided(items=("/kb", "/ie"), scores=(1.0, 0.5))
    assert model.kpi(shown, model.Outcome(visited=("/search", "/IE/"))) == 1.0
    assert model.kpi(shown, model.Outcome(visited=("/search",))) == 0.0
    assert model.kpi(shown, model.Outcome(visited=())) == 0.0


def test_routing_by_visitor_or_pages() -> None:
    assert model.routing_key(model.Request(visitor="ada", page="/kb")) == "ada"
    one = model.Request(page="/kb", session=("/ie",))
    assert model.routing_key(one) == model.routing_key(model.Request(page="/ie", session=("/KB/",)))


def test_masking_touches_the_visitor_only() -> None:
    masked = model.mask(model.Request(visitor="ada", page="/kb"), lambda subject: f"p1_{len(subject)}")
    assert masked == model.Request(visitor="p1_3", page="/kb")
    assert model.mask(model.Request(page="/kb"), lambda subject: "never") == model.Request(page="/kb")


def test_segments_by_eye() -> None:
    segments = model.segments(model.build(site(), NOW, SMALL))
    assert segments.loc["writer0"].tolist() == ["3 to 5 pages", "popular page"]
    assert segments.loc["player10", "length"] == "2 pages"


def test_score_hides_one_page_of_each_visitor_with_two(fitted: Fitted, index: Index) -> None:
    seen = [("a", "/kids"), ("a", "/sports"), ("a", "/games"), ("b", "/word"), ("c", "/word"), ("c", "/never/seen")]
    truth = pd.DataFrame(seen, columns=["subject", "page"]).assign(time=pd.Timestamp(NOW))
    scores = model.score(fitted, index, truth)
    assert scores.index.tolist() == ["a", "c"]
    assert scores.loc["a"].tolist() == [1.0, 1.0]
    assert scores.equals(model.score(fitted, index, truth.sample(frac=1, random_state=3)))


def test_what_was_asked_in_the_past_hides_what_came_of_it() -> None:
    found = model.past(site(), NOW - timedelta(hours=5), NOW, PARAMS)
    assert len(found) == 10
    for one in found:
        assert one.outcome.visited[0] not in (one.request.page, *one.request.session)


def test_a_page_seen_twice_counts_once() -> None:
    twice = {"visits": pd.concat([site()["visits"]] * 2)}
    pd.testing.assert_frame_equal(model.build(twice, NOW, SMALL), model.build(site(), NOW, SMALL))


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(ModelError, match="a visitor with two pages"):
        model.fit(site(), NOW - timedelta(days=999), SMALL, seed=1)
    alone = {"visits": site()["visits"].drop_duplicates("visitor")}
    with pytest.raises(ModelError, match="a visitor with two pages"):
        model.fit(alone, NOW, SMALL, seed=1)


def test_a_table_of_another_shape_is_an_error() -> None:
    with pytest.raises(SchemaError, match="page"):
        model.build({"visits": site()["visits"].rename(columns={"page": "url"})}, NOW, SMALL)


# ---- the official test visitors ------------------------------------------------------------------


@pytest.mark.slow  # the whole of the real data
def test_it_beats_its_baselines_and_the_reference_on_the_official_test_visitors() -> None:
    tables = bundled("similar_content")
    index = model.index(model.build(tables, CUT, PARAMS))
    fitted = model.fit(tables, CUT, PARAMS, RECIPE.seed)
    truth = model.outcomes(tables, CUT, END, PARAMS)
    ours = model.score(fitted, index, truth)
    assert len(ours) == 3453
    hit, ndcg = REFERENCE["EASE"]
    assert ours["hit_at_10"].mean() > hit
    assert ours["ndcg_at_10"].mean() > ndcg
    rivals = {**model.baselines(tables, CUT, PARAMS, RECIPE.seed), "rules": None}
    assert "ease" in rivals
    for name, rival in rivals.items():
        theirs = model.score(rival, index, truth)
        for metric in ("hit_at_10", "ndcg_at_10"):
            gap = paired_bootstrap(ours[metric].to_numpy(), theirs[metric].to_numpy(), samples=500, seed=1)
            assert gap.low > 0, (name, metric, gap)
    assert sum(map(len, model.dump(fitted).values())) < 2_000_000
