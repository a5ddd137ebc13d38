from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from configs.load import load
from configs.schema import Column
from errors import SchemaError
from stores.vault import Vault
from tasks.minimise import Typed, minimise, times
from tasks.sources import Chunk
from tests.tasks.shop import NAME, Shop, orders

SHOP = load().datasets[NAME]
LONDON = Column(type="timestamp", timezone="Europe/London", meaning="when")


def masked(subjects: pd.Series) -> pd.Series:
    return subjects.map(lambda subject: f"p1_{subject}", na_action="ignore").astype("str")


def typed(folder: Path, rows: pa.Table) -> Typed:
    return minimise(Chunk(rows, ()), Shop(folder).dataset, masked)


def as_text(rows: pd.DataFrame) -> pa.Table:
    texts = rows.astype("str").astype(object).where(rows.notna(), None)
    return pa.table({name: pa.array(texts[name].tolist(), pa.string()) for name in texts})


def column(folder: Path, name: str, values: pa.Array) -> tuple[list[Any], list[str]]:
    """One column through the whole: its values, and what is wrong with each row."""
    rows = as_text(orders(lines=len(values)))
    rows = rows.set_column(rows.column_names.index(name), name, values)
    found = typed(folder, rows)
    return found.rows[name].to_pylist(), list(found.faults)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def read_times(values: pa.Array, declared: Column = LONDON) -> tuple[list[Any], list[bool]]:
    found, bad = times(pa.chunked_array([values]), "when", declared)
    return found.to_pylist(), bad.to_pylist()


def test_text_and_native_values_give_the_same_rows(tmp_path: Path) -> None:
    frame = orders().astype({"customer_id": "Int32"})
    frame.loc[3, "customer_id"] = None
    native = pa.Table.from_pandas(
        frame.assign(invoice_date=pd.to_datetime(frame["invoice_date"])), preserve_index=False
    )
    one, two = typed(tmp_path, native), typed(tmp_path, as_text(frame))
    assert one.rows.equals(two.rows)
    assert not one.faults.any()
    assert one.rows["customer_id"].to_pylist()[2:4] == ["p1_17000", None]
    assert one.rows["invoice_date"].to_pylist()[0] == utc("2011-08-01 07:00:00")  # 8 o'clock summer time


def test_the_real_vault_leaves_no_number_behind(tmp_path: Path) -> None:
    chunk = Chunk(as_text(orders()), ())
    found = minimise(chunk, Shop(tmp_path).dataset, Vault.open(tmp_path, "ingest").pseudonyms)
    subjects = set(found.rows["customer_id"].to_pylist())
    assert len(subjects) == 25
    assert all(subject.startswith("p1_") for subject in subjects)
    known = {str(number) for number in orders()["customer_id"]}
    said = {str(value) for row in found.rows.to_pylist() for value in row.values()}
    assert len(known) == 25
    assert not known & (said | {value.removeprefix("p1_") for value in said})


def test_a_subject_is_the_same_person_however_it_is_stored(tmp_path: Path) -> None:
    as_float = pa.array([17850.0, np.nan, 17850.0])
    assert column(tmp_path, "customer_id", as_float)[0] == ["p1_17850", None, "p1_17850"]
    as_words = pa.array([" 17850 ", "17850.0", "", None, "A17.0"])
    assert column(tmp_path, "customer_id", as_words)[0] == ["p1_17850", "p1_17850", None, None, "p1_A17.0"]


@pytest.mark.parametrize("text", ["twelve", "1.5", "1,000", "12e2", "true", "0x10", "９", "--1", "9" * 30, "inf"])
def test_text_where_an_integer_belongs_is_a_fault_and_the_value_is_not_told(tmp_path: Path, text: str) -> None:
    values, faults = column(tmp_path, "quantity", pa.array(["1", text, "3"]))
    assert values == [1, None, 3]
    assert faults == ["", "quantity is not readable as int64", ""]


@pytest.mark.parametrize("text", ["free", "2,50", "£2.50", "1e999", "-inf", "1.2.3", "True"])
def test_text_where_a_number_belongs_is_a_fault(tmp_path: Path, text: str) -> None:
    values, faults = column(tmp_path, "unit_price", pa.array(["1", text]))
    assert values == [1.0, None]
    assert faults == ["", "unit_price is not readable as float64"]


@pytest.mark.parametrize("name", ["quantity", "unit_price", "invoice_date"])
@pytest.mark.parametrize("text", ["", "  ", "NaN", "null", "None", "N/A", None])
def test_nan_and_its_like_are_missing_and_no_fault(tmp_path: Path, name: str, text: str | None) -> None:
    good = orders(lines=1)[name].astype(str)[0]
    values, faults = column(tmp_path, name, pa.array([good, text]))
    assert values[1] is None
    assert faults == ["", ""]


def test_native_nan_infinity_and_halves(tmp_path: Path) -> None:
    assert column(tmp_path, "unit_price", pa.array([np.nan, np.inf, 2.5]))[0] == [None, None, 2.5]
    assert column(tmp_path, "quantity", pa.array([1.0, 1.5, -3.0]))[0] == [1, None, -3]


def test_numbers_in_many_clothes(tmp_path: Path) -> None:
    prices = pa.array(["+2.50", " 2.50", "2.", ".5", "1e-3", "-0"])
    assert column(tmp_path, "unit_price", prices)[0] == [2.5, 2.5, 2.0, 0.5, 0.001, 0.0]
    assert column(tmp_path, "quantity", pa.array(["+7", "-7", "7.0", "007"]))[0] == [7, -7, 7, 7]


