"""The Open Inference Protocol, spoken by a client nobody here wrote: `tritonclient` over HTTP and gRPC to a running service."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as by_grpc
import tritonclient.http as by_http
from tritonclient.utils import InferenceServerException

from checks import plans as moves
from errors import StackError
from records import Answer
from serving.grpc_face import Face
from serving.oip import Asked, Inferred
from serving.tensors import Tensor
from serving.wire import Refusal
from stores.ledger import evidence
from stores.segments import entries, segments
from tests.serving.inside import Inside, inside
from tests.serving.town import NAME, Server, Town, wait_for

Clients = dict[str, Any]
BOTH = pytest.mark.parametrize("kind", ["http", "grpc"])
KINDS = {"http": by_http, "grpc": by_grpc}


@pytest.fixture(scope="module")
def server(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running service with gRPC; nobody here changes its plan."""
    home = tmp_path_factory.mktemp("oip") / "home"
    shutil.copytree(built, home)
    town = Town(home, {"max_body_bytes": 20_000})
    running = Server(town, "--grpc-port", "0").ready()
    yield running
    assert running.stop() == 0, running.lines
    assert "Traceback" not in running.lines
    town.close()


@pytest.fixture(scope="module")
def key(server: Server, built: Path) -> str:
    secret = server.stand.key()
    wait_for(lambda: server.ask(secret).status_code == 200)
    return secret


def grpc_address(server: Server) -> str:
    return server.lines.split("answers gRPC on ")[1].split()[0]


@pytest.fixture(scope="module")
def clients(server: Server) -> Iterator[Clients]:
    made = {
        "http": by_http.InferenceServerClient(server.url.removeprefix("http://")),
        "grpc": by_grpc.InferenceServerClient(grpc_address(server)),
    }
    yield made
    for client in made.values():
        client.close()


def tensor(kind: str, name: str, values: Any, datatype: str, binary: bool = True) -> Any:
    array = np.asarray(values)
    made = KINDS[kind].InferInput(name, list(array.shape), datatype)
    if kind == "http":
        made.set_data_from_numpy(array, binary_data=binary)
    else:
        made.set_data_from_numpy(array)
    return made


def texts(kind: str, name: str, *values: str | bytes, binary: bool = True) -> Any:
    return tensor(kind, name, np.array([*values], dtype=object), "BYTES", binary)


def headers(key: str, **more: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}", **more}


def refused(call: Callable[[], Any]) -> tuple[str, str]:
    """Status and message of what the client raised."""
    with pytest.raises(InferenceServerException) as caught:
        call()
    assert "Traceback" not in str(caught.value)
    return str(caught.value.status()), caught.value.message()


@BOTH
def test_health_and_metadata(clients: Clients, key: str, kind: str) -> None:
    client = clients[kind]
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NAME)
    assert client.is_model_ready(NAME, "1")
    assert not client.is_model_ready(NAME, "7")
    more = {"as_json": True} if kind == "grpc" else {}
    about = client.get_server_metadata(**more)
    assert (about["name"], about["extensions"]) == ("grownet", ["binary_tensor_data"])
    facts = client.get_model_metadata(NAME, headers=headers(key), **more)
    assert facts["versions"] == ["0", "1"]  # the rules are previous
    inputs = {one["name"]: (one["datatype"], [int(size) for size in one["shape"]]) for one in facts["inputs"]}
    assert inputs == {
        "customer": ("BYTES", [-1]),
        "recent": ("BYTES", [-1]),
        "k": ("INT64", [-1]),
        "exclude_bought": ("BOOL", [-1]),
        "out_of_stock": ("BYTES", [-1]),
    }
    outputs = {one["name"]: (one["datatype"], len(one["shape"])) for one in facts["outputs"]}
    assert outputs["items"] == ("BYTES", 2)
    assert outputs["value"] == ("FP64", 1)


