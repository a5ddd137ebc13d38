"""Spam: how likely a short message is spam, and whether it is delivered, marked for review, or put into quarantine.

Reads the table `messages`; answers `{"text", "sender", "known_sender"}` with `ham`, `review` or `quarantine` and, as
`value`, the probability. Nothing is ever deleted: there is no such answer. Judged in pairs, for what a message is does not
depend on the answer. The rules count plain signs and need no scikit-learn. Switched off until configuration says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from checks.redact import redact
from errors import InputError
from models.contract import Decided, Feature, Past, Proposal, Tables
from models.kit import mailbox, spotting, teaching, texts
from models.kit.split import before, within
from models.kit.spotting import Curve, Fitted
from models.kit.teaching import Recipe

JUDGE: Literal["split", "paired"] = "paired"
HAM, REVIEW, QUARANTINE = "ham", "review", "quarantine"  # all there is to say; "delete" is not among them
COSTS = {  # of an answer, by (answer, was spam): a lost message weighs nine (Androutsopoulos et al. 2000)
    (HAM, False): 0.0,
    (HAM, True): 1.0,
    (REVIEW, False): 1.0,
    (REVIEW, True): 0.5,
    (QUARANTINE, False): 9.0,
    (QUARANTINE, True): 0.0,
}
BY_SIGNS = (
    0.01,
    0.24,
    0.96,
    0.99,
)  # share of spam by number of plain signs, before 2011-08-27: grownet bench quality spam
RULES = Curve(steepness=1.0, offset=0.0, marked=0.9, quarantined=0.98)  # limits of the rules
MAX_TEXT, MAX_SENDER = 2000, 128
LONGEST = 5000  # that the door of the table lets in
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Texts = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)], ...], msgspec.Meta(max_length=1000)
]

DIGITS = Feature(name="digits", dtype="float64", low=0, high=1, meaning="share of digits among the characters")
CAPITALS = Feature(name="capitals", dtype="float64", low=0, high=1, meaning="share of capitals among the characters")
NUMBER = Feature(name="number", dtype="bool", meaning="a number of five digits and more")
LINK = Feature(name="link", dtype="bool", meaning="an address of the web")
PRICE = Feature(name="price", dtype="bool", meaning="an amount of money, or a price per message, minute or week")
SIGNS = Feature(name="signs", dtype="int64", low=0, high=len(texts.SIGNS), unit="signs", meaning="plain signs of spam")

FEATURES: tuple[Feature, ...] = (
    Feature(name="subject", dtype="string", meaning="digest of a text that was seen, digits and punctuation aside"),
    Feature(name="seen", dtype="int64", low=1, high=1e7, unit="messages", meaning="with this text before"),
    Feature(name="reported", dtype="int64", low=0, high=1e7, unit="messages", meaning="of those that were spam"),
    Feature(name="characters", dtype="int64", low=1, high=LONGEST, unit="characters", meaning="length of the text"),
    DIGITS,
    CAPITALS,
    NUMBER,
    LINK,
    PRICE,
    SIGNS,
)
WATCHED: tuple[Feature, ...] = (
    Feature(name="characters", dtype="float64", low=1, high=MAX_TEXT, unit="characters", meaning="length of the text"),
    DIGITS,
    CAPITALS,
    NUMBER,
    LINK,
    PRICE,
    Feature(name="signs", dtype="float64", low=0, high=len(texts.SIGNS), unit="signs", meaning="plain signs of spam"),
)


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Chosen on messages before the holdout: `grownet bench search spam` (docs/decisions/096)."""

    cost: Annotated[float, msgspec.Meta(gt=0, le=1000)]  # of an error in learning (C of the machine)
    least_texts: Annotated[int, msgspec.Meta(ge=1, le=100)]  # that must have an n-gram, or it is not learned
    folds: Annotated[int, msgspec.Meta(ge=2, le=20)]  # the limits come from
    marked_ham: Share  # of the ham that may be marked (review or quarantine), in those folds,
    quarantined_ham: Share  # and that may be put into quarantine


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    min_signs: Annotated[int, msgspec.Meta(ge=0, le=len(texts.SIGNS))]  # plain signs that quarantine takes
    min_reports: Annotated[int, msgspec.Meta(ge=1)]  # spam reports of the same text that make it no ham any more,
    min_reported_share: Share  # when they are at least this share of the times it was seen
    longest_quarantined: Annotated[int, msgspec.Meta(ge=1, le=MAX_TEXT)]  # characters, runs of blanks and marks as one
    allowed: Texts  # whole texts that are always delivered; compared without digits' values and punctuation


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
    sender: Annotated[str, msgspec.Meta(max_length=MAX_SENDER)] = ""  # empty when not known
    known_sender: bool = (
        False  # the recipient has written to the sender, or keeps it: the caller's word, not checked here
    )


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    spam: bool  # as the recipient, or who reviewed it, says


