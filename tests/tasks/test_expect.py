from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from configs.load import load
from expectations.declare import Expectation, Suite
from expectations.orders import SUITE
from tasks.expect import Judgement, judge
from tasks.minimise import minimise
from tasks.sources import Chunk
from tests.tasks.shop import NAME, orders

DATASET = load().datasets[NAME]
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def pseudonyms(subjects: pd.Series) -> pd.Series:
    return subjects.map(lambda subject: f"p1_{int(subject):032x}", na_action="ignore").astype("str")


def verdict(rows: pd.DataFrame, suite: Suite = SUITE, mask: Any = pseudonyms) -> Judgement:
    texts = rows.astype("str").astype(object).where(rows.notna(), None)
    raw = pa.table({name: pa.array(texts[name].tolist(), pa.string()) for name in texts})
    typed = minimise(Chunk(raw, ()), DATASET, mask)
    return judge(typed.rows, typed.faults, suite, NOW)


def only(name: str) -> Suite:
    """The suite with one expectation, which is judged much faster."""
    chosen = tuple(expectation for expectation in SUITE.expectations if expectation.name == name)
    return msgspec.structs.replace(SUITE, expectations=chosen)


def broken(judgement: Judgement) -> set[str]:
    return {check.name for check in judgement.checks if not check.holds}


def test_a_good_batch_is_let_in_whole(capfd: pytest.CaptureFixture[str]) -> None:
    judgement = verdict(orders())
    assert judgement.refused == ()
    assert not judgement.reasons.any()
    assert broken(judgement) == set()
    assert {check.name for check in judgement.checks} == {e.name for e in SUITE.expectations} | {"quarantine_share"}
    assert capfd.readouterr() == ("", "")  # no progress bars


BAD_CELLS: list[tuple[str, Any, str]] = [
    ("invoice_no", None, "invoice_given"),
    ("invoice_no", "A563185", "invoice_form"),
    ("invoice_no", "53636", "invoice_form"),
    ("stock_code", None, "product_given"),
    ("stock_code", " 10002", "product_form"),
    ("stock_code", "x" * 21, "product_form"),
    ("description", "x" * 201, "description_length"),
    ("quantity", None, "quantity_given"),
    ("quantity", "NaN", "quantity_given"),
    ("quantity", "three", "quantity is not readable as int64; quantity_given"),
    ("quantity", 100_001, "quantity_range"),
    ("quantity", 0, "quantity_not_zero"),
    ("quantity", -1, "paid_return_is_cancellation"),
    ("invoice_date", None, "date_given"),
    ("invoice_date", "1999-12-31 23:59:00", "date_range"),
    ("invoice_date", str((NOW + timedelta(days=1)).replace(tzinfo=None)), "date_range"),
    ("unit_price", "nan", "price_given"),
    ("unit_price", -0.01, "price_range"),
    ("unit_price", 50_001, "price_range"),
    ("country", None, "country_given"),
    ("country", "x" * 61, "country_length"),
    ("invoice_no", "C500000", "sale_not_marked_cancelled"),
]


@pytest.fixture(scope="module")
def mixed() -> Judgement:
    """A large batch in which every seventh row of the first ones has one bad cell."""
    rows = orders(lines=4000).assign(stock_code=[str(10_000 + n) for n in range(4000)]).astype(object)
    for number, (column, value, _) in enumerate(BAD_CELLS):
        rows.loc[7 * number, column] = value
    return verdict(rows)


@pytest.mark.parametrize(
    "number", range(len(BAD_CELLS)), ids=[f"{column}={value!r:.12}" for column, value, _ in BAD_CELLS]
)
def test_a_bad_cell_sends_its_row_to_quarantine_with_the_reason(mixed: Judgement, number: int) -> None:
    assert mixed.reasons[7 * number] == BAD_CELLS[number][2]


def test_only_those_rows_go_and_the_batch_is_let_in(mixed: Judgement) -> None:
    assert mixed.refused == ()
    assert mixed.reasons.nonzero()[0].tolist() == [7 * number for number in range(len(BAD_CELLS))]


def test_every_row_level_expectation_was_seen_failing(mixed: Judgement) -> None:
    critical = {expectation.name for expectation in SUITE.expectations if expectation.quarantines}
    assert critical
    assert critical <= broken(mixed)


