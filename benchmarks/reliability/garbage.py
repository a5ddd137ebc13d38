"""Requests that are wrong: bodies, headers, framing. Each with the replies that are right for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.client.record import Sent, Stream
from benchmarks.client.traffic import post
from benchmarks.reliability.stage import HOSTILE
from benchmarks.reliability.village import MODEL

CLOSED = 0  # the connection was closed without a reply
REFUSED = frozenset({400, 401, 403, 404, 405, 408, 411, 413, 414, 415, 422, 431, 501, CLOSED})
PREDICT = f"/{MODEL}/predict"
CRLF = "\r\n"


class Wrong(NamedTuple):
    """A wrong request."""

    name: str
    payload: bytes


def all_of_them(key: str) -> list[Wrong]:
    """Every wrong request there is."""
    head = {"authorization": f"Bearer {key}"}
    found = [Wrong(f"body: {name}", post(PREDICT, body, head)) for name, body in _bodies().items()]
    found += [Wrong(f"request: {name}", payload) for name, payload in _requests(key).items()]
    return found


def hostile(key: str, per_second: float) -> Stream:
    """All of them in turn, each on a connection of its own."""
    return Stream(HOSTILE, [one.payload for one in all_of_them(key)], per_second, connections=32, fresh=True)


def judged(records: Sequence[Sent]) -> list[str]:
    """The wrong requests that got another reply than they should, by name."""
    names = [one.name for one in all_of_them("x")]
    return [
        f"{names[one.payload]}: {one.status} {one.error} {one.body[:100]!r}"
        for one in records
        if one.status not in REFUSED or (one.status == 0 and "within" in one.error)
    ]


def _bodies() -> dict[str, bytes]:
    deep = 100_000
    return {
        "nothing": b"",
        "deep lists": b"[" * deep + b"]" * deep,
        "deep objects": b'{"customer":' * deep + b"1" + b"}" * deep,
        "deep in a field": b'{"recent": ' + b"[" * deep + b"]" * deep + b"}",
        "a huge number": b'{"k": ' + b"9" * 10_000 + b"}",
        "a huge exponent": b'{"k": 1e999999999}',
        "a number too small": b'{"k": 1e-999999999}',
        "not a number": b'{"k": NaN}',
        "k twice, the last wrong": b'{"k": 5, "k": "x"}',
        "bytes that are no UTF-8": b'{"customer": "\xff\xfe\xc0\x80"}',
        "half a surrogate": b'{"customer": "\\ud800", "k": 0}',
        "NUL outside a string": b'{"k": 5}\x00',
        "a byte order mark": b'\xef\xbb\xbf{"k": 5}',
        "UTF-16": '{"k": 5}'.encode("utf-16"),
        "a huge string": json.dumps({"customer": "x" * 1_000_000}).encode(),
        "a million items": b'{"recent": [' + b"1," * 999_999 + b"1]}",
        "a list too long": json.dumps({"recent": ["1"] * 1001}).encode(),
        "a batch of nothing": b'{"requests": []}',
        "a batch in a batch": b'{"requests": [{"requests": [{}]}]}',
        "both at once": b'{"requests": [{}], "customer": "4"}',
        "two documents": b'{"k": 5}{"k": 5}',
        "a comment": b'{"k": 5 /* five */}',
        "single quotes": b"{'k': 5}",
        "an unknown field": b'{"k": 5, "__proto__": {"admin": true}}',
    }


def _requests(key: str) -> dict[str, bytes]:
    auth = f"authorization: Bearer {key}"
    body = '{"k":5}'
    chunked = "transfer-encoding: chunked"

    def raw(*lines: str, after: str = "") -> bytes:
        return (CRLF.join(["POST " + PREDICT + " HTTP/1.1", "host: x", auth, *lines, "", ""]) + after).encode("latin-1")

    smuggled = f"7{CRLF}{body}{CRLF}0{CRLF}{CRLF}GET /recommendation/plan HTTP/1.1{CRLF}host: x{CRLF}{CRLF}"
    return {
        "two lengths": raw("content-length: 7", "content-length: 70", after=body),
        "a list of lengths": raw("content-length: 7, 70", after=body),
        "a negative length": raw("content-length: -7", after=body),
        "a length with a sign": raw("content-length: +7", after=body),
        "a hexadecimal length": raw("content-length: 0x7", after=body),
        "a huge length": raw("content-length: 99999999999999999999", after=body),
        "length and chunks": raw("content-length: 7", chunked, after=smuggled),
        "chunks and length": raw(chunked, "content-length: 200", after=smuggled),
        "chunked twice": raw(chunked, "transfer-encoding: identity", after=smuggled),
        "an unknown coding": raw("transfer-encoding: cow", after=smuggled),
        "a space before the colon": raw("transfer-encoding : chunked", after=smuggled),
        "a bad chunk size": raw(chunked, after=f"zz{CRLF}{body}{CRLF}0{CRLF}{CRLF}"),
        "a negative chunk": raw(chunked, after=f"-7{CRLF}{body}{CRLF}0{CRLF}{CRLF}"),
        "a folded header": raw("x-a: b", " folded", "content-length: 7", after=body),
        "a NUL in a header": raw("x-a: a\0b", "content-length: 7", after=body),
        "a bare CR in a header": raw("x-a: a\rb", "content-length: 7", after=body),
        "a header without a name": raw(": b", "content-length: 7", after=body),
        "a flood of headers": raw(*(f"x-{n}: {'y' * 80}" for n in range(5000)), "content-length: 7", after=body),
        "one huge header": raw(f"x-a: {'y' * 500_000}", "content-length: 7", after=body),
        "a huge path": f"POST /{'a' * 200_000} HTTP/1.1{CRLF}host: x{CRLF}{CRLF}".encode(),
        "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no HTTP at all\r\n\r\n",
        "HTTP/2 in the clear": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "a version there is not": f"POST {PREDICT} HTTP/9.9{CRLF}host: x{CRLF}{auth}{CRLF}{CRLF}".encode(),
        "a method there is not": f"BREW {PREDICT} HTTP/1.1{CRLF}host: x{CRLF}{CRLF}".encode(),
        "CONNECT": b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n",
        "a path that climbs": b"GET /../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n",
        "no key": post(PREDICT, b"{}", {}),
        "a wrong key": post(PREDICT, b"{}", {"authorization": "Bearer gk_00000000_wrong"}),
        "another model": post("/nobody/predict", b"{}", {"authorization": f"Bearer {key}"}),
        "an event time without leave": post(PREDICT, b"{}", {"authorization": f"Bearer {key}", "x-event-time": "x"}),
    }
