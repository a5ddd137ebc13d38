"""How new contributors of a question-and-answer site stand, from dated events alone: who posted when, who earned a badge when.

Reads the tables `posts`, `badges` and `users`. The votes of a post (`score`) are a total as of a later dump: only `outcomes`
looks at them, as what a later contribution turned out to be worth; no feature and no lesson does.
A contribution is a question or an answer whose author has an account; one that is older than the account (moved in from
another site) counts from the day of the account. A contributor is new for `window_days` after the first contribution.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from errors import SchemaError
from models.kit import split

COLUMNS = {
    "posts": ("id", "post_type_id", "creation_date", "score", "owner_user_id"),
    "badges": ("id", "user_id", "date"),
    "users": ("id", "creation_date"),
}
TIMES = {"posts": "creation_date", "badges": "date", "users": "creation_date"}
QUESTION, ANSWER = 1, 2
WEEK, MONTH = 7.0, 30.0  # days after which an event counts half
NUMBERS = (
    "account_days", "wait_days", "since_first_days", "silent_days", "unseen_days", "longest_gap_days", "posts",
    "answers", "first_answer", "busiest_day", "active_days", "seen_days", "posts_week", "posts_month", "badges",
    "badges_month",
)  # fmt: skip
COUNTS = ("posts", "answers", "busiest_day", "active_days", "seen_days", "badges")
DAY = 86_400_000_000  # microseconds
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Truth = npt.NDArray[np.bool_]


class Posts(NamedTuple):
    """Contributions by who, then time, then id."""

    who: Ints  # position in `Events.names`
    at: Ints  # microseconds since 1970
    answer: Truth
    made: Ints  # the account
    score: Ints  # a total as of the dump: for outcomes only

    def where(self, kept: Truth | Ints) -> Posts:
        return Posts(self.who[kept], self.at[kept], self.answer[kept], self.made[kept], self.score[kept])


class Badges(NamedTuple):
    """Badges by who, then time, then id."""

    who: Ints
    at: Ints

    def where(self, kept: Truth | Ints) -> Badges:
        return Badges(self.who[kept], self.at[kept])


class Events(NamedTuple):
    """What is known of everybody."""

    names: npt.NDArray[np.object_]  # pseudonyms, sorted
    posts: Posts
    badges: Badges


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """The new contributors in order of `subjects`."""

    subjects: dict[str, int]
    values: Floats  # (contributors x NUMBERS)

    def at(self, subject: str) -> int:
        """The position of a contributor, -1 for one who is not new, or never seen."""
        return self.subjects.get(subject, -1)

    def column(self, name: str) -> Floats:
        return np.asarray(self.values[:, NUMBERS.index(name)])


def events(tables: Mapping[str, pd.DataFrame], as_of: datetime) -> Events:
    """Contributions and badges from rows strictly before `as_of`; of an account made later nothing is known yet.

    Raises:
        SchemaError: when a column is missing.
    """
    known = {name: split.before(_checked(name, tables[name]), TIMES[name], as_of) for name in COLUMNS}
    users = known["users"].dropna(subset=["id"]).sort_values(["id", "creation_date"]).drop_duplicates("id")
    posts = known["posts"][known["posts"]["post_type_id"].isin([QUESTION, ANSWER])]
    names, made = pd.Index(users["id"].astype("str")), _microseconds(users["creation_date"])
    badges = known["badges"]
    author, earner = _who(names, posts["owner_user_id"]), _who(names, badges["user_id"])
    posted = Posts(
        who=author,
        at=np.maximum(_microseconds(posts["creation_date"]), made[author] if len(made) else 0),
        answer=(posts["post_type_id"] == ANSWER).to_numpy(np.bool_),
        made=made[author] if len(made) else author,
        score=posts["score"].to_numpy(np.int64),
    )
    earned = Badges(who=earner, at=_microseconds(badges["date"]))
    return Events(
        names=np.asarray(names, dtype=object),
        posts=posted.where(_order(posted, posts["id"])),
        badges=earned.where(_order(earned, badges["id"])),
    )


def cut(known: Events, moment: datetime) -> Events:
    """The events as they were known just before an earlier moment."""
    now = _instant(moment)
    posts, badges = known.posts, known.badges
    return known._replace(posts=posts.where(posts.at < now), badges=badges.where(badges.at < now))


def newcomers(known: Events, moment: datetime, window_days: int) -> Ints:
    """Positions in `names` of those whose first contribution lies in the window before `moment`, rising."""
    who, start = np.unique(known.posts.who, return_index=True)
    first, now = known.posts.at[start], _instant(moment)
    return np.asarray(who[(first >= now - window_days * DAY) & (first < now)], dtype=np.int64)


def standing(known: Events, moment: datetime, window_days: int) -> pd.DataFrame:
    """Each new contributor as of `moment`: subject and NUMBERS, one row each, sorted by subject.

    Args:
        known: events strictly before `moment`.
    """
    new, now = newcomers(known, moment, window_days), _instant(moment)
    posts, badges = known.posts.where(_among(known.posts.who, new)), known.badges.where(_among(known.badges.who, new))
    row, earner = np.searchsorted(new, posts.who), np.searchsorted(new, badges.who)
    age, since = (now - posts.at) / DAY, (now - badges.at) / DAY
    start = np.searchsorted(posts.who, new, side="left")
    end = np.searchsorted(posts.who, new, side="right") - 1
    by_day = _days_of(row, posts.at)
    same, gaps = row[1:] == row[:-1], age[:-1] - age[1:]
    account = (now - posts.made[start]) / DAY
    unseen = age[end].copy()
    np.minimum.at(unseen, earner, since)
    found = {
        "account_days": account,
        "wait_days": account - age[start],
        "since_first_days": age[start],
        "silent_days": age[end],
        "unseen_days": unseen,
        "longest_gap_days": _largest(row[1:][same], gaps[same], len(new)),
        "posts": np.bincount(row, minlength=len(new)),
        "answers": np.bincount(row, posts.answer, minlength=len(new)),
        "first_answer": posts.answer[start],
        "busiest_day": _largest(by_day[0], by_day[1], len(new)),
        "active_days": np.bincount(by_day[0], minlength=len(new)),
        "seen_days": np.bincount(
            _days_of(np.append(row, earner), np.append(posts.at, badges.at))[0], minlength=len(new)
        ),
        "posts_week": np.bincount(row, 0.5 ** (age / WEEK), minlength=len(new)),
        "posts_month": np.bincount(row, 0.5 ** (age / MONTH), minlength=len(new)),
        "badges": np.bincount(earner, minlength=len(new)),
        "badges_month": np.bincount(earner, 0.5 ** (since / MONTH), minlength=len(new)),
    }
    kinds = {name: "int64" if name in COUNTS else "float64" for name in NUMBERS} | {"first_answer": "bool"}
    frame = pd.DataFrame({"subject": known.names[new], **found}).astype({"subject": "str", **kinds})
    return frame[["subject", *NUMBERS]]


def outcomes(later: Events, new: Ints, start: datetime, end: datetime, valued_score: int) -> pd.DataFrame:
    """What each of the `new` did in [start, end): subject, again (contributed), valued, worth.

    `valued` is at least one contribution with that score, `worth` the sum of the scores above 0: both as of the dump.
    """
    posts = _between(later.posts, start, end)
    mine = posts.where(_among(posts.who, new))
    row = np.searchsorted(new, mine.who)
    worth = np.bincount(row, np.maximum(mine.score, 0), minlength=len(new))
    valued = np.bincount(row, mine.score >= valued_score, minlength=len(new)) > 0
    frame = pd.DataFrame(
        {"subject": later.names[new], "again": again(later, new, start, end), "valued": valued, "worth": worth}
    )
    return frame.astype({"subject": "str", "again": "bool", "valued": "bool", "worth": "float64"})


def again(later: Events, new: Ints, start: datetime, end: datetime) -> Truth:
    """Which of the `new` contributed in [start, end): what is learned, from dates alone."""
    return np.isin(new, _between(later.posts, start, end).who)


def numbers(frame: pd.DataFrame) -> Floats:
    """The columns NUMBERS as (rows x NUMBERS)."""
    return np.asarray(frame[list(NUMBERS)].astype("float64"), dtype=np.float64)


def index(frame: pd.DataFrame) -> Index:
    """The frame arranged for look-up. A row with a missing or infinite number is left out: nobody knows them."""
    values = numbers(frame)
    kept = np.flatnonzero(np.isfinite(values).all(axis=1))
    subjects = frame["subject"].to_numpy()[kept]
    order = np.argsort(subjects.astype(str), kind="stable")
    return Index(subjects={str(one): at for at, one in enumerate(subjects[order])}, values=values[kept[order]])


def _checked(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    missing = [column for column in COLUMNS[name] if column not in frame.columns]
    if missing:
        raise SchemaError(f"table {name}", expected=f"columns {COLUMNS[name]}", got=f"no {', '.join(missing)}")
    return frame


def _who(names: pd.Index, subjects: pd.Series) -> Ints:
    """The position of each subject in `names`, -1 for nobody and for one without an account."""
    return np.asarray(names.get_indexer(pd.Index(subjects.astype("str").fillna(""))), dtype=np.int64)


def _order(columns: Posts | Badges, ids: pd.Series) -> Ints:
    """The rows by who, time and id, without those that are nobody's."""
    order = np.lexsort((ids.to_numpy(), columns.at, columns.who))
    return np.asarray(order[columns.who[order] >= 0], dtype=np.int64)


def _microseconds(times: pd.Series) -> Ints:
    return np.asarray(times.dt.as_unit("us").astype("int64"), dtype=np.int64)


def _instant(moment: datetime) -> int:
    return int(split.utc(moment).as_unit("us").value // 1000)


def _between(posts: Posts, start: datetime, end: datetime) -> Posts:
    return posts.where((posts.at >= _instant(start)) & (posts.at < _instant(end)))


def _among(who: Ints, new: Ints) -> Truth:
    return np.isin(who, new)


def _days_of(row: Ints, at: Ints) -> tuple[Ints, Ints]:
    """Row and number of events of each day (UTC) that has any."""
    keys, counts = np.unique(np.column_stack([row, at // DAY]), axis=0, return_counts=True)
    return keys[:, 0], counts


def _largest(row: Ints, values: npt.NDArray[Any], rows: int) -> Floats:
    """The largest value of each row, 0 without any."""
    found = np.zeros(rows)
    np.maximum.at(found, row, values)
    return found
