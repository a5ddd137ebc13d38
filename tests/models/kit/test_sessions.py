"""Visits arranged by page and by visitor, families by name, and the page that is hidden."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import numpy as np
import pandas as pd
import pytest

from errors import SchemaError
from models.contract import Proposal
from models.kit import sessions
from models.kit.sessions import Families

NOW = datetime(1998, 2, 20, tzinfo=UTC)
KIN = Families(prefixes=("ms",), endings=("support", "dev"), named={"maps": ("/automap", "/autoroute")})


def visits() -> pd.DataFrame:
    rows = [("b", "/IE/", 3), ("a", "/kb", 2), ("a", "/ie", 1), ("a", "/kb", 0), (None, "/kb", 0), ("b", None, 0)]
    frame = pd.DataFrame(rows, columns=["visitor", "page", "days"])
    return frame.assign(title="x", seen_at=pd.Timestamp(NOW) - pd.to_timedelta(frame["days"] + 1, unit="D"))


def test_a_page_counts_once_a_visitor_and_nobody_not_at_all() -> None:
    seen = sessions.visits(visits())
    assert seen[["subject", "page"]].to_numpy().tolist() == [["b", "/ie"], ["a", "/kb"], ["a", "/ie"]]
    with pytest.raises(SchemaError, match="title"):
        sessions.visits(visits().drop(columns="title"))


def test_the_frame_has_the_catalogue_and_each_visitor() -> None:
    frame = sessions.features(sessions.visits(visits()), NOW, KIN)
    rows = frame[["subject", "page", "visitors", "days", "place"]].to_numpy().tolist()
    assert rows == [
        ["", "/ie", 2, 2, 0],
        ["", "/kb", 1, 3, 0],
        ["a", "/ie", 1, 2, 2],
        ["a", "/kb", 1, 3, 1],
        ["b", "/ie", 1, 4, 1],
    ]
    found = sessions.index(frame.sample(frac=1, random_state=1))
    assert found.catalogue.pages == ("/ie", "/kb")
    assert found.of("a").tolist() == [0, 1]
    assert found.of("nobody").tolist() == found.of(None).tolist() == []
    assert found.known("b", ["/kb", "/never"]) == {0, 1}


@pytest.mark.parametrize(
    ("page", "family"),
    [
        ("/msword", "word"),
        ("/worddev", "word"),
        ("/mswordsupport", "word"),
        ("/ms", "ms"),
        ("/dev", "dev"),
        ("/kb", "kb"),
    ],
)
def test_a_family_is_the_name_without_ending_and_prefix(page: str, family: str) -> None:
    assert sessions.stem(page, KIN) == family


def test_a_named_family_wins_over_the_name() -> None:
    table = visits().replace({"page": {"/kb": "/automap", "/ie": "/autoroute"}})
    frame = sessions.features(sessions.visits(table), NOW, KIN)
    assert set(frame.loc[frame["page"].str.startswith("/auto"), "family"]) == {"maps"}


def test_a_named_page_is_understood_in_any_spelling() -> None:
    kin = msgspec.structs.replace(KIN, named={"explorer": ("IE/", "/KB ")})
    frame = sessions.features(sessions.visits(visits()), NOW, kin)
    assert set(frame["family"]) == {"explorer"}


def test_the_hidden_page_depends_on_the_visitor_and_not_on_the_order() -> None:
    pages = [f"/{letter}" for letter in "abcdefgh"]
    rest, hidden = sessions.hide("ada", pages)
    assert sessions.hide("ada", pages[::-1]) == (rest[::-1], hidden)
    assert sorted([*rest, hidden]) == pages
    drawn = [sessions.hide(f"visitor {at}", pages)[1] for at in range(4000)]
    counts = pd.Series(drawn).value_counts()
    assert len(counts) == len(pages)
    assert counts.between(400, 600).all()


def test_a_visitor_of_one_page_is_no_session() -> None:
    assert sessions.sessions(sessions.visits(visits())) == {"a": ["/kb", "/ie"]}


def test_popular_puts_the_family_first_and_leaves_out_what_was_seen() -> None:
    found = sessions.index(sessions.features(sessions.visits(visits()), NOW, KIN))
    values = sessions.popular(found, [set(), {1}], ["/kb", ""])
    assert values.argmax(axis=1).tolist() == [1, 0]
    assert np.isneginf(values[1, 1])


def test_ranked_and_found_by_eye() -> None:
    values = np.array([[0.2, 0.5, -np.inf], [0.4, 0.4, 0.4]])
    answers = sessions.ranked(("/a", "/b", "/c"), values, [3, 2])
    assert [one.items for one in answers] == [("/b", "/a"), ("/a", "/b")]
    assert answers[0].scores == (0.5, 0.2)
    assert sessions.found([*answers, Proposal()], ["/a", "/c", "/a"], 2).tolist() == [
        [False, True],
        [False] * 2,
        [False] * 2,
    ]
