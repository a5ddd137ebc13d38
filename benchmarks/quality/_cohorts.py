"""Quarterly cohorts of new contributors, what came of them, and the rivals of `reputation`: plain pandas, apart from the model.

A cohort is everybody whose first contribution lies in the 90 days before its moment; the truth is what they did in the
90 days after it. So nobody is in two cohorts. Votes (`score`) are totals as of September 2014 and count in the truth only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

END = datetime.fromisoformat("2013-08-31T23:50:31+00:00")  # the newest row
QUARTER = timedelta(days=90)
HOLDOUT = tuple(END - QUARTER * back for back in (4, 3, 2, 1))  # the last is the holdout of a release
EARLIER = tuple(END - QUARTER * back for back in (8, 7, 6, 5))  # everything was chosen on these
VALUED = 2  # votes
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cohort:
    """Rows of `truth` and `plain` are the contributors, sorted by name."""

    at: datetime
    truth: pd.DataFrame  # again, valued, worth, recognised (contributed again, and earned a badge from then on)
    plain: pd.DataFrame  # the baselines: one column each, more is more trust

    @property
    def names(self) -> list[str]:
        return list(self.truth.index)


def contributions(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Questions and answers of people with an account: who, time (not before the account), made, kind, score."""
    accounts = tables["users"].rename(columns={"id": "who", "creation_date": "made"})
    posts = tables["posts"].rename(columns={"owner_user_id": "who", "creation_date": "time"})
    own = posts[posts["post_type_id"].isin([1, 2])].merge(accounts, on="who")
    return own.assign(time=own[["time", "made"]].max(axis=1))


def cohort(tables: Mapping[str, pd.DataFrame], at: datetime) -> Cohort:
    """The cohort of a moment."""
    own, moment = contributions(tables), pd.Timestamp(at)
    before, after = own[own["time"] < moment], own[(own["time"] >= moment) & (own["time"] < moment + QUARTER)]
    first = before.groupby("who")["time"].min()
    new = first[first >= moment - QUARTER].sort_index().index
    before, after = before[before["who"].isin(new)], after[after["who"].isin(new)]
    by, badges = before.groupby("who"), tables["badges"]
    earned = badges[badges["date"] < moment].groupby("user_id").size()
    plain = pd.DataFrame(
        {
            "account age": (moment - by["made"].first()).dt.total_seconds(),
            "volume": by.size().astype("float64"),
            "answers": (before["post_type_id"] == 2).groupby(before["who"]).sum().astype("float64"),
            "recency": -(moment - by["time"].max()).dt.total_seconds(),
            "badges": earned.reindex(new).fillna(0.0),
        }
    ).reindex(new)
    scores = after.groupby("who")["score"]
    back = after.groupby("who")["time"].min()
    later = badges[(badges["date"] < moment + QUARTER) & (badges["date"] >= badges["user_id"].map(back))]
    truth = pd.DataFrame(
        {
            "again": new.isin(back.index),
            "valued": scores.max().reindex(new).ge(VALUED).to_numpy(dtype=bool),
            "worth": after["score"].clip(lower=0).groupby(after["who"]).sum().reindex(new).fillna(0).to_numpy(),
            "recognised": new.isin(later["user_id"]),
        },
        index=new,
    )
    return Cohort(at=at, truth=truth.astype({"worth": "float64"}), plain=plain)
