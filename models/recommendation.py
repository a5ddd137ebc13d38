"""Products for a customer: EASE over the purchase history, lifted by what sells more than usual these days.

Reads the table `orders`; answers `{"customer", "recent", "k", "exclude_bought", "out_of_stock"}` with product codes,
best first. Where it knows neither customer nor basket it proposes what sells now. Judged in pairs: a replayed purchase does
not depend on what was shown. The rules need no scipy.
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

from errors import InputError, ModelError
from models.contract import Decided, Feature, Past, Proposal, Tables
from models.kit import history, neighbours, orders, recommender, slates, split
from models.kit.history import Index
from models.kit.recommender import Blend, Fitted, Query

JUDGE: Literal["split", "paired"] = "paired"
SPARE = 50  # proposed beyond k, so that the policy rule can refill what it takes out
COSINE_NEIGHBOURS = 100  # of the item-item baseline (the reference protocol)
MAX_CODES, MAX_CODE, MAX_K = 1000, 32, 100
Positive = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
DTYPES = {"string": "str", "int64": "int64", "float64": "float64", "bool": "bool"}
Code = Annotated[str, msgspec.Meta(max_length=MAX_CODE)]
Codes = Annotated[tuple[Code, ...], msgspec.Meta(max_length=MAX_CODES)]

FEATURES: tuple[Feature, ...] = (
    Feature(name="subject", dtype="string", meaning="customer pseudonym; empty for a row of the catalogue"),
    Feature(name="item", dtype="string", meaning="product code, upper case"),
    Feature(name="orders", dtype="int64", low=1, high=1e5, unit="orders", meaning="orders with the product"),
    Feature(name="days", dtype="float64", low=0, high=1e4, unit="days", meaning="since the last of them"),
    Feature(name="units", dtype="float64", low=0, high=1e7, unit="units", meaning="units, net of cancellations"),
    Feature(name="spend", dtype="float64", low=0, high=1e7, unit="GBP", meaning="money, net of cancellations"),
    Feature(name="trend", dtype="float64", low=0, high=1e5, unit="orders", meaning="orders, halved each half-life"),
    Feature(name="buyers", dtype="int64", low=0, high=1e6, unit="customers", meaning="different customers"),
    Feature(name="country", dtype="string", meaning="of the newest order; empty for the catalogue"),
)

WATCHED: tuple[Feature, ...] = (
    Feature(name="customer", dtype="string", meaning="known or unknown to the snapshot, or none"),
    Feature(name="products", dtype="int64", low=0, high=1e5, unit="products", meaning="the customer has bought"),
    Feature(name="days", dtype="float64", low=0, high=1e4, unit="days", meaning="from the last order to the snapshot"),
    Feature(name="spend", dtype="float64", low=0, high=1e7, unit="GBP", meaning="of the customer so far"),
    Feature(name="country", dtype="string", meaning="of the customer's newest order"),
    Feature(name="basket", dtype="int64", low=0, high=MAX_CODES, unit="codes", meaning="sent with the request"),
    Feature(name="strange", dtype="int64", low=0, high=MAX_CODES, unit="codes", meaning="of them in no catalogue"),
    Feature(name="k", dtype="int64", low=1, high=MAX_K, unit="products", meaning="asked for"),
    Feature(name="exclude_bought", dtype="bool", meaning="repeat purchases are not wanted"),
)


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Chosen on months before the holdout by `grownet bench search recommendation` (docs/decisions/030)."""

    ridge: Positive  # of EASE
    subject_power: Share  # damping of customers with many products
    neighbours: Annotated[int, msgspec.Meta(ge=1)]  # kept per product
    trend_half_life_days: Positive
    blend: Blend


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    withdrawn_after_days: Positive  # without a sale
    max_per_family: Annotated[int, msgspec.Meta(ge=1)]  # products that share the first five digits
    max_items: Annotated[int, msgspec.Meta(ge=1, le=MAX_K)]
    withheld: Codes = ()  # kept out by hand: a recall, a dispute


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None
    recent: Codes = ()
    k: Annotated[int, msgspec.Meta(ge=1, le=MAX_K)] = 10
    exclude_bought: bool = True  # false asks for repeat purchases too
    out_of_stock: Codes = ()  # who asks knows the stock; orders do not tell it


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    purchased: Annotated[tuple[Code, ...], msgspec.Meta(max_length=10_000)]


def build(tables: Tables, as_of: datetime, params: Params) -> pd.DataFrame:
    """One row per (customer, product) bought before `as_of`, and one per product; columns as in FEATURES."""
    lines = orders.purchases(tables["orders"], as_of)
    frame = history.features(lines, as_of, params.trend_half_life_days)
    return frame[[feature.name for feature in FEATURES]]


