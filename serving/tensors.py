"""Tensors of the Open Inference Protocol, from and to a model's own types, whatever carries them.

A field of the request is an input: text is BYTES, whole numbers INT64, numbers FP64, yes or no BOOL, all of shape [n];
a list of numbers is FP32 [n, k]; anything else is BYTES with JSON in each element. Pure; used by `serving.oip`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import inspect

from errors import InputError
from models.contract import Model
from serving.predict import Reply
from serving.wire import convert

NUMBERS = {
    "BOOL": "?", "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "UINT8": "<u1", "UINT16": "<u2",
    "UINT32": "<u4", "UINT64": "<u8", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
INTEGERS = frozenset(name for name in NUMBERS if "INT" in name)
FLOATS = frozenset({"FP32", "FP64"})
TAKEN = {"BYTES": {"BYTES"}, "BOOL": {"BOOL"}, "INT64": INTEGERS, "FP64": FLOATS, "FP32": FLOATS}  # for a field
MOST = 256  # tensors of a call: a message of 1 MB has room for hundreds of thousands of empty ones
LENGTH = struct.Struct("<I")  # before each element of BYTES
encode = msgspec.json.Encoder().encode


class Tensor(NamedTuple):
    """`data` is flat, row by row; elements of BYTES are bytes or text. Bytes in place of a list are not unpacked yet."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: Sequence[Any]


