from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.digests import rows_digest

ROWS = pa.table(
    {
        "code": pa.array(["a", "b", None, "b"]),
        "units": pa.array([1, 2, None, 2], pa.int64()),
        "price": pa.array([0.5, 1.0, None, 1.0]),
        "at": pa.array([datetime(2011, 8, 1, 9, 30, tzinfo=UTC)] * 4, pa.timestamp("us", tz="UTC")),
        "gift": pa.array([True, False, None, False]),
    }
)


def test_order_of_rows_and_columns_does_not_matter() -> None:
    turned = ROWS.take(pa.array([3, 0, 2, 1])).select(ROWS.column_names[::-1])
    assert rows_digest(turned) == rows_digest(ROWS)


def test_chunks_do_not_matter() -> None:
    assert rows_digest(pa.concat_tables([ROWS.slice(0, 1), ROWS.slice(1)])) == rows_digest(ROWS)


@pytest.mark.parametrize(
    ("column", "other"),
    [
        ("code", ["a", "b", "", "b"]),  # an empty text is not null
        ("code", ["a", "b", None, "B"]),
        ("units", [1, 2, 0, 2]),  # nor is zero
        ("price", [0.5, 1.0, None, 1.0000000000000002]),
        ("gift", [True, False, False, False]),
    ],
)
def test_one_changed_value_is_another_digest(column: str, other: list[object]) -> None:
    place = ROWS.column_names.index(column)
    field = ROWS.schema.field(column)
    assert rows_digest(ROWS.set_column(place, field, pa.array(other, field.type))) != rows_digest(ROWS)


def test_twins_count_as_often_as_they_occur() -> None:
    digests = {rows_digest(ROWS.take(pa.array(places))) for places in ([0, 1], [0, 1, 1], [0, 0, 1], [0, 1, 1, 1])}
    assert len(digests) == 4


def test_names_and_types_are_covered() -> None:
    renamed = ROWS.rename_columns(["kode", *ROWS.column_names[1:]])
    retyped = ROWS.set_column(1, "units", ROWS["units"].cast(pa.float64()))
    assert len({rows_digest(ROWS), rows_digest(renamed), rows_digest(retyped)}) == 3


def test_nan_is_null_and_minus_zero_is_zero() -> None:
    def digest(values: list[float | None]) -> str:
        return rows_digest(pa.table({"x": pa.array(values, pa.float64())}))

    assert digest([float("nan"), 1.0]) == digest([None, 1.0])
    assert digest([-0.0]) == digest([0.0])


def test_no_rows_still_differ_by_their_columns() -> None:
    assert rows_digest(ROWS.slice(0, 0)) != rows_digest(ROWS.select(["code"]).slice(0, 0))


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(-(2**63), 2**63 - 1)), max_size=8), st.randoms())
@settings(deadline=None, max_examples=60)
def test_equal_multisets_and_only_they_have_equal_digests(rows: list[tuple[str, int]], random: object) -> None:
    def digest(of: list[tuple[str, int]]) -> str:
        return rows_digest(
            pa.table({"s": pa.array([s for s, _ in of], pa.string()), "n": pa.array([n for _, n in of], pa.int64())})
        )

    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert digest(shuffled) == digest(rows)
    if rows:
        assert digest([*rows[1:], (rows[0][0] + "x", rows[0][1])]) != digest(rows)
