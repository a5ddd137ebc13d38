"""Order of the packages of a slate, the likeliest click first: ridge regressions on a headline's letters and traits.

Reads the table `packages` (randomised tests); answers `{"slate", "packages": [{"id", "headline", "image"}]}` with the ids,
best first, and their scores. Learned from differences within tests, so it knows no reader and no topic's fortune. Judged
apart (split): what is clicked depends on the order. The rules keep the order given and need no library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from errors import InputError
from models.contract import Decided, Feature, Past, Proposal, Tables
from models.kit import appeal, contests, headlines, newsroom, placing
from models.kit.appeal import Fitted, Learner
from models.kit.newsroom import MAX_HEADLINE, MAX_ID, MAX_PACKAGES, Index, Package, Policy

JUDGE: Literal["split", "paired"] = "split"
FEWEST = contests.FEWEST
Floats = npt.NDArray[np.float64]
Days = Annotated[int, msgspec.Meta(ge=1, le=3660)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]

FEATURES: tuple[Feature, ...] = (
    Feature(name="test", dtype="string", meaning="the randomised test"),
    Feature(name="package", dtype="string", meaning="an opaque name"),
    Feature(name="headline", dtype="string", meaning="what readers saw"),
    Feature(name="image", dtype="string", meaning="an opaque name, empty where there is none"),
    Feature(name="recent", dtype="bool", meaning="tested within the days configured"),
    Feature(
        name="weight", dtype="float64", low=0, high=1 / contests.SPREAD**2, meaning="how sure its log click rate is"
    ),
    Feature(name="relative", dtype="float64", low=-10, high=10, meaning="log click rate, minus that of its test"),
    Feature(name="packages", dtype="int64", low=FEWEST, high=1000, unit="packages", meaning="in its test"),
    Feature(name="same_headline", dtype="float64", low=0, high=1, meaning="share of its test with this headline"),
    *headlines.TRAITS,
)
WATCHED = newsroom.WATCHED


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Chosen on weeks before the holdout by `grownet bench search ranking` (docs/decisions/090)."""

    learner: Learner
    recent_days: Days  # a headline tested within them was shown lately


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    slate: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID)]  # what is ordered: an article, a test, a place
    packages: Annotated[tuple[Package, ...], msgspec.Meta(min_length=FEWEST, max_length=MAX_PACKAGES)]
    places: Annotated[int, msgspec.Meta(ge=1, le=MAX_PACKAGES)] = MAX_PACKAGES  # to fill


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a reader clicked, empty for nothing; or, when a randomised test is replayed, the click rate of each package."""

    clicked: Annotated[str, msgspec.Meta(max_length=MAX_ID)] = ""
    rates: Annotated[dict[str, Share], msgspec.Meta(max_length=MAX_PACKAGES)] = {}


def build(tables: Tables, as_of: datetime, params: Params) -> pd.DataFrame:
    """One row per package tested before `as_of`; columns as in FEATURES."""
    frame = contests.features(tables["packages"], as_of, params.recent_days)
    return frame[[feature.name for feature in FEATURES]]


def outcomes(tables: Tables, start: datetime, end: datetime, params: Params) -> pd.DataFrame:
    """Packages of the tests in [start, end): subject (the test), package, headline, image, impressions, clicks and time."""
    del params
    return contests.results(tables["packages"], start, end)


def fit(tables: Tables, as_of: datetime, params: Params, seed: int) -> Fitted:
    """Learns from tests before `as_of`. Nothing is drawn at random: `seed` changes nothing.

    Raises:
        ModelError: with too few packages.
    """
    del seed
    return appeal.fit(build(tables, as_of, params), params.learner)


def baselines(tables: Tables, as_of: datetime, params: Params, seed: int) -> Mapping[str, Fitted]:
    """`tfidf_ridge` (words and pairs of words) and `longest_headline`."""
    del seed
    known = build(tables, as_of, params)
    return {"tfidf_ridge": appeal.fit_words(known, params.learner), "longest_headline": Fitted(kind="length")}


def index(features: pd.DataFrame) -> Index:
    """What earlier headlines say of a new slate: the words they had, and which were shown lately."""
    return newsroom.index(features)


def predict(fitted: Fitted, index: Index, requests: Sequence[Request]) -> list[Proposal]:
    """All packages of each request, best first; equal scores in the order given.

    Raises:
        InputError: for a request over its limits, or with an id twice.
    """
    del index
    for request in requests:
        _refuse_odd(request)
    texts = [package.headline for request in requests for package in request.packages]
    scores = appeal.score(fitted, texts) if texts else np.empty(0)
    ends = np.cumsum([len(request.packages) for request in requests])
    return [
        _ordered(request, scores[end - len(request.packages) : end])
        for request, end in zip(requests, ends, strict=True)
    ]


def rules(index: Index | None, requests: Sequence[Request]) -> list[Proposal]:
    """The order given: the editor's. Scores of 0, because it claims nothing."""
    del index
    for request in requests:
        _refuse_odd(request)
    return [_ordered(request, np.zeros(len(request.packages))) for request in requests]


def decide(
    proposals: Sequence[Proposal], requests: Sequence[Request], index: Index | None, policy: Policy
) -> list[Decided]:
    """The policy rule: fills the places from the top, naming each rule that kept something out (`models.kit.newsroom`)."""
    return [
        newsroom.fill(proposal, request.packages, request.places, index, policy)
        for proposal, request in zip(proposals, requests, strict=True)
    ]


