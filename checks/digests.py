"""The digest of a set of rows: what a batch id stands for.

Pure. It covers values and types, not the order of rows or columns and not the format they came in, so the same rows
sent again as another file, or sorted otherwise by a database, are the same batch; one changed value is another.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from records import canonical

TEXT_BYTES = 32


def rows_digest(rows: pa.Table) -> str:
    """SHA-256 over column names and types and the sorted multiset of rows, as 64 hex characters.

    Twins count as often as they occur. A null, an empty text and a zero are three different values; NaN is read as
    null and -0.0 as 0.0.
    """
    names = sorted(rows.column_names)
    kinds = {name: str(rows.schema.field(name).type) for name in names}
    digest = hashlib.sha256(canonical({"columns": kinds, "rows": rows.num_rows}))
    if names and rows.num_rows:
        packed = np.hstack([_packed(rows.column(name)) for name in names])
        # rows of equal width compare as byte strings; trailing zero bytes are ignored on both sides alike
        digest.update(np.sort(np.ascontiguousarray(packed).view(f"S{packed.shape[1]}").ravel()).tobytes())
    return digest.hexdigest()


def _packed(column: pa.ChunkedArray) -> np.ndarray:
    """A column as bytes, shape (rows, width): one byte for present, then the value or 32 bytes of its text's digest."""
    values = column.combine_chunks()
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), pc.add(values, 0.0))
    present = np.asarray(values.is_valid(), dtype=np.uint8)[:, None]
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return np.hstack([present, _texts(values)])
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us", tz=values.type.tz)).cast(pa.int64())
    filled = pc.fill_null(values, False if pa.types.is_boolean(values.type) else 0)
    fixed = np.asarray(filled.to_numpy(zero_copy_only=False))
    return np.hstack([present, np.ascontiguousarray(fixed).view(np.uint8).reshape(len(fixed), -1)])


def _texts(values: pa.Array) -> np.ndarray:
    """SHA-256 of each text, computed once per distinct one; zeros for null."""
    coded = values.dictionary_encode()
    known = [hashlib.sha256(str(text).encode()).digest() for text in coded.dictionary.to_pylist()]
    table = np.frombuffer(b"".join([*known, bytes(TEXT_BYTES)]), dtype=np.uint8).reshape(-1, TEXT_BYTES)
    return np.asarray(table[pc.fill_null(coded.indices, len(known)).to_numpy(zero_copy_only=False)])
