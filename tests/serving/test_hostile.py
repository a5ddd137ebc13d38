"""Every wrong request of `bench reliability` against a running service: its 4xx, never more than one reply, and nothing
that is hidden behind it is answered."""

from __future__ import annotations

import re
import socket

import httpx
import pytest

from benchmarks.reliability.garbage import REFUSED, all_of_them
from tests.serving.town import NAME, Server, wait_for

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
NAMES = [one.name for one in all_of_them("")]
PATIENT = 15.0
pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    secret = server.town.key("predict", "read", "feedback")
    wait_for(lambda: server.ask(secret).status_code == 200)
    return secret


def replies(server: Server, payload: bytes) -> list[int]:
    """The statuses of all replies until the service closes, or has nothing more to say."""
    address, heard = httpx.URL(server.url), b""
    with socket.create_connection((address.host, address.port or 80), timeout=PATIENT) as client:
        try:
            client.sendall(payload)
            client.shutdown(socket.SHUT_WR)
            while data := client.recv(65536):
                heard += data
        except TimeoutError:
            raise
        except OSError:
            pass  # it closed while we were sending
    return [int(status) for status in STATUS.findall(heard)]


@pytest.mark.parametrize("at", range(len(NAMES)), ids=NAMES)
def test_a_wrong_request_is_refused_once(at: int, server: Server, key: str) -> None:
    found = replies(server, all_of_them(key)[at].payload)
    assert len(found) <= 1, found
    assert set(found) <= REFUSED, found
    assert server.ask(key).status_code == 200
    assert "Traceback" not in server.lines


def test_pipelined_requests_are_answered_in_their_order(server: Server, key: str) -> None:
    good = [f'{{"customer":"{number}","k":{number}}}' for number in range(1, 6)]
    whole = "".join(
        f"POST /{NAME}/predict HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n"
        f"{'connection: close' if number == 4 else 'x-a: b'}\r\n\r\n{body}"
        for number, body in enumerate(good)
    )
    address, heard = httpx.URL(server.url), b""
    with socket.create_connection((address.host, address.port or 80), timeout=PATIENT) as client:
        client.sendall(whole.encode())
        while data := client.recv(65536):
            heard += data
    assert [int(status) for status in STATUS.findall(heard)] == [200] * 5
    counts = [len(re.findall(rb'"\d{5}"', part)) for part in heard.split(b"HTTP/1.1 ")[1:]]
    assert counts == [1, 2, 3, 4, 5]
