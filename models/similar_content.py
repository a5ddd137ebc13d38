"""Pages like this one, or next for this session: a softmax network over the set of pages seen.

Reads the table `visits`; answers `{"page", "session", "visitor", "k"}` with addresses, best first, each with the share of
visitors who go there. Where it knows none of the pages it proposes what is popular. Judged split: what is clicked
depends on what was shown (docs/decisions/095). The rules, popular pages of the same family first, need no scipy.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from checks import metrics
from errors import InputError, ModelError
from models.contract import Decided, Feature, Past, Proposal, Tables
from models.kit import neighbours, nextpage, sessions, slates, split
from models.kit.nextpage import Fitted, Recipe
from models.kit.sessions import Families, Index

JUDGE: Literal["split", "paired"] = "split"
SPARE = 50  # proposed beyond k, so that the policy rule can refill what it takes out
DEPTH = 10  # ranks that are scored
RIDGE = 50.0  # of the EASE baseline (the reference figure)
NUDGE = 1e-3  # of popularity in a baseline, so that pages it says nothing of are in a sensible order
BLOCK = 1024  # requests scored together
POPULAR = 20  # entry pages among so many most visited are popular
MAX_PAGE, MAX_SESSION, MAX_K = 128, 500, 50
Positive = Annotated[float, msgspec.Meta(gt=0)]
Address = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PAGE)]
DTYPES = {"string": "str", "int64": "int64", "float64": "float64"}

FEATURES: tuple[Feature, ...] = (
    Feature(name="subject", dtype="string", meaning="visitor pseudonym; empty for a row of the catalogue"),
    Feature(name="page", dtype="string", meaning="address below the host, small letters"),
    Feature(name="family", dtype="string", meaning="what the page is a variant of, by its name or by configuration"),
    Feature(name="visitors", dtype="int64", low=1, high=1e9, unit="visitors", meaning="of the page; 1 for a visitor"),
    Feature(name="days", dtype="float64", low=0, high=1e4, unit="days", meaning="since the last visit"),
    Feature(name="place", dtype="int64", low=0, high=1e6, meaning="the how-manieth page of the visitor; 0: catalogue"),
)

WATCHED: tuple[Feature, ...] = (
    Feature(name="visitor", dtype="string", meaning="known or unknown to the snapshot, or none"),
    Feature(name="page", dtype="string", meaning="asked about: in the catalogue, unknown, or none"),
    Feature(name="popularity", dtype="float64", low=0, high=1, meaning="share of all visits that the page has"),
    Feature(name="length", dtype="int64", low=0, high=MAX_SESSION + 1, unit="pages", meaning="page and session"),
    Feature(name="strange", dtype="int64", low=0, high=MAX_SESSION + 1, unit="pages", meaning="in no catalogue"),
    Feature(name="k", dtype="int64", low=1, high=MAX_K, unit="pages", meaning="asked for"),
)


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Chosen on training visitors by `grownet bench search similar_content` (docs/decisions/094)."""

    network: Recipe
    families: Families


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    retired: tuple[str, ...]  # pages the site has taken down or that never were one
    retired_after_days: Positive  # without a visit
    not_promoted: tuple[str, ...]  # reached when needed, never recommended
    max_per_family: Annotated[int, msgspec.Meta(ge=1)]
    max_items: Annotated[int, msgspec.Meta(ge=1, le=MAX_K)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    page: Address | None = None  # being read now
    session: Annotated[tuple[Address, ...], msgspec.Meta(max_length=MAX_SESSION)] = ()  # seen before, in any order
    visitor: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None  # a user's or a session's id
    k: Annotated[int, msgspec.Meta(ge=1, le=MAX_K)] = 10


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    visited: Annotated[tuple[Address, ...], msgspec.Meta(max_length=10_000)]  # next, from the slate or not


def build(tables: Tables, as_of: datetime, params: Params) -> pd.DataFrame:
    """One row per page and one per (visitor, page) seen before `as_of`; columns as in FEATURES."""
    seen = sessions.visits(split.before(tables["visits"], sessions.EVENT_TIME, as_of))
    return sessions.features(seen, as_of, params.families)[[feature.name for feature in FEATURES]]


def outcomes(tables: Tables, start: datetime, end: datetime, params: Params) -> pd.DataFrame:
    """Pages seen in [start, end): subject, page, time."""
    del params
    return sessions.visits(split.within(tables["visits"], sessions.EVENT_TIME, start, end))


def fit(tables: Tables, as_of: datetime, params: Params, seed: int) -> Fitted:
    """Learns which page goes with which others from visits before `as_of`.

    Raises:
        ModelError: when no visitor saw two pages before `as_of`.
    """
    known = _learnable(tables, as_of, params)
    return nextpage.fit(_seen_together(known), known.catalogue.pages, params.network, seed)


def baselines(tables: Tables, as_of: datetime, params: Params, seed: int) -> Mapping[str, Fitted]:
    """`popularity`, `item_item` (cosine) and `ease` (Steck 2019)."""
    del seed
    known = _learnable(tables, as_of, params)
    pages = known.catalogue.pages
    rows = np.repeat(np.arange(len(known.subjects)), np.diff(known.starts))
    seen = neighbours.interactions(rows, known.seen, (len(known.subjects), len(pages)))
    bias = (NUDGE * known.catalogue.visitors / known.catalogue.visitors.sum()).astype(np.float32)
    return {
        "popularity": nextpage.linear(np.zeros((len(pages), len(pages)), np.float32), pages, bias),
        "item_item": nextpage.linear(neighbours.cosine(seen), pages, bias),
        "ease": nextpage.linear(neighbours.ease(seen, RIDGE), pages, bias),
    }


def index(features: pd.DataFrame) -> Index:
    """The feature frame arranged for looking up a page and a visitor."""
    return sessions.index(features)


def predict(fitted: Fitted, index: Index, requests: Sequence[Request]) -> list[Proposal]:
    """Addresses for each request, best first: `k` and some to spare for the policy rule; unknown ones are ignored.

    Scores are probabilities of the next page over all pages not seen. Raises InputError for a request over its limits.
    """
    proposals: list[Proposal] = []
    for start in range(0, len(requests), BLOCK):
        proposals += _ranked(fitted, index, requests[start : start + BLOCK])
    return proposals


def rules(index: Index | None, requests: Sequence[Request]) -> list[Proposal]:
    """Popular pages of the same family, then popular ones (numpy only). Without an index there is nothing to propose."""
    named = [_named(request) for request in requests]
    if index is None:
        return [Proposal() for _ in requests]
    seen = [index.known(request.visitor, pages) for request, pages in zip(requests, named, strict=True)]
    values = sessions.popular(index, seen, [pages[0] if pages else "" for pages in named])
    return sessions.ranked(index.catalogue.pages, values, _counts(requests))


def decide(
    proposals: Sequence[Proposal], requests: Sequence[Request], index: Index | None, policy: Policy
) -> list[Decided]:
    """The policy rule: fills the slate from the top, naming each rule that kept something out of it.

    A slate with nothing to fill it from says why: `no_catalogue` without an index, else `nothing_left` to show.
    """
    decided, policy = [], _spelled(policy)
    for proposal, request in zip(proposals, requests, strict=True):
        broken = functools.partial(_broken, index, _seen_already(index, request), policy)
        size = min(request.k, policy.max_items)
        slate = slates.fill(proposal, size, broken, functools.partial(_family, index), policy.max_per_family)
        slate = slates.capped(slate, size, request.k)
        if not proposal.items:
            slate = Decided(overruled=("no_catalogue" if index is None else "nothing_left",))
        decided.append(slate)
    return decided


def score(fitted: Fitted | None, index: Index, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Was the one hidden page of each visitor with at least two among the first ten, and how high?

    Which page is hidden follows from the visitor's pseudonym (`sessions.hide`). A page that the index does not know
    counts as not found. Without `fitted` the rules are scored.
    """
    seen = sessions.sessions(outcomes)
    asked = {subject: sessions.hide(subject, pages) for subject, pages in seen.items()}
    requests = [Request(page=rest[-1], session=tuple(rest[:-1]), k=DEPTH) for rest, _ in asked.values()]
    answers = rules(index, requests) if fitted is None else predict(fitted, index, requests)
    found = sessions.found(answers, [hidden for _, hidden in asked.values()], DEPTH)
    ones = np.ones(len(asked))
    columns = {"hit_at_10": metrics.hit_at(found, DEPTH), "ndcg_at_10": metrics.ndcg_at(found, ones, DEPTH)}
    return pd.DataFrame(columns, index=pd.Index(list(asked), name="subject", dtype="str"))


def segments(features: pd.DataFrame) -> pd.DataFrame:
    """Visitors by how many pages they saw, and by whether they came in by one of the most visited pages."""
    own = features[features["subject"] != sessions.CATALOGUE]
    catalogue = features[features["subject"] == sessions.CATALOGUE]
    often = set(catalogue.sort_values(["visitors", "page"], ascending=[False, True])["page"].head(POPULAR))
    entry = own[own["place"] == 1].set_index("subject")["page"].sort_index()
    lengths = own.groupby("subject").size().reindex(entry.index)
    cut = pd.cut(lengths, [0, 1, 2, 5, np.inf], labels=["1 page", "2 pages", "3 to 5 pages", "6 pages and more"])
    return pd.DataFrame(
        {"length": cut.astype("str"), "entry": np.where(entry.isin(often), "popular page", "rare page")},
        index=entry.index,
    )


def kpi(decision: Decided, outcome: Outcome) -> float:
    """1.0 when any page visited next was in the slate, else 0.0."""
    return float(bool(set(decision.items) & {sessions.page_name(page) for page in outcome.visited}))


def observe(index: Index, requests: Sequence[Request]) -> pd.DataFrame:
    """The WATCHED columns. The popularity of a page in no catalogue is missing."""
    rows = [_observed(index, request) for request in requests]
    frame = pd.DataFrame(rows, columns=[feature.name for feature in WATCHED])
    return frame.astype({feature.name: DTYPES[feature.dtype] for feature in WATCHED})


def past(tables: Tables, start: datetime, end: datetime, params: Params) -> list[Past]:
    """One request for each visitor with at least two pages in [start, end), one of them hidden, as `score` hides it."""
    seen = outcomes(tables, start, end, params)
    last = seen.groupby("subject")["time"].max()
    found = []
    for subject, pages in sessions.sessions(seen).items():
        rest, hidden = sessions.hide(subject, pages)
        request = Request(page=rest[-1], session=tuple(rest[:-1]), visitor=subject)
        time = last[subject].to_pydatetime()
        found.append(Past(time=time, request=request, outcome=Outcome(visited=(hidden,)), due=time))
    return sorted(found, key=lambda one: (one.time, one.request.visitor))


def routing_key(request: Request) -> str:
    """The visitor; without one the pages, so that the same session meets the same arm."""
    return request.visitor or "pages:" + ",".join(sorted(_named(request)))


def mask(request: Request, pseudonym: Any) -> Request:
    """The request with the visitor replaced by a pseudonym."""
    if request.visitor is None:
        return request
    return msgspec.structs.replace(request, visitor=pseudonym(request.visitor))


def example() -> list[Request]:
    """Made-up requests: a page, a session, nobody anywhere, an unknown visitor, unknown pages, a long slate."""
    return [
        Request(page="/support"),
        Request(page="/msword", session=("/office", "/msdownload")),
        Request(),
        Request(visitor="nobody", page="/IE/", session=("/windows",), k=5),
        Request(page="/no/such/page", session=("/nor/this",)),
        Request(session=("/search", "/products", "/msoffice", "/kb"), k=MAX_K),
    ]


def dump(fitted: Fitted) -> dict[str, bytes]:
    """model.json and one .npy per array."""
    return nextpage.dump(fitted)


def load(files: Mapping[str, bytes]) -> Fitted:
    """What `dump` wrote. Raises TamperError for files it cannot read or that do not fit together."""
    return nextpage.load(files)


def _learnable(tables: Tables, as_of: datetime, params: Params) -> Index:
    known = sessions.index(build(tables, as_of, params))
    if not (np.diff(known.starts) > 1).any():
        expected = f"a visitor with two pages before {as_of.isoformat()}"
        raise ModelError("similar_content", expected=expected, got="none", do="ingest visits first")
    return known


def _seen_together(known: Index) -> list[list[int]]:
    return [own.tolist() for own in np.split(known.seen, known.starts[1:-1])]


def _ranked(fitted: Fitted, index: Index, requests: Sequence[Request]) -> list[Proposal]:
    """One block of `predict`; a request without a page that was learned is left to what is popular."""
    contexts = [_context(fitted, index, request) for request in requests]
    values = nextpage.scores(fitted, contexts)
    for row, context in zip(values, contexts, strict=True):
        row[context] = -np.inf
    values = np.where(np.isfinite(values), nextpage.shares(values), -np.inf)
    proposals = sessions.ranked(fitted.pages, values, _counts(requests))
    strangers = [at for at, context in enumerate(contexts) if not len(context)]
    for at, proposal in zip(strangers, rules(index, [requests[at] for at in strangers]), strict=True):
        proposals[at] = proposal
    return proposals


def _counts(requests: Sequence[Request]) -> list[int]:
    return [request.k + SPARE for request in requests]


def _context(fitted: Fitted, index: Index, request: Request) -> npt.NDArray[np.int64]:
    """Fitted positions of all that is known to be seen, ascending."""
    own = (index.catalogue.pages[at] for at in index.of(request.visitor))
    found = {fitted.position.get(page, -1) for page in (*_named(request), *own)} - {-1}
    return np.array(sorted(found), dtype=np.int64)


def _named(request: Request) -> list[str]:
    """The pages of a request as the catalogue writes them, the one being read first, then the newest of the session.

    Decoding checks the same limits; this is for requests made in Python.
    """
    if not 1 <= request.k <= MAX_K:
        raise InputError("$.k", expected=f"1 to {MAX_K}", got=request.k)
    if len(request.session) > MAX_SESSION:
        raise InputError("$.session", expected=f"at most {MAX_SESSION} pages", got=len(request.session))
    given = {f"$.session[{at}]": page for at, page in enumerate(request.session)}
    given |= {} if request.page is None else {"$.page": request.page}
    for field, page in given.items():
        if not 1 <= len(page) <= MAX_PAGE:
            raise InputError(field, expected=f"1 to {MAX_PAGE} characters", got=len(page))
    return [sessions.page_name(page) for page in reversed(given.values())]


def _observed(index: Index, request: Request) -> tuple[Any, ...]:
    """One row of `observe`."""
    pages, catalogue = _named(request), index.catalogue
    visitor = "none" if request.visitor is None else "known" if request.visitor in index.subjects else "unknown"
    at = catalogue.position.get(pages[0], -1) if request.page is not None else -1
    page = "none" if request.page is None else "known" if at >= 0 else "unknown"
    share = float(catalogue.visitors[at] / catalogue.visitors.sum()) if at >= 0 else np.nan
    strange = sum(name not in catalogue.position for name in pages)
    return (visitor, page, share, len(pages), strange, request.k)


def _seen_already(index: Index | None, request: Request) -> set[str]:
    pages = set(_named(request))
    return pages if index is None else pages | {index.catalogue.pages[at] for at in index.of(request.visitor)}


def _spelled(policy: Policy) -> Policy:
    """The policy with its pages as the catalogue writes them."""
    lists = {name: tuple(map(sessions.page_name, getattr(policy, name))) for name in ("retired", "not_promoted")}
    return msgspec.structs.replace(policy, **lists)


def _broken(index: Index | None, seen: set[str], policy: Policy, page: str) -> str:
    """The rule that keeps this page out of any slate, or empty."""
    if page in seen:
        return "already_seen"
    if page in policy.not_promoted:
        return "not_promoted"
    if page in policy.retired:
        return "retired"
    if index is None:
        return ""
    at = index.catalogue.position.get(page, -1)
    return "retired" if at < 0 or index.catalogue.days[at] > policy.retired_after_days else ""


def _family(index: Index | None, page: str) -> str:
    at = -1 if index is None else index.catalogue.position.get(page, -1)
    return page if index is None or at < 0 else index.catalogue.families[at]