def score(fitted: Fitted | None, index: Index, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Metrics per test (see `models.kit.placing`); without `fitted` the rules, which place all alike.

    The order of packages in the data is that of a hash, so a place shared is a place drawn.
    """
    del index
    texts = list(outcomes["headline"])
    made = appeal.score(fitted, texts) if fitted is not None and texts else np.zeros(len(texts))
    rates = outcomes["clicks"].to_numpy(np.float64) / outcomes["impressions"].to_numpy(np.float64)
    return placing.table(list(outcomes["subject"]), rates, made)


def segments(features: pd.DataFrame) -> pd.DataFrame:
    """Tests by what differs in them, by how many packages they have and by how long their headlines are."""
    each = features.groupby("test").agg(
        headlines=("headline", "nunique"), packages=("package", "size"), length=("characters", "mean")
    )
    return pd.DataFrame(
        {
            "differs": np.where(each["headlines"] > 1, "headlines", "picture or excerpt only"),
            "packages": _cut(each["packages"], [0, 4, 6, np.inf], ["2 to 4", "5 and 6", "7 and more"]),
            "length": _cut(each["length"], [0, 70, 90, np.inf], ["up to 70", "71 to 90", "over 90"]),
        },
        index=each.index.rename("subject"),
    )


def kpi(decision: Decided, outcome: Outcome) -> float:
    """Click rate of the first package: its rate in a replayed test, else 1.0 when it was clicked and 0.0 when not."""
    first = decision.items[0] if decision.items else ""
    if outcome.rates:
        return outcome.rates.get(first, 0.0)
    return float(bool(first) and outcome.clicked == first)


def observe(index: Index, requests: Sequence[Request]) -> pd.DataFrame:
    """The WATCHED columns of each slate."""
    return newsroom.observe(index, [request.packages for request in requests])


def past(tables: Tables, start: datetime, end: datetime, params: Params) -> list[Past]:
    """Each test of [start, end) as a slate; its packages stand in the order of their names, which tells nothing.

    A test is asked when its week is over, since the archive tells no day; the rates are known then.
    """
    del params
    found = []
    for test, rows in contests.results(tables["packages"], start, end).groupby("subject"):
        time = rows[contests.EVENT_TIME].max().to_pydatetime()
        rates = dict(zip(rows["package"], rows["clicks"] / rows["impressions"], strict=True))
        packages = tuple(
            Package(id=name, headline=headline, image=image)
            for name, headline, image in zip(rows["package"], rows["headline"], rows["image"].fillna(""), strict=True)
        )
        found.append(
            Past(time=time, request=Request(slate=str(test), packages=packages), outcome=Outcome(rates=rates), due=time)
        )
    return sorted(found, key=lambda one: (one.time, one.request.slate))


def routing_key(request: Request) -> str:
    """The slate, so that all who see it see one order."""
    return request.slate


def mask(request: Request, pseudonym: Any) -> Request:
    """The request as it is: there is no person in it."""
    del pseudonym
    return request


def example() -> list[Request]:
    """Made-up slates: different headlines, one headline with two pictures, one withheld, few places."""
    return [
        _example("a", "Why This Bridge Was Built Twice", "The bridge", "She Asked One Question. The Town Answered."),
        Request(
            slate="b",
            packages=(
                Package(id="b1", headline="A Quiet Morning", image="dawn"),
                Package(id="b2", headline="A Quiet Morning", image="dusk"),
            ),
        ),
        Request(
            slate="c",
            packages=(
                Package(id="c1", headline="10 Things Nobody Tells You About Bees", withheld=True),
                Package(id="c2", headline="What bees know"),
                Package(id="c3", headline="Bees: a 'short' history?"),
            ),
            places=1,
        ),
    ]


def dump(fitted: Fitted) -> dict[str, bytes]:
    """model.json and one .npy per array."""
    return appeal.dump(fitted)


def load(files: Mapping[str, bytes]) -> Fitted:
    """What `dump` wrote. Raises TamperError for files it cannot read or that do not fit together."""
    return appeal.load(files)


def _refuse_odd(request: Request) -> None:
    """Decoding checks the same limits; this is for requests made in Python, and for what a type cannot say."""
    count = len(request.packages)
    if not FEWEST <= count <= MAX_PACKAGES:
        raise InputError("$.packages", expected=f"{FEWEST} to {MAX_PACKAGES} packages", got=count)
    if not 1 <= request.places <= MAX_PACKAGES:
        raise InputError("$.places", expected=f"1 to {MAX_PACKAGES}", got=request.places)
    seen: set[str] = set()
    for at, package in enumerate(request.packages):
        if not 1 <= len(package.headline) <= MAX_HEADLINE:
            told = f"1 to {MAX_HEADLINE} characters"
            raise InputError(f"$.packages[{at}].headline", expected=told, got=len(package.headline))
        if package.id in seen:
            raise InputError(f"$.packages[{at}].id", expected="an id of its own", got=repr(package.id))
        seen.add(package.id)


def _ordered(request: Request, scores: Floats) -> Proposal:
    order = np.argsort(-scores, kind="stable")
    return Proposal(items=tuple(request.packages[at].id for at in order), scores=tuple(scores[order].tolist()))


def _example(slate: str, *texts: str) -> Request:
    return Request(slate=slate, packages=tuple(Package(id=f"{slate}{at}", headline=t) for at, t in enumerate(texts)))


def _cut(values: pd.Series, edges: list[float], labels: list[str]) -> npt.NDArray[np.object_]:
    return np.asarray(pd.cut(values, edges, labels=labels).astype("str"), dtype=object)
