"""What data/msweb/README.md says of the bundled file is counted again here."""

import hashlib
import re
from pathlib import Path

import pandas as pd
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "data" / "msweb"
FILE = FOLDER / "msweb.parquet"


@pytest.fixture(scope="module")
def visits() -> pd.DataFrame:
    return pd.read_parquet(FILE)


def test_the_file_is_the_one_described() -> None:
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() in (FOLDER / "README.md").read_text()


def test_licence_citation_and_identifier_stand_beside_it() -> None:
    readme, licence = (FOLDER / "README.md").read_text(), (FOLDER / "LICENCE").read_text()
    assert "10.24432/C5VS3Q" in readme
    assert "10.24432/C5VS3Q" in licence
    assert "Breese, J., Heckerman, D., Kadie, C. (1998)" in readme
    assert "CC BY 4.0" in readme
    assert "creativecommons.org/licenses/by/4.0" in licence


def test_the_oddities_are_counted_rightly(visits: pd.DataFrame) -> None:
    train, test = visits[visits["split"] == "train"], visits[visits["split"] == "test"]
    seen = train["page"].value_counts()
    lengths = visits.groupby("visitor").size()
    alone = lengths[lengths == 1].index.str.startswith("train")
    counted = {
        "visits": len(visits),
        "visitors": visits["visitor"].nunique(),
        "training visits": len(train),
        "training visitors": train["visitor"].nunique(),
        "test visits": len(test),
        "test visitors": test["visitor"].nunique(),
        "training visitors of one page": int(alone.sum()),
        "test visitors of one page": int((~alone).sum()),
        "test visitors with two": int((test.groupby("visitor").size() >= 2).sum()),
        "longest": int(lengths.max()),
        "areas": visits["page"].nunique(),
        "areas in training": len(seen),
        "downloads": int(seen["/msdownload"]),
        "searches": int(seen["/search"]),
        "plug-in": int(seen["/isapi"]),
        "seen once": int((seen == 1).sum()),
        "seen by fewer than ten": int((seen < 10).sum()),
    }
    text = (FOLDER / "README.md").read_text()
    for what, count in counted.items():
        assert re.search(rf"(?<![\d,]){count:,}(?![\d,])", text), f"{what}: {count:,}"
    assert not set(test["page"]) - set(train["page"]) - {"/centroam"}
    assert not visits.duplicated(["visitor", "page"]).any()
    assert round(lengths.mean()) == 3


def test_a_cut_in_time_is_the_split_of_the_source(visits: pd.DataFrame) -> None:
    assert visits["seen_at"].is_monotonic_increasing
    cut = visits["seen_at"].max() - pd.Timedelta(days=1)
    assert ((visits["seen_at"] < cut) == (visits["split"] == "train")).all()
    slot = visits.groupby("visitor")["seen_at"].agg(["min", "max"]).sort_values("min")
    assert (slot["max"].iloc[:-1].to_numpy() < slot["min"].iloc[1:].to_numpy()).all()
    assert (slot["max"] - slot["min"]).max() < pd.Timedelta(seconds=18)


def test_titles_and_addresses_belong_together(visits: pd.DataFrame) -> None:
    areas = visits[["page", "title"]].drop_duplicates()
    assert areas["page"].is_unique
    twins = areas[areas["title"].duplicated(keep=False)]
    assert set(twins["page"]) == {"/msproject", "/project"}
    slips = {"/msdownload.", "/security.", "/workshoop", "/developr", "/mdsn", "/mdn"}
    assert slips <= set(areas["page"])
