"""Products for a customer: item-to-item weights (EASE) over the purchase history, with popularity beneath them.

Reads the table `orders`; answers `{"customer", "recent", "k", "exclude_bought"}` with product codes, best first.
A customer, product or basket it does not know falls back to what sells now. Judged in pairs: a replayed purchase
does not depend on what was shown.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from checks import metrics
from errors import InputError, TamperError
from models.contract import Decided, Feature, Proposal, Tables
from models.kit import history, neighbours, orders, split
from models.kit.history import Index
from models.kit.neighbours import Neighbours

JUDGE: Literal["split", "paired"] = "paired"
SPARE = 50  # proposed beyond k, so that the policy rule can refill what it takes out
MIN_BUYERS = 5  # a product with fewer buyers is not part of the scored truth (the reference protocol)
DEPTH = 20  # ranks that are scored
MAX_RECENT, MAX_CODE, MAX_K = 1000, 32, 100
Code = Annotated[str, msgspec.Meta(max_length=MAX_CODE)]

FEATURES: tuple[Feature, ...] = (
    Feature(name="subject", dtype="string", meaning="customer pseudonym; empty for a row of the catalogue"),
    Feature(name="item", dtype="string", meaning="product code, upper case"),
    Feature(name="orders", dtype="int64", low=1, high=1e5, unit="orders", meaning="orders with the product"),
    Feature(name="days", dtype="float64", low=0, high=1e4, unit="days", meaning="since the last of them"),
    Feature(name="units", dtype="float64", low=0, high=1e7, unit="units", meaning="units, net of cancellations"),
    Feature(name="spend", dtype="float64", low=0, high=1e7, unit="GBP", meaning="money, net of cancellations"),
    Feature(name="trend", dtype="float64", low=0, high=1e5, unit="orders", meaning="orders, halved each half-life"),
    Feature(name="buyers", dtype="int64", low=0, high=1e6, unit="customers", meaning="different customers"),
    Feature(name="country", dtype="string", meaning="of the customer's newest order; empty for the catalogue"),
)


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ridge: Annotated[float, msgspec.Meta(gt=0)] = 500.0
    neighbours: Annotated[int, msgspec.Meta(ge=1)] = 200  # kept per item
    trend_half_life_days: Annotated[float, msgspec.Meta(gt=0)] = 30.0


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    withdrawn_after_days: Annotated[float, msgspec.Meta(gt=0)] = 90.0  # without a sale
    max_per_family: Annotated[int, msgspec.Meta(ge=1)] = 2  # products that share the first five digits
    max_items: Annotated[int, msgspec.Meta(ge=1, le=MAX_K)] = MAX_K


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None
    recent: Annotated[tuple[Code, ...], msgspec.Meta(max_length=MAX_RECENT)] = ()
    k: Annotated[int, msgspec.Meta(ge=1, le=MAX_K)] = 10
    exclude_bought: bool = True


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    purchased: Annotated[tuple[Code, ...], msgspec.Meta(max_length=10_000)]


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """Everything learned. `popularity` decides where `neighbours` says nothing."""

    codes: tuple[str, ...]
    position: dict[str, int]
    neighbours: Neighbours
    popularity: npt.NDArray[np.float32]  # in (0, 1), falls with rank


def build(tables: Tables, as_of: datetime, params: Params) -> pd.DataFrame:
    """One row per (customer, product) bought before `as_of`, and one per product; columns as in FEATURES."""
    lines = orders.purchases(tables["orders"], as_of)
    frame = history.features(lines, as_of, params.trend_half_life_days)
    return frame[[feature.name for feature in FEATURES]]


def outcomes(tables: Tables, start: datetime, end: datetime) -> pd.DataFrame:
    """Net purchases of known customers in [start, end): subject, item, time, units, revenue (GBP)."""
    lines = split.within(orders.purchases(tables["orders"], end), "time", start, end)
    lines = lines[lines["subject"].notna()]
    return lines.assign(revenue=lines["units"] * lines["price"])[["subject", "item", "time", "units", "revenue"]]


def fit(tables: Tables, as_of: datetime, params: Params, seed: int) -> Fitted:
    """Learns item-to-item weights from purchases before `as_of`. Nothing is drawn at random: `seed` changes nothing."""
    del seed
    index = history.index(build(tables, as_of, params))
    return _fitted(index, neighbours.strongest(neighbours.ease(_matrix(index), params.ridge), params.neighbours))


def baselines(tables: Tables, as_of: datetime, params: Params, seed: int) -> Mapping[str, Fitted]:
    """`popularity` (what sells now) and `item_item` (cosine, 100 neighbours)."""
    del seed
    index = history.index(build(tables, as_of, params))
    size = len(index.catalogue.codes)
    return {
        "popularity": _fitted(index, neighbours.none(size)),
        "item_item": _fitted(index, neighbours.strongest(neighbours.cosine(_matrix(index)), 100)),
    }


def index(features: pd.DataFrame) -> Index:
    """The feature frame arranged for looking up a customer and a product."""
    return history.index(features)


def predict(fitted: Fitted, index: Index, requests: Sequence[Request]) -> list[Proposal]:
    """Product codes for each request, best first: `k` and some to spare for the policy rule."""
    return [_propose(fitted, index, _checked(request)) for request in requests]


def rules(index: Index | None, requests: Sequence[Request]) -> list[Proposal]:
    """What sells now, without what the customer has (numpy only). Without an index there is nothing to propose."""
    if index is None:
        return [Proposal() for _ in requests]
    catalogue = index.catalogue
    answers = []
    for request in map(_checked, requests):
        values = catalogue.trend.copy()
        if request.exclude_bought:
            values[list(_known(index, request))] = -np.inf
        best = neighbours.top(values, request.k + SPARE)
        answers.append(Proposal(items=tuple(catalogue.codes[best]), scores=tuple(values[best].tolist())))
    return answers


def decide(
    proposals: Sequence[Proposal], requests: Sequence[Request], index: Index | None, policy: Policy
) -> list[Decided]:
    """The policy rule: fills the slate from the top, naming each rule that kept something out of it."""
    return [_decide(proposal, request, index, policy) for proposal, request in zip(proposals, requests, strict=True)]


def score(fitted: Fitted | None, index: Index, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Ranking metrics per customer of the index with a purchase in `outcomes`; without `fitted` the rules are scored.

    New purchases are catalogue products (at least MIN_BUYERS buyers) the customer had not bought before; repeats
    are those they had. A metric that does not apply to a customer (nothing new, nothing repeated) is missing.
    """
    catalogue = index.catalogue
    scored = set(catalogue.codes[catalogue.buyers >= MIN_BUYERS])
    known = outcomes[outcomes["item"].isin(scored) & outcomes["subject"].isin(set(index.subjects))]
    revenue = known.groupby(["subject", "item"], sort=True)["revenue"].sum().reset_index()
    truths = {
        str(subject): dict(zip(rows["item"], rows["revenue"], strict=True))
        for subject, rows in revenue.groupby("subject")
    }
    new = [Request(customer=subject, k=DEPTH) for subject in truths]
    repeat = [Request(customer=subject, k=DEPTH, exclude_bought=False) for subject in truths]
    answer = rules if fitted is None else functools.partial(predict, fitted)
    bought = [{catalogue.codes[at] for at in index.items[index.rows(subject)]} for subject in truths]
    fresh = [
        {c: v for c, v in truth.items() if c not in has} for truth, has in zip(truths.values(), bought, strict=True)
    ]
    again = [{c: v for c, v in truth.items() if c in has} for truth, has in zip(truths.values(), bought, strict=True)]
    gains, totals, counts = _gains(answer(index, new), fresh)
    repeats, _, repeated = _gains(answer(index, repeat), again)
    return pd.DataFrame(
        {
            "hit_at_10": np.where(counts > 0, metrics.hit_at(gains > 0, 10), np.nan),
            "recall_at_20": metrics.recall_at(gains > 0, counts, DEPTH),
            "ndcg_at_20": metrics.ndcg_at(gains > 0, counts, DEPTH),
            "revenue_recall_at_20": metrics.weighted_recall_at(gains, totals, DEPTH),
            "repeat_hit_at_10": np.where(repeated > 0, metrics.hit_at(repeats > 0, 10), np.nan),
        },
        index=pd.Index(list(truths), name="subject"),
    )


