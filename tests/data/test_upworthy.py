"""What data/upworthy/README.md says of the bundled file is counted again here."""

from __future__ import annotations

import hashlib
import re
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.quality.ranking import ERRATUM

FOLDER = Path(__file__).resolve().parents[2] / "data" / "upworthy"
FILE = FOLDER / "upworthy.parquet"
README = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return pd.read_parquet(FILE)


def test_the_file_is_the_one_described(rows: pd.DataFrame) -> None:
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() in README
    assert all(f"`{column}`" in README for column in rows.columns)


def test_licence_citation_and_identifier_stand_beside_it() -> None:
    licence = (FOLDER / "LICENCE").read_text(encoding="utf-8")
    assert "10.1038/s41597-021-00934-7" in README
    assert "Matias, J. N." in README
    assert "CC BY 4.0" in README
    assert "creativecommons.org/licenses/by/4.0" in licence
    assert "J. Nathan Matias" in licence


def test_the_oddities_are_counted_rightly(rows: pd.DataFrame) -> None:
    tests = rows.groupby("test_id")
    one_headline, one_image = tests["headline"].nunique() == 1, tests["image"].nunique() <= 1
    texts = ["test_id", "headline", "image", "lede", "excerpt"]
    touched = rows[rows["tested_until"].between(*ERRATUM)]
    counted = {
        "packages": len(rows),
        "tests": tests.ngroups,
        "impressions": int(rows["impressions"].sum()),
        "clicks": int(rows["clicks"].sum()),
        "one headline": int(one_headline.sum()),
        "one picture": int(one_image.sum()),
        "both": int((one_headline & one_image).sum()),
        "twins": int(rows.duplicated(texts, keep=False).sum()),
        "headlines again": int((rows.groupby("headline")["test_id"].nunique() > 1).sum()),
        "pictures again": int((rows.groupby("image")["test_id"].nunique() > 1).sum()),
        "of four": int((tests.size() == 4).sum()),
        "no image": int(rows["image"].isna().sum()),
        "no excerpt": int(rows["excerpt"].isna().sum()),
        "median shown": int(rows["impressions"].median()),
        "median clicks": int(rows["clicks"].median()),
        "shown little": int((rows["impressions"] < 1000).sum()),
        "shown most": int(rows["impressions"].max()),
        "erratum packages": len(touched),
        "erratum tests": touched["test_id"].nunique(),
    }
    for what, count in counted.items():
        assert re.search(rf"(?<![\d,]){count:,}(?![\d,])", README), f"{what}: {count:,}"
    assert int((tests["tested_until"].nunique() > 1).sum()) == 9
    assert int((rows["clicks"] == 0).sum()) == 6
    assert int(rows["lede"].isna().sum()) == 3
    assert (tests.size().min(), tests.size().max()) == (2, 14)


def test_names_tell_nothing(rows: pd.DataFrame) -> None:
    """The order of package and image names has nothing to do with click rates; in the source both told the winner."""
    assert rows["package"].is_unique
    assert rows.sort_values(["tested_until", "test_id", "package"]).index.equals(rows.index)
    assert rows["image"].dropna().str.fullmatch(r"[0-9a-f]{12}").all()
    rate = (rows["clicks"] / rows["impressions"]).groupby(rows["test_id"]).rank(pct=True)
    for name in ("package", "image"):
        order = rows[name].map(lambda text: int(text, 16), na_action="ignore")
        place = order.groupby(rows["test_id"]).rank(pct=True)
        varies = rows.groupby("test_id")[name].transform("nunique") > 1
        assert abs(np.corrcoef(place[varies], rate[varies])[0, 1]) < 3 / np.sqrt(varies.sum()), name


def test_the_time_is_the_end_of_the_week_as_the_archive_numbers_it(rows: pd.DataFrame) -> None:
    assert (rows["tested_until"].dt.dayofweek == 6).all()
    assert (rows["tested_until"].dt.hour == 0).all()
    ends = {week: week_end(week) for week in rows["test_week"].unique()}
    assert (rows["tested_until"].dt.date == rows["test_week"].map(ends)).all()
    made = pd.to_datetime(rows["test_id"].str[:8].map(lambda text: int(text, 16)), unit="s")
    late = made > "2013-04-15"
    weeks = {
        form: made.dt.strftime("%Y").astype(int) * 100 + made.dt.strftime(form).astype(int) for form in ("%U", "%W")
    }
    iso = made.dt.isocalendar()
    weeks["ISO"] = (iso["year"] * 100 + iso["week"]).astype(int)
    agree = {form: round(100 * float((week == rows["test_week"])[late].mean())) for form, week in weeks.items()}
    assert agree == {"%U": 98, "%W": 94, "ISO": 5}


def week_end(week: int) -> date:
    """The Sunday after week `week % 100` of a year whose weeks begin on Sunday; week 0 is what is before the first."""
    year, number = divmod(int(week), 100)
    january = date(year, 1, 1)
    return january + timedelta(days=(6 - january.weekday()) % 7 + 7 * number)
