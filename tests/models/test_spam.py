"""Spam on a mailbox small enough to see the answer by eye, on bad requests, through each rule, and on the real holdout."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from benchmarks import bundled
from checks.metrics import paired_bootstrap
from configs.load import load
from errors import InputError, ModelError, SchemaError
from models import spam as model
from models.contract import Decided, Proposal, configure, find
from models.kit import spotting, texts
from models.kit.spotting import Fitted
from models.spam import HAM, QUARANTINE, REVIEW, Index, Reports, Request

NOW = datetime(2011, 6, 1, tzinfo=UTC)
RECIPE = load().models["spam"]
PARAMS, POLICY = configure(find("spam"), RECIPE)
WINNER = "Win a prize: call 00000000000 now, 150ppm"
EVERY = (QUARANTINE, REVIEW, HAM)


def mailbox(size: int = 40) -> dict[str, pd.DataFrame]:
    """An advert for a prize and a note about lunch in turn, no two alike, an hour apart, the newest an hour before NOW."""
    words = [f"{one}{two}" for one in "abcdefgh" for two in "ijklmnop"][:size]
    rows = []
    for word in words:
        rows += [(f"Win a {word} prize: call 00000000000 now, 150ppm", True), (f"see you at {word} for lunch?", False)]
    frame = pd.DataFrame(rows, columns=["text", "is_spam"]).astype({"text": "str"})
    frame["received_at"] = [pd.Timestamp(NOW) - pd.Timedelta(hours=at + 1) for at in range(len(rows))]
    return {"messages": frame[["received_at", "text", "is_spam"]]}


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return model.fit(mailbox(), NOW, PARAMS, seed=1)


@pytest.fixture(scope="module")
def index() -> Index:
    return model.index(model.build(mailbox(), NOW, PARAMS))


def ask(fitted: Fitted | None, index: Index | None, text: str, policy: Any = POLICY, **more: Any) -> Decided:
    requests = [Request(text=text, **more)]
    proposals = (
        model.rules(index, requests) if fitted is None or index is None else model.predict(fitted, index, requests)
    )
    return model.decide(proposals, requests, index, policy)[0]


# ---- answers -------------------------------------------------------------------------------------


def test_an_advert_is_put_away_and_a_note_is_delivered(fitted: Fitted, index: Index) -> None:
    for how in (fitted, None):
        advert, note = ask(how, index, WINNER), ask(how, index, "lunch at one, shall we?")
        assert (advert.items, note.items) == ((QUARANTINE,), (HAM,))
        assert advert.value is not None
        assert note.value is not None
        assert advert.value > 0.9 > 0.1 > note.value


def test_nothing_is_ever_deleted() -> None:
    said = {answer for answer, _ in model.COSTS}
    assert said == {HAM, REVIEW, QUARANTINE}
    limits = [(0.0, HAM), (0.5, REVIEW), (0.95, QUARANTINE), (1.0, QUARANTINE)]
    curve = spotting.Curve(steepness=1, offset=0, marked=0.5, quarantined=0.95)
    for value, first in limits:
        proposal = model._proposal(value, curve)
        assert proposal.items[0] == first
        assert set(proposal.items) <= said


def test_a_text_nobody_learned_from_is_not_put_away(fitted: Fitted, index: Index) -> None:
    for text in ("愛愛愛愛", "?", "\ud800", "0" * 2000):
        assert ask(fitted, index, text).items != (QUARANTINE,)
        assert ask(None, None, text).items == (HAM,)


def test_digits_and_punctuation_make_no_other_text() -> None:
    assert model.routing_key(Request(text="Call 5 now!")) == model.routing_key(Request(text="call 7: NOW"))
    assert model.routing_key(Request(text="call", sender="p1_ada")) == "p1_ada"


# ---- policy rules: each wins over the model ------------------------------------------------------


def decide(index: Index | None, request: Request, *items: str, policy: Any = POLICY) -> Decided:
    proposal = Proposal(items=items, scores=(0.99,) * len(items), value=0.99)
    return model.decide([proposal], [request], index, policy)[0]


def test_without_a_second_sign_nothing_is_put_away(index: Index) -> None:
    decided = decide(index, Request(text="dear friend, trust me"), *EVERY)
    assert (decided.items, decided.overruled) == ((REVIEW,), ("no_second_sign",))
    assert decide(index, Request(text="dear friend, call 00000"), *EVERY).overruled == ()
    lenient = msgspec.structs.replace(POLICY, min_signs=0)
    assert decide(index, Request(text="dear friend, trust me"), *EVERY, policy=lenient).items == (QUARANTINE,)


def test_whom_the_recipient_knows_is_never_put_away(fitted: Fitted, index: Index) -> None:
    decided = ask(fitted, index, WINNER, known_sender=True)
    assert (decided.items, decided.overruled) == ((REVIEW,), ("known_sender",))


def test_an_allowed_text_is_delivered_whole_or_not_at_all(index: Index) -> None:
    code = "Your LOGIN code is 000000: do not share it"
    decided = decide(index, Request(text=code), *EVERY)
    assert (decided.items, decided.overruled) == ((HAM,), ("allowed_text",))
    assert decide(index, Request(text=f"{code} but call 00000000000"), *EVERY).items == (QUARANTINE,)


def test_a_long_text_is_unlike_all_that_was_learned_from(index: Index) -> None:
    decided = decide(index, Request(text=f"{WINNER} " * 10), *EVERY)
    assert (decided.items, decided.overruled) == ((REVIEW,), ("too_long_to_judge",))


@pytest.mark.parametrize("padding", [" ", "\n", ".", "_", " .", "!?"])
def test_padding_makes_no_text_too_long_to_judge(fitted: Fitted, index: Index, padding: str) -> None:
    decided = ask(fitted, index, WINNER + padding * (600 // len(padding)))
    assert (decided.items, decided.overruled) == ((QUARANTINE,), ())


def reported(text: str, times: int, seen: int = 0) -> Index:
    return Index({texts.digest(text): Reports(times, seen or times)})


@pytest.mark.parametrize(
    ("text", "known_sender", "first"),
    [("lovely weather is it not " * 20, False, "too_long_to_judge"), ("lovely weather", True, "known_sender")],
)
def test_reports_count_beside_every_other_rule(text: str, known_sender: bool, first: str) -> None:
    request, known = Request(text=text, known_sender=known_sender), reported(text, 500)
    decided = decide(known, request, HAM, REVIEW)
    assert (decided.items, decided.overruled) == ((REVIEW,), ("reported_before",))
    decided = decide(known, request, *EVERY)
    assert (decided.items, decided.overruled) == ((REVIEW,), (first,))


def test_two_reports_do_not_outweigh_thirty_who_took_it_for_ham() -> None:
    text = "Sorry, I'll call later"
    assert decide(reported(text, 2, seen=32), Request(text=text), HAM, REVIEW).items == (HAM,)
    assert decide(reported(text, 16, seen=32), Request(text=text), HAM, REVIEW).items == (REVIEW,)
    frame = mailbox()["messages"]
    once = frame.assign(text=["lunch?"] * len(frame), is_spam=[at < 3 for at in range(len(frame))])
    found = model.index(model.build({"messages": once}, NOW, PARAMS))
    assert found.reports == {texts.digest("lunch?"): (3, len(frame))}


def test_what_was_reported_before_is_no_ham() -> None:
    text = "how are you dear"
    known = reported(text, 2)
    decided = decide(known, Request(text=text), HAM, REVIEW)
    assert (decided.items, decided.overruled) == ((REVIEW,), ("reported_before",))
    assert decide(known, Request(text=text), *EVERY).overruled == ()  # the reports are the second sign
    strict = msgspec.structs.replace(POLICY, min_reports=3)
    assert decide(known, Request(text=text), HAM, REVIEW, policy=strict).items == (HAM,)


# ---- no leakage ----------------------------------------------------------------------------------


@hypothesis_settings(deadline=None, max_examples=12)
@given(cut=st.integers(1, 79), seed=st.integers(0, 999))
def test_no_text_of_the_holdout_was_there_before_it(cut: int, seed: int) -> None:
    """Repeats with other digits, capitals and marks are put anywhere: none on both sides of the cut is counted."""
    frame, draw = mailbox()["messages"], np.random.default_rng(seed)
    copies = frame.sample(frac=0.5, random_state=seed)
    changed = copies["text"].str.upper().str.replace("0", str(draw.integers(10))) + "!?"
    moved = copies.assign(text=changed, received_at=copies["received_at"].sample(frac=1, random_state=seed).to_numpy())
    whole = pd.concat([frame, moved], ignore_index=True)
    start = (pd.Timestamp(NOW) - pd.Timedelta(hours=int(cut))).to_pydatetime()
    found = model.outcomes({"messages": whole}, start, NOW, PARAMS)
    learned = set(model.build({"messages": whole}, start, PARAMS)["subject"])
    assert not learned & set(found["subject"])
    assert found["subject"].is_unique
    later = whole[whole["received_at"] >= start]
    assert set(found["subject"]) == {texts.digest(text) for text in later["text"]} - learned


def test_labels_of_the_holdout_teach_nothing() -> None:
    turned = mailbox()["messages"]
    later = turned["received_at"] >= NOW - timedelta(hours=60)
    turned["is_spam"] = turned["is_spam"] ^ later
    start = NOW - timedelta(hours=60)
    params = msgspec.structs.replace(PARAMS, least_texts=1)
    one, two = (model.fit(tables, start, params, seed=1) for tables in (mailbox(), {"messages": turned}))
    assert model.dump(one) == model.dump(two)


# ---- bad requests --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{}", "text"),
        (b'{"text": null}', r"\$\.text"),
        (b'{"text": 5}', r"\$\.text"),
        (b'{"text": ""}', r"\$\.text"),
        (b'{"text": "' + b"x" * 2001 + b'"}', r"\$\.text"),
        (b'{"text": "a", "sender": "' + b"x" * 129 + b'"}', r"\$\.sender"),
        (b'{"text": "a", "known_sender": "yes"}', r"\$\.known_sender"),
        (b'{"text": "a", "delete": true}', "delete"),
    ],
)
def test_a_request_of_another_shape_is_refused_with_its_field(body: bytes, named: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=named):
        msgspec.json.decode(body, type=Request)


def test_a_text_of_invisible_signs_is_refused_once_it_is_masked(fitted: Fitted, index: Index) -> None:
    masked = model.mask(Request(text="\u200b\u200b"), str)
    with pytest.raises(InputError, match=r"\$\.text"):
        model.predict(fitted, index, [masked])
    with pytest.raises(InputError, match=r"\$\.text"):
        model.rules(index, [masked])


def test_masking_redacts_the_text_and_hides_the_sender() -> None:
    raw = Request(text="call 07946746291 or ada@example.co.uk", sender="+447946746291")
    masked = model.mask(raw, lambda subject: f"p1_{len(subject)}")
    assert masked == Request(text="call 00000000000 or x@x.xx", sender="p1_13")
    assert model.mask(masked, lambda subject: subject) == masked
    assert model.mask(Request(text="hi"), lambda subject: "never asked").sender == ""


@pytest.mark.parametrize("change", [{"cost": 0}, {"folds": 1}, {"least_texts": 0}, {"marked_ham": 1.5}])
def test_parameters_have_limits(change: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**msgspec.to_builtins(PARAMS), **change}, model.Params)


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(ModelError, match="take more history in"):
        model.fit({"messages": mailbox()["messages"].query("not is_spam")}, NOW, PARAMS, seed=1)
    with pytest.raises(SchemaError, match="is_spam"):
        model.build({"messages": mailbox()["messages"].drop(columns="is_spam")}, NOW, PARAMS)


# ---- the rest of the contract --------------------------------------------------------------------


def test_kpi_weighs_a_lost_message_nine_times() -> None:
    spam, ham = model.Outcome(spam=True), model.Outcome(spam=False)
    worth = {said: (model.kpi(Decided(items=(said,)), ham), model.kpi(Decided(items=(said,)), spam)) for said in EVERY}
    assert worth == {HAM: (1.0, 0.0), REVIEW: (0.0, 0.5), QUARANTINE: (-8.0, 1.0)}


def test_score_by_eye(fitted: Fitted, index: Index) -> None:
    truth = pd.DataFrame({"subject": ["b", "a"], "text": [WINNER, "see you for lunch?"], "spam": [True, True]})
    scores = model.score(fitted, index, truth)
    assert scores.index.tolist() == ["a", "b"]
    assert scores["caught"].tolist() == [0.0, 1.0]
    assert scores["worth"].tolist() == [0.0, 1.0]
    assert scores["let_through"].isna().all()


def test_features_and_segments_hold_no_text() -> None:
    features = model.build(mailbox(), NOW, PARAMS)
    assert not any("prize" in str(value) for row in features.to_numpy() for value in row)
    assert set(features["reported"]) == {0, 1}
    assert set(model.segments(features)["contact"]) == {"link or number", "neither"}


def test_the_past_is_every_message_as_it_came() -> None:
    tables = mailbox()
    twice = {"messages": pd.concat([tables["messages"]] * 2)}
    found = model.past(twice, NOW - timedelta(hours=10), NOW, PARAMS)
    assert len(found) == 20
    assert sum(one.outcome.spam for one in found) == 10
    assert all(one.due == one.time for one in found)


# ---- the real holdout ----------------------------------------------------------------------------


def test_it_beats_its_baselines_and_the_rules_on_the_real_holdout() -> None:
    tables = bundled("spam")
    end = tables["messages"]["received_at"].max().to_pydatetime() + timedelta(microseconds=1)
    cut = end - timedelta(days=RECIPE.split.holdout_days)
    index, fitted = Index({}), model.fit(tables, cut, PARAMS, RECIPE.seed)
    truth = model.outcomes(tables, cut, end, PARAMS)
    ours = model.score(fitted, index, truth)
    assert len(ours) == 1701
    caught, wrong = ours["caught"].sum(), (1 - ours["let_through"]).sum()
    assert 2 * caught / (caught + wrong + truth["spam"].sum()) > 0.955  # F1
    assert ours["let_through"].mean() > 0.995
    assert ours["not_lost"].mean() > 0.998
    for name, rival in {**model.baselines(tables, cut, PARAMS, RECIPE.seed), "rules": None}.items():
        theirs = model.score(rival, index, truth)[RECIPE.metric].to_numpy()
        gap = paired_bootstrap(ours[RECIPE.metric].to_numpy(), theirs, samples=1000, seed=RECIPE.seed)
        assert gap.low > 0, (name, gap)
    assert sum(len(data) for data in model.dump(fitted).values()) < 2_000_000