@BOTH
@pytest.mark.parametrize("binary", [True, False])
def test_an_inference_is_the_answer_of_the_rest_route(
    server: Server, clients: Clients, key: str, kind: str, binary: bool
) -> None:
    asked = [
        texts(kind, "customer", "4", "nobody", binary=binary),
        tensor(kind, "k", np.array([3, 5], np.int64), "INT64", binary),
        tensor(kind, "exclude_bought", np.array([False, True]), "BOOL", binary),
        texts(kind, "recent", '["20000"]', "[]", binary=binary),
    ]
    wanted = None
    if kind == "http" and not binary:
        wanted = [by_http.InferRequestedOutput(one, binary_data=False) for one in ("decision", "count", "items", "scores", "prediction_id", "arm", "name", "version", "revision", "value", "override")]  # fmt: skip
    found = clients[kind].infer(NAME, asked, "1", outputs=wanted, request_id="mine", headers=headers(key))
    bodies = [{"customer": "4", "k": 3, "exclude_bought": False, "recent": ["20000"]}, {"customer": "nobody", "k": 5}]
    rest = server.ask(key, {"requests": bodies}, "v1/predict").json()["answers"]
    decisions = [json.loads(one) for one in found.as_numpy("decision")]
    assert decisions == [one["decision"] for one in rest]
    assert found.as_numpy("count").tolist() == [3, 5]
    items, scores = found.as_numpy("items"), found.as_numpy("scores")
    assert items.shape == scores.shape == (2, 5)
    assert [_text(one) for one in items[0]] == [*decisions[0]["items"], "", ""]
    assert scores[0].tolist() == [*decisions[0]["scores"], 0.0, 0.0]
    assert [_text(one) for one in found.as_numpy("arm")] == ["champion"] * 2
    assert [_text(one) for one in found.as_numpy("name")] == [f"{NAME}-v1"] * 2
    assert [_text(one) for one in found.as_numpy("override")] == ["", ""]
    assert (found.as_numpy("version").tolist(), found.as_numpy("revision").tolist()) == ([1, 1], [3, 3])
    assert np.isnan(found.as_numpy("value")).all()  # this model proposes items
    identities = [_text(one) for one in found.as_numpy("prediction_id")]
    assert set(identities) <= journalled(server)
    facts = found.get_response() if kind == "http" else found.get_response(as_json=True)
    assert (facts["id"], facts["model_name"], facts["model_version"]) == ("mine", NAME, "1")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def journalled(server: Server) -> set[str]:
    folder = server.stand.folder / "journal" / "replica-1"
    found = [entry for segment in segments(folder) for _, entry in entries(segment.path)]
    return {entry.prediction_id for entry in found if isinstance(entry, Answer)}


@BOTH
def test_only_the_outputs_that_were_asked_for(clients: Clients, key: str, kind: str) -> None:
    wanted = [KINDS[kind].InferRequestedOutput(name) for name in ("version", "items")]
    found = clients[kind].infer(NAME, [texts(kind, "customer", "4")], outputs=wanted, headers=headers(key))
    facts = found.get_response() if kind == "http" else found.get_response(as_json=True)
    assert [one["name"] for one in facts["outputs"]] == ["version", "items"]
    assert found.as_numpy("items").shape == (1, 10)


@BOTH
@pytest.mark.parametrize(
    ("name", "values", "datatype", "said"),
    [
        ("customer", np.array([1, 2], np.int64), "INT64", "expected BYTES, got INT64"),
        ("k", np.array([1.5]), "FP64", "expected INT64, got FP64"),
        ("k", np.array([0], np.int64), "INT64", "$.requests[0].k"),
        ("k", np.array([1, 1000], np.int64), "INT64", "$.requests[1].k"),
        ("k", np.zeros((1, 2), np.int64), "INT64", "expected shape [1]"),
        ("k", np.zeros(0, np.int64), "INT64", "expected 1 to 1000 requests, got 0"),
        ("k", np.ones(1001, np.int64), "INT64", "expected 1 to 1000 requests, got 1001"),
        ("nothing", np.array([1], np.int64), "INT64", "got nothing"),
        ("recent", np.array([b"no json"], object), "BYTES", "recent: expected JSON in each element"),
        ("recent", np.array([b"[" * 9000], object), "BYTES", "recent: expected JSON"),
        ("recent", np.array([b'["a", 1]'], object), "BYTES", "$.requests[0].recent[1]"),
        ("customer", np.array([b"\xff\xfe"], object), "BYTES", "customer: expected UTF-8 text"),
        ("customer", np.array([b""], object), "BYTES", "$.requests[0].customer"),
    ],
)
def test_wrong_tensors_name_the_field(
    clients: Clients, key: str, kind: str, name: str, values: Any, datatype: str, said: str
) -> None:
    status, message = refused(
        lambda: clients[kind].infer(NAME, [tensor(kind, name, values, datatype)], headers=headers(key))
    )
    assert status == ("422" if kind == "http" else "StatusCode.INVALID_ARGUMENT")
    assert said in message


