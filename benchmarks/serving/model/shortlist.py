"""Candidates best first by 500 boosted trees: the ranking model of `grownet bench serving`, put beside the house's own there.

Its table is made up (`table`); a request brings the inputs of its candidates along. Everything the contract asks a model for
to be served is here; what only training and monitors ask for is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import pandas as pd

from models.contract import Decided, Feature, Proposal, Tables
from models.kit import trees

JUDGE: Literal["split", "paired"] = "split"
INPUTS = 30
TREES = "trees.txt"
NAMES = tuple(map(str, range(1000)))
FEATURES = tuple(Feature(name=f"input_{at}", dtype="float64", meaning="drawn") for at in range(INPUTS))
WATCHED: tuple[Feature, ...] = (Feature(name="candidates", dtype="int64", low=1, high=1000, meaning="to rank"),)
Row = Annotated[list[float], msgspec.Meta(min_length=INPUTS, max_length=INPUTS)]


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    trees: int
    leaves: int
    learning_rate: float
    min_rows: int
    input_share: float
    row_share: float
    ridge: float


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    most: Annotated[int, msgspec.Meta(ge=1)]  # candidates that leave


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reader: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    rows: Annotated[list[Row], msgspec.Meta(min_length=1, max_length=len(NAMES))]


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    clicked: str = ""


class Fitted(msgspec.Struct, frozen=True):
    text: bytes
    forest: trees.Forest


def table(count: int = 6_000, seed: int = 7) -> pd.DataFrame:
    """Rows x inputs and what is to be learned from them: a sum, a bend and a product."""
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(count, INPUTS))
    truth = rows @ draw.normal(size=INPUTS) + np.sin(3 * rows[:, 0]) + rows[:, 1] * rows[:, 2]
    return pd.DataFrame(np.column_stack([rows, truth]), columns=[*(one.name for one in FEATURES), "truth"])


def build(tables: Tables, as_of: datetime, params: Params) -> pd.DataFrame:
    """A snapshot that is hardly one: requests bring their inputs along."""
    del as_of, params
    return tables["rows"].head(10)


def fit(tables: Tables, as_of: datetime, params: Params, seed: int) -> Fitted:
    """The trees of all rows."""
    del as_of
    known = tables["rows"]
    inputs = known[[one.name for one in FEATURES]].to_numpy(np.float64)
    rows = trees.Rows(inputs, known["truth"].to_numpy(np.float64), np.ones(len(known)))
    return load({TREES: trees.grow(rows, params, seed, {"objective": "regression"})})


def index(features: pd.DataFrame) -> int:
    return len(features)


def predict(fitted: Fitted, index: int, requests: Sequence[Request]) -> list[Proposal]:
    """All candidates of each request, best first."""
    del index
    found = []
    for request in requests:
        scores = fitted.forest.predict(np.array(request.rows))
        order = np.argsort(-scores, kind="stable").tolist()
        found.append(Proposal(items=tuple(NAMES[at] for at in order), scores=tuple(scores[order].tolist())))
    return found


def rules(index: int | None, requests: Sequence[Request]) -> list[Proposal]:
    """The order given."""
    del index
    return [Proposal(items=NAMES[: len(one.rows)], scores=(0.0,) * len(one.rows)) for one in requests]


def decide(
    proposals: Sequence[Proposal], requests: Sequence[Request], index: int | None, policy: Policy
) -> list[Decided]:
    """The first `most`."""
    del requests, index
    most = policy.most
    return [
        Decided(items=one.items[:most], scores=one.scores[:most], overruled=() if len(one.items) <= most else ("most",))
        for one in proposals
    ]


def kpi(decision: Decided, outcome: Outcome) -> float:
    """1 when the first candidate was clicked."""
    return float(bool(outcome.clicked) and decision.items[:1] == (outcome.clicked,))


def routing_key(request: Request) -> str:
    return request.reader


def mask(request: Request, pseudonym: Any) -> Request:
    return Request(reader=pseudonym(request.reader), rows=request.rows)


def example() -> list[Request]:
    """Made up: one candidate, and three."""
    draw = np.random.default_rng(1)
    return [Request(reader="somebody", rows=draw.normal(size=(count, INPUTS)).tolist()) for count in (1, 3)]


def dump(fitted: Fitted) -> dict[str, bytes]:
    return {TREES: fitted.text}


def load(files: Mapping[str, bytes]) -> Fitted:
    """Raises TamperError for a text that is no trees."""
    text = files.get(TREES, b"")
    return Fitted(text=text, forest=trees.read(text, "shortlist artifact"))
