"""Customer groups: KMeans on log RFM, with the share of each group that buys again within the horizon.

Reads the table `orders`; answers `{"customer"}` with the name of a group and, as `value`, its repeat rate. A customer
nobody knows is "unknown", with the rate of all. Judged in pairs: whether somebody buys again does not depend on the
group we put them in. The rules are classic RFM scores and need no scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from errors import InputError
from models.contract import Decided, Feature, Past, Proposal, Tables
from models.kit import groups, orders, rfm, standings
from models.kit.groups import Fitted, Recipe, Seen
from models.kit.standings import Index, Rates

JUDGE: Literal["split", "paired"] = "paired"
MAX_CUSTOMER = 128
SILHOUETTES = 5000  # customers whose silhouette is taken, evenly from all: its cost grows with the square
NO_RATE = 0.5  # what a group without a rate is scored at: it said nothing
WAVE_DAYS = 7  # history is asked as a weekly mailing asks: the group of every known customer
HOME = "United Kingdom"
Days = Annotated[int, msgspec.Meta(ge=1, le=3660)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]

RECENCY = Feature(name="recency", dtype="float64", low=0, high=1e4, unit="days", meaning="since the last order")
SPEND = Feature(name="spend", dtype="float64", low=0, high=1e8, unit="GBP", meaning="ever, net of cancellations")
TENURE = Feature(name="tenure", dtype="float64", low=0, high=1e4, unit="days", meaning="since the first order")
COUNTRY = Feature(name="country", dtype="string", meaning="of the last order")

FEATURES: tuple[Feature, ...] = (
    Feature(name="subject", dtype="string", meaning="customer pseudonym"),
    Feature(
        name="days_ago", dtype="int64", low=0, high=3660, unit="days", meaning="0, or a horizon: as it was known then"
    ),
    RECENCY,
    Feature(name="orders", dtype="int64", low=1, high=1e5, unit="orders", meaning="ever, with something left of them"),
    SPEND,
    TENURE,
    COUNTRY,
    Feature(name="bought", dtype="string", meaning="an order within the horizon after it: yes, no, or open for now"),
)
WATCHED: tuple[Feature, ...] = (
    RECENCY,
    Feature(
        name="orders", dtype="float64", low=1, high=1e5, unit="orders", meaning="ever, with something left of them"
    ),
    SPEND,
    TENURE,
    COUNTRY,
)


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The number of groups is chosen before the holdout by `grownet bench quality segmentation` (docs/decisions/081)."""

    groups: Annotated[int, msgspec.Meta(ge=groups.FEWEST, le=len(groups.PLACES))]
    min_share: Share  # of the smallest group; below it one group fewer is learned
    horizon_days: Days  # within which an order is a repeat purchase; as long as split.outcome_days
    resamples: Annotated[int, msgspec.Meta(ge=1, le=100)]  # of the stability


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    new_days: Days  # whoever ordered once, and no longer ago, is new or occasional
    loyal_orders: Annotated[int, msgspec.Meta(ge=1)]  # with fewer nobody is loyal or regular
    unknown_after_days: Days  # without an order: too old to say anything


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CUSTOMER)]


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    purchased: bool  # within the horizon after the answer


def build(tables: Tables, as_of: datetime, params: Params) -> pd.DataFrame:
    """One row per customer known before `as_of`, and one per customer known a horizon earlier; columns as in FEATURES."""
    return standings.standings(tables["orders"], as_of, params.horizon_days)


def outcomes(tables: Tables, start: datetime, end: datetime, params: Params) -> pd.DataFrame:
    """One row per customer known before `start`: subject, and whether they purchased in [start, end).

    No row for a window without length: nothing could have happened in it.
    """
    del params
    clean = orders.cleaned(tables["orders"], max(start, end))
    known = standings.known(clean, start) if start < end else []
    bought = standings.buyers(clean, start, end) if known else set()
    frame = pd.DataFrame({"subject": known, "purchased": [subject in bought for subject in known]})
    return frame.astype({"subject": "str", "purchased": "bool"})


def fit(tables: Tables, as_of: datetime, params: Params, seed: int) -> Fitted:
    """Learns groups from the customers of `as_of`, and repeat rates from those of a horizon before it.

    Raises:
        ModelError: when there are too few customers, or none a horizon ago.
    """
    recipe = Recipe(groups=params.groups, min_share=params.min_share, resamples=params.resamples)
    return groups.learn(_seen(tables, as_of, params), recipe, seed)


def baselines(tables: Tables, as_of: datetime, params: Params, seed: int) -> Mapping[str, Fitted]:
    """`one_rate` (everybody alike) and `raw_values` (KMeans without logarithms, the trap of the high silhouette)."""
    seen = _seen(tables, as_of, params)
    recipes = {
        "one_rate": Recipe(groups=1, named=False),
        "raw_values": Recipe(groups=params.groups, logs=False, named=False),
    }
    return {name: groups.learn(seen, recipe, seed) for name, recipe in recipes.items()}