@BOTH
def test_rows_must_agree_and_outputs_must_be_known(server: Server, clients: Clients, key: str, kind: str) -> None:
    client, one = clients[kind], texts(kind, "customer", "4")
    two = tensor(kind, "k", np.array([1, 2], np.int64), "INT64")
    assert "the same first dimension" in refused(lambda: client.infer(NAME, [one, two], headers=headers(key)))[1]
    assert "at most once" in refused(lambda: client.infer(NAME, [one, one], headers=headers(key)))[1]
    assert "at least one tensor" in refused(lambda: client.infer(NAME, [], headers=headers(key)))[1]
    wanted = [KINDS[kind].InferRequestedOutput("colour")]
    before = journalled(server)
    assert "got colour" in refused(lambda: client.infer(NAME, [one], outputs=wanted, headers=headers(key)))[1]
    twice = [KINDS[kind].InferRequestedOutput("decision")] * 2  # or a thousand times
    assert "at most once" in refused(lambda: client.infer(NAME, [one], outputs=twice, headers=headers(key)))[1]
    assert journalled(server) == before


@BOTH
def test_keys_versions_and_models(server: Server, clients: Clients, key: str, kind: str) -> None:
    client, asked = clients[kind], [texts(kind, "customer", "4")]
    narrow = server.stand.key("feedback")
    wait_for(lambda: server.ask(narrow).status_code == 403)
    wire = kind == "grpc"
    for given, code in ((None, "401"), ({"authorization": "Bearer wrong"}, "401"), (headers(narrow), "403")):
        expected = {"401": "UNAUTHENTICATED", "403": "PERMISSION_DENIED"}[code] if wire else code
        for call in (client.infer, client.get_model_metadata):
            more = {"inputs": asked} if call == client.infer else {}
            assert expected in refused(lambda call=call, given=given, more=more: call(NAME, headers=given, **more))[0]  # type: ignore[misc]  # bound here
    missing = "NOT_FOUND" if wire else "404"
    assert missing in refused(lambda: client.infer("nobody", asked, headers=headers(key)))[0]
    assert missing in refused(lambda: client.infer(NAME, asked, "7", headers=headers(key)))[0]
    assert missing in refused(lambda: client.infer(NAME, asked, "newest", headers=headers(key)))[0]
    assert missing in refused(lambda: client.get_model_metadata(NAME, "7", headers=headers(key)))[0]
    at = headers(server.stand.key("predict"), **{"x-event-time": "2011-09-01T00:00:00Z"})
    denied = "PERMISSION_DENIED" if wire else "403"
    wait_for(lambda: denied in refused(lambda: client.infer(NAME, asked, headers=at))[0])


@BOTH
def test_too_large_and_packed_bodies_are_refused(clients: Clients, key: str, kind: str) -> None:
    large = [texts(kind, "customer", "x" * 30_000)]
    status, _ = refused(lambda: clients[kind].infer(NAME, large, headers=headers(key)))
    assert status == ("413" if kind == "http" else "StatusCode.RESOURCE_EXHAUSTED")
    packed: dict[str, str] = (
        {"request_compression_algorithm": "gzip"} if kind == "http" else {"compression_algorithm": "gzip"}
    )
    small = [texts(kind, "customer", "x" * 10_000_000)]  # a few kB when packed
    status, _ = refused(lambda: clients[kind].infer(NAME, small, headers=headers(key), **packed))
    assert status in {"415", "StatusCode.UNIMPLEMENTED", "StatusCode.INTERNAL", "StatusCode.RESOURCE_EXHAUSTED"}
    assert clients[kind].is_server_live()


