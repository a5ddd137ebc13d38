"""Trust in a new contributor: how likely somebody in the first days on the site is to go on contributing.

Reads the tables `posts`, `badges` and `users`; answers `{"contributor"}` with "trusted", "watch", "review" or "unknown" and,
as `value`, the probability of another contribution within the horizon. Learned from dated events alone; votes, which are
totals of a later dump, only judge it (docs/decisions/092). Judged in pairs: what somebody contributes is replayed, not
moved by the answer. The rules are a table of account age and number of posts and need no LightGBM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import pandas as pd

from errors import DataError, InputError
from models.contract import Decided, Feature, Past, Proposal, Tables
from models.kit import conduct, contributors, picks, trust
from models.kit.conduct import RULES_EVERYONE, RULES_TRUST_FROM, Policy
from models.kit.contributors import NUMBERS, Events, Index
from models.kit.trust import Fitted, Learner, Lessons

JUDGE: Literal["split", "paired"] = "paired"
MAX_CONTRIBUTOR = 128
K = 50  # of precision@k
WAVE_DAYS = 7  # history is asked once a week about every new contributor
EVER = datetime.fromisoformat("2200-01-01T00:00:00+00:00")
BREAK_EVEN = 0.5  # a list of the trusted that is wrong more often than right costs more than it saves
NEW_DAYS = 30  # segments: whoever is newer, and whose account waited longer
Days = Annotated[int, msgspec.Meta(ge=1, le=366)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


def _number(name: str, high: float, unit: str, meaning: str) -> Feature:
    dtype: Literal["int64", "float64"] = "int64" if name in contributors.COUNTS else "float64"
    return Feature(name=name, dtype=dtype, low=0, high=high, unit=unit, meaning=meaning)


FEATURES: tuple[Feature, ...] = (
    Feature(name="subject", dtype="string", meaning="contributor pseudonym"),
    _number("account_days", 1e4, "days", "since the account was made"),
    _number("wait_days", 1e4, "days", "between the account and the first contribution"),
    _number("since_first_days", 366, "days", "since the first contribution"),
    _number("silent_days", 366, "days", "since the last contribution"),
    _number("unseen_days", 366, "days", "since the last contribution or badge"),
    _number("longest_gap_days", 366, "days", "between two contributions in a row; 0 with one"),
    _number("posts", 1e4, "posts", "questions and answers"),
    _number("answers", 1e4, "posts", "answers among them"),
    Feature(name="first_answer", dtype="bool", meaning="the first contribution was an answer"),
    _number("busiest_day", 1e4, "posts", "on the day (UTC) with most of them"),
    _number("active_days", 366, "days", "with a contribution"),
    _number("seen_days", 1e4, "days", "with a contribution or a badge"),
    _number("posts_week", 1e4, "posts", "each counting half for every 7 days of age"),
    _number("posts_month", 1e4, "posts", "each counting half for every 30 days of age"),
    _number("badges", 1e4, "badges", "ever"),
    _number("badges_month", 1e4, "badges", "each counting half for every 30 days of age"),
)
WATCHED: tuple[Feature, ...] = (
    *(
        Feature(name=one.name, dtype="float64", low=one.low, high=one.high, unit=one.unit, meaning=one.meaning)
        for one in FEATURES
        if one.name in set(trust.INPUTS) - {"first_answer"}
    ),
    Feature(name="role", dtype="string", meaning="asks, answers or both"),
)


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The learner is chosen on cohorts before the holdout by `grownet bench search reputation` (docs/decisions/093)."""

    window_days: Days  # after the first contribution, in which somebody is new and is scored
    horizon_days: Days  # within which another contribution counts; as long as split.outcome_days
    step_days: Days  # between the past moments that are learned from
    valued_score: Annotated[int, msgspec.Meta(ge=-100, le=1000)]  # votes that make a contribution a valued one
    trusted_share: Share  # of the newest contributors: how many are proposed as trusted
    distrusted_share: Share
    learner: Learner


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    contributor: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CONTRIBUTOR)]


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    valued: bool  # contributed something within the horizon that the site's readers valued


def build(tables: Tables, as_of: datetime, params: Params) -> pd.DataFrame:
    """One row per contributor whose first contribution lies in the window before `as_of`; columns as in FEATURES."""
    known = contributors.events(tables, as_of)
    return contributors.standing(known, as_of, params.window_days)[[feature.name for feature in FEATURES]]


def outcomes(tables: Tables, start: datetime, end: datetime, params: Params) -> pd.DataFrame:
    """What each contributor new at `start` did in [start, end): subject, again, valued, worth (votes as of the dump)."""
    later = contributors.events(tables, max(start, end))
    new = contributors.newcomers(later, start, params.window_days)[: None if start < end else 0]
    return contributors.outcomes(later, new, start, end, params.valued_score)