def cancelled(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(invoice_no="C" + rows["invoice_no"], quantity=-rows["quantity"])


REFUSED: dict[str, pd.DataFrame] = {
    "rows_present": orders().head(0),
    "customers_known_enough": orders().assign(customer_id=[17_000 if n % 3 == 0 else None for n in range(200)]),
    "lines_not_doubled": pd.concat([orders(), orders()], ignore_index=True),
    "price_level": orders().assign(unit_price=lambda rows: rows["unit_price"] * 100),
    "quantity_level": pd.concat([cancelled(orders(lines=120)), orders(lines=60)], ignore_index=True),
    "cancellations_few": pd.concat([cancelled(orders(lines=70)), orders()], ignore_index=True),
}


def test_every_table_level_expectation_is_seen_refusing() -> None:
    critical = {expectation.name for expectation in SUITE.expectations if expectation.refuses}
    assert set(REFUSED) == critical - {"subjects_masked", "columns_complete"}  # they have tests of their own


@pytest.mark.parametrize("name", REFUSED)
def test_each_table_level_expectation_refuses_the_batch(name: str) -> None:
    judgement = verdict(REFUSED[name], only(name))
    assert [reason.split(":")[0] for reason in judgement.refused] == [name]
    assert verdict(orders(), only(name)).refused == ()


@pytest.mark.parametrize(("bad", "refused"), [(2, False), (3, True)])
def test_too_many_bad_rows_refuse_the_batch(bad: int, refused: bool) -> None:
    rows = orders().assign(quantity=[None if n < bad else 1.0 for n in range(200)])
    judgement = verdict(rows, only("quantity_given"))
    assert bool(judgement.refused) == refused  # one in a hundred is allowed
    assert [reason.split(":")[0] for reason in judgement.refused] == ["quarantine_share"] * refused


def test_a_batch_whose_subjects_were_not_masked_is_refused() -> None:
    judgement = verdict(orders(), only("subjects_masked"), mask=lambda subjects: subjects)
    assert [reason.split(":")[0] for reason in judgement.refused] == ["subjects_masked"]


def test_a_column_nobody_judges_refuses_the_batch() -> None:
    rows = pa.table({name: pa.array([], pa.string()) for name in [*orders().columns, "email"]})
    judgement = judge(rows, np.empty(0, dtype=object), only("columns_complete"), NOW)
    assert [reason.split(":")[0] for reason in judgement.refused] == ["columns_complete"]


@pytest.mark.parametrize(
    ("changes", "noted"),
    [
        ({"customer_id": None}, "customer_named"),
        ({"invoice_no": "C500000", "quantity": -3}, "is_a_sale"),
        ({"quantity": -3, "unit_price": 0, "customer_id": None}, "is_a_sale"),
        ({"unit_price": 0}, "has_a_price"),
        ({"stock_code": "POST"}, "is_a_product"),
        ({"stock_code": "85123a"}, "code_in_capitals"),
        ({"description": None}, "description_given"),
        ({"quantity": 74_215}, "not_a_monster_order"),
        ({"country": "Atlantis"}, "country_known"),
    ],
)
def test_what_is_odd_and_real_is_kept_and_counted(changes: dict[str, Any], noted: str) -> None:
    rows = orders().astype(object)
    for column, value in changes.items():
        rows.loc[42, column] = value
    judgement = verdict(rows, only(noted))
    assert judgement.refused == ()
    assert not judgement.reasons.any()
    assert broken(judgement) == {noted}


def test_twins_are_kept_and_counted() -> None:
    rows = pd.concat([orders(), orders(lines=1)], ignore_index=True)
    judgement = verdict(rows, only("line_without_twin"))
    (twins,) = [check for check in judgement.checks if check.name == "line_without_twin"]
    assert (twins.failing, judgement.refused) == (2, ())


def test_an_expectation_that_cannot_be_evaluated_refuses_the_batch() -> None:
    lost = Expectation(
        name="lost",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "no_such_column"},
        reason="a suite that names a column which is gone must not pass",
    )
    suite = msgspec.structs.replace(SUITE, expectations=(lost,))
    (reason,) = verdict(orders(), suite).refused
    assert reason.startswith("lost: could not be evaluated")
