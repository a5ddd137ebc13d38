"""The access log: sampled, without a caller in it, and never in the way."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from serving import arrow
from serving.access import AccessLog
from serving.calls import Call, Sent
from tests.serving.town import wait_for

KEY = "gk_0a1b2c3d_secret"
SCOPE = {"method": "POST", "path": "/a/private/path", "client": ("203.0.113.9", 1234)}


def call(authorization: str = f"Bearer {KEY}") -> Call:
    async def receive() -> dict[str, Any]:
        return {}

    return Call(receive, {b"authorization": authorization.encode()}, "recommendation", None)


def lines(share: float, *replies: tuple[Call | None, Sent], addresses: bool = False) -> list[dict[str, Any]]:
    out, into = os.pipe()
    log = AccessLog(share, addresses, into)
    for one, reply in replies:
        log.note(SCOPE, "predict", one, reply, time.perf_counter())
    log.close()
    wait_for(lambda: not log.alive)
    os.close(into)
    with os.fdopen(out) as read:
        return [json.loads(line) for line in read]


def test_what_a_line_says() -> None:
    batch = b'{"model":"m","answers":[{"arm":"canary","revision":7},{"arm":"champion","revision":7}]}'
    one, many = lines(1.0, (call(), Sent(200, b'{"arm":"rules","revision":3}')), (call(), Sent(200, batch)))
    assert one["bytes"] == 28
    assert 0 <= one.pop("micros") < 5_000_000
    assert one.pop("time").endswith("+00:00")
    assert one == {
        "method": "POST", "route": "predict", "model": "recommendation", "status": 200, "bytes": 28,
        "key": "0a1b2c3d", "revision": 3, "arms": ["rules"],
    }  # fmt: skip
    assert (many["arms"], many["revision"]) == (["canary", "champion"], 7)


def test_an_arrow_stream_is_not_opened_for_its_line() -> None:
    [line] = lines(1.0, (call(), Sent(200, b"\xff\xff\xff\xffstream", arrow.KIND)))
    assert (line["status"], line["model"], line["key"]) == (200, "recommendation", "0a1b2c3d")
    assert "arms" not in line


def test_what_nobody_checked_is_not_repeated() -> None:
    refused = Sent(401, b"{}"), Sent(404, b"{}"), Sent(422, b"{}")
    found = lines(1.0, *((call("Bearer gk_<script>_x"), one) for one in refused), (None, Sent(404, b"{}")))
    assert [(line["status"], line.get("key"), line.get("model")) for line in found] == [
        (401, None, None), (404, None, None), (422, None, None), (404, None, None),
    ]  # fmt: skip
    assert lines(1.0, (call(), Sent(401, b"{}")))[0].get("key") is None


def test_an_address_only_when_asked_for_and_a_share_when_sampled() -> None:
    told = lines(1.0, (call(), Sent(404, b"{}")), addresses=True)
    assert told[0]["client"] == "203.0.113.9"
    assert "client" not in lines(1.0, (call(), Sent(404, b"{}")))[0]
    sampled = lines(0.2, *[(call(), Sent(404, b"{}"))] * 1000)
    assert 120 < len(sampled) < 280


def test_who_does_not_read_costs_lines_and_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.access.WAITING", 500)
    out, into = os.pipe()
    log, begun = AccessLog(1.0, False, into), time.monotonic()
    for _ in range(4000):  # what the pipe holds, what is being written, what waits, and more
        log.note(SCOPE, "predict", None, Sent(404, b"{}"), begun)
    assert 0 < log.dropped < 4000
    log.close()  # gives up waiting
    assert time.monotonic() - begun < 30
    os.close(out)  # the thread leaves: nobody will read
    wait_for(lambda: not log.alive)
    os.close(into)