class Reports(NamedTuple):
    """How often a text was reported as spam, of how often it was seen."""

    reported: int
    seen: int


class Index(NamedTuple):
    """The texts that were reported at least once, by digest."""

    reports: Mapping[str, Reports]


def build(tables: Tables, as_of: datetime, params: Params) -> pd.DataFrame:
    """One row per distinct text seen before `as_of`; columns as in FEATURES. The text itself is not among them."""
    del params
    rows = _before(tables, as_of)
    frame = mailbox.shaped(rows["text"])
    frame.insert(0, "subject", rows["subject"].astype("str"))
    frame.insert(1, "seen", rows["seen"].astype("int64"))
    frame.insert(2, "reported", rows["reported"].astype("int64"))
    return frame[[feature.name for feature in FEATURES]]


def outcomes(tables: Tables, start: datetime, end: datetime, params: Params) -> pd.DataFrame:
    """One row per text of [start, end) that was not seen before `start`: subject, text, spam.

    What was learned by heart must not be counted, so a text that came before is left out, digits and punctuation aside.
    """
    del params
    messages = mailbox.messages(tables["messages"])
    rows = mailbox.distinct(within(messages, "received_at", start, end))
    known = set(before(messages, "received_at", start)["text"].map(texts.digest))
    rows = rows[~rows["subject"].isin(known)].reset_index(drop=True)
    found = pd.DataFrame({"subject": rows["subject"], "text": rows["text"], "spam": rows["is_spam"]})
    return found.astype({"subject": "str", "text": "str", "spam": "bool"})


def fit(tables: Tables, as_of: datetime, params: Params, seed: int) -> Fitted:
    """Learns from each distinct text before `as_of` once; nothing in it is drawn by lot.

    Raises:
        ModelError: when there are too few texts of either kind.
    """
    del seed
    return teach(_before(tables, as_of), recipe(params))


def baselines(tables: Tables, as_of: datetime, params: Params, seed: int) -> Mapping[str, Fitted]:
    """`word_bayes` (the textbook's filter on words) and `long_number` (whatever holds a long number is spam)."""
    del seed
    rows = _before(tables, as_of)
    bayes = teaching.textbook_bayes(rows["text"].tolist(), rows["is_spam"].to_numpy(np.bool_), recipe(params))
    return {"word_bayes": bayes, "long_number": spotting.one_sign()}


def recipe(params: Params) -> Recipe:
    """How the model learns."""
    return Recipe(looks=("characters", "words"), **msgspec.structs.asdict(params))


def teach(rows: pd.DataFrame, how: Recipe) -> Fitted:
    """Learns from the columns `text` and `is_spam` of distinct texts."""
    return teaching.learn(rows["text"].tolist(), rows["is_spam"].to_numpy(np.bool_), how)


def index(features: pd.DataFrame) -> Index:
    """The texts that were reported as spam, by digest."""
    spam = features[features["reported"] > 0]
    counts = map(Reports, spam["reported"].tolist(), spam["seen"].tolist())
    return Index(dict(zip(spam["subject"].tolist(), counts, strict=True)))


def predict(fitted: Fitted, index: Index, requests: Sequence[Request]) -> list[Proposal]:
    """All answers for each request, the fitting one first; `value` and `scores` are the probability of spam.

    Raises InputError for a text that is empty or too long.
    """
    del index
    found = spotting.probabilities(fitted, [_text(request) for request in requests])
    return [_proposal(float(value), fitted.curve) for value in found]


