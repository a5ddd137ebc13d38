"""Turns raw chunks into typed rows: subjects become pseudonyms, texts are redacted, each column is read as its type.

Pure but for the mask it is given. A cell that cannot be read becomes null and its row carries a fault that names the
column and the type, never the value: a person's number may have slipped into any column. Called by `tasks.ingest`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from checks.redact import redact
from configs.schema import Column, Dataset
from errors import SchemaError
from tasks.sources import Chunk

Mask = Callable[[pd.Series], pd.Series]  # the vault's pseudonyms: null stays null
MISSING = pa.array(["", "nan", "null", "none", "na", "n/a"])  # in any case, where a number, time or truth value belongs
INTEGER = r"^[+-]?[0-9]{1,18}(\.0*)?$"
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
ISO_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+)?( ?(Z|[+-][0-9]{2}:?[0-9]{2}))?$"
ZONED = r"(?:Z|:.*[+-][0-9]{2}:?[0-9]{2})$"
TRUTH = {"true": True, "t": True, "yes": True, "1": True, "false": False, "f": False, "no": False, "0": False}
TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "bool": pa.bool_(),
}


class Typed(NamedTuple):
    """Rows of the declared types, nulls where a cell is missing or unreadable, and what is wrong with each row."""

    rows: pa.Table
    faults: np.ndarray  # text, shape (rows,); "" for a row without a fault


def schema(dataset: Dataset) -> pa.Schema:
    """The Arrow types of a dataset's columns."""
    return pa.schema([(name, TYPES[column.type]) for name, column in dataset.columns.items()])


def minimise(chunk: Chunk, dataset: Dataset, mask: Mask) -> Typed:
    """The chunk's rows, masked and typed.

    Raises:
        SchemaError: for a column whose values cannot even be looked at as text (lists, structs, bytes).
    """
    subjects = [name for name, column in dataset.columns.items() if column.subject]
    read = {name: _masked(_as_text(chunk.rows[name], name), mask) for name in subjects}
    faults = np.full(chunk.rows.num_rows, "", dtype=object)
    for name, column in dataset.columns.items():
        if column.subject:
            continue
        read[name], bad = _read(chunk.rows[name], name, column)
        places = np.flatnonzero(np.asarray(bad))
        said = f"{name} is not readable as {column.type}"
        faults[places] = [f"{was}; {said}" if was else said for was in faults[places]]
    return Typed(pa.table({name: read[name] for name in dataset.columns}, schema=schema(dataset)), faults)


def times(values: pa.ChunkedArray, name: str, column: Column) -> tuple[pa.Array, pa.Array]:
    """Event times in UTC, and which cells were there but not readable.

    A time without a zone is wall-clock time of `column.timezone` (UTC when not said). The hour that happens twice in
    autumn is read as its first pass, in summer time; an hour that spring skips is moved one hour on.
    """
    flat = values.combine_chunks()
    if pa.types.is_date(flat.type):
        flat = flat.cast(pa.timestamp("us"))
    if pa.types.is_timestamp(flat.type):
        given = flat.cast(pa.timestamp("us", tz=flat.type.tz), safe=False).to_pandas()
        found = given.dt.tz_convert("UTC") if flat.type.tz else _localised(given, column)
        return _utc(found), pa.array(np.zeros(len(flat), dtype=bool))
    text = _trimmed(flat, name)
    missing = _is_missing(text)
    plausible = text if column.format else pc.if_else(pc.match_substring_regex(text, ISO_TIME), text, _null_text())
    found = _parsed(plausible.to_pandas(), column)
    return _utc(found), pc.and_(pc.invert(missing), pa.array(found.isna().to_numpy()))


def _parsed(text: pd.Series, column: Column) -> pd.Series:
    form = column.format or "ISO8601"
    parsed = pd.to_datetime(text, format=form, errors="coerce", utc=True).astype("datetime64[us, UTC]")
    naive = _localised(parsed.dt.tz_localize(None), column)
    if column.format:
        return parsed if "%z" in form else naive
    return parsed.where(text.str.contains(ZONED, regex=True, na=False), naive)