def fit(tables: Tables, as_of: datetime, params: Params, seed: int) -> Fitted:
    """Learns from past moments whose horizon was over at `as_of`: who, new then, contributed again.

    Raises:
        DataError: when no past moment shows both somebody who did and somebody who did not.
    """
    known = contributors.events(tables, as_of)
    return _limited(trust.learn(_lessons(known, as_of, params), params.learner, seed), known, as_of, params)


def baselines(tables: Tables, as_of: datetime, params: Params, seed: int) -> Mapping[str, Fitted]:
    """`account_age` and `volume`: the probability by the age of the account, and by the number of posts, alone."""
    known = contributors.events(tables, as_of)
    lessons = _lessons(known, as_of, params)
    simple = msgspec.structs.replace(params.learner, kind="logistic")
    alone = {"account_age": ["account_days"], "volume": ["posts"]}
    return {
        name: _limited(trust.learn(lessons, simple, seed, inputs), known, as_of, params)
        for name, inputs in alone.items()
    }


def index(features: pd.DataFrame) -> Index:
    """The feature frame arranged for looking up a contributor."""
    return contributors.index(features)


def predict(fitted: Fitted, index: Index, requests: Sequence[Request]) -> list[Proposal]:
    """What to do with each contributor, the best first and what rules may put in its place after it; `value` is the
    probability. Somebody who is not new, or never seen, is unknown, with the probability of all.

    Raises InputError for a name that is empty or too long.
    """
    places = np.array([index.at(_contributor(request)) for request in requests], dtype=np.int64)
    known = np.flatnonzero(places >= 0)
    answers = [conduct.unknown(fitted.everyone)] * len(requests)
    values = trust.probabilities(fitted, index.values[places[known]])
    for at, value in zip(known.tolist(), values.tolist(), strict=True):
        answers[at] = conduct.proposed(value, fitted.trusted_from, fitted.distrusted_below, fitted.everyone)
    return answers


def rules(index: Index | None, requests: Sequence[Request]) -> list[Proposal]:
    """By the table of account age and number of posts; it distrusts nobody. Without an index everybody is unknown."""
    values = conduct.by_table(index) if index is not None else np.zeros(0)
    places = [index.at(_contributor(request)) if index is not None else -1 for request in requests]
    return [
        conduct.proposed(float(values[at]), RULES_TRUST_FROM, 0.0, RULES_EVERYONE)
        if at >= 0
        else conduct.unknown(RULES_EVERYONE)
        for at in places
    ]


def decide(
    proposals: Sequence[Proposal], requests: Sequence[Request], index: Index | None, policy: Policy
) -> list[Decided]:
    """The policy rule: the first item that no rule forbids; names each rule that kept a better one out."""
    places = [index.at(request.contributor) if index is not None else -1 for request in requests]
    rows = [index.values[at] if index is not None and at >= 0 else None for at in places]
    return [conduct.decided(proposal, row, policy) for proposal, row in zip(proposals, rows, strict=True)]


