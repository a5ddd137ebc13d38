"""What data/stats_stackexchange/README.md says of the bundled files is counted again here."""

import hashlib
import re
from pathlib import Path

import pandas as pd
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "data" / "stats_stackexchange"
FILES = ("posts", "badges", "users")
README = (FOLDER / "README.md").read_text()
Frames = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def frames() -> Frames:
    return {name: pd.read_parquet(FOLDER / f"{name}.parquet") for name in FILES}


def test_the_files_are_those_described() -> None:
    for name in FILES:
        assert hashlib.sha256((FOLDER / f"{name}.parquet").read_bytes()).hexdigest() in README


def test_licence_and_credit_stand_beside_them() -> None:
    licence = (FOLDER / "LICENCE").read_text()
    for told in ("CC BY-SA 3.0", "creativecommons.org/licenses/by-sa/3.0", "stats.stackexchange.com/q/ID"):
        assert told in licence
        assert told in README
    assert "10.14778/3503585.3503586" in README
    assert "no adaptation" in licence


def test_every_column_is_explained(frames: Frames) -> None:
    for name, frame in frames.items():
        rows = [line for line in README.splitlines() if line.startswith(f"| {name} ")]
        assert {column for row in rows for column in re.findall(r"`(\w+)`", row.split("|")[1])} == set(frame.columns)


def test_the_oddities_are_counted_rightly(frames: Frames) -> None:
    posts, badges, users = (frames[name] for name in FILES)
    own = posts[posts["post_type_id"].isin([1, 2])]
    owners = posts["owner_user_id"].dropna().astype("int64")
    strangers = owners[~owners.isin(users["id"])]
    dated = posts.merge(users, left_on="owner_user_id", right_on="id", suffixes=("", "_account"))
    moved = dated[dated["creation_date"] < dated["creation_date_account"]]
    counted = {
        "posts": len(posts),
        "badges": len(badges),
        "users": len(users),
        "questions": int((posts["post_type_id"] == 1).sum()),
        "answers": int((posts["post_type_id"] == 2).sum()),
        "other kinds": len(posts) - len(own),
        "no owner": int(posts["owner_user_id"].isna().sum()),
        "no owner, own": int(own["owner_user_id"].isna().sum()),
        "the bot": int((posts["owner_user_id"] == -1).sum()),
        "strangers' posts": len(strangers),
        "strangers": strangers.nunique(),
        "moved": len(moved),
        "who moved": moved["owner_user_id"].nunique(),
        "before the site": int((posts["creation_date"] < users["creation_date"].min()).sum()),
        "contributors": own["owner_user_id"].dropna().nunique(),
        "without a post": int((~users["id"].isin(own["owner_user_id"].dropna().astype("int64"))).sum()),
        "badges together": int(badges.duplicated(["user_id", "date"]).sum()),
        "two or more": int((own["score"] >= 2).sum()),
        "nothing": int((own["score"] == 0).sum()),
        "below": int((own["score"] < 0).sum()),
    }
    for what, count in counted.items():
        assert re.search(rf"(?<![\d,]){count:,}(?![\d,])", README), f"{what}: {count:,}"
    assert not own["owner_user_id"].eq(-1).any()
    early = badges.merge(users, left_on="user_id", right_on="id")
    assert (early["date"] >= early["creation_date"]).all()


def test_the_median_score_falls_as_told(frames: Frames) -> None:
    posts = frames["posts"]
    by_month = posts.groupby(posts["creation_date"].dt.strftime("%Y-%m"))
    assert by_month["score"].median()[["2010-07", "2013-08"]].tolist() == [6, 1]
    answers = by_month["post_type_id"].agg(lambda kinds: (kinds == 2).mean())
    assert answers["2010-07"] == pytest.approx(0.75, abs=0.02)
    assert answers["2013-08"] == pytest.approx(0.5, abs=0.02)
