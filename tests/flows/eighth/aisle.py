"""The aisle a customer buys from next: where the last order came from. The eighth model of test_eighth_model.py.

Reads the table `orders`. An aisle is the first two digits of a product's code. The rules name the aisle that sells most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
import pandas as pd

from errors import InputError, TamperError
from models.contract import Decided, Feature, Past, Proposal, Tables

JUDGE: Literal["split", "paired"] = "paired"
HOME = "United Kingdom"

FEATURES: tuple[Feature, ...] = (
    Feature(name="subject", dtype="string", meaning="customer pseudonym"),
    Feature(name="aisle", dtype="string", meaning="of the last order"),
    Feature(name="lines", dtype="int64", low=0, high=1e6, unit="order lines", meaning="of the horizon before"),
    Feature(name="country", dtype="string", meaning="of the last order"),
)
WATCHED: tuple[Feature, ...] = (Feature(name="known", dtype="bool", meaning="the customer has bought before"),)


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    horizon_days: Annotated[int, msgspec.Meta(ge=1, le=366)]


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    closed: tuple[str, ...] = ()  # aisles nobody is sent to


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    aisles: tuple[str, ...]  # bought from


class Index(msgspec.Struct, frozen=True):
    aisles: dict[str, str]  # of each customer
    best: str  # sells most


def _lines(table: pd.DataFrame, start: datetime | None, end: datetime) -> pd.DataFrame:
    """What known customers bought in [start, end), in an order that does not depend on the rows' own."""
    kept = (table["invoice_date"] < end) & table["customer_id"].notna() & (table["quantity"] > 0)
    if start is not None:
        kept &= table["invoice_date"] >= start
    rows = table.loc[kept, ["customer_id", "invoice_date", "stock_code", "country"]]
    rows = rows.rename(columns={"customer_id": "subject", "invoice_date": "time"})
    rows["aisle"] = rows["stock_code"].str[:2]
    return rows.sort_values(["time", "subject", "stock_code", "country"], ignore_index=True)


def build(tables: Tables, as_of: datetime, params: Params) -> pd.DataFrame:
    """One row per customer who bought before `as_of`; columns as in FEATURES."""
    rows = _lines(tables["orders"], None, as_of)
    last = rows.drop_duplicates("subject", keep="last").sort_values("subject", ignore_index=True)
    counts = rows[rows["time"] >= as_of - timedelta(days=params.horizon_days)].groupby("subject").size()
    return last.assign(lines=last["subject"].map(counts).fillna(0).astype("int64"))[[one.name for one in FEATURES]]


def outcomes(tables: Tables, start: datetime, end: datetime, params: Params) -> pd.DataFrame:
    """One row per customer and aisle bought from in [start, end)."""
    del params
    rows = _lines(tables["orders"], start, end)
    return rows[["subject", "aisle"]].drop_duplicates(ignore_index=True)


def fit(tables: Tables, as_of: datetime, params: Params, seed: int) -> dict[str, str]:
    """The last aisle of each customer; nothing is drawn at random."""
    del seed
    features = build(tables, as_of, params)
    return dict(zip(features["subject"], features["aisle"], strict=True))


def baselines(tables: Tables, as_of: datetime, params: Params, seed: int) -> Mapping[str, dict[str, str]]:
    """`nobody`: a model that knows no customer."""
    del tables, as_of, params, seed
    return {"nobody": {}}


def index(features: pd.DataFrame) -> Index:
    """Aisles by customer, and the one that sells most."""
    sold = features.groupby("aisle")["lines"].sum()
    return Index(dict(zip(features["subject"], features["aisle"], strict=True)), str(sold.idxmax()))


def predict(fitted: dict[str, str], index: Index, requests: Sequence[Request]) -> list[Proposal]:
    """The customer's aisle, as the snapshot or else the model knows it; the best one for a stranger."""
    return [
        _proposal(index.aisles.get(who) or fitted.get(who) or index.best, index)
        for who in (_customer(request) for request in requests)
    ]


def rules(index: Index | None, requests: Sequence[Request]) -> list[Proposal]:
    """The aisle that sells most; nothing without a snapshot."""
    return [Proposal() if index is None else _proposal(index.best, index) for _ in requests]