def test_two_faults_of_a_row_are_both_told(tmp_path: Path) -> None:
    rows = orders(lines=2).astype({"quantity": object, "unit_price": object})
    rows.loc[1, ["quantity", "unit_price"]] = ["x", "y"]
    found = typed(tmp_path, as_text(rows))
    assert found.faults[1] == "quantity is not readable as int64; unit_price is not readable as float64"


def test_an_empty_text_is_null_and_any_script_is_kept(tmp_path: Path) -> None:
    texts = ["", "Ünïcode 愛 🫙", "e\u0301", "tab\there"]
    assert column(tmp_path, "description", pa.array(texts))[0] == [None, *texts[1:]]


@pytest.mark.parametrize("values", [pa.array([[1], [2]]), pa.array([{"a": 1}, {"a": 2}]), pa.array([b"\xff", b"a"])])
def test_a_column_that_holds_no_plain_values(tmp_path: Path, values: pa.Array) -> None:
    with pytest.raises(SchemaError, match="description"):
        column(tmp_path, "description", values)


def test_times_of_many_forms() -> None:
    texts = [
        "2011-08-01 09:30:00",
        "2011-08-01T09:30",
        "2011-08-01T08:30:00Z",
        "2011-08-01 10:30:00+02:00",
        "2011-08-01",
    ]
    found, bad = read_times(pa.array(texts))
    assert found[:4] == [utc("2011-08-01 08:30:00")] * 4
    assert found[4] == utc("2011-07-31 23:00:00")
    assert not any(bad)


def test_times_that_cannot_be() -> None:
    texts = ["12/1/2010 8:26", "2011-02-30", "2011-08-01 25:00", "yesterday", "20110801", "1312185600"]
    found, bad = read_times(pa.array(texts))
    assert found == [None] * 6
    assert all(bad)


def test_a_form_of_its_own() -> None:
    american = LONDON.model_copy(update={"format": "%m/%d/%Y %H:%M"})
    found, bad = read_times(pa.array(["12/1/2010 8:26", "2010-12-01 08:26", None]), american)
    assert found == [utc("2010-12-01 08:26:00"), None, None]
    assert bad == [False, True, False]


def test_the_hour_that_happens_twice_is_read_as_its_first_pass() -> None:
    found, _ = read_times(pa.array(["2011-10-30 00:59", "2011-10-30 01:30", "2011-10-30 02:00"]))
    assert found == [utc("2011-10-29 23:59:00"), utc("2011-10-30 00:30:00"), utc("2011-10-30 02:00:00")]


def test_the_hour_that_never_happens_is_moved_one_hour_on() -> None:
    found, bad = read_times(pa.array(["2011-03-27 00:59", "2011-03-27 01:30", "2011-03-27 02:30"]))
    assert found == [utc("2011-03-27 00:59:00"), utc("2011-03-27 01:30:00"), utc("2011-03-27 01:30:00")]
    assert not any(bad)


def test_native_times_with_and_without_a_zone() -> None:
    naive = pa.array([datetime.fromisoformat("2011-08-01 09:30")], pa.timestamp("ms"))
    aware = pa.array([datetime(2011, 8, 1, 8, 30, tzinfo=UTC)], pa.timestamp("ns", tz="America/New_York"))
    assert read_times(naive)[0] == read_times(aware)[0] == [utc("2011-08-01 08:30:00")]
    assert read_times(pa.array([date(2011, 8, 1)]))[0] == [utc("2011-07-31 23:00:00")]


@given(
    st.lists(st.text(max_size=20) | st.sampled_from(["1", "2011-08-01", "0001-01-01", "9999-12-31 23:59"]), max_size=6)
)
@hypothesis_settings(deadline=None, max_examples=150)
def test_any_text_is_read_or_a_fault_and_never_an_error(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    found, bad = read_times(pa.array(texts, pa.string()))
    assert all((time is None) or not wrong for time, wrong in zip(found, bad, strict=True))


@given(
    st.lists(
        st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**18) + 1, 10**18 - 1)),
        min_size=1,
        max_size=50,
    )
)
@hypothesis_settings(deadline=None, max_examples=25)
def test_numbers_survive_being_text(pairs: list[tuple[float, int]]) -> None:
    rows = as_text(orders(lines=len(pairs)))
    rows = rows.set_column(5, "unit_price", pa.array([repr(price) for price, _ in pairs]))
    rows = rows.set_column(3, "quantity", pa.array([str(units) for _, units in pairs]))
    found = minimise(Chunk(rows, ()), SHOP, masked).rows
    assert list(zip(found["unit_price"].to_pylist(), found["quantity"].to_pylist(), strict=True)) == pairs


# ---- free texts ----------------------------------------------------------------------------------


def test_a_redacted_text_keeps_no_number_and_no_address() -> None:
    messages = load().datasets["sms_spam"]
    given = ["call 09061701461", "ada@example.co.uk", "", None, "\u200b", "ok at 5"]
    rows = pa.table({"received_at": ["2011-08-01"] * 6, "text": given, "is_spam": ["1"] * 6})
    found = minimise(Chunk(rows, ()), messages, masked)
    assert found.rows["text"].to_pylist() == ["call 00000000000", "x@x.xx", None, None, None, "ok at 5"]
    assert not found.faults.any()