def _localised(naive: pd.Series, column: Column) -> pd.Series:
    zone = column.timezone or "UTC"
    first_pass = np.ones(len(naive), dtype=bool)
    return naive.dt.tz_localize(zone, ambiguous=first_pass, nonexistent=pd.Timedelta(hours=1)).dt.tz_convert("UTC")


def _utc(found: pd.Series) -> pa.Array:
    return pa.Array.from_pandas(found, type=TYPES["timestamp"])


def _read(values: pa.ChunkedArray, name: str, column: Column) -> tuple[pa.Array, pa.Array]:
    """(values of the declared type, which cells were there but not readable)."""
    if column.type == "timestamp":
        return times(values, name, column)
    if column.type == "string":
        text = _redacted(_as_text(values, name)) if column.redact else _as_text(values, name)
        return pc.if_else(pc.equal(text, ""), _null_text(), text), pa.array(np.zeros(len(text), dtype=bool))
    text = _trimmed(values.combine_chunks(), name)
    missing = _is_missing(text)
    readers = {"int64": _integers, "float64": _numbers, "bool": _truths}
    found = readers[column.type](text)
    return found, pc.and_(pc.invert(missing), pc.is_null(found))


def _integers(text: pa.Array) -> pa.Array:
    whole = pc.replace_substring_regex(_matching(text, INTEGER), r"^\+|\.0*$", "")
    return whole.cast(pa.int64())


def _numbers(text: pa.Array) -> pa.Array:
    found = pc.replace_substring_regex(_matching(text, NUMBER), r"^\+", "").cast(pa.float64())
    return pc.if_else(pc.is_finite(found), found, pa.scalar(None, pa.float64()))  # 1e999 is no number


def _truths(text: pa.Array) -> pa.Array:
    lower = pc.utf8_lower(text)
    place = pc.index_in(lower, pa.array(list(TRUTH)))
    return pc.take(pa.array(list(TRUTH.values())), place)


def _matching(text: pa.Array, pattern: str) -> pa.Array:
    return pc.if_else(pc.match_substring_regex(text, pattern), text, _null_text())


def _is_missing(text: pa.Array) -> pa.Array:
    return pc.or_(pc.is_null(text), pc.fill_null(pc.is_in(pc.utf8_lower(text), MISSING), True))


def _trimmed(values: pa.Array, name: str) -> pa.Array:
    return pc.utf8_trim_whitespace(_as_text(values, name))


def _masked(text: pa.Array, mask: Mask) -> pa.Array:
    """Pseudonyms. Blanks around a subject make no other person, nor does the ".0" of an export with gaps; "" is nobody."""
    trimmed = pc.replace_substring_regex(pc.utf8_trim_whitespace(text), r"^([0-9]+)\.0+$", r"\1")
    subjects = pc.if_else(pc.equal(trimmed, ""), _null_text(), trimmed).to_pandas()
    return pa.Array.from_pandas(mask(subjects), type=pa.string())


def _redacted(text: pa.Array) -> pa.Array:
    return pa.array([redact(one) if one is not None else None for one in text.to_pylist()], pa.string())


def _as_text(values: pa.Array | pa.ChunkedArray, name: str) -> pa.Array:
    """Any plain value as text: 17850 and 17850.0 are both "17850" where the source stored numbers."""
    flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if pa.types.is_dictionary(flat.type):
        flat = flat.dictionary_decode()
    if pa.types.is_floating(flat.type):
        flat = pc.if_else(pc.is_nan(flat), pa.scalar(None, flat.type), flat)
        return pc.replace_substring_regex(flat.cast(pa.string()), r"\.0$", "")
    if pa.types.is_nested(flat.type) or pa.types.is_binary(flat.type) or pa.types.is_large_binary(flat.type):
        raise SchemaError(
            f"column {name!r}", expected="plain values", got=str(flat.type), do="flatten it at the source"
        )
    return flat.cast(pa.string())


def _null_text() -> pa.Scalar:
    return pa.scalar(None, pa.string())