def index(features: pd.DataFrame) -> Index:
    """The feature frame arranged for looking up a customer."""
    return standings.index(features, rfm.groups)


def predict(fitted: Fitted, index: Index, requests: Sequence[Request]) -> list[Proposal]:
    """All groups for each request, the nearest first, then "unknown"; `scores` are their repeat rates, `value` the first's.

    Raises InputError for a name that is empty or too long.
    """
    places = np.array([index.at(_customer(request)) for request in requests], dtype=np.int64)
    known = np.flatnonzero(places >= 0)
    order = groups.ranked(fitted, index.values[places[known]])
    answers = [_unknown(fitted.everyone)] * len(requests)
    for at, row in zip(known.tolist(), order.tolist(), strict=True):
        items = (*(fitted.names[group] for group in row), rfm.UNKNOWN)
        rates = (*(fitted.rates[group] for group in row), fitted.everyone)
        answers[at] = Proposal(items=items, scores=rates, value=rates[0])
    return answers


def rules(index: Index | None, requests: Sequence[Request]) -> list[Proposal]:
    """The group by RFM scores with its repeat rate of the last horizon. Without an index everybody is unknown."""
    return [_by_rules(index, _customer(request)) for request in requests]


def decide(
    proposals: Sequence[Proposal], requests: Sequence[Request], index: Index | None, policy: Policy
) -> list[Decided]:
    """The policy rule: the nearest group that no rule forbids, with its rate; names each rule that changed the answer."""
    return [
        _decided(proposal, _forbidden(index, request, policy))
        for proposal, request in zip(proposals, requests, strict=True)
    ]


