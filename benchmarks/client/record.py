"""What the client writes down of each request, and what it is told to send. Shared by the client and its harness."""

from __future__ import annotations

from typing import Any

import msgspec

FED = ".feedback"


class Sent(msgspec.Struct, frozen=True, array_like=True):
    """One request and what became of it. Times are seconds of the machine's monotonic clock."""

    number: int
    stream: str
    payload: int  # which of the stream's payloads
    due: float  # when it should have been sent; latency counts from here, so that a queue before the service counts too
    sent: float
    done: float
    status: int  # 0: no reply
    error: str  # why there is none
    retry_after: str
    body: bytes

    @property
    def seconds(self) -> float:
        return self.done - self.due

    @property
    def reply(self) -> Any:
        """The decoded body; None when it is no JSON."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            return None


class Feedback(msgspec.Struct, frozen=True):
    """What the sender of a stream says of each answer it got, as soon as it has it."""

    path: str
    headers: dict[str, str]
    outcomes: list[bytes]  # JSON, one for each payload of the stream


class Stream(msgspec.Struct, frozen=True):
    """Requests of one kind. Payloads are whole HTTP requests, as bytes, sent in turn."""

    name: str
    payloads: list[bytes]
    rate: float = 0.0  # a second; 0 waits for a command
    connections: int = 64  # at most
    closed: bool = False  # each connection sends its next request when it has the reply to the last
    fresh: bool = False  # a new connection for each request, closed afterwards
    feedback: Feedback | None = None  # in the record under `name + FED`


class Spec(msgspec.Struct, frozen=True):
    """All that a client is told at its start."""

    host: str
    port: int
    streams: list[Stream]
    most_seconds: float
    most_requests: int
    timeout_seconds: float
