"""Connections of a real service that do what they should not: slow, large, many, and no HTTP at all."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import copytree

import httpx
import pytest

from tests.serving.town import NAME, Server, Town, wait_for

LIMITS = {
    "header_seconds": 1.5, "body_seconds": 1.5, "request_seconds": 3, "idle_seconds": 2, "header_bytes": 4096,
    "max_connections": 12, "max_pipelined": 4, "max_body_bytes": 20_000,
}  # fmt: skip
PATIENCE = 30.0


@pytest.fixture(scope="module")
def strict(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service with small limits."""
    home = tmp_path_factory.mktemp("strict") / "home"
    copytree(built, home)
    town = Town(home, {**LIMITS, "access_log_share": 1.0})
    running = Server(town).ready()
    yield running
    assert running.stop() == 0, running.lines
    town.close()


@pytest.fixture(scope="module")
def key(strict: Server) -> str:
    secret = strict.stand.key()
    wait_for(lambda: strict.ask(secret).status_code == 200)
    return secret


@pytest.fixture(autouse=True)
def still_serving(strict: Server, key: str) -> Iterator[None]:
    """After each test it answers, and no trace was written."""
    yield
    wait_for(lambda: strict.ask(key).status_code == 200)
    assert "Traceback" not in strict.lines


def connected(server: Server) -> socket.socket:
    address = httpx.URL(server.url)
    return socket.create_connection((address.host, address.port or 80), timeout=PATIENCE)


def heard(client: socket.socket) -> bytes:
    """All that comes until the service ends the connection."""
    found = b""
    try:
        while part := client.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found


def head(key: str, length: int, *more: str) -> bytes:
    lines = [
        f"POST /{NAME}/predict HTTP/1.1",
        "host: x",
        f"authorization: Bearer {key}",
        f"content-length: {length}",
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def shed(server: Server, reason: str) -> float:
    lines = server.http.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("grownet_shed_total{") and f'reason="{reason}"' in line]
    return float(found[0].rsplit(" ", 1)[1]) if found else 0.0


def test_slow_headers_are_told_so_and_a_silent_connection_is_cut(strict: Server) -> None:
    with connected(strict) as drip, connected(strict) as silent, connected(strict) as blank:
        blank.sendall(b"\r\n")  # which a server overlooks before a request
        drip.sendall(b"GET /healthz HTTP/1.1\r\n")
        begun, ended = time.monotonic(), False
        while not ended and time.monotonic() - begun < PATIENCE:  # each byte comes in time, all of them do not
            try:
                drip.sendall(b"x")
                drip.settimeout(0.2)
                told = drip.recv(65536)
                ended = True
            except TimeoutError:
                continue
        assert ended
        drip.settimeout(PATIENCE)
        told += heard(drip)
        assert told.startswith(b"HTTP/1.1 408 ")
        error = json.loads(told.split(b"\r\n\r\n", 1)[1])["error"]
        assert (error["status"], error["field"]) == (408, "headers")
        assert b"connection: close" in told
        assert heard(silent) == b""
        assert heard(blank).startswith(b"HTTP/1.1 408 ")
    assert shed(strict, "slow") >= 3


def test_a_slow_body_is_told_so(strict: Server, key: str) -> None:
    with connected(strict) as client:
        client.sendall(head(key, 100) + b'{"customer"')
        told = heard(client)
    assert told.startswith(b"HTTP/1.1 408 ")
    assert b"within 1.5 s" in told


def test_a_body_nobody_reads_any_more_holds_no_connection(strict: Server) -> None:
    with connected(strict) as client:
        client.sendall(head("wrong", 1_000_000) + b"x")
        begun = time.monotonic()
        told = client.recv(65536)
        assert told.startswith(b"HTTP/1.1 401 ")
        client.sendall(b"x")  # and then nothing more
        heard(client)
        assert time.monotonic() - begun < PATIENCE


def test_an_idle_connection_ends(strict: Server) -> None:
    with connected(strict) as client:
        begun = time.monotonic()
        client.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert heard(client).startswith(b"HTTP/1.1 200 ")
        assert 1.0 < time.monotonic() - begun < PATIENCE


