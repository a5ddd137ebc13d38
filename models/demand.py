"""Units sold per product category, one to four weeks ahead: boosted trees over recent weeks, held back to a level.

Reads the table `orders`; answers `{"category", "horizon_weeks"}` with the units of that week. A week is seven days
counted from the newest order the snapshot knows; `total` is the sum of the categories. Judged in pairs: what is sold
does not depend on what was forecast. The rules (median of eight weeks) need no LightGBM.
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
from models.kit import accuracy, categories, forecast, levels, weekly
from models.kit.categories import OTHER, TOTAL, Rule
from models.kit.forecast import HORIZONS, Fitted, Learner
from models.kit.weekly import DAYS, Index

JUDGE: Literal["split", "paired"] = "paired"
Positive = Annotated[float, msgspec.Meta(gt=0)]
Weeks = Annotated[int, msgspec.Meta(ge=1, le=weekly.MOST_WEEKS)]
MOST = 1e8  # units or pounds of a week; a larger figure is a fault of the data
SIZES, PRICES = ("small", "medium", "large"), ("cheap", "middling", "dear")  # thirds of the categories
SEASON = 13  # weeks that segments look at

FEATURES: tuple[Feature, ...] = (
    Feature(name="category", dtype="string", meaning="of the product's first description, by the configured rules"),
    Feature(name="week", dtype="int64", low=1, high=weekly.MOST_WEEKS, unit="weeks", meaning="ago; 1 is the last"),
    Feature(name="units", dtype="float64", low=0, high=MOST, unit="units", meaning="sold, net of cancellations"),
    Feature(name="spend", dtype="float64", low=0, high=MOST, unit="GBP", meaning="sold, net of cancellations"),
    Feature(name="lines", dtype="float64", low=0, high=1e6, unit="lines", meaning="order lines with a product of it"),
)
WATCHED: tuple[Feature, ...] = (
    Feature(name="category", dtype="string", meaning="asked for; total for all"),
    Feature(name="horizon_weeks", dtype="int64", low=1, high=HORIZONS[-1], unit="weeks", meaning="ahead"),
    Feature(name="level", dtype="float64", low=0, high=MOST, unit="units", meaning="a week: median of the last eight"),
    Feature(name="trend", dtype="float64", low=-12, high=12, meaning="log of the last four weeks over the four before"),
    Feature(name="last_over_level", dtype="float64", low=0, high=1e4, meaning="last week over the level"),
    Feature(name="price", dtype="float64", low=0, high=1e4, unit="GBP", meaning="of a unit, over the last four weeks"),
)


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Categories, reviewed by eye; the learner was chosen on weeks before the holdout (docs/decisions/080)."""

    learner: Learner
    rules: Annotated[tuple[Rule, ...], msgspec.Meta(min_length=1)]


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    max_over_recent: Positive  # times the best of the recent weeks
    recent_weeks: Weeks


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    category: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    horizon_weeks: Annotated[int, msgspec.Meta(ge=1, le=HORIZONS[-1])] = 1


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    units: Annotated[float, msgspec.Meta(ge=0, le=1e12)]


def build(tables: Tables, as_of: datetime, params: Params) -> pd.DataFrame:
    """One row per category and whole week before `as_of`; columns as in FEATURES."""
    return weekly.features(tables["orders"], as_of, params.rules)


def outcomes(tables: Tables, start: datetime, end: datetime, params: Params) -> pd.DataFrame:
    """What became known in [start, end) by category and whole week: subject, week, known, units, spend, lines."""
    return weekly.outcomes(tables["orders"], start, end, params.rules)


def fit(tables: Tables, as_of: datetime, params: Params, seed: int) -> Fitted:
    """Learns from every past moment as it was known then.

    Raises:
        DataError: with less than nine weeks of history.
    """
    cells = weekly.cells(tables["orders"], as_of, params.rules, as_of)
    return forecast.fit(cells, len(categories.names(params.rules)), params.learner, seed)


def baselines(tables: Tables, as_of: datetime, params: Params, seed: int) -> Mapping[str, Fitted]:
    """`median_8` (of the last eight weeks) and `four_weeks_earlier` (seasonal naive; a year is not there to look back to)."""
    del tables, as_of, params, seed
    return {"median_8": Fitted(kind="median"), "four_weeks_earlier": Fitted(kind="four_weeks_earlier")}