def rules(index: Index | None, requests: Sequence[Request]) -> list[Proposal]:
    """By the number of plain signs: one or none is delivered, two are reviewed, three and more put into quarantine."""
    del index
    return [_proposal(_by_signs(_text(request)), RULES) for request in requests]


def decide(
    proposals: Sequence[Proposal], requests: Sequence[Request], index: Index | None, policy: Policy
) -> list[Decided]:
    """The policy rule: the first answer that no rule forbids; names each rule that changed it."""
    allowed = {texts.key(redact(text)) for text in policy.allowed}
    return [
        _decided(proposal, _forbidden(request, index, policy, allowed))
        for proposal, request in zip(proposals, requests, strict=True)
    ]


def score(fitted: Fitted | None, index: Index, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Metrics per text, before the policy rule; without `fitted` the rules are scored.

    `worth` is 1 minus the cost of the answer (as the KPI), `accuracy` whether marked means spam, `caught` the same of spam
    only and `let_through` of ham only (1 minus the false-positive rate), `not_lost` the share of ham outside quarantine,
    `probability_score` 1 - (probability - spam)^2, the Brier score turned round.
    """
    truth = outcomes.drop_duplicates("subject").sort_values("subject")
    requests = [Request(text=text) for text in truth["text"]]
    answers = rules(index, requests) if fitted is None else predict(fitted, index, requests)
    spam = truth["spam"].to_numpy(np.bool_)
    said = np.array([answer.items[0] for answer in answers], dtype=object)
    value = np.array([answer.value for answer in answers], dtype=np.float64)
    marked = said != HAM
    columns = {
        "worth": np.array([_worth(answer, was) for answer, was in zip(said, spam, strict=True)], dtype=np.float64),
        "accuracy": (marked == spam).astype(np.float64),
        "caught": np.where(spam, marked, np.nan),
        "let_through": np.where(spam, np.nan, ~marked),
        "not_lost": np.where(spam, np.nan, said != QUARANTINE),
        "probability_score": 1.0 - (value - spam) ** 2,
    }
    return pd.DataFrame(columns, index=pd.Index(truth["subject"], name="subject", dtype="str"), dtype="float64")


def segments(features: pd.DataFrame) -> pd.DataFrame:
    """Texts by length, by whether they hold a link or a long number, and by whether they name a price."""
    own = features.sort_values("subject")
    edges, labels = [0, 40, 100, 160, np.inf], ["up to 40", "41 to 100", "101 to 160", "over 160"]
    acts = own["link"] | own["number"]
    return pd.DataFrame(
        {
            "length": np.asarray(pd.cut(own["characters"], edges, labels=labels).astype("str"), dtype=object),
            "contact": np.where(acts, "link or number", "neither"),
            "price": np.where(own["price"], "price", "no price"),
        },
        index=pd.Index(own["subject"], name="subject"),
    )


def kpi(decision: Decided, outcome: Outcome) -> float:
    """1 minus the cost of the answer, from -8 (a message lost) to 1; see COSTS. Its mean falls by 0.08 a percent of ham lost."""
    return _worth(decision.items[0], outcome.spam)


def observe(index: Index, requests: Sequence[Request]) -> pd.DataFrame:
    """The shape of each text."""
    del index
    frame = mailbox.shaped(pd.Series([_text(request) for request in requests], dtype="str"))
    frame = frame.astype({"characters": "float64", "signs": "float64"})
    return frame[[feature.name for feature in WATCHED]]


def past(tables: Tables, start: datetime, end: datetime, params: Params) -> list[Past]:
    """Every message of [start, end), repeats too, as it came; whether it was spam is taken as known at once."""
    del params
    rows = within(mailbox.messages(tables["messages"]), "received_at", start, end).sort_values(["received_at", "text"])
    times = rows["received_at"].dt.to_pydatetime()
    return [
        Past(time=time, request=Request(text=text), outcome=Outcome(spam=spam), due=time)
        for time, text, spam in zip(times, rows["text"].tolist(), rows["is_spam"].tolist(), strict=True)
    ]


def routing_key(request: Request) -> str:
    """The sender, so that one campaign meets one arm; without one the text's digest."""
    return request.sender or texts.digest(request.text)


def mask(request: Request, pseudonym: Any) -> Request:
    """The request with the sender replaced by a pseudonym and the text redacted as the training data was."""
    sender = pseudonym(request.sender) if request.sender else ""
    return Request(text=redact(request.text), sender=sender, known_sender=request.known_sender)


def example() -> list[Request]:
    """Made-up messages of each kind, redacted as any request is."""
    return [
        Request(text="are we still meeting at 6 tonight?", sender="nobody", known_sender=True),
        Request(text="Your parcel is with your neighbour", sender="made up"),
        Request(text="WINNER! Claim your £1000 prize, call 00000000000 now. 150ppm", sender="made up"),
        Request(text="I liked the free ringtone, txt me"),
    ]


def dump(fitted: Fitted) -> dict[str, bytes]:
    """fitted.json and an array a view."""
    return spotting.dump(fitted)


def load(files: Mapping[str, bytes]) -> Fitted:
    """What `dump` wrote. Raises TamperError for a file it cannot read or that does not fit together."""
    return spotting.load(files)


def _before(tables: Tables, as_of: datetime) -> pd.DataFrame:
    return mailbox.distinct(before(mailbox.messages(tables["messages"]), "received_at", as_of))


def _text(request: Request) -> str:
    """The text checked. Decoding checks the same limits; this is for what redaction left, and for requests made in Python."""
    if not 1 <= len(request.text) <= MAX_TEXT:
        raise InputError("$.text", expected=f"1 to {MAX_TEXT} characters that can be seen", got=len(request.text))
    return request.text


def _by_signs(text: str) -> float:
    return BY_SIGNS[min(len(texts.signs(text)), len(BY_SIGNS) - 1)]


def _proposal(value: float, limits: Curve) -> Proposal:
    """The answers in the order in which they fit a probability."""
    if value >= limits.quarantined:
        items: tuple[str, ...] = (QUARANTINE, REVIEW, HAM)
    elif value >= limits.marked:
        items = (REVIEW, HAM)
    else:
        items = (HAM, REVIEW)
    return Proposal(items=items, scores=(value,) * len(items), value=value)


def _forbidden(request: Request, index: Index | None, policy: Policy, allowed: set[str]) -> dict[str, str]:
    """The answers that rules keep from this message, each with the first rule that does; never all three."""
    if texts.key(request.text) in allowed:
        return {QUARANTINE: "allowed_text", REVIEW: "allowed_text"}
    reported = _reported(request.text, index, policy)
    found = {HAM: "reported_before"} if reported else {}
    if request.known_sender:
        found[QUARANTINE] = "known_sender"
    elif texts.length(request.text) > policy.longest_quarantined:
        found[QUARANTINE] = "too_long_to_judge"
    elif not reported and len(texts.signs(request.text)) < policy.min_signs:
        found[QUARANTINE] = "no_second_sign"
    return found


def _reported(text: str, index: Index | None, policy: Policy) -> bool:
    """Whether the same text was reported often enough, by number and by share."""
    known = index.reports.get(texts.digest(text)) if index is not None else None
    if known is None or known.reported < policy.min_reports:
        return False
    return known.reported >= policy.min_reported_share * known.seen


def _decided(proposal: Proposal, forbidden: Mapping[str, str]) -> Decided:
    """The first answer that is allowed; some always is, for no rule forbids all three."""
    at = next(place for place, item in enumerate(proposal.items) if item not in forbidden)
    overruled = tuple(sorted({forbidden[item] for item in proposal.items[:at]}))
    return Decided(
        items=(proposal.items[at],), scores=(proposal.scores[at],), value=proposal.value, overruled=overruled
    )


def _worth(answer: str, spam: npt.NDArray[np.bool_] | bool) -> float:
    return 1.0 - COSTS[answer, bool(spam)]
