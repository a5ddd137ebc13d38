"""The HTTP face over a running server process: every bad input is told what is wrong, and the next request is served."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.serving.town import ALL_SCOPES, NAME, Server, wait_for


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    secret = server.town.key()
    wait_for(lambda: server.ask(secret).status_code == 200)
    return secret


@pytest.fixture(autouse=True)
def still_serving(server: Server, key: str) -> Iterator[None]:
    """After each test: it answers, and no trace was ever written."""
    yield
    assert server.ask(key).status_code == 200
    assert "Traceback" not in server.lines


def post(server: Server, key: str, body: bytes, path: str = f"/{NAME}/predict", **headers: str) -> httpx.Response:
    return server.http.post(path, content=body, headers={"authorization": f"Bearer {key}", **headers})


def told(reply: httpx.Response, status: int) -> dict[str, Any]:
    """The error of a reply that has one, in the form every error has."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/json"
    error: dict[str, Any] = reply.json()["error"]
    assert set(error) == {"status", "field", "expected", "got", "do"}
    assert error["status"] == status
    assert "Traceback" not in reply.text
    return error


def test_an_answer(server: Server, key: str) -> None:
    reply = server.ask(key, {"customer": "4", "k": 2})
    facts = reply.json()
    assert set(facts) == {
        "prediction_id", "model", "version", "name", "arm", "revision", "override", "decision",
    }  # fmt: skip
    assert len(facts["decision"]["items"]) == 2
    assert facts["prediction_id"].startswith(f"{NAME}.{facts['arm']}.v{facts['version']}.r3.")
    for header, value in {
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "referrer-policy": "no-referrer",
    }.items():
        assert reply.headers[header] == value
    assert "server" not in reply.headers


@pytest.mark.parametrize(
    "request_",
    [
        {"customer": "nobody has ever seen them"},
        {"recent": ["no such product", "é😀", "\0", "' OR 1=1 --"]},
        {"customer": "Zoë 😀", "recent": ["20000"]},
        {"customer": None},
        {},
    ],
)
def test_unknown_customers_products_and_unicode_get_an_answer(server: Server, key: str, request_: Any) -> None:
    reply = server.ask(key, request_)
    assert reply.status_code == 200
    assert len(reply.json()["decision"]["items"]) == 10


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "$"),
        (b"   ", "$"),
        (b"hello", "$"),
        (b"\xff\xfe", "$"),
        (b'{"customer": "4"', "$"),
        (b'{"k": NaN}', "$"),
        (b'{"k": -Infinity}', "$"),
        (b'{"k": 1e999}', "$.k"),
        (b'{"k": "ten"}', "$.k"),
        (b'{"k": true}', "$.k"),
        (b'{"k": -1}', "$.k"),
        (b'{"customer": 4}', "$.customer"),
        (b'{"customer": ["4"]}', "$.customer"),
        (b'{"recent": "20000"}', "$.recent"),
        (b'{"recent": [null]}', "$.recent[0]"),
        (b'{"recent": [' + b'"20000",' * 1500 + b'"20000"]}', "$.recent"),
        (b'{"recent": ["' + b"2" * 33 + b'"]}', "$.recent[0]"),
        (b'{"customer": "4", "admin": true}', "$.admin"),
        (b"[" * 15_000, "$"),
        (b'{"requests": []}', "$.requests"),
        (b'{"requests": [{"k": 5}, {"k": "x"}]}', "$.requests[1].k"),
        (b'{"requests": [' + b"{}," * 1000 + b"{}]}", "$.requests"),
    ],
)
def test_a_wrong_body_is_422_and_names_the_field(server: Server, key: str, body: bytes, field: str) -> None:
    error = told(post(server, key, body), 422)
    assert error["field"] == field
    assert error["expected"]
    assert error["got"]


def test_a_body_that_is_too_large_is_413_declared_or_not(server: Server, key: str) -> None:
    body = json.dumps({"customer": "x" * 30_000}).encode()
    assert "20000 bytes" in told(post(server, key, body), 413)["expected"]

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    reply = server.http.post(
        f"/{NAME}/predict", content=pieces(), headers={"authorization": f"Bearer {key}"}
    )  # chunked: no length is declared
    told(reply, 413)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/{NAME}/predict", 405),
        ("PUT", f"/{NAME}/predict", 405),
        ("POST", f"/{NAME}/plan", 405),
        ("DELETE", "/healthz", 405),
        ("POST", "/", 404),
        ("GET", "/nothing", 404),
        ("POST", f"/{NAME}/explode", 404),
        ("POST", f"/{NAME}/v1", 404),
        ("POST", f"/{NAME}/vx/predict", 404),
        ("POST", f"/{NAME}/v1/predict/more", 404),
        ("POST", "/nobody/predict", 404),
        ("POST", "/../etc/passwd", 404),
        ("POST", "/%00/predict", 404),
    ],
)
def test_other_paths_and_methods(server: Server, key: str, method: str, path: str, status: int) -> None:
    reply = server.http.request(method, path, headers={"authorization": f"Bearer {key}"}, content=b"{}")
    told(reply, status)
    assert (reply.headers.get("allow") is not None) == (status == 405)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic dXNlcjpwYXNz", "Bearer é"])
