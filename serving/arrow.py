"""A batch as an Arrow IPC stream: columns are the fields of the request, rows the requests; the answers likewise.

A stream comes from outside, so nothing in it is believed: only plain types, no dictionaries, no compressed buffers, no more
bytes referred to than came, everything validated before it becomes rows. Pure; used by `serving.rest`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from errors import InputError
from serving.predict import Reply
from serving.wire import convert

KIND = b"application/vnd.apache.arrow.stream"
COMPRESSION = 3  # its place in the flatbuffer table RecordBatch (Arrow's format, Message.fbs)
SPARE = 100_000  # values beyond one for each byte: booleans take a bit
HEADER = 2  # that of the record batch in the table Message
ANSWER = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("model", pa.string()),
        ("version", pa.int64()),
        ("name", pa.string()),
        ("arm", pa.string()),
        ("revision", pa.int64()),
        ("override", pa.string()),
        ("journalled", pa.bool_()),
        (
            "decision",
            pa.struct(
                [
                    ("items", pa.list_(pa.string())),
                    ("scores", pa.list_(pa.float64())),
                    ("value", pa.float64()),
                    ("overruled", pa.list_(pa.string())),
                ]
            ),
        ),
    ]
)


def requests(body: bytes, request: Any, most: int) -> list[Any]:
    """The rows of a stream as requests of this type, by the rules of a JSON body: null is null, and no field has NaN.

    Raises:
        InputError: naming what is wrong with the stream, a column, or the row and field.
    """
    try:
        rows = _rows(body, most)
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, struct.error) as error:
        raise InputError("$", expected="an Arrow IPC stream", got=str(error)[:200]) from None
    return convert(rows, list[request], "$.requests")  # type: ignore[no-any-return]  # a type known at run time


def answers(replies: Sequence[Reply]) -> bytes:
    """The replies as a stream, one row for each."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, ANSWER) as writer:
        rows = [{"journalled": True, **one} for one in msgspec.to_builtins(list(replies))]
        writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=ANSWER))
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]  # pyarrow has no types


def _rows(body: bytes, most: int) -> list[dict[str, Any]]:
    count, rows, schema = 0, [], None
    for message in _messages(body):
        if schema is None:
            schema = pa.ipc.read_schema(message)
            _refuse_schema(schema)
            continue
        batch = _batch(message, schema, len(body))
        count += batch.num_rows
        if count > most:  # before anything is made of them: a row can be declared without a byte
            break
        rows.extend(batch.to_pylist())
    if not 1 <= count <= most:
        raise InputError("$.requests", expected=f"1 to {most} requests", got=count)
    return rows


def _messages(body: bytes) -> Iterator[Any]:
    """The schema, then the record batches."""
    kinds = ["schema"]
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(body))
    for message in reader:
        if message.type not in kinds:
            do = "send plain columns instead of dictionaries"
            raise InputError("$", expected=f"{kinds[0]} in the stream", got=message.type, do=do)
        yield message
        kinds = ["record batch"]


def _refuse_schema(schema: Any) -> None:
    if len(set(schema.names)) < len(schema.names):
        raise InputError("$", expected="each column once", got="one more than once")
    for field in schema:
        if not (pa.types.is_null(field.type) or _plain(field.type)):
            expected = "text, numbers, booleans, and lists and structs of them"
            raise InputError(f"$.{field.name[:64]}", expected=expected, got=str(field.type)[:64])


def _plain(kind: Any) -> bool:
    """Whether each element of the type takes space of its own, so that a small stream holds few of them."""
    types = pa.types
    if types.is_fixed_size_list(kind):
        return kind.list_size > 0 and _plain(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind):
        return _plain(kind.value_type)
    if types.is_struct(kind):
        return kind.num_fields > 0 and all(_plain(field.type) for field in kind)
    return bool(
        types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_string(kind)
        or types.is_large_string(kind)
    )


def _batch(message: Any, schema: Any, size: int) -> Any:
    """A validated record batch, which refers to no more bytes than the body has."""
    if _compressed(message.metadata.to_pybytes()):
        raise InputError("$", expected="buffers as they are", got="compressed ones", do="write without compression")
    batch = pa.ipc.read_record_batch(message, schema)
    batch.validate(full=True)
    if batch.nbytes > size:
        raise InputError("$", expected=f"columns of {size} bytes at most", got=f"{batch.nbytes}: buffers used twice")
    values = sum(map(_values, batch.columns))
    if values > size + SPARE:
        raise InputError("$", expected=f"{size + SPARE} values at most", got=values)
    for name, column in zip(schema.names, batch.columns, strict=True):
        if not _finite(column):
            raise InputError(f"$.{name[:64]}", expected="finite numbers", got="NaN or infinity")
    return batch


def _compressed(metadata: bytes) -> bool:
    """Whether a record batch's message says that its buffers are compressed: what they would grow to is anyone's guess.

    Arrow has verified the flatbuffer when it gives the message out, so its offsets lead somewhere.
    """
    message = struct.unpack_from("<I", metadata, 0)[0]
    header = _field(metadata, message, HEADER)
    if header == 0:
        return False
    batch = header + struct.unpack_from("<I", metadata, header)[0]
    return _field(metadata, batch, COMPRESSION) != 0


def _field(buffer: bytes, table: int, number: int) -> int:
    """Where a field of a flatbuffer's table stands; 0 when it is not there."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    place = 4 + 2 * number
    if place >= struct.unpack_from("<H", buffer, vtable)[0]:
        return 0
    offset = struct.unpack_from("<H", buffer, vtable + place)[0]
    return table + offset if offset else 0


def _values(array: Any) -> int:
    """How many Python objects the elements would become."""
    if pa.types.is_struct(array.type):
        return len(array) + sum(map(_values, array.flatten()))
    if pa.types.is_nested(array.type):
        return len(array) + _values(array.flatten())
    return len(array)


def _finite(array: Any) -> bool:
    """Whether no number in it is NaN or infinite; JSON, and so the journal, has no such numbers."""
    kind = array.type
    if pa.types.is_floating(kind):
        return bool(np.isfinite(array.drop_null().to_numpy(zero_copy_only=False)).all())
    if pa.types.is_struct(kind):
        return all(_finite(part) for part in array.flatten())
    if pa.types.is_nested(kind):
        return _finite(array.flatten())
    return True