def outcomes(tables: Tables, start: datetime, end: datetime, params: Params) -> pd.DataFrame:
    """Net purchases of known customers in [start, end): subject, item, time, units, revenue (GBP)."""
    del params
    lines = split.within(orders.purchases(tables["orders"], end), "time", start, end)
    lines = lines[lines["subject"].notna()].astype({"subject": "str", "item": "str"})
    return lines.assign(revenue=lines["units"] * lines["price"])[["subject", "item", "time", "units", "revenue"]]


def fit(tables: Tables, as_of: datetime, params: Params, seed: int) -> Fitted:
    """Learns item-to-item weights from purchases before `as_of`. Nothing is drawn at random: `seed` changes nothing.

    Raises:
        ModelError: when no customer bought anything before `as_of`.
    """
    del seed
    return learn(_learnable(tables, as_of, params), params)


def learn(known: Index, params: Params) -> Fitted:
    """`fit` from the index of its features; a search over parameters builds that once."""
    matrix = neighbours.damped(_matrix(known), params.subject_power)
    weights = neighbours.strongest(neighbours.ease(matrix, params.ridge), params.neighbours)
    return recommender.fitted(known, weights, params.blend)


def baselines(tables: Tables, as_of: datetime, params: Params, seed: int) -> Mapping[str, Fitted]:
    """`popularity` (what sells now) and `item_item` (cosine over the plain history)."""
    del seed
    known = _learnable(tables, as_of, params)
    plain = msgspec.structs.replace(params.blend, history_floor=1.0, trend_power=0.0)
    cosine = neighbours.strongest(neighbours.cosine(_matrix(known)), COSINE_NEIGHBOURS)
    return {
        "popularity": recommender.fitted(known, neighbours.none(len(known.catalogue.codes)), plain),
        "item_item": recommender.fitted(known, cosine, plain),
    }


def index(features: pd.DataFrame) -> Index:
    """The feature frame arranged for looking up a customer and a product."""
    return history.index(features)


def predict(fitted: Fitted, index: Index, requests: Sequence[Request]) -> list[Proposal]:
    """Product codes for each request, best first: `k` and some to spare for the policy rule.

    Unknown customers and products are ignored. Raises InputError for a request over its limits.
    """
    return recommender.rank(fitted, index, [_query(request) for request in requests])


def rules(index: Index | None, requests: Sequence[Request]) -> list[Proposal]:
    """What sells now, without what the customer has (numpy only). Without an index there is nothing to propose."""
    queries = [_query(request) for request in requests]
    return [Proposal() for _ in queries] if index is None else recommender.popular(index, queries)


def decide(
    proposals: Sequence[Proposal], requests: Sequence[Request], index: Index | None, policy: Policy
) -> list[Decided]:
    """The policy rule: fills the slate from the top, naming each rule that kept something out of it."""
    decided, withheld = [], _codes(policy.withheld)
    for proposal, request in zip(proposals, requests, strict=True):
        kept_out = {
            **dict.fromkeys(_codes(request.out_of_stock), "out_of_stock"),
            **dict.fromkeys(withheld, "withheld"),
        }
        broken = functools.partial(_broken, index, _known(index, request), kept_out, policy.withdrawn_after_days)
        size = min(request.k, policy.max_items)
        slate = slates.fill(proposal, size, broken, _family, policy.max_per_family)
        slate = slates.capped(slate, size, request.k)
        decided.append(slate)
    return decided