def score(fitted: Fitted | None, index: Index, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Metrics per customer of the index with an outcome; without `fitted` the rules are scored.

    `repeat_score` is 1 - (rate - bought)^2, the Brier score turned round. `silhouette` is taken in the space of log RFM
    scaled by the index, for all alike. `stability` and `smallest_share` are one figure of all, repeated in each row.
    """
    truth = outcomes[outcomes["subject"].isin(set(index.subjects))].drop_duplicates("subject").sort_values("subject")
    requests = [Request(customer=subject) for subject in truth["subject"]]
    answers = rules(index, requests) if fitted is None else predict(fitted, index, requests)
    bought = truth["purchased"].to_numpy(np.float64)
    rates = np.array([_rate(answer.value) for answer in answers], dtype=np.float64)
    labels, counts = np.unique([answer.items[0] for answer in answers], return_inverse=True, return_counts=True)[1:]
    columns = {
        "repeat_score": 1.0 - (rates - bought) ** 2,
        "silhouette": _silhouettes(index, list(truth["subject"]), labels),
        "stability": _repeated(fitted.stability if fitted else None, len(truth)),
        "smallest_share": _repeated(counts.min() / len(truth) if len(truth) else None, len(truth)),
    }
    return pd.DataFrame(columns, index=pd.Index(truth["subject"], name="subject", dtype="str"), dtype="float64")


def segments(features: pd.DataFrame) -> pd.DataFrame:
    """Customers by country (home or abroad) and by how long they have been customers."""
    now = features[features["days_ago"] == 0].sort_values("subject")
    edges, labels = [-np.inf, 60, 180, np.inf], ["under 60 days", "60 to 180 days", "over 180 days"]
    return pd.DataFrame(
        {
            "country": np.where(now["country"] == HOME, "home", "abroad"),
            "tenure": np.asarray(pd.cut(now["tenure"], edges, labels=labels).astype("str"), dtype=object),
        },
        index=pd.Index(now["subject"], name="subject"),
    )


def kpi(decision: Decided, outcome: Outcome) -> float:
    """1 - (rate - bought)^2, from 0 to 1: how well the group said whether the customer would buy again."""
    return 1.0 - (_rate(decision.value) - float(outcome.purchased)) ** 2


def observe(index: Index, requests: Sequence[Request]) -> pd.DataFrame:
    """How each customer stands in the index; all of it missing for one never seen."""
    places = [index.at(_customer(request)) for request in requests]
    nobody = np.full(len(standings.NUMBERS), np.nan)
    rows = np.array([index.values[at] if at >= 0 else nobody for at in places], dtype=np.float64)
    frame = pd.DataFrame(rows.reshape(-1, len(standings.NUMBERS)), columns=list(standings.NUMBERS))
    countries = [index.countries[at] if at >= 0 else None for at in places]
    frame["country"] = pd.Series(countries, dtype="str", index=frame.index)
    return frame[[feature.name for feature in WATCHED]]


def past(tables: Tables, start: datetime, end: datetime, params: Params) -> list[Past]:
    """At `start` and each week after it, every customer known by then: who a weekly mailing would have asked about.

    The outcome is that of the rows given; one whose `due` lies after them is not known yet.
    """
    horizon, found = timedelta(days=params.horizon_days), []
    clean = orders.cleaned(tables["orders"], end + horizon)
    for time in standings.waves(start, end, WAVE_DAYS):
        bought = standings.buyers(clean, time, time + horizon)
        found += [
            Past(time=time, request=Request(customer=who), outcome=Outcome(purchased=who in bought), due=time + horizon)
            for who in standings.known(clean, time)
        ]
    return found


def routing_key(request: Request) -> str:
    """The customer."""
    return request.customer


def mask(request: Request, pseudonym: Any) -> Request:
    """The request with the customer replaced by a pseudonym."""
    return Request(customer=pseudonym(request.customer))


def example() -> list[Request]:
    """Made-up customers. Nobody knows them, so each is answered "unknown" with the rate of all."""
    return [Request(customer="nobody"), Request(customer="made up")]


def dump(fitted: Fitted) -> dict[str, bytes]:
    """groups.json."""
    return groups.dump(fitted)


def load(files: Mapping[str, bytes]) -> Fitted:
    """What `dump` wrote. Raises TamperError for a file it cannot read or that does not fit together."""
    return groups.load(files)


def _seen(tables: Tables, as_of: datetime, params: Params) -> Seen:
    frame = build(tables, as_of, params)
    now, before = frame[frame["days_ago"] == 0], frame[frame["days_ago"] > 0]
    bought = (before["bought"] == standings.YES).to_numpy(np.bool_)
    return Seen(now=standings.numbers(now), before=standings.numbers(before), bought=bought)


def _customer(request: Request) -> str:
    """The customer checked. Decoding checks the same limits; this is for requests made in Python."""
    if not 1 <= len(request.customer) <= MAX_CUSTOMER:
        raise InputError("$.customer", expected=f"1 to {MAX_CUSTOMER} characters", got=len(request.customer))
    return request.customer


def _unknown(rate: float | None) -> Proposal:
    return Proposal(items=(rfm.UNKNOWN,), scores=(_rate(rate),), value=rate)


def _by_rules(index: Index | None, customer: str) -> Proposal:
    at = index.at(customer) if index is not None else -1
    rates = index.rates if index is not None else Rates(groups={}, everyone=None)
    if index is None or at < 0:
        return _unknown(rates.everyone)
    everyone = _rate(rates.everyone)
    own = index.groups[at]
    others = sorted(name for name in groups.PLACES if name != own and name in rates.groups)
    items = (own, *others, rfm.UNKNOWN)
    scores = (*(rates.groups.get(name, everyone) for name in items[:-1]), everyone)
    return Proposal(items=items, scores=scores, value=scores[0] if rates.everyone is not None else None)


def _forbidden(index: Index | None, request: Request, policy: Policy) -> dict[str, str]:
    """The groups that a rule keeps this customer out of, each with the rule."""
    at = index.at(request.customer) if index is not None else -1
    if index is None or at < 0:
        return {}
    recency, ordered, _, tenure = index.values[at].tolist()
    if recency > policy.unknown_after_days:
        return dict.fromkeys(groups.PLACES, "no_recent_data")
    if ordered == 1 and tenure <= policy.new_days:
        return dict.fromkeys(set(groups.PLACES) - {rfm.NEW}, "newcomer")
    if ordered < policy.loyal_orders:
        return dict.fromkeys((rfm.LOYAL, rfm.REGULAR), "too_few_orders")
    return {}


def _decided(proposal: Proposal, forbidden: Mapping[str, str]) -> Decided:
    """The first group that is allowed; the first of all when none is, for a rule invents no group."""
    allowed = [at for at, name in enumerate(proposal.items) if name not in forbidden]
    at = allowed[0] if allowed else 0
    value = proposal.value if at == 0 else proposal.scores[at]
    overruled = () if at == 0 else tuple(sorted({forbidden[name] for name in proposal.items[:at]}))
    return Decided(items=(proposal.items[at],), scores=(proposal.scores[at],), value=value, overruled=overruled)


def _rate(value: float | None) -> float:
    return NO_RATE if value is None else value


def _repeated(figure: float | None, rows: int) -> npt.NDArray[np.float64]:
    return np.full(rows, np.nan if figure is None else figure)


def _silhouettes(index: Index, subjects: Sequence[str], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The silhouette of at most SILHOUETTES customers, evenly from all; missing for the rest."""
    found = np.full(len(subjects), np.nan)
    if not subjects:
        return found
    points = groups.space(index.values[[index.at(subject) for subject in subjects]])
    deviation = points.std(axis=0)
    chosen = np.arange(0, len(subjects), max(1, -(-len(subjects) // SILHOUETTES)))
    scaled = (points - points.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    found[chosen] = groups.silhouettes(scaled[chosen], labels[chosen])
    return found