def score(fitted: Fitted | None, index: Index, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Metrics per new contributor with an outcome; without `fitted` the rules are scored (see `models.kit.picks`).

    `placed` is the share of those not valued who are placed below a valued one (its mean is the AUC), `precision_at_50` and
    `rank_correlation` have the known figure as their mean, `again_score` is 1 - (value - again)^2.
    """
    truth = outcomes[outcomes["subject"].isin(set(index.subjects))].drop_duplicates("subject").sort_values("subject")
    at = [index.at(subject) for subject in truth["subject"]]
    values = conduct.by_table(index)[at] if fitted is None else trust.probabilities(fitted, index.values[at])
    valued, again = truth["valued"].to_numpy(np.bool_), truth["again"].to_numpy(np.float64)
    columns = {
        "placed": picks.placed(values, valued),
        f"precision_at_{K}": picks.precision(values, valued, K),
        "rank_correlation": picks.spearman(values, truth["worth"].to_numpy(np.float64)),
        "again_score": 1.0 - (values - again) ** 2,
    }
    return pd.DataFrame(columns, index=pd.Index(truth["subject"], name="subject", dtype="str"), dtype="float64")


def segments(features: pd.DataFrame) -> pd.DataFrame:
    """Contributors by how new they are, by what they do, and by whether the account is of another time (era) than they."""
    share = features["answers"] / features["posts"]
    return pd.DataFrame(
        {
            "standing": np.where(features["since_first_days"] < NEW_DAYS, "first month", "later"),
            "role": _roles(share),
            "era": np.where(features["wait_days"] >= NEW_DAYS, "old account", "new account"),
        },
        index=pd.Index(features["subject"], name="subject"),
    )


def kpi(decision: Decided, outcome: Outcome) -> float:
    """Precision, per answer: 1 for a trusted contributor who turned out valued, 0 for one who did not, BREAK_EVEN for an
    answer that trusts nobody. So the mean is above BREAK_EVEN exactly when the precision of trust is.
    """
    return float(outcome.valued) if decision.items[:1] == (conduct.TRUSTED,) else BREAK_EVEN


def observe(index: Index, requests: Sequence[Request]) -> pd.DataFrame:
    """How each contributor stands in the index; all of it missing for one who is not there."""
    nobody = np.full(len(NUMBERS), np.nan)
    places = [index.at(_contributor(request)) for request in requests]
    rows = np.array([index.values[at] if at >= 0 else nobody for at in places], dtype=np.float64)
    frame = pd.DataFrame(rows.reshape(-1, len(NUMBERS)), columns=list(NUMBERS))
    roles = pd.Series(_roles(frame["answers"] / frame["posts"]), dtype="str", index=frame.index)
    return frame.assign(role=roles.where(frame["posts"].notna()))[[feature.name for feature in WATCHED]]


def past(tables: Tables, start: datetime, end: datetime, params: Params) -> list[Past]:
    """At `start` and each week after it, everybody who was new then: who a moderator's list would have asked about.

    The outcome is that of the rows given; one whose `due` lies after them is not known yet.
    """
    events, horizon = contributors.events(tables, EVER), timedelta(days=params.horizon_days)
    found = []
    for wave in range(-(-(end - start) // timedelta(days=WAVE_DAYS))):
        time = start + wave * timedelta(days=WAVE_DAYS)
        new = contributors.newcomers(events, time, params.window_days)
        truth = contributors.outcomes(events, new, time, time + horizon, params.valued_score)
        found += [
            Past(time=time, request=Request(contributor=who), outcome=Outcome(valued=valued), due=time + horizon)
            for who, valued in zip(truth["subject"].tolist(), truth["valued"].tolist(), strict=True)
        ]
    return found


def routing_key(request: Request) -> str:
    """The contributor."""
    return request.contributor


def mask(request: Request, pseudonym: Any) -> Request:
    """The request with the contributor replaced by a pseudonym."""
    return Request(contributor=pseudonym(request.contributor))


def example() -> list[Request]:
    """Made-up contributors. Nobody knows them, so each is unknown, with the probability of all."""
    return [Request(contributor="nobody"), Request(contributor="made up")]


def dump(fitted: Fitted) -> dict[str, bytes]:
    """model.json, and trees.txt where there are trees."""
    return trust.dump(fitted)


def load(files: Mapping[str, bytes]) -> Fitted:
    """What `dump` wrote. Raises TamperError for a file it cannot read or that does not fit together."""
    return trust.load(files)


def _lessons(known: Events, as_of: datetime, params: Params) -> Lessons:
    """Everybody who was new at each past moment, and whether they contributed within the horizon after it."""
    horizon, half_life = timedelta(days=params.horizon_days), params.learner.half_life_days
    moment, seen, again, weights = as_of - horizon, [], [], []
    while len((then := contributors.cut(known, moment)).posts.who):
        new = contributors.newcomers(then, moment, params.window_days)
        seen.append(contributors.numbers(contributors.standing(then, moment, params.window_days)))
        again.append(contributors.again(known, new, moment, moment + horizon))
        weights.append(np.full(len(new), 0.5 ** ((as_of - horizon - moment).days / half_life)))
        moment -= timedelta(days=params.step_days)
    if not seen or len(np.unique(np.concatenate(again))) < 2:  # both answers must have been seen
        raise DataError(
            "history of contributors",
            expected=f"newcomers {params.horizon_days} days before {as_of:%Y-%m-%d}, some of whom contributed again",
            got=f"{sum(map(len, again))} newcomers",
            do="take more history in",
        )
    return trust.lessons(seen, again, weights)


def _limited(fitted: Fitted, known: Events, as_of: datetime, params: Params) -> Fitted:
    newest = contributors.numbers(contributors.standing(known, as_of, params.window_days))
    return trust.limited(fitted, newest, params.trusted_share, params.distrusted_share) if len(newest) else fitted


def _contributor(request: Request) -> str:
    """The contributor checked. Decoding checks the same limits; this is for requests made in Python."""
    if not 1 <= len(request.contributor) <= MAX_CONTRIBUTOR:
        raise InputError("$.contributor", expected=f"1 to {MAX_CONTRIBUTOR} characters", got=len(request.contributor))
    return request.contributor


def _roles(answer_share: pd.Series) -> Any:
    return np.select([answer_share <= 0, answer_share >= 1], ["asks", "answers"], "both")