def index(features: pd.DataFrame) -> Index:
    """The feature frame by category."""
    return weekly.index(features)


def predict(fitted: Fitted, index: Index, requests: Sequence[Request]) -> list[Proposal]:
    """Whole units for each request; for `total` also what each category adds to it, as items and scores.

    Raises:
        InputError: for a category the snapshot does not have, or a horizon that is not 1 to 4.
    """
    _refuse_unknown(index, requests)
    made = {
        horizon: _whole(forecast.forecast(fitted, index, horizon))
        for horizon in sorted({request.horizon_weeks for request in requests})
    }
    return [_proposal(index, request, made[request.horizon_weeks]) for request in requests]


def rules(index: Index | None, requests: Sequence[Request]) -> list[Proposal]:
    """The median of the last eight weeks (numpy only). Without an index there is nothing to propose."""
    if index is None:
        return [Proposal() for _ in requests]
    return predict(Fitted(kind="median"), index, requests)


def decide(
    proposals: Sequence[Proposal], requests: Sequence[Request], index: Index | None, policy: Policy
) -> list[Decided]:
    """The policy rule: no category below zero or far above its recent best; `total` stays the sum of its categories."""
    most = {} if index is None else _most(index, policy)
    return [_bounded(proposal, request, most) for proposal, request in zip(proposals, requests, strict=True)]


