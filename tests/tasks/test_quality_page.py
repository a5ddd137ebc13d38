import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from configs.load import load
from tasks.expect import Check, Judgement
from tasks.minimise import schema
from tasks.quality_page import DoorReport, html, markdown, report, write
from tests.tasks.shop import NAME

NOON = datetime(2011, 8, 1, 12, tzinfo=UTC)
DATASET = load().datasets[NAME]
ROWS = pa.table(
    {
        "invoice_no": ["500000", "A563185", "500002"],
        "stock_code": ["10000", "<b>", "x" * 500],
        "description": ["JAR", None, "<script>alert(1)</script>"],
        "quantity": [1, None, 3],
        "invoice_date": [NOON, NOON + timedelta(days=1), NOON + timedelta(days=1)],
        "unit_price": [2.5, -11_062.06, 1.0],
        "customer_id": ["p1_" + "a" * 32, None, "p1_" + "b" * 32],
        "country": ["United Kingdom"] * 3,
    },
    schema=schema(DATASET),
)


def check(name: str, **changes: Any) -> Check:
    given = {
        "level": "row",
        "severity": "critical",
        "columns": ("unit_price",),
        "holds": False,
        "observed": "1 of 3 rows",
    }
    return Check(**{"name": name, "reason": f"why {name} is expected", **given, **changes})


CHECKS = (
    check("price_range"),
    check("price_level", level="table", holds=True, observed="2.50"),
    check("customer_named", severity="info", columns=("customer_id",)),
)


def made(refused: tuple[str, ...] = (), **known: Any) -> DoorReport:
    judgement = Judgement(CHECKS, np.array(["", "price_range", ""], dtype=object), refused)
    facts = {"suite": "5" * 64, "extra": ("email",), "late_seconds": 0.0, "at": NOON}
    return report(DATASET, "2011-08", "d" * 64, ROWS, judgement, **{**facts, **known})


def test_the_report_says_what_came_and_what_was_done() -> None:
    found = made()
    assert (found.rows, found.quarantined) == (3, 1)
    assert found.verdict == "let in: 2 rows, 1 in quarantine"
    assert found.days == (("2011-08-01", 1), ("2011-08-02", 2))
    assert found.oldest == NOON
    assert found.quarantine[0]["reason"] == "price_range"
    profiles = {profile.column: profile for profile in found.profiles}
    assert (profiles["quantity"].missing, profiles["quantity"].median) == (1, "2.00")
    assert profiles["customer_id"].largest == ""  # subjects are counted, not shown


def test_the_page_works_offline_and_escapes_what_people_wrote() -> None:
    page = html(made())
    assert not re.search(r"""(src|href|url|@import)\s*[=(]\s*["']?\s*(https?:)?//""", page)
    assert "<script" not in page
    assert "why price_range is expected" in page
    assert "p1_" not in page.split("Rows that failed")[0]


def test_a_refused_batch_says_why_and_that_nothing_was_stored() -> None:
    page = html(made(refused=("price_level: 250. The median moved",)))
    assert "Refused: nothing of it was stored" in page
    assert "The median moved" in page
    assert "in quarantine" not in page


def test_a_late_batch_and_a_new_column_are_pointed_out() -> None:
    page = html(made(late_seconds=86_400 * 31.0))
    assert "31.0 days older" in page
    assert "<code>email</code>" in page


def test_long_values_are_cut_short() -> None:
    judgement = Judgement(CHECKS, np.array(["", "", "product_form"], dtype=object), ())
    found = report(DATASET, "b", "d", ROWS, judgement, suite="", extra=(), late_seconds=0.0, at=NOON)
    assert found.quarantine[0]["stock_code"] == "x" * 60 + "... (500 characters)"


def test_an_empty_batch_has_a_page_too() -> None:
    judgement = Judgement(CHECKS, np.empty(0, dtype=object), ("rows_present: 0",))
    found = report(DATASET, "b", "d", ROWS.slice(0, 0), judgement, suite="", extra=(), late_seconds=0.0, at=NOON)
    assert found.newest is None
    assert "Refused" in html(found)


def test_page_and_facts_are_written_whole(tmp_path: Path) -> None:
    write(tmp_path, made(refused=("first",)))
    page = write(tmp_path, made())
    assert page == tmp_path / "data" / "orders" / "2011-08.html"
    assert sorted(path.name for path in page.parent.iterdir()) == ["2011-08.html", "2011-08.json"]
    facts = msgspec.json.decode(page.with_suffix(".json").read_bytes(), type=DoorReport)
    assert facts == made()


@pytest.mark.parametrize(
    ("refused", "expected"), [((), "let in: 2 rows"), (("price_level: 250",), "**price_level: 250**")]
)
def test_the_short_form_names_what_is_broken(refused: tuple[str, ...], expected: str) -> None:
    text = markdown(made(refused=refused), Path("pages/x.html"))
    assert expected in text
    assert "| price_range | row, critical | 1 of 3 rows |" in text
    assert "price_level |" not in text


def test_the_short_form_of_a_batch_without_a_flaw() -> None:
    judgement = Judgement((CHECKS[1],), np.array(["", "", ""], dtype=object), ())
    found = report(DATASET, "b", "d", ROWS, judgement, suite="", extra=(), late_seconds=0.0, at=NOON)
    assert markdown(found, Path("x")).endswith("Every expectation holds.")
