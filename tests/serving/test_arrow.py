"""Batches as Arrow streams: the answers of the JSON route, and streams that want to hurt."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from errors import InputError
from models import ranking, spam
from models.recommendation import Request
from serving import arrow
from serving.calls import BYTES
from tests.serving.inside import Inside, inside
from tests.serving.town import NAME, Town

KIND = arrow.KIND.decode()
BODY_BYTES = 1_048_576  # as in configs/defaults.yaml


def stream(table: Any, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]  # pyarrow has no types


def refused(body: bytes, request: Any = Request) -> InputError:
    with pytest.raises(InputError) as caught:
        arrow.requests(body, request, 1000)
    return caught.value


def test_rows_are_requests() -> None:
    columns = {"customer": ["4", None], "k": pa.array([1, 2], pa.int8()), "recent": [["20000"], []]}
    assert arrow.requests(stream(pa.table(columns)), Request, 1000) == [
        Request(customer="4", k=1, recent=("20000",)), Request(k=2),
    ]  # fmt: skip
    large = pa.array(["a", "b"], pa.large_string())
    assert [one.customer for one in arrow.requests(stream(pa.table({"customer": large})), Request, 2)] == ["a", "b"]
    nothing = pa.table({"customer": pa.nulls(3)})
    assert arrow.requests(stream(nothing), Request, 1000) == [Request()] * 3


def test_nested_columns_and_several_batches() -> None:
    packages = [{"id": "1", "headline": "one", "image": ""}, {"id": "2", "headline": "two", "image": ""}]
    table = pa.table({"slate": ["a", "b"], "packages": [packages, packages]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for _ in range(3):
            writer.write_table(table)
    found = arrow.requests(sink.getvalue().to_pybytes(), ranking.Request, 1000)
    assert [one.slate for one in found] == ["a", "b"] * 3
    assert [one.id for one in found[5].packages] == ["1", "2"]


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        ({"k": [1.5]}, "$.requests[0].k"),
        ({"k": ["1"]}, "$.requests[0].k"),
        ({"k": [1, None]}, "$.requests[1].k"),
        ({"k": [1, 99_999]}, "$.requests[1].k"),
        ({"customer": [4]}, "$.requests[0].customer"),
        ({"customer": [b"4"]}, "$.customer"),
        ({"recent": [["a", None]]}, "$.requests[0].recent[1]"),
        ({"recent": ["a"]}, "$.requests[0].recent"),
        ({"admin": [True]}, "$.requests[0].admin"),
        ({"k": pa.array([1], pa.timestamp("s"))}, "$.k"),
        ({"k": pa.array([1], pa.decimal128(3))}, "$.k"),
        ({"customer": pa.array(["a"]).dictionary_encode()}, "$.customer"),
        ({"customer": pa.array(["a"], pa.string_view())}, "$.customer"),
        ({"recent": pa.array([[None]], pa.list_(pa.null()))}, "$.recent"),
        ({"k": pa.RunEndEncodedArray.from_arrays([1_000_000], [1])}, "$.k"),
        ({"recent": pa.array([{}], pa.struct([]))}, "$.recent"),
        ({"recent": pa.array([[]], pa.list_(pa.string(), 0))}, "$.recent"),
        ({"k": [math.nan]}, "$.k"),
        ({"recent": [[{"x": math.inf}]]}, "$.recent"),
        ({"k": pa.array([], pa.int64())}, "$.requests"),
        ({"k": pa.nulls(1001)}, "$.requests"),
    ],
)
def test_what_does_not_fit_is_named(columns: dict[str, Any], field: str) -> None:
    assert refused(stream(pa.table(columns))).thing == field


def test_a_column_twice_and_no_columns() -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["k", "k"])
    assert refused(stream(twice)).expected == "each column once"
    assert refused(stream(pa.table({}))).thing == "$.requests"


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_compressed_stream_is_refused_before_it_is_unpacked(codec: str) -> None:
    bomb = stream(pa.table({"text": ["x" * 200_000_000]}), compression=codec)
    assert len(bomb) < BODY_BYTES
    before = pa.total_allocated_bytes()
    assert refused(bomb, spam.Request).got == "compressed ones"
    assert pa.total_allocated_bytes() - before < BODY_BYTES


def test_rows_without_bytes_are_counted_before_they_are_made() -> None:
    assert refused(stream(pa.table({"customer": pa.Array.from_buffers(pa.null(), 2**31 - 1, [None])}))).got == str(
        2**31 - 1
    )
    assert refused(stream(pa.table({"customer": pa.nulls(600)})), spam.Request).thing.startswith("$.requests[0]")


def test_buffers_used_twice_are_refused() -> None:
    """A struct whose fifty fields are the same bytes would become fifty times as much text."""
    text = "x" * 20_000
    wide = pa.StructArray.from_arrays([pa.array([text])] * 50, names=[str(at) for at in range(50)])
    _, data = pa.ipc.MessageReader.open_stream(pa.py_buffer(stream(pa.table({"recent": wide}))))
    metadata, content = bytearray(data.metadata.to_pybytes()), data.body.to_pybytes()
    own = struct.Struct("<qq")  # where a buffer stands, and its length
    start, end = metadata.index(own.pack(8, len(text))), 8 + len(text)
    for at in range(start, len(metadata) - own.size + 1, own.size):
        _, length = own.unpack_from(metadata, at)
        if length in {8, len(text)}:
            own.pack_into(metadata, at, 8 if length == len(text) else 0, length)
    at = metadata.index(len(content).to_bytes(8, "little"))
    metadata[at : at + 8] = end.to_bytes(8, "little")
    schema = wide_schema(wide)
    shared = schema + b"\xff\xff\xff\xff" + len(metadata).to_bytes(4, "little") + bytes(metadata) + content[:end]
    assert len(shared) < 2 * len(text)
    assert "buffers used twice" in refused(shared).got


def wide_schema(column: Any) -> bytes:
    """The schema message alone."""
    return stream(pa.schema([("recent", column.type)]).empty_table())[:-8]


def test_bits_that_would_become_a_million_objects_are_refused() -> None:
    flags = pa.array([True] * 1_000_000)
    body = stream(pa.table({"recent": pa.ListArray.from_arrays([0, 1_000_000], flags)}))
    assert len(body) < 130_000
    assert "values at most" in refused(body).expected


def test_lists_that_reach_beyond_their_values_are_refused() -> None:
    good = stream(pa.table({"recent": [["a", "b", "c", "d", "e"]]}))
    at = good.rindex(struct.pack("<2i", 0, 5))
    for offsets in ((0, 2**30), (5, 0), (-5, 5), (0, -1)):
        assert "$" in refused(good[:at] + struct.pack("<2i", *offsets) + good[at + 8 :]).thing


def test_lists_that_share_their_values_are_no_more_than_the_batch_allows() -> None:
    """Overlapping views are no plain type; plain lists cannot overlap."""
    views = pa.ListViewArray.from_arrays([0] * 1000, [1000] * 1000, pa.array(["a"] * 1000))
    assert refused(stream(pa.table({"recent": views}))).thing == "$.recent"


def test_depth_and_length_that_nobody_needs() -> None:
    kind = pa.int8()
    for _ in range(60):
        kind = pa.list_(kind)
    refused(stream(pa.table({"recent": pa.array([None], kind)})))
    many = pa.table({str(at): [True] for at in range(3000)})
    assert refused(stream(many)).thing.startswith("$.requests[0]")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda good: b"",
        lambda good: b"hello",
        lambda good: good[:7],
        lambda good: good[: len(good) // 2],
        lambda good: b"\xff" * 100,
        lambda good: b"\xff\xff\xff\xff\xff\xff\xff\x7f" + good[8:],
        lambda good: good[: len(good) // 2] + b"\0" * (len(good) // 2),
        lambda good: b"ARROW1\0\0" + good,
        lambda good: good.replace(b"customer", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8"),
    ],
)
def test_bytes_that_are_no_stream(spoil: Callable[[bytes], bytes]) -> None:
    refused(spoil(stream(pa.table({"customer": ["4", "5"]}))))


def test_every_spoilt_byte_is_an_answer_or_a_refusal() -> None:
    good = stream(pa.table({"customer": ["4", "5"], "recent": [["a"], ["b", "c"]]}))
    for at in range(len(good)):
        for value in (0, 0x7F, 0xFF):
            try:
                arrow.requests(good[:at] + bytes([value]) + good[at + 1 :], Request, 1000)
            except InputError:
                continue


def ask(service: Inside, body: bytes, path: str = "predict", kind: str = KIND, accept: str = "*/*") -> tuple[int, Any]:
    return service.call(path, body, content_type=kind, accept=accept)


def test_over_http_the_answers_are_those_of_json(town: Town) -> None:
    rows = [{"customer": "4", "k": 3}, {"customer": "nobody", "k": 5}]
    body = stream(pa.Table.from_pylist(rows))
    with inside(town) as service:
        service.ready()
        status, reply = ask(service, body, "v1/predict")
        expected = service.ask({"requests": rows}, "v1/predict")
        assert (status, reply["model"]) == (200, NAME)
        assert [one["decision"] for one in reply["answers"]] == [one["decision"] for one in expected["answers"]]
        status, raw = service.send("v1/predict", body, content_type=KIND, accept=KIND)
        table = pa.ipc.open_stream(raw).read_all()
        assert status == 200
        assert table.schema == arrow.ANSWER
        assert table["arm"].to_pylist() == ["champion"] * 2
        assert table["journalled"].to_pylist() == [True] * 2
        assert [one["items"] for one in table["decision"].to_pylist()] == [one["decision"]["items"] for one in expected["answers"]]  # fmt: skip
        written = {one.prediction_id for one in service.answers()}
        assert set(table["prediction_id"].to_pylist()) <= written
        status, raw = service.send("predict", json.dumps(rows[0]).encode(), accept=f"application/json;q=0.5, {KIND}")
        assert pa.ipc.open_stream(raw).read_all().num_rows == 1
        many = pa.table({"customer": [str(n) for n in range(1000)], "recent": [["20000", "20017"]] * 1000})
        status, reply = ask(service, stream(many))  # beyond 32 kB: decoded in a thread
        assert (status, len(reply["answers"])) == (200, 1000)


def test_over_http_other_kinds_are_415_and_wrong_streams_422(town: Town) -> None:
    good = stream(pa.table({"customer": ["4"]}))
    with inside(town) as service:
        service.ready()
        assert ask(service, good[:-30] + b"\xff" * 30)[0] in {200, 422}
        assert ask(service, stream(pa.table({"k": ["x"]})))[1]["error"]["field"] == "$.requests[0].k"
        assert ask(service, stream(pa.table({"k": pa.array([], pa.int64())})))[0] == 422
        assert ask(service, b'{"customer": "4"}')[0] == 422
        for kind in (BYTES.decode(), "application/xml", "text/csv", "application/vnd.apache.arrow.file", "nonsense"):
            status, reply = ask(service, good, kind=kind)
            assert (status, reply["error"]["field"]) == (415, "content-type")
        for kind in ("application/json; charset=utf-8", "application/merge+json", "text/plain", "Application/JSON"):
            assert ask(service, b'{"customer": "4"}', kind=kind)[0] == 200
        assert service.call("predict", b"{}", content_encoding="gzip")[0] == 415
        assert ask(service, b"{}", "feedback", kind=KIND)[0] == 415