def score(fitted: Fitted | None, index: Index, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Accuracy per category over weekly origins in `outcomes` (see `models.kit.accuracy`); without `fitted` the rules.

    The first origin sees the index; each later one also what became known in the weeks between.
    """
    weeks = int(outcomes["week"].max()) + 1 if len(outcomes) else 0
    chosen = Fitted(kind="median") if fitted is None else fitted
    if not index.categories or weeks < 1:
        return accuracy.empty(HORIZONS)
    truth = weekly.truth(outcomes, index.categories)
    asked, forecasts, actuals = [], [], []
    for origin in range(weeks):
        then = weekly.rolled(index, outcomes, origin)
        for horizon in HORIZONS[: weeks - origin]:
            asked.append(horizon)
            forecasts.append(_whole(forecast.forecast(chosen, then, horizon)))
            actuals.append(truth[:, origin + horizon - 1])
    found = accuracy.table(np.array(forecasts), np.array(actuals), asked, index.categories)
    return found.reindex(columns=accuracy.columns(HORIZONS))


def segments(features: pd.DataFrame) -> pd.DataFrame:
    """Categories by how much they sell and by their price, in thirds of the last quarter."""
    recent = features[features["week"] <= SEASON].groupby("category")[["units", "spend"]].sum()
    price = recent["spend"] / recent["units"].clip(lower=1.0)
    made = {"size": _thirds(recent["units"], SIZES), "price": _thirds(price, PRICES)}
    return pd.DataFrame(made, index=recent.index.rename("subject"))


def kpi(decision: Decided, outcome: Outcome) -> float:
    """max(0, 1 - |answered - sold| / sold), 0 to 1.

    Weighted by what was sold, 1 - its mean is the WAPE, where an answer off by more than all that was sold counts as
    off by all of it. Where nothing was sold only "nothing" was right.
    """
    if decision.value is None:
        return 0.0
    error = abs(decision.value - outcome.units)
    return max(0.0, 1.0 - error / outcome.units) if outcome.units > 0 else float(error == 0)


def observe(index: Index, requests: Sequence[Request]) -> pd.DataFrame:
    """The WATCHED columns of each request; figures of an unknown category are missing."""
    figures = dict(zip((*index.categories, TOTAL), levels.figures(index), strict=True)) if index.weeks else {}
    rows = [figures.get(request.category, levels.UNKNOWN) for request in requests]
    frame = pd.DataFrame(rows, columns=[feature.name for feature in WATCHED[2:]], dtype="float64")
    frame.insert(0, "horizon_weeks", np.array([request.horizon_weeks for request in requests], dtype=np.int64))
    frame.insert(0, "category", pd.array([request.category for request in requests], dtype="str"))
    return frame


def past(tables: Tables, start: datetime, end: datetime, params: Params) -> list[Past]:
    """Every category, the total and every horizon, asked once a week from `start` on; only what is due by the newest row."""
    seen = weekly.seen_until(tables["orders"])
    if seen is None:
        return []
    due = min(end + timedelta(days=DAYS * HORIZONS[-1]), seen.to_pydatetime())
    truth = weekly.outcomes(tables["orders"], start, due, params.rules)
    names = categories.names(params.rules)
    units = weekly.truth(truth, names)
    sold = {**dict(zip(names, units, strict=True)), TOTAL: units.sum(axis=0)}
    asked = []
    for origin in range(min(units.shape[1], -(-(end - start) // timedelta(days=DAYS)))):
        time = start + timedelta(days=DAYS * origin)
        for category, weeks in sold.items():
            for horizon in HORIZONS[: len(weeks) - origin]:
                request = Request(category=category, horizon_weeks=horizon)
                outcome = Outcome(units=float(weeks[origin + horizon - 1]))
                asked.append(
                    Past(time=time, request=request, outcome=outcome, due=time + timedelta(days=DAYS * horizon))
                )
    return asked


def routing_key(request: Request) -> str:
    """The category: all its horizons meet the same arm."""
    return request.category


def mask(request: Request, pseudonym: Any) -> Request:
    """The request as it is: a category is nobody."""
    del pseudonym
    return request


def example() -> list[Request]:
    """Categories that exist whatever the rules are."""
    return [Request(category=name, horizon_weeks=horizon) for name in (OTHER, TOTAL) for horizon in HORIZONS]


def dump(fitted: Fitted) -> dict[str, bytes]:
    """model.json and LightGBM's text."""
    return forecast.dump(fitted)


def load(files: Mapping[str, bytes]) -> Fitted:
    """What `dump` wrote. Raises TamperError for files it cannot read or that do not fit together."""
    return forecast.load(files)


def _refuse_unknown(index: Index, requests: Sequence[Request]) -> None:
    for request in requests:
        if request.category != TOTAL and request.category not in index.position:
            known = f"{TOTAL!r} or one of {list(index.categories)}"
            raise InputError("$.category", expected=known, got=repr(request.category[:64]))
        if request.horizon_weeks not in HORIZONS:
            raise InputError("$.horizon_weeks", expected=f"one of {HORIZONS}", got=request.horizon_weeks)


def _whole(units: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Nobody orders half a mug. Adding zero turns -0.0 into 0.0."""
    return np.asarray(np.round(units) + 0.0)


def _proposal(index: Index, request: Request, units: npt.NDArray[np.float64]) -> Proposal:
    if request.category != TOTAL:
        return Proposal(value=float(units[index.position[request.category]]))
    largest = np.argsort(-units, kind="stable")
    items = tuple(index.categories[at] for at in largest)
    return Proposal(items=items, scores=tuple(units[largest].tolist()), value=float(units.sum()))


def _most(index: Index, policy: Policy) -> dict[str, float]:
    """The largest answer each category may get, in whole units."""
    recent = index.units[:, -policy.recent_weeks :]
    best = recent.max(axis=1) if recent.shape[1] else np.zeros(len(index.categories))
    return dict(zip(index.categories, np.ceil(policy.max_over_recent * best).tolist(), strict=True))


def _bounded(proposal: Proposal, request: Request, most: Mapping[str, float]) -> Decided:
    if proposal.value is None:
        return Decided(overruled=("no_history",))
    parts = proposal.items or (request.category,)
    proposed = proposal.scores if proposal.items else (proposal.value,)
    allowed = tuple(
        min(max(units, 0.0), most.get(part, float("inf"))) for part, units in zip(parts, proposed, strict=True)
    )
    changed = [(before, after) for before, after in zip(proposed, allowed, strict=True) if before != after]
    broken = {"below_zero" if before < after else "above_recent" for before, after in changed}
    scores = allowed if proposal.items else ()
    return Decided(items=proposal.items, scores=scores, value=float(sum(allowed)), overruled=tuple(sorted(broken)))


def _thirds(values: pd.Series, labels: tuple[str, ...]) -> npt.NDArray[np.object_]:
    """Labels by rank; ties by name, so that there are thirds whatever the values."""
    rank = values.rank(method="first").to_numpy(np.float64)
    third = np.minimum((rank - 1) * len(labels) // max(len(values), 1), len(labels) - 1).astype(np.int64)
    return np.asarray([labels[at] for at in third], dtype=object)