def decide(
    proposals: Sequence[Proposal], requests: Sequence[Request], index: Index | None, policy: Policy
) -> list[Decided]:
    """The first aisle that is not closed."""
    del requests, index
    return [_decided(one, policy) for one in proposals]


def score(fitted: dict[str, str] | None, index: Index, outcomes: pd.DataFrame) -> pd.DataFrame:
    """`hit`: 1 when a known customer bought from the aisle named first."""
    truth = outcomes[outcomes["subject"].isin(set(index.aisles))].groupby("subject")["aisle"].agg(set)
    requests = [Request(customer=who) for who in truth.index]
    answers = rules(index, requests) if fitted is None else _learned(fitted, index, requests)
    hits = [float(one.items[0] in bought) for one, bought in zip(answers, truth, strict=True)]
    return pd.DataFrame({"hit": hits}, index=pd.Index(truth.index, name="subject", dtype="str"), dtype="float64")


def segments(features: pd.DataFrame) -> pd.DataFrame:
    """Customers at home and abroad."""
    abroad = features["country"].ne(HOME).map({True: "abroad", False: "home"})
    return pd.DataFrame({"country": abroad.to_numpy()}, index=pd.Index(features["subject"], name="subject"))


def kpi(decision: Decided, outcome: Outcome) -> float:
    """1 when the aisle named was bought from."""
    return float(bool(set(decision.items[:1]) & set(outcome.aisles)))


def observe(index: Index, requests: Sequence[Request]) -> pd.DataFrame:
    """Whether the snapshot knows the customer."""
    return pd.DataFrame({"known": pd.Series([one.customer in index.aisles for one in requests], dtype="bool")})


def past(tables: Tables, start: datetime, end: datetime, params: Params) -> list[Past]:
    """Every order as a question asked just before it; answered by what the customer bought within the horizon."""
    horizon = timedelta(days=params.horizon_days)
    rows = _lines(tables["orders"], start, end + horizon)
    asked = rows[rows["time"] < end].drop_duplicates(["subject", "time"])
    bought = dict(list(rows.groupby("subject")))
    found = []
    for time, who in zip(asked["time"], asked["subject"], strict=True):
        then = bought[who][bought[who]["time"].between(time, time + horizon, inclusive="left")]
        outcome, moment = Outcome(aisles=tuple(sorted(set(then["aisle"])))), time.to_pydatetime()
        found.append(Past(time=moment, request=Request(customer=who), outcome=outcome, due=moment + horizon))
    return found


def routing_key(request: Request) -> str:
    return request.customer


def mask(request: Request, pseudonym: Any) -> Request:
    return Request(customer=pseudonym(request.customer))


def example() -> list[Request]:
    """Made up."""
    return [Request(customer="nobody"), Request(customer="made up")]


def dump(fitted: dict[str, str]) -> dict[str, bytes]:
    """aisles.json."""
    return {"aisles.json": msgspec.json.encode(fitted, order="sorted")}


def load(files: Mapping[str, bytes]) -> dict[str, str]:
    """What `dump` wrote. Raises TamperError for anything else."""
    try:
        return msgspec.json.decode(files["aisles.json"], type=dict[str, str])
    except (KeyError, msgspec.DecodeError) as error:
        raise TamperError("aisles.json", expected="a customer's aisle by name", got=repr(error)) from error


def _customer(request: Request) -> str:
    if not request.customer:
        raise InputError("$.customer", expected="1 to 128 characters", got=0)
    return request.customer


def _proposal(aisle: str, index: Index) -> Proposal:
    """`aisle`, then the best one."""
    items = (aisle,) if aisle == index.best else (aisle, index.best)
    return Proposal(items=items, scores=tuple(1.0 / (at + 1) for at in range(len(items))))


def _learned(fitted: dict[str, str], index: Index, requests: Sequence[Request]) -> list[Proposal]:
    return [_proposal(fitted.get(request.customer) or index.best, index) for request in requests]


def _decided(proposal: Proposal, policy: Policy) -> Decided:
    kept = [at for at, aisle in enumerate(proposal.items) if aisle not in policy.closed]
    return Decided(
        items=tuple(proposal.items[at] for at in kept),
        scores=tuple(proposal.scores[at] for at in kept),
        overruled=() if len(kept) == len(proposal.items) else ("closed",),
    )