def _gains(
    proposals: Sequence[Proposal], truths: Sequence[Mapping[str, float]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Revenue found at each rank (subjects x DEPTH), and the revenue and number of all relevant products."""
    gains = np.zeros((len(truths), DEPTH))
    for row, (proposal, truth) in enumerate(zip(proposals, truths, strict=True)):
        found = [truth.get(code, 0.0) for code in proposal.items[:DEPTH]]
        gains[row, : len(found)] = found
    totals = np.array([sum(truth.values()) for truth in truths], dtype=np.float64)
    return gains, totals, np.array([len(truth) for truth in truths], dtype=np.int64)


def segments(features: pd.DataFrame) -> pd.DataFrame:
    """Customers by country (home or abroad), by how many products they bought and by how lately."""
    own = features[features["subject"] != history.CATALOGUE]
    each = own.groupby("subject").agg(products=("item", "size"), days=("days", "min"), country=("country", "first"))
    return pd.DataFrame(
        {
            "country": np.where(each["country"] == "United Kingdom", "home", "abroad"),
            "products": _cut(each["products"], [0, 10, 50, np.inf], ["under 10", "10 to 49", "50 and more"]),
            "recency": _cut(each["days"], [-1, 30, 90, np.inf], ["last 30 days", "31 to 90 days", "longer ago"]),
        },
        index=each.index,
    )


def kpi(decision: Decided, outcome: Outcome) -> float:
    """1.0 when any purchased product was in the slate, else 0.0."""
    return float(bool(set(decision.items) & {orders.product_code(code) for code in outcome.purchased}))


def routing_key(request: Request) -> str:
    """The customer; without one the basket, so that the same basket meets the same arm."""
    return request.customer or "basket:" + ",".join(sorted(request.recent))


def mask(request: Request, pseudonym: Any) -> Request:
    """The request with the customer replaced by a pseudonym."""
    if request.customer is None:
        return request
    return msgspec.structs.replace(request, customer=pseudonym(request.customer))


def example() -> list[Request]:
    """Made-up requests: a basket, nobody, an unknown customer, unknown codes, a repeat purchase."""
    return [
        Request(recent=("85123A", "22423")),
        Request(),
        Request(customer="nobody", recent=("20725",), k=5),
        Request(recent=("no such code",), k=20),
        Request(recent=("84879", "85123A"), exclude_bought=False),
    ]


def dump(fitted: Fitted) -> dict[str, bytes]:
    """items.json and one .npy per array."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "starts": fitted.neighbours.starts,
        "columns": fitted.neighbours.columns,
        "weights": fitted.neighbours.weights,
        "popularity": fitted.popularity,
    }
    return {"items.json": msgspec.json.encode(fitted.codes), **{f"{n}.npy": _npy(a) for n, a in arrays.items()}}


def load(files: Mapping[str, bytes]) -> Fitted:
    """What `dump` wrote.

    Raises:
        TamperError: for a file that is missing or cannot be read, or arrays that do not fit together.
    """
    try:
        codes = msgspec.json.decode(files["items.json"], type=tuple[str, ...])
        arrays = {
            name: np.load(io.BytesIO(files[f"{name}.npy"]), allow_pickle=False)
            for name in ("starts", "columns", "weights", "popularity")
        }
    except (KeyError, ValueError, EOFError, msgspec.DecodeError) as error:
        raise TamperError("recommendation artifact", expected="the files of dump", got=repr(error)) from error
    kept = Neighbours(starts=arrays["starts"], columns=arrays["columns"], weights=arrays["weights"])
    if kept.size != len(codes) or len(arrays["popularity"]) != len(codes):
        raise TamperError("recommendation artifact", expected=f"arrays for {len(codes)} items", got=kept.size)
    return Fitted(codes=codes, position=_positions(codes), neighbours=kept, popularity=arrays["popularity"])


def _fitted(index: Index, kept: Neighbours) -> Fitted:
    codes = tuple(index.catalogue.codes)
    rank = np.argsort(np.argsort(-index.catalogue.trend, kind="stable"), kind="stable")
    popularity = (1.0 - (rank + 1) / (len(codes) + 1)).astype(np.float32)
    return Fitted(codes=codes, position=_positions(codes), neighbours=kept, popularity=popularity)


def _matrix(index: Index) -> Any:
    rows = np.repeat(np.arange(len(index.subjects)), np.diff(index.starts))
    shape = (len(index.subjects), len(index.catalogue.codes))
    return neighbours.interactions(rows, index.items, np.ones(len(rows), np.float32), shape)


def _positions(codes: Sequence[str]) -> dict[str, int]:
    return {code: at for at, code in enumerate(codes)}


def _npy(array: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _cut(values: pd.Series, edges: list[float], labels: list[str]) -> npt.NDArray[np.object_]:
    return np.asarray(pd.cut(values, edges, labels=labels).astype("str"), dtype=object)


def _checked(request: Request) -> Request:
    """Decoding checks the same limits; this is for requests made in Python."""
    if not 1 <= request.k <= MAX_K:
        raise InputError("$.k", expected=f"1 to {MAX_K}", got=request.k)
    if len(request.recent) > MAX_RECENT:
        raise InputError("$.recent", expected=f"at most {MAX_RECENT} codes", got=len(request.recent))
    for at, code in enumerate(request.recent):
        if len(code) > MAX_CODE:
            raise InputError(f"$.recent[{at}]", expected=f"at most {MAX_CODE} characters", got=len(code))
    return request


def _known(index: Index, request: Request) -> set[int]:
    """Catalogue positions of what the customer bought or has in the basket."""
    position = index.catalogue.position
    codes = (position.get(orders.product_code(code)) for code in request.recent)
    return set(index.items[index.rows(request.customer)].tolist()) | {at for at in codes if at is not None}


def _propose(fitted: Fitted, index: Index, request: Request) -> Proposal:
    codes = index.catalogue.codes
    held = {fitted.position[codes[at]] for at in _known(index, request) if codes[at] in fitted.position}
    basket = (fitted.position.get(orders.product_code(code)) for code in request.recent)
    held |= {at for at in basket if at is not None}
    items = np.array(sorted(held), dtype=np.int64)
    values = neighbours.scores(fitted.neighbours, items, np.ones(len(items))) + 1e-6 * fitted.popularity
    if request.exclude_bought:
        values[items] = -np.inf
    best = neighbours.top(values, request.k + SPARE)
    return Proposal(items=tuple(fitted.codes[at] for at in best), scores=tuple(values[best].tolist()))


def _decide(proposal: Proposal, request: Request, index: Index | None, policy: Policy) -> Decided:
    slate: list[int] = []
    overruled: set[str] = set()
    families: dict[str, int] = {}
    known = _known(index, request) if index and request.exclude_bought else set()
    size = min(request.k, policy.max_items)
    for at, code in enumerate(proposal.items):
        if len(slate) == size:
            break
        broken = _broken(code, index, known, policy) or (
            "max_per_family" if families.get(code[:5], 0) >= policy.max_per_family else ""
        )
        if broken:
            overruled.add(broken)
            continue
        families[code[:5]] = families.get(code[:5], 0) + 1
        slate.append(at)
    if len(slate) == size < request.k:
        overruled.add("max_items")
    return Decided(
        items=tuple(proposal.items[at] for at in slate),
        scores=tuple(proposal.scores[at] for at in slate),
        overruled=tuple(sorted(overruled)),
    )


def _broken(code: str, index: Index | None, known: set[int], policy: Policy) -> str:
    """The name of the rule that keeps this product out of any slate, or empty."""
    if not orders.PRODUCT_CODE.fullmatch(code):
        return "not_a_product"
    if index is None:
        return ""
    at = index.catalogue.position.get(code, -1)
    if at < 0 or index.catalogue.days[at] > policy.withdrawn_after_days:
        return "withdrawn"
    return "already_bought" if at in known else ""