def score(fitted: Fitted | None, index: Index, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Ranking metrics per customer of the index with a purchase in `outcomes`; without `fitted` the rules are scored.

    Discovery counts catalogue products the customer had not bought before; repeats are those they had. A metric
    that does not apply to a customer (nothing new, nothing bought again) is missing.
    """
    subjects, new, again = slates.truths(index, outcomes)
    answer = functools.partial(rules, index) if fitted is None else functools.partial(predict, fitted, index)
    fresh = [Request(customer=subject, k=slates.DEPTH) for subject in subjects]
    all_of_it = [Request(customer=subject, k=slates.DEPTH, exclude_bought=False) for subject in subjects]
    columns = {**slates.discovery(answer(fresh), new), **slates.repeats(answer(all_of_it), again)}
    return pd.DataFrame(columns, index=pd.Index(subjects, name="subject", dtype="str"))


def segments(features: pd.DataFrame) -> pd.DataFrame:
    """Customers by country (home or abroad), by how many products they bought and by how lately."""
    own = features[features["subject"] != history.CATALOGUE].sort_values(["subject", "days", "item"])
    each = own.groupby("subject").agg(products=("item", "size"), days=("days", "first"), country=("country", "first"))
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


def observe(index: Index, requests: Sequence[Request]) -> pd.DataFrame:
    """The WATCHED columns. What is known of a customer is missing for one the snapshot does not know."""
    rows = [_seen(index, request) for request in requests]
    frame = pd.DataFrame(rows, columns=[feature.name for feature in WATCHED])
    return frame.astype({feature.name: DTYPES[feature.dtype] for feature in WATCHED})


def past(tables: Tables, start: datetime, end: datetime, params: Params) -> list[Past]:
    """One request for each order of a known customer in [start, end), as a replay sends it; its outcome is the order."""
    del params
    lines = orders.purchases(split.within(tables["orders"], orders.EVENT_TIME, start, end), end)
    lines = lines[lines["subject"].notna()].astype({"invoice": "str", "subject": "str", "item": "str"})
    each = lines.groupby("invoice", sort=False).agg(
        time=("time", "min"), subject=("subject", "first"), items=("item", lambda items: tuple(dict.fromkeys(items)))
    )
    return [
        Past(time=time, request=Request(customer=subject), outcome=Outcome(purchased=items), due=time)
        for time, subject, items in sorted(
            zip(each["time"].dt.to_pydatetime(), each["subject"], each["items"], strict=True)
        )
    ]


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
        Request(recent=("22423",), out_of_stock=("85123A", "22720")),
    ]


def dump(fitted: Fitted) -> dict[str, bytes]:
    """model.json and one .npy per array."""
    return recommender.dump(fitted)


def load(files: Mapping[str, bytes]) -> Fitted:
    """What `dump` wrote. Raises TamperError for files it cannot read or that do not fit together."""
    return recommender.load(files)


def _learnable(tables: Tables, as_of: datetime, params: Params) -> Index:
    known = history.index(build(tables, as_of, params))
    if not known.subjects:
        raise ModelError(
            "recommendation", expected=f"a purchase before {as_of.isoformat()}", got="none", do="ingest orders first"
        )
    return known


def _matrix(known: Index) -> Any:
    """Customers x products, 1 where bought."""
    rows = np.repeat(np.arange(len(known.subjects)), np.diff(known.starts))
    return neighbours.interactions(rows, known.items, (len(known.subjects), len(known.catalogue.codes)))


def _query(request: Request) -> Query:
    """The request checked. Decoding checks the same limits; this is for requests made in Python."""
    if not 1 <= request.k <= MAX_K:
        raise InputError("$.k", expected=f"1 to {MAX_K}", got=request.k)
    for name, given in (("recent", request.recent), ("out_of_stock", request.out_of_stock)):
        if len(given) > MAX_CODES:
            raise InputError(f"$.{name}", expected=f"at most {MAX_CODES} codes", got=len(given))
        for at, code in enumerate(given):
            if len(code) > MAX_CODE:
                raise InputError(f"$.{name}[{at}]", expected=f"at most {MAX_CODE} characters", got=len(code))
    return Query(
        subject=request.customer,
        recent=_codes(request.recent),
        exclude_known=request.exclude_bought,
        count=request.k + SPARE + len(request.out_of_stock),
    )


def _codes(given: Sequence[str]) -> tuple[str, ...]:
    """As the catalogue writes them."""
    return tuple(orders.product_code(code) for code in given)


def _seen(index: Index, request: Request) -> tuple[Any, ...]:
    """One row of `observe`."""
    own = index.rows(request.customer)
    known = own.stop > own.start
    customer = "none" if request.customer is None else "known" if known else "unknown"
    at = index.subjects.get(request.customer or "", -1)
    codes = _codes(request.recent)
    return (
        customer,
        own.stop - own.start,
        float(index.days[own].min()) if known else np.nan,
        float(index.spend[own].sum()) if known else np.nan,
        index.countries[at] if known else None,
        len(codes),
        sum(code not in index.catalogue.position for code in codes),
        request.k,
        request.exclude_bought,
    )


def _known(index: Index | None, request: Request) -> set[int]:
    """Catalogue positions that the request wants left out."""
    if index is None or not request.exclude_bought:
        return set()
    return index.known(request.customer, _codes(request.recent))


def _broken(
    index: Index | None, known: set[int], kept_out: Mapping[str, str], withdrawn_after: float, code: str
) -> str:
    """The rule that keeps this product out of any slate, or empty. `kept_out` has codes and their rules."""
    if not orders.PRODUCT_CODE.fullmatch(code):
        return "not_a_product"
    if code in kept_out:
        return kept_out[code]
    if index is None:
        return ""
    at = index.catalogue.position.get(code, -1)
    if at < 0 or index.catalogue.days[at] > withdrawn_after:
        return "withdrawn"
    return "already_bought" if at in known else ""


def _family(code: str) -> str:
    """Variants (colour, size) share the first five digits."""
    return code[:5]


def _cut(values: pd.Series, edges: list[float], labels: list[str]) -> npt.NDArray[np.object_]:
    return np.asarray(pd.cut(values, edges, labels=labels).astype("str"), dtype=object)