class Field(NamedTuple):
    """What metadata says of a tensor; -1 is any size. `json`: each element is a JSON document."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    required: bool = True
    json: bool = False


class Form:
    """The tensors of one model."""

    def __init__(self, model: Model) -> None:
        self.inputs = tuple(_field(one) for one in inspect.type_info(model.Request).fields)  # type: ignore[attr-defined]  # of a Struct
        self._fields = {field.name: field for field in self.inputs}
        self._many: Any = list[model.Request]  # type: ignore[name-defined]  # a type known at run time

    def requests(self, tensors: Sequence[Tensor], most: int) -> list[Any]:
        """One request for each row; a field without a tensor has its default in all of them.

        Raises:
            InputError: naming the tensor, or the row and field.
        """
        rows = _rows(tensors, most)
        columns: dict[str, Iterable[Any]] = {}
        for tensor in tensors:
            field = self._fields.get(tensor.name)
            if field is None or tensor.name in columns:
                known = f"each of {', '.join(self._fields)} at most once"
                raise InputError("inputs", expected=known, got=tensor.name[:64])
            columns[tensor.name] = _column(field, tensor, rows)
        built = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return convert(built, self._many, "$.requests")  # type: ignore[no-any-return]  # as above


def refuse_unknown(wanted: Sequence[str]) -> None:
    """Raises InputError for a name that is no output, and for one more than once: a small call could ask for any amount."""
    unknown = [name for name in wanted if name not in MAKERS]
    if unknown or len(set(wanted)) < len(wanted):
        known = f"each of {', '.join(MAKERS)} at most once"
        raise InputError("outputs", expected=known, got=unknown[0][:64] if unknown else "one more than once")


def outputs(replies: Sequence[Reply], wanted: Sequence[str]) -> list[Tensor]:
    """The outputs of these names, or all, in the order they were asked for.

    Items and scores of a row are padded at the end to those of the longest; `count` says how many there are.
    """
    width = max(map(_count, replies))
    return [_output(OUTPUTS[name], replies, width) for name in wanted or MAKERS]


def unpack(raw: bytes, name: str, datatype: str) -> list[Any]:
    """The elements of a raw tensor: little endian, no padding; BYTES with a length of four bytes before each.

    Raises:
        InputError: for a type that is none, bytes that do not fit it, and numbers that are not finite.
    """
    if datatype == "BYTES":
        return _texts(raw, name)
    if datatype not in NUMBERS:
        raise InputError(name, expected=f"BYTES or one of {', '.join(NUMBERS)}", got=datatype[:32])
    kind = np.dtype(NUMBERS[datatype])
    if len(raw) % kind.itemsize:
        raise InputError(name, expected=f"{kind.itemsize} bytes for each {datatype}", got=f"{len(raw)} bytes")
    if datatype == "BOOL":
        return _flags(np.frombuffer(raw, np.uint8), name)
    found = np.frombuffer(raw, kind)
    if datatype in FLOATS:
        refuse_infinite(found, name)
    data: list[Any] = found.tolist()
    return data


def pack(tensor: Tensor) -> bytes:
    """The raw bytes of a tensor, as `unpack` reads them."""
    if tensor.datatype != "BYTES":
        return np.asarray(tensor.data, NUMBERS[tensor.datatype]).tobytes()
    elements = [one.encode() if isinstance(one, str) else one for one in tensor.data]
    return b"".join(LENGTH.pack(len(one)) + one for one in elements)


def refuse_infinite(numbers: Any, name: str) -> None:
    """JSON has no such numbers, and the journal is JSON. Raises InputError."""
    if not np.isfinite(numbers).all():
        raise InputError(name, expected="finite numbers", got="NaN or infinity")


def _field(one: inspect.Field) -> Field:
    kind = _plain(one.type)
    datatype, more = _datatype(kind)
    json = datatype == "BYTES" and not isinstance(kind, inspect.StrType)
    return Field(one.encode_name, datatype, (-1, *more), one.required, json)


def _datatype(kind: inspect.Type) -> tuple[str, tuple[int, ...]]:
    match kind:
        case inspect.IntType():
            return "INT64", ()
        case inspect.FloatType():
            return "FP64", ()
        case inspect.BoolType():
            return "BOOL", ()
        case inspect.CollectionType(item_type=inner, min_length=low, max_length=high):
            if isinstance(_plain(inner), inspect.FloatType):
                return "FP32", (low if low is not None and low == high else -1,)
    return "BYTES", ()


def _plain(kind: inspect.Type) -> inspect.Type:
    """Without what is said about it, and without None where that is the only other possibility."""
    if isinstance(kind, inspect.Metadata):
        return _plain(kind.type)
    if isinstance(kind, inspect.UnionType):
        others = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        return _plain(others[0]) if len(others) == 1 else kind
    return kind


def _rows(tensors: Sequence[Tensor], most: int) -> int:
    """The number of rows, which all tensors have."""
    if not tensors:
        raise InputError(
            "inputs", expected="at least one tensor, whose first dimension counts the requests", got="none"
        )
    sizes = {tensor.shape[0] if tensor.shape else 0 for tensor in tensors}
    if len(sizes) > 1:
        raise InputError("inputs", expected="the same first dimension in all", got=sorted(sizes)[:4])
    rows = sizes.pop()
    if not 1 <= rows <= most:
        raise InputError("inputs", expected=f"1 to {most} requests", got=rows)
    return rows


def _column(field: Field, tensor: Tensor, rows: int) -> list[Any]:
    """The values of one field, row by row. Shapes are judged before anything is unpacked."""
    if tensor.datatype not in TAKEN[field.datatype]:
        raise InputError(field.name, expected=field.datatype, got=tensor.datatype[:32])
    shape, single = list(tensor.shape), len(field.shape) == 1
    count = math.prod(shape)
    if min(shape) < 0 or (count != rows if single else len(shape) != 2):
        raise InputError(field.name, expected=f"shape [{rows}{']' if single else ', k]'}", got=shape[:4])
    data = unpack(tensor.data, field.name, tensor.datatype) if isinstance(tensor.data, bytes) else tensor.data
    if len(data) != count:
        raise InputError(field.name, expected=f"the elements of shape {shape}", got=f"{len(data)} elements")
    if single:
        return [_element(field, value) for value in data] if field.datatype == "BYTES" else list(data)
    wide = shape[1]
    return [data[at * wide : (at + 1) * wide] for at in range(rows)]


def _element(field: Field, value: Any) -> Any:
    try:
        if field.json:
            return msgspec.json.decode(value)
        return value.decode() if isinstance(value, bytes) else value
    except (msgspec.DecodeError, UnicodeError, TypeError, RecursionError) as error:
        expected = "JSON in each element" if field.json else "UTF-8 text"
        raise InputError(field.name, expected=expected, got=str(error)[:100]) from None


def _texts(raw: bytes, name: str) -> list[Any]:
    found, at, end = [], 0, len(raw)
    while at < end:
        start = at + LENGTH.size
        length = LENGTH.unpack_from(raw, at)[0] if start <= end else end
        if start + length > end:
            raise InputError(
                name, expected="a length of four bytes before each element", got="bytes that end within one"
            )
        found.append(raw[start : start + length])
        at = start + length
    return found


def _flags(raw: Any, name: str) -> list[Any]:
    if raw.size and raw.max() > 1:
        raise InputError(name, expected="0 or 1 for each BOOL", got=int(raw.max()))
    flags: list[Any] = raw.astype(bool).tolist()
    return flags


def _count(reply: Reply) -> int:
    return max(len(reply.decision.items), len(reply.decision.scores))


def _padded(values: Sequence[Any], width: int, filler: Any) -> list[Any]:
    return [*values, *[filler] * (width - len(values))]


def _value(reply: Reply) -> float:
    return math.nan if reply.decision.value is None else reply.decision.value


MAKERS: dict[str, tuple[str, Callable[[Reply], Any]]] = {  # one value for each reply
    "prediction_id": ("BYTES", lambda reply: reply.prediction_id),
    "name": ("BYTES", lambda reply: reply.name),
    "arm": ("BYTES", lambda reply: reply.arm),
    "override": ("BYTES", lambda reply: reply.override),
    "version": ("INT64", lambda reply: reply.version),
    "revision": ("INT64", lambda reply: reply.revision),
    "journalled": ("BOOL", lambda reply: reply.journalled is not False),
    "value": ("FP64", _value),  # NaN (null in JSON) where a decision has none
    "count": ("INT64", _count),
    "items": ("BYTES", lambda reply: reply.decision.items),
    "scores": ("FP64", lambda reply: reply.decision.scores),
    "decision": ("BYTES", lambda reply: encode(reply.decision)),
}
FILLERS: dict[str, Any] = {"items": "", "scores": 0.0}
OUTPUTS = {
    name: Field(name, datatype, (-1, -1) if name in FILLERS else (-1,)) for name, (datatype, _) in MAKERS.items()
}


def _output(field: Field, replies: Sequence[Reply], width: int) -> Tensor:
    values = [MAKERS[field.name][1](reply) for reply in replies]
    if field.name not in FILLERS:
        return Tensor(field.name, field.datatype, (len(values),), values)
    filler = FILLERS[field.name]
    data = [one for value in values for one in _padded(value, width, filler)]
    return Tensor(field.name, field.datatype, (len(values), width), data)
