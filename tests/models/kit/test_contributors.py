"""Features by eye on a small site, and what may not change them: the future, and totals that are known only later."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from errors import SchemaError
from models.kit import contributors
from tests.models.kit.site import NOW, Post, tables

ACCOUNTS = [("ada", 100.0), ("bob", 20.0), ("cy", 50.0), ("lurker", 10.0), ("old", 400.0), ("moved", 5.0)]
POSTS: list[Post] = [
    ("ada", 40.0, 1, 3),
    ("ada", 30.0, 2, 5),
    ("ada", 29.9, 2, 0),
    ("ada", 2.0, 1, 9),
    ("bob", 10.0, 2, 1),
    ("cy", 40.0, 5, 0),  # the text of a tag: no contribution
    ("old", 300.0, 1, 7),
    ("old", 1.0, 1, 7),  # new long ago
    ("moved", 70.0, 2, 50),  # from another site, before the account was made
    ("stranger", 3.0, 1, 1),  # an account nobody knows
    (None, 3.0, 1, 1),  # a deleted user
]
BADGES = [("ada", 90.0), ("ada", 30.0), ("ada", 0.5), ("lurker", 5.0)]


def standing() -> pd.DataFrame:
    known = contributors.events(tables(ACCOUNTS, POSTS, BADGES), NOW)
    return contributors.standing(known, NOW, 90).set_index("subject")


def test_who_is_new() -> None:
    assert standing().index.tolist() == ["ada", "bob", "moved"]


def test_features_by_eye() -> None:
    expected = {
        "account_days": 100.0,
        "wait_days": 60.0,
        "since_first_days": 40.0,
        "silent_days": 2.0,
        "unseen_days": 0.5,
        "longest_gap_days": 27.9,
        "posts": 4,
        "answers": 2,
        "first_answer": False,
        "busiest_day": 2,
        "active_days": 3,
        "seen_days": 5,
        "posts_week": sum(0.5 ** (age / 7) for age in (40.0, 30.0, 29.9, 2.0)),
        "posts_month": sum(0.5 ** (age / 30) for age in (40.0, 30.0, 29.9, 2.0)),
        "badges": 3,
        "badges_month": sum(0.5 ** (age / 30) for age in (90.0, 30.0, 0.5)),
    }
    assert standing().loc["ada"].to_dict() == pytest.approx(expected)
    assert standing().loc["bob", ["posts", "answers", "badges", "longest_gap_days"]].tolist() == [1, 1, 0, 0]
    assert standing().loc["bob", "first_answer"]


def test_a_post_older_than_its_account_counts_from_the_account() -> None:
    moved = standing().loc["moved"]
    assert moved[["account_days", "wait_days", "since_first_days"]].tolist() == [5.0, 0.0, 5.0]


def test_the_order_of_rows_and_double_accounts_change_nothing() -> None:
    whole = tables([*ACCOUNTS, ("ada", 3.0)], POSTS, BADGES)
    turned = {name: frame.sample(frac=1, random_state=3) for name, frame in whole.items()}
    again = contributors.standing(contributors.events(turned, NOW), NOW, 90).set_index("subject")
    pd.testing.assert_frame_equal(again, standing())


def test_an_earlier_moment_is_seen_as_it_was_then() -> None:
    whole = tables(ACCOUNTS, POSTS, BADGES)
    for days in (1, 2, 9, 15, 30, 35, 250):
        then = NOW - timedelta(days=days)
        cut = contributors.cut(contributors.events(whole, NOW), then)
        fresh = contributors.events(whole, then)
        pd.testing.assert_frame_equal(
            contributors.standing(cut, then, 90).set_index("subject"),
            contributors.standing(fresh, then, 90).set_index("subject"),
        )


def test_what_came_of_them() -> None:
    then = NOW - timedelta(days=9.5)
    later = contributors.events(tables(ACCOUNTS, [*POSTS, ("bob", 1.0, 1, -2), ("ada", 3.0, 2, -4)], BADGES), NOW)
    new = contributors.newcomers(later, then, 90)
    found = contributors.outcomes(later, new, then, NOW, 2).set_index("subject")
    assert found.loc["ada"].tolist() == [True, True, 9.0]  # the vote below 0 takes nothing away
    assert found.loc["bob"].tolist() == [True, False, 0.0]
    assert contributors.again(later, new, then, NOW).tolist() == [True, True]
    assert not contributors.again(later, new, then, then).any()


def test_nobody_and_nothing() -> None:
    known = contributors.events(tables([], []), NOW)
    assert contributors.standing(known, NOW, 90).empty
    assert len(contributors.newcomers(known, NOW, 90)) == 0
    index = contributors.index(contributors.standing(known, NOW, 90))
    assert index.at("ada") == -1


def test_a_row_with_a_hole_is_nobody_known() -> None:
    frame = standing().reset_index()
    frame.loc[0, "posts_week"] = np.inf
    index = contributors.index(frame.sample(frac=1, random_state=1))
    assert (index.at("ada"), index.at("bob")) == (-1, 0)
    assert index.column("posts").tolist() == [1.0, 1.0]


def test_a_missing_column_is_named() -> None:
    whole = tables(ACCOUNTS, POSTS)
    with pytest.raises(SchemaError, match="post_type_id"):
        contributors.events({**whole, "posts": whole["posts"].drop(columns="post_type_id")}, NOW)
