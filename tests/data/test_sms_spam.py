"""What data/sms_spam/README.md says of the bundled file is counted again here."""

import hashlib
import re
from pathlib import Path

import pandas as pd
import pytest

from checks.redact import redact
from models.kit import texts

FOLDER = Path(__file__).resolve().parents[2] / "data" / "sms_spam"
FILE = FOLDER / "sms_spam.parquet"
README = (FOLDER / "README.md").read_text()


@pytest.fixture(scope="module")
def messages() -> pd.DataFrame:
    return pd.read_parquet(FILE)


def test_the_file_is_the_one_described() -> None:
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() in README


def test_licence_citation_and_identifier_stand_beside_it() -> None:
    licence = (FOLDER / "LICENCE").read_text()
    assert "10.24432/C5CC84" in README
    assert "Almeida, T. A." in README
    assert "CC BY 4.0" in README
    assert "creativecommons.org/licenses/by/4.0" in licence
    assert "Almeida" in licence


def test_the_time_is_the_place_in_the_file_and_the_readme_says_so(messages: pd.DataFrame) -> None:
    start, year = pd.Timestamp("2011-01-01", tz="UTC"), pd.Timedelta(days=365)
    expected = pd.Series([start + year / len(messages) * at for at in range(len(messages))]).dt.floor("s")
    assert (messages["received_at"] == expected.astype(messages["received_at"].dtype)).all()
    assert "is the order of the file and not a measured time" in README


def test_the_oddities_are_counted_rightly(messages: pd.DataFrame) -> None:
    text, spam = messages["text"], messages["is_spam"]
    redacted = text.map(redact)
    keys = redacted.map(texts.key)
    long, twice = text.str.len() > 160, text.duplicated()
    counted = {
        "ham": int((~spam).sum()),
        "spam": int(spam.sum()),
        "repeats": int(twice.sum()),
        "repeated ham": int((twice & ~spam).sum()),
        "nearly": int(text.str.strip().str.lower().duplicated().sum()),
        "different": keys.nunique(),
        "longest": int(text.str.len().max()),
        "median ham": int(text[~spam].str.len().median()),
        "median spam": int(text[spam].str.len().median()),
        "long": int(long.sum()),
        "long spam": int((long & spam).sum()),
        "redacted": int((redacted != text).sum()),
        "redacted spam": int(((redacted != text) & spam).sum()),
        "entities": int(text.str.contains("&[a-z]+;").sum()),
        "replaced": int(text.str.contains("&lt;#&gt;").sum()),
        "controls": int(text.str.contains("[\x80-\x9f]").sum()),
    }
    for what, count in counted.items():
        assert re.search(rf"(?<![\d,]){count:,}(?![\d,])", README), f"{what}: {count:,}"
    assert (spam.groupby(keys).nunique() == 1).all()
    assert not spam[text.str.contains("&lt;#&gt;")].any()