def test_headers_that_are_too_large_are_431(strict: Server) -> None:
    with connected(strict) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nx-large: " + b"x" * 8000)
        told = heard(client)
    assert told.startswith(b"HTTP/1.1 431 ")
    assert b"at most 4096 bytes" in told
    assert shed(strict, "headers") >= 1


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 this is no HTTP\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
        b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_http_is_400_in_our_form(strict: Server, sent: bytes) -> None:
    with connected(strict) as client:
        client.sendall(sent)
        told = heard(client)
    assert told.startswith(b"HTTP/1.1 400 "), told
    front, body = told.split(b"\r\n\r\n", 1)
    assert json.loads(body)["error"]["status"] == 400
    assert b"x-content-type-options: nosniff" in front
    assert b"connection: close" in front


def test_a_request_about_no_path_is_404(strict: Server) -> None:
    with connected(strict) as client:
        client.sendall(b"OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert heard(client).startswith(b"HTTP/1.1 404 ")


def test_a_short_pipeline_is_answered_in_order_and_a_long_one_is_cut(strict: Server) -> None:
    one = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    with connected(strict) as client:
        client.sendall(
            one + one.replace(b"healthz", b"nowhere") + one.replace(b"1.1\r\n", b"1.1\r\nconnection: close\r\n")
        )
        statuses = [part[:3] for part in heard(client).split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"404", b"200"]
    with connected(strict) as client:
        client.sendall(one * 50)
        assert heard(client).count(b"HTTP/1.1 200") < 50
    assert shed(strict, "pipelined") >= 1


def crowded(server: Server) -> tuple[bytes, bytes] | None:
    """What one connection too many is told, and one far too many; None where the machine was so slow that the first were over."""
    begun = time.monotonic()
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(20)]
        clients[-1].sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        told = heard(clients[-1])
        more = [stack.enter_context(connected(server)) for _ in range(20)]
        cut = heard(more[-1])
    return (told, cut) if time.monotonic() - begun < LIMITS["header_seconds"] else None


def test_one_connection_too_many_is_told_to_come_back_and_far_too_many_are_cut(strict: Server) -> None:
    wait_for(lambda: strict.http.get("/healthz").status_code == 200)
    said: list[tuple[bytes, bytes]] = []

    def heard_both() -> bool:
        said.extend([told] if (told := crowded(strict)) else [])
        return bool(said)

    wait_for(heard_both)
    [(too_many, far_too_many)] = said
    assert too_many.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in too_many
    assert b"too many connections" in too_many
    assert far_too_many == b""
    wait_for(lambda: strict.http.get("/healthz").status_code == 200)
    assert shed(strict, "connections") >= 1
    assert shed(strict, "connections_cut") >= 1


def test_the_access_log_says_what_was_asked_and_nothing_of_whom(strict: Server, key: str) -> None:
    strict.ask(key, {"customer": "a very private name"}, **{"x-forwarded-for": "203.0.113.9"})
    strict.ask(key, {"requests": [{"customer": "a very private name"}] * 2})
    strict.http.post("/a-very-private-path/predict", headers={"authorization": "Bearer no"})

    def lines() -> list[dict[str, object]]:
        return [json.loads(line) for line in strict.lines.splitlines() if line.startswith('{"time"')]

    wait_for(lambda: any(line["status"] == 401 and line["route"] == "predict" for line in lines()))
    one = next(line for line in reversed(lines()) if line["route"] == "predict" and line["status"] == 200)
    assert set(one) == {"time", "method", "route", "model", "status", "micros", "bytes", "key", "revision", "arms"}
    assert (one["method"], one["model"], one["key"], one["revision"]) == ("POST", NAME, key.split("_")[1], 3)
    assert isinstance(one["micros"], int)
    assert one["micros"] > 0
    refused = [line for line in lines() if line["status"] == 401]
    assert all("key" not in line and "model" not in line for line in refused)
    assert "private" not in strict.lines
    assert "127.0.0.1" not in "".join(line for line in strict.lines.splitlines() if line.startswith('{"time"'))
    assert "203.0.113" not in strict.lines