@pytest.mark.parametrize("path", ["predict", "feedback", "v1/predict", "plan"])
def test_without_a_key_there_is_nothing(server: Server, header: str | None, path: str) -> None:
    headers = {} if header is None else {"authorization": header.encode()}
    method = "GET" if path == "plan" else "POST"
    reply = server.http.request(method, f"/{NAME}/{path}", headers=headers, content=b"{}")  # type: ignore[arg-type]  # bytes for what is not ASCII
    told(reply, 401)
    assert reply.headers["www-authenticate"].startswith("Bearer")


def test_a_key_may_only_what_it_is_for(server: Server) -> None:
    narrow = {scope: server.town.key(scope) for scope in sorted(ALL_SCOPES)}
    other = server.town.key("predict", models=("demand",))
    wait_for(lambda: server.ask(other).status_code == 403)
    assert server.ask(narrow["predict"]).status_code == 200
    assert "scope predict" in told(server.ask(narrow["feedback"]), 403)["expected"]
    told(server.ask(narrow["predict"], {}, "feedback"), 403)
    told(server.ask(narrow["predict"], **{"x-event-time": "2011-09-01T00:00:00Z"}), 403)
    plan = server.http.get(f"/{NAME}/plan", headers={"authorization": f"Bearer {narrow['read']}"})
    assert plan.status_code == 200


@pytest.mark.parametrize("text", ["yesterday", "2011-09-01", "2011-09-01T10:00:00", "99999999999999999999"])
def test_an_event_time_that_is_none(server: Server, key: str, text: str) -> None:
    assert told(server.ask(key, **{"x-event-time": text}), 422)["field"] == "x-event-time"


def test_the_plan_and_what_is_loaded_can_be_read(server: Server, key: str) -> None:
    facts = server.http.get(f"/{NAME}/plan", headers={"authorization": f"Bearer {key}"}).json()
    assert (facts["plan"]["revision"], facts["missing"], facts["tripped"], facts["break_glass"]) == (3, [], [], "")
    assert list(facts["loaded"].values()) == ["recommendation-v1"]
    assert 0 <= facts["confirmed_seconds_ago"] < 10


def test_health_readiness_and_metrics(server: Server, key: str) -> None:
    server.ask(key, {"k": "x"})
    assert server.http.get("/healthz").json() == {"ok": True, "dead_threads": []}
    assert server.http.get("/readyz").json() == {"ready": True, "degraded": [], "revisions": {NAME: 3}}
    reply = server.http.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    for line in (
        'grownet_replies_total{replica="replica-1",route="predict",status="422"}',
        'grownet_answers_total{arm="champion",model="recommendation",override="",replica="replica-1",version="1"}',
        'grownet_answer_seconds_bucket{arm="champion",le="+Inf",model="recommendation",replica="replica-1",version="1"}',
        'grownet_plan_revision{model="recommendation",replica="replica-1"} 3.0',
        'grownet_plan_age_seconds{model="recommendation",replica="replica-1"}',
        'grownet_loaded{arm="champion",artifact="',
        'grownet_ready{replica="replica-1"} 1.0',
        "grownet_journal_written_bytes_total{",
        "grownet_journal_unsynced_bytes{",
        "grownet_journal_oldest_seconds{",
        "process_cpu_seconds_total{",
        "process_resident_memory_bytes{",
        "grownet_build_info{",
        'grownet_worker_up{replica="replica-1",worker="replica-1"} 1.0',
        'grownet_beside_total{model="recommendation",replica="replica-1",result="done"}',
    ):
        assert line in reply.text, line


def test_many_at_once_are_all_answered_and_written(server: Server, key: str) -> None:
    replies: list[httpx.Response] = []

    def work(number: int) -> None:
        with httpx.Client(base_url=server.url, timeout=20) as client:
            for turn in range(10):
                body = {"customer": f"{number}-{turn}"}
                replies.append(client.post(f"/{NAME}/predict", json=body, headers={"authorization": f"Bearer {key}"}))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.status_code for reply in replies] == [200] * 200
    written = b"".join(path.read_bytes() for path in (server.town.folder / "journal").rglob("*.open"))
    identities = {reply.json()["prediction_id"] for reply in replies}
    assert len(identities) == 200
    assert all(identity.encode() in written for identity in identities)


def test_a_client_that_leaves_in_the_middle_is_forgotten(server: Server, key: str) -> None:
    address = httpx.URL(server.url)
    for sent in (b"POST", b"POST /recommendation/predict HTTP/1.1\r\n", _head(key, 50), _head(key, 50) + b'{"cus'):
        with socket.create_connection((address.host, address.port or 80)) as client:
            client.sendall(sent)


def test_what_is_no_http_is_refused(server: Server) -> None:
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port or 80)) as client:
        client.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert b"400" in client.recv(200)


def _head(key: str, length: int) -> bytes:
    return (
        f"POST /{NAME}/predict HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n\r\n"
    ).encode()