@pytest.mark.parametrize(
    ("body", "length", "said"),
    [
        (b"", None, "JSON"),
        (b"[]", None, "$"),
        (b'{"inputs": [{"name": "k", "shape": [1], "datatype": "INT64", "data": ["5"]}]}', None, "requests[0].k"),
        (b'{"inputs": [{"name": "k", "shape": [2], "datatype": "INT64", "data": [5]}]}', None, "got 1 elements"),
        (b'{"inputs": [{"name": "k", "shape": [-1], "datatype": "INT64", "data": [5]}]}', None, "shape[0]"),
        (b'{"inputs": [{"name": "k", "shape": [], "datatype": "INT64", "data": [5]}]}', None, "shape"),
        (b'{"inputs": [{"name": "k", "shape": [1, 1, 1], "datatype": "INT64", "data": [[[5]]]}]}', None, ""),
        (b'{"inputs": [{"name": "k", "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": 8}}]}', None, "8 bytes behind"),
        (b'{"inputs": [{"name": "k", "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": -1}}]}', None, "binary_data_size"),
        (b'{"inputs": [{"name": "k", "shape": [1], "datatype": "COLOUR", "parameters": {"binary_data_size": 0}}]}', None, "got COLOUR"),
        (b'{"inputs": [{"name": "k", "shape": [1], "datatype": "INT64", "data": [[[[5]]]]}]}', None, "data[0][0][0]"),
        (b'{"inputs": [' + b",".join([b'{"name": "k", "shape": [1], "datatype": "INT64"}'] * 257) + b"]}", None, "length <= 256"),
        (b'{"inputs": []}', "99", "0 to 14"),
        (b'{"inputs": []}', "-3", "0 to 14"),
        (b'{"inputs": []}', "9" * 5000, "0 to 14"),
        (b'{"inputs": []}1234', "14", "0 bytes behind the JSON"),
    ],
)  # fmt: skip
def test_a_wrong_body_over_http(server: Server, key: str, body: bytes, length: str | None, said: str) -> None:
    more = {} if length is None else {"inference-header-content-length": length}
    reply = server.http.post(f"/v2/models/{NAME}/infer", content=body, headers=headers(key, **more))
    if not said:
        assert reply.status_code == 200  # one element is one row, however it is nested
        return
    assert reply.status_code == 422, reply.text
    assert isinstance(reply.json()["error"], str)
    assert said in reply.json()["error"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [("application/json; charset=utf-8", 200), ("application/octet-stream", 200), ("application/vnd.apache.arrow.stream", 415)],
)  # fmt: skip
def test_content_types_over_http(server: Server, key: str, kind: str, status: int) -> None:
    body = b'{"inputs": [{"name": "customer", "shape": [1], "datatype": "BYTES", "data": ["4"]}]}'
    reply = server.http.post(f"/v2/models/{NAME}/infer", content=body, headers=headers(key, **{"content-type": kind}))
    assert reply.status_code == status
    assert "content-type" in reply.json().get("error", "content-type")


def test_paths_and_methods_over_http(server: Server, key: str) -> None:
    for method, path, status in (
        ("POST", "/v2", 405), ("GET", f"/v2/models/{NAME}/infer", 405), ("GET", "/v2/models", 404),
        ("GET", "/v2/health", 404), ("GET", f"/v2/models/{NAME}/versions/x/ready", 404), ("GET", "/v2/models//ready", 404),
        ("GET", f"/v2/models/{NAME}/explode", 404), ("GET", "/v2", 200), ("GET", "/v2/health/live", 200),
        ("GET", f"/v2/models/{NAME}/versions/1", 200), ("GET", f"/v2/models/{NAME}/versions/1/ready", 200),
        ("GET", f"/v2/models/{NAME}/versions/9/ready", 503),
    ):  # fmt: skip
        reply: httpx.Response = server.http.request(method, path, headers=headers(key))
        assert reply.status_code == status, (path, reply.text)
    metrics = server.http.get("/metrics").text
    assert 'route="v2_infer",status="' in metrics


