"""Tensors from and to a model's types: what metadata says, how rows are made of them, and what has no row."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, cast

import msgspec
import numpy as np
import pytest

from errors import InputError
from models import contract
from models.contract import Decided, Model
from serving.predict import Reply
from serving.tensors import MAKERS, Form, Tensor, outputs, pack, unpack


class Inner(msgspec.Struct):
    name: str


class Request(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    who: str
    age: int = 0
    weight: Annotated[float, msgspec.Meta(ge=0)] | None = None
    known: bool = False
    colour: Literal["red", "blue"] = "red"
    features: list[float] = []
    pair: Annotated[tuple[float, ...], msgspec.Meta(min_length=2, max_length=2)] | None = None
    inner: Inner | None = None
    counts: dict[str, int] = {}


class Owner:
    Request = Request


FORM = Form(cast(Model, Owner))


def test_every_field_is_an_input() -> None:
    found = {one.name: (one.datatype, one.shape, one.required, one.json) for one in FORM.inputs}
    assert found == {
        "who": ("BYTES", (-1,), True, False),
        "age": ("INT64", (-1,), False, False),
        "weight": ("FP64", (-1,), False, False),
        "known": ("BOOL", (-1,), False, False),
        "colour": ("BYTES", (-1,), False, True),
        "features": ("FP32", (-1, -1), False, False),
        "pair": ("FP32", (-1, 2), False, False),
        "inner": ("BYTES", (-1,), False, True),
        "counts": ("BYTES", (-1,), False, True),
    }


@pytest.mark.parametrize("name", contract.names())
def test_every_model_has_a_form_that_takes_its_example(name: str) -> None:
    model = contract.find(name)
    form = Form(model)
    for example in model.example():
        values = msgspec.to_builtins(example)
        given = [one for one in form.inputs if values.get(one.name) is not None]
        data = {one.name: msgspec.json.encode(values[one.name]) if one.json else values[one.name] for one in given}
        tensors = [Tensor(one.name, one.datatype, [1], [data[one.name]]) for one in given]
        assert form.requests(tensors, 1) == [example]


def test_raw_numbers_become_lists_row_by_row() -> None:
    matrix = np.arange(6, dtype="<f4").reshape(3, 2)
    raw = unpack(matrix.tobytes(), "features", "FP32")
    tensors = [Tensor("who", "BYTES", [3], [b"a", "b", b"c"]), Tensor("features", "FP32", [3, 2], raw)]
    found = FORM.requests(tensors, 3)
    assert [one.features for one in found] == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert [one.who for one in found] == ["a", "b", "c"]
    wide = [tensors[0], Tensor("features", "FP64", [3, 0], [])]
    assert [one.features for one in FORM.requests(wide, 3)] == [[], [], []]


@pytest.mark.parametrize(
    ("tensors", "thing"),
    [
        ([Tensor("age", "INT64", [1], [3])], "$.requests[0].who"),
        ([Tensor("who", "BYTES", [1], [3])], "$.requests[0].who"),
        ([Tensor("who", "BYTES", [2], ["a"])], "who"),
        ([Tensor("who", "BYTES", [], [])], "inputs"),
        ([Tensor("who", "BYTES", [1, 250_000], b"\0" * 1_000_000)], "who"),  # by its shape, before it is unpacked
        ([Tensor("who", "BYTES", [1], b"\0" * 8)], "who"),
        ([Tensor("age", "INT64", [1], b"\0" * 7)], "age"),
        ([Tensor("who", "BYTES", [1], ["a"]), Tensor("features", "FP32", [1], [1.0])], "features"),
        ([Tensor("who", "BYTES", [1], ["a"]), Tensor("pair", "FP32", [1, 3], [1.0] * 3)], "$.requests[0].pair"),
        ([Tensor("who", "BYTES", [1], ["a"]), Tensor("features", "FP32", [1, -1, -1], [1.0])], "features"),
        ([Tensor("who", "BYTES", [1], ["a"]), Tensor("features", "INT64", [1, 1], [1])], "features"),
        ([Tensor("who", "BYTES", [1], ["a"]), Tensor("colour", "BYTES", [1], ['"green"'])], "$.requests[0].colour"),
        ([Tensor("who", "BYTES", [1], ["a"]), Tensor("inner", "BYTES", [1], ["{}"])], "$.requests[0].inner.name"),
        ([Tensor("who", "BYTES", [1], ["a"]), Tensor("inner", "BYTES", [1], [7])], "inner"),
    ],
)
def test_what_is_no_row_is_named(tensors: list[Tensor], thing: str) -> None:
    with pytest.raises(InputError) as caught:
        FORM.requests(tensors, 10)
    assert caught.value.thing == thing


@pytest.mark.parametrize(
    ("raw", "datatype"),
    [
        (b"\x01\x00\x00", "INT32"),
        (b"\x02", "BOOL"),
        (b"\x05\x00\x00\x00ab", "BYTES"),
        (b"\xff\xff\xff\xffab", "BYTES"),
        (b"\x00\x00", "BYTES"),
        (np.array([math.nan], "<f4").tobytes(), "FP32"),
        (np.array([math.inf], "<f8").tobytes(), "FP64"),
        (b"", "FP16"),
    ],
)
def test_raw_bytes_that_are_no_tensor(raw: bytes, datatype: str) -> None:
    with pytest.raises(InputError):
        unpack(raw, "x", datatype)


@pytest.mark.parametrize(
    ("datatype", "data"),
    [("BYTES", [b"", b"a", "é".encode()]), ("INT64", [-(2**63), 0]), ("FP64", [0.1, -1e300]), ("BOOL", [True, False]), ("UINT8", [255])],
)  # fmt: skip
def test_packed_and_unpacked_it_is_the_same(datatype: str, data: list[Any]) -> None:
    assert unpack(pack(Tensor("x", datatype, [len(data)], data)), "x", datatype) == data


def test_outputs_are_padded_and_say_how_many() -> None:
    def reply(decision: Decided) -> Reply:
        return Reply(
            prediction_id="id", model="m", version=1, name="m-v1", arm="champion", revision=2, override="",
            decision=decision,
        )  # fmt: skip

    replies = [reply(Decided(items=("a", "b"), scores=(0.5, 0.25))), reply(Decided(value=3.0))]
    found = {one.name: one for one in outputs(replies, ())}
    assert list(found) == list(MAKERS)
    assert (found["items"].shape, found["items"].data) == ((2, 2), ["a", "b", "", ""])
    assert (found["scores"].data, found["count"].data) == ([0.5, 0.25, 0.0, 0.0], [2, 0])
    assert math.isnan(found["value"].data[0])
    assert found["value"].data[1] == 3.0
    assert msgspec.json.decode(found["decision"].data[1], type=Decided) == Decided(value=3.0)
    assert [one.shape for one in outputs(replies[1:], ("items", "count"))] == [(1, 0), (1,)]
