"""The access log: one JSON line per (sampled) request on standard output, without personal data. Off by default.

Says when, method, route, model, status, microseconds, bytes of the reply, key id, revision and arm; never a body, a
subject, a path as it came, nor, unless configured, the client's address. Written by a thread; a slow reader costs
lines, which are counted, and never an answer.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from checks.assignment import unit
from serving.calls import JSON, Call, Sent
from serving.keys import FRONT, ID

_KEY = re.compile(rf"^{FRONT}[0-9a-f]{{8}}_", re.ASCII)
WAITING = 20_000  # lines
EVERY_SECONDS = 0.2


class _Given(msgspec.Struct):
    arm: str = ""
    revision: int = 0


class _Reply(_Given):
    """What a reply to a prediction says of itself; a batch says it per answer."""

    answers: list[_Given] = []


class _Line(msgspec.Struct, kw_only=True, omit_defaults=True):
    time: str
    method: str
    route: str
    model: str = ""
    status: int
    micros: int
    bytes: int
    key: str = ""
    revision: int = 0
    arms: list[str] = []
    client: str = ""


_decode = msgspec.json.Decoder(_Reply).decode
_encode = msgspec.json.Encoder().encode


class AccessLog:
    """The log of one replica.

    Args:
        share: of the requests, 0 to 1.
        addresses: whether lines have the client's address.
        descriptor: where lines go.
    """

    def __init__(self, share: float, addresses: bool, descriptor: int = 1) -> None:
        self._share, self._addresses, self._descriptor = share, addresses, descriptor
        self.dropped = 0
        self._serial = 0
        self._waiting: deque[bytes] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def note(self, scope: MutableMapping[str, Any], route: str, call: Call | None, reply: Sent, begun: float) -> None:
        """Takes a request that was answered; `begun` is of time.perf_counter()."""
        self._serial += 1
        if self._share < 1.0 and unit("access", str(self._serial)) >= self._share:
            return
        if len(self._waiting) >= WAITING:
            self.dropped += 1
            return
        answers = _answers(route, reply)
        line = _Line(
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            method=scope["method"],
            route=route,
            model=call.model if call is not None and reply.status < 400 else "",  # else it may be anything
            status=reply.status,
            micros=int((time.perf_counter() - begun) * 1e6),
            bytes=len(reply.body),
            key=_key(call) if reply.status != 401 else "",
            revision=answers[0].revision if answers else 0,
            arms=sorted({one.arm for one in answers}),
            client=(scope.get("client") or ("",))[0] if self._addresses else "",
        )
        self._waiting.append(_encode(line) + b"\n")

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """Writes what is left, unless nobody reads."""
        self._stop.set()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            self._write()
        self._write()

    def _write(self) -> None:
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        data = memoryview(b"".join(lines))
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            self.dropped += len(lines)


def _answers(route: str, reply: Sent) -> list[_Given]:
    if route != "predict" or reply.status != 200 or reply.kind != JSON:
        return []  # a stream of Arrow is not opened for it
    found = _decode(reply.body)
    return found.answers or [found]


def _key(call: Call | None) -> str:
    """The public id in the key that was shown."""
    secret = call.header(b"authorization").rpartition(" ")[2] if call is not None else ""
    return secret[ID] if _KEY.match(secret) else ""