def test_what_is_no_message_and_no_verb_over_grpc(server: Server, key: str) -> None:
    with grpc.insecure_channel(grpc_address(server)) as channel:
        for path, sent, code in (
            ("ModelInfer", b"\xff\xff\xff", grpc.StatusCode.INVALID_ARGUMENT),
            ("ModelInfer", b"", grpc.StatusCode.NOT_FOUND),
            ("ModelInfer", b"\x2a\x00" * 9000, grpc.StatusCode.INVALID_ARGUMENT),  # 9,000 tensors of nothing
            ("Explode", b"", grpc.StatusCode.UNIMPLEMENTED),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(f"/inference.GRPCInferenceService/{path}")(sent, metadata=[*headers(key).items()])
            assert caught.value.code() == code
    assert 'route="grpc_ModelInfer",status="INVALID_ARGUMENT"' in server.http.get("/metrics").text


def test_typed_contents_are_answered_with_typed_contents(server: Server, key: str) -> None:
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    request = service_pb2.ModelInferRequest(model_name=NAME, model_version="v1")
    asked = request.inputs.add(name="customer", datatype="BYTES", shape=[1])
    asked.contents.bytes_contents.append(b"4")
    asked = request.inputs.add(name="k", datatype="INT64", shape=[1])
    asked.contents.int64_contents.append(2)
    with grpc.insecure_channel(grpc_address(server)) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        found = stub.ModelInfer(request, metadata=[("authorization", f"Bearer {key}")])
        request.raw_input_contents.append(b"")
        with pytest.raises(grpc.RpcError) as caught:
            stub.ModelInfer(request, metadata=[("authorization", f"Bearer {key}")])
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert not found.raw_output_contents
    by_name = {one.name: one.contents for one in found.outputs}
    assert len(by_name["items"].bytes_contents) == len(by_name["scores"].fp64_contents) == 2
    assert list(by_name["version"].int64_contents) == [1]


def infer(service: Inside, version: int | None) -> Inferred:
    """One customer, inside the process."""
    tensors = [Tensor("customer", "BYTES", [1], ["4"])]
    asked = Asked(NAME, version, tensors, (), f"Bearer {service.key}", None)
    future = asyncio.run_coroutine_threadsafe(service.app.protocol.infer(asked), service.loop)
    return future.result(timeout=30)


def status_of(service: Inside, version: int) -> int:
    with pytest.raises(Refusal) as caught:
        infer(service, version)
    return caught.value.status


def value(found: Inferred, name: str) -> Any:
    return next(one.data[0] for one in found.tensors if one.name == name)


def test_a_version_follows_the_rules_of_the_rest_route(town: Town) -> None:
    """Champion or previous only; not the canary; gone when it was rejected; rules mode wins."""
    arm = town.candidate(2)
    evidence.save_candidate(town.ledgers["flow"], town.record(arm))
    town.begin(arm)
    town.guard(moves.advance)
    with inside(town) as service:
        service.revision(5)
        protocol = service.app.protocol
        assert protocol.model_ready(NAME, 1)
        assert not protocol.model_ready(NAME, 2)
        assert status_of(service, 2) == 404
        assert service.call("v2/predict", {})[0] == 404
        found = infer(service, 1)
        assert (found.version, value(found, "arm"), value(found, "version")) == ("1", "champion", 1)
        town.guard(moves.take_back)
        service.revision(6)
        wait_for(lambda: status_of(service, 2) == 410)  # the ledger is asked who was rejected after the plan was shown
        town.guard(moves.fallback)
        service.revision(7)
        found = infer(service, 1)
        assert (found.version, value(found, "arm"), value(found, "name")) == ("0", "rules", "rules")
        assert protocol.model_ready(NAME, None)
        service.service.draining = True
        assert not protocol.model_ready(NAME, None)
        service.service.draining = False


def test_a_grpc_port_that_is_taken_is_an_error_that_says_so(town: Town) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, inside(town) as service:
        face = Face(service.app.protocol, service.service.house, taken.getsockname())
        with pytest.raises(StackError, match="--grpc-port"):
            asyncio.run_coroutine_threadsafe(face.start(), service.loop).result(timeout=30)
