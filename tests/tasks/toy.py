"""A whole model small enough to see through: everybody visits one item again and again, and the model remembers which.

Table `visits`: subject, item, time. The rules propose what most people visit. Two deliberate faults can be switched on:
`wrong` proposes something nobody visits, `peek` remembers the newest row it is shown, whatever `as_of` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
import pandas as pd

from errors import ModelError, TamperError
from models.contract import Decided, Feature, Past, Proposal, Tables

JUDGE: Literal["split", "paired"] = "paired"
FEATURES = (
    Feature(name="subject", dtype="string", meaning="who"),
    Feature(name="item", dtype="string", meaning="what they visit most"),
    Feature(name="visits", dtype="int64", low=0, high=1e6, unit="visits", meaning="of any item in the last week"),
)

WATCHED = (Feature(name="named", dtype="bool", meaning="somebody asks"),)


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    wrong: bool = False
    peek: bool = False
    least_rows: int = 0  # with fewer it refuses to learn


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    banned: tuple[str, ...] = ()


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    subject: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    item: str


def build(tables: Tables, as_of: datetime, params: Params) -> pd.DataFrame:
    visits = tables["visits"]
    seen = visits if params.peek else visits[visits["time"] < as_of]
    counts = seen.groupby(["subject", "item"]).size().rename("count").reset_index()
    best = counts.sort_values(["subject", "count", "item"], ascending=[True, False, True]).drop_duplicates("subject")
    lately = seen[seen["time"] >= as_of - timedelta(days=7)].groupby("subject").size()
    visits = best["subject"].map(lately).fillna(0).astype("int64")
    return best.assign(visits=visits)[["subject", "item", "visits"]].reset_index(drop=True)


def outcomes(tables: Tables, start: datetime, end: datetime, params: Params) -> pd.DataFrame:
    visits = tables["visits"]
    return visits[(visits["time"] >= start) & (visits["time"] < end)][["subject", "item"]]


def fit(tables: Tables, as_of: datetime, params: Params, seed: int) -> dict[str, str]:
    del seed
    features = build(tables, as_of, params)
    if (rows := int((tables["visits"]["time"] < as_of).sum())) < params.least_rows:
        raise ModelError("toy", expected=f"{params.least_rows} rows", got=rows)
    return {str(row.subject): "?" if params.wrong else str(row.item) for row in features.itertuples()}


def baselines(tables: Tables, as_of: datetime, params: Params, seed: int) -> Mapping[str, dict[str, str]]:
    del tables, as_of, params, seed
    return {"nothing": {}}


def index(features: pd.DataFrame) -> str:
    return str(features.groupby("item").size().idxmax())


def predict(fitted: dict[str, str], index: str, requests: Sequence[Request]) -> list[Proposal]:
    del index
    return [Proposal(items=(fitted.get(request.subject, "?"),), scores=(1.0,)) for request in requests]


def rules(index: str | None, requests: Sequence[Request]) -> list[Proposal]:
    return [Proposal(items=(index,) if index else ()) for _ in requests]


def decide(proposals: Sequence[Proposal], requests: Sequence[Request], index: Any, policy: Policy) -> list[Decided]:
    del requests, index
    return [
        Decided(items=kept, overruled=("banned",) if kept != one.items else ())
        for one in proposals
        for kept in [tuple(item for item in one.items if item not in policy.banned)]
    ]


def score(fitted: dict[str, str] | None, index: str, outcomes: pd.DataFrame) -> pd.DataFrame:
    subjects = sorted(outcomes["subject"].unique())
    requests = [Request(subject=subject) for subject in subjects]
    proposed = rules(index, requests) if fitted is None else predict(fitted, index, requests)
    truth = outcomes.groupby("subject")["item"].agg(set)
    hits = [float(bool(set(one.items) & truth[who])) for who, one in zip(subjects, proposed, strict=True)]
    return pd.DataFrame({"hit": hits}, index=pd.Index(subjects, name="subject"), dtype="float64")


def segments(features: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"item": features["item"].to_numpy()}, index=pd.Index(features["subject"], name="subject"))


def kpi(decision: Decided, outcome: Outcome) -> float:
    return float(outcome.item in decision.items)


def observe(index: str, requests: Sequence[Request]) -> pd.DataFrame:
    return pd.DataFrame({"named": pd.Series([bool(request.subject) for request in requests], dtype="bool")})


def past(tables: Tables, start: datetime, end: datetime, params: Params) -> list[Past]:
    visits = tables["visits"]
    rows = visits[(visits["time"] >= start) & (visits["time"] < end)].sort_values("time")
    return [
        Past(time=row.time, request=Request(subject=row.subject), outcome=Outcome(item=row.item), due=row.time)
        for row in rows.itertuples()
    ]


def routing_key(request: Request) -> str:
    return request.subject


def mask(request: Request, pseudonym: Any) -> Request:
    return Request(subject=pseudonym(request.subject))


def example() -> list[Request]:
    return [Request(subject="made up")]


def dump(fitted: dict[str, str]) -> dict[str, bytes]:
    return {"favourites.json": msgspec.json.encode(fitted, order="sorted")}


def load(files: Mapping[str, bytes]) -> dict[str, str]:
    try:
        return msgspec.json.decode(files["favourites.json"], type=dict[str, str])
    except (KeyError, msgspec.DecodeError) as error:
        raise TamperError("toy artifact", expected="favourites.json", got=repr(error)) from error
