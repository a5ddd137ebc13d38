"""What data/online_retail/README.md and docs/data.md say of the bundled file is counted again here."""

import hashlib
import re
from pathlib import Path

import pandas as pd
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "data" / "online_retail"
DOCS = FOLDER.parents[1] / "docs" / "data.md"
FILE = FOLDER / "online_retail.parquet"


@pytest.fixture(scope="module")
def lines() -> pd.DataFrame:
    return pd.read_parquet(FILE)


def test_the_file_is_the_one_described() -> None:
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() in (FOLDER / "README.md").read_text()


def test_licence_citation_and_identifier_stand_beside_it() -> None:
    readme, licence = (FOLDER / "README.md").read_text(), (FOLDER / "LICENCE").read_text()
    assert "10.24432/C5BW33" in readme
    assert "Chen, D. (2015)" in readme
    assert "CC BY 4.0" in readme
    assert "creativecommons.org/licenses/by/4.0" in licence
    assert "Daqing Chen" in licence


def test_the_oddities_are_counted_rightly(lines: pd.DataFrame) -> None:
    invoice, quantity, price = lines["invoice_no"], lines["quantity"], lines["unit_price"]
    cancels, code = invoice.str.startswith("C"), lines["stock_code"]
    twice = lines.groupby("invoice_no")["invoice_date"].nunique()
    counted = {
        "lines": len(lines),
        "invoices": invoice.nunique(),
        "cancellations": int(cancels.sum()),
        "adjustments": int(((quantity < 0) & ~cancels).sum()),
        "no customer": int(lines["customer_id"].isna().sum()),
        "price 0": int((price == 0).sum()),
        "no description": int(lines["description"].isna().sum()),
        "no article": int((~code.str.fullmatch(r"\d{5}[A-Za-z]{0,2}")).sum()),
        "small letters": int((code != code.str.upper()).sum()),
        "twins": int(lines.duplicated().sum()),
        "two times": int((twice > 1).sum()),
    }
    pages = {"README": (FOLDER / "README.md").read_text(), "docs": DOCS.read_text()}
    for page, text in pages.items():
        for what, count in counted.items():
            told = re.search(rf"(?<![\d,]){count:,}(?![\d,])", text)
            assert told or (page == "docs" and what in {"invoices", "two times"}), f"{page}, {what}: {count:,}"
    assert (quantity[cancels] < 0).all()
    assert (price[(quantity < 0) & ~cancels] == 0).all()
    assert set(invoice[price < 0].str[0]) == {"A"}
    assert lines["invoice_date"].dt.hour.between(6, 20).all()
    assert (lines["invoice_date"].dt.dayofweek != 5).all()
