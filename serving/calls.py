"""A call over HTTP and its reply, and what every route asks first: the key, the event time, the body and its format.

Nothing is kept of a call. Used by `serving.rest` and the routes beside it; `serving.grpc_face` asks for keys here too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from errors import GrownetError, InputError, NotFound, RoleRefused, UsageError
from serving.keys import ApiKey, Scope
from serving.limits import CLOSE, Patience, Places
from serving.service import Service
from serving.wire import Refusal, event_time

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]
JSON, TEXT, BYTES = b"application/json", b"text/plain; version=0.0.4; charset=utf-8", b"application/octet-stream"
HEADERS: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
STATUS: tuple[tuple[type[GrownetError], int], ...] = ((InputError, 422), (NotFound, 404), (RoleRefused, 403))


class Call(NamedTuple):
    """A request as the handlers see it."""

    receive: Receive
    headers: dict[bytes, bytes]
    model: str
    version: int | None

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def event_time(self) -> str | None:
        """What the caller says of the time; nothing is not the same as an empty text."""
        said = self.headers.get(b"x-event-time")
        return None if said is None else said.decode("latin-1")


class Sent(NamedTuple):
    """A reply. `always` goes with every reply; a page that needs a policy of its own brings its own."""

    status: int
    body: bytes
    kind: bytes = JSON
    headers: Headers = ()
    always: Headers = HEADERS


Handler = Callable[[Call], Awaitable[Sent]]


class Route(NamedTuple):
    """Where a path leads. `name` is what metrics call it."""

    name: str
    method: str
    handler: Handler
    model: str = ""
    version: int | None = None


class Checks:
    """What must be so before a route does anything."""

    def __init__(self, service: Service) -> None:
        limits = service.house.limits
        self.patience = Patience(limits.body_seconds)
        shed = partial(service.house.metrics.count, "shed", "concurrency")
        self.places = Places(limits.max_concurrency, limits.retry_after_seconds, shed)
        self._ring, self._max_body = service.ring, limits.max_body_bytes

    def known(self, authorization: str) -> ApiKey:
        """The API key of a call, whatever it may do. Raises Refusal 401."""
        key = self._ring.find(authorization)
        if key is None:
            error = UsageError("authorization", expected="Bearer and a known API key", got="none, or another")
            raise Refusal(401, error, ((b"www-authenticate", b'Bearer realm="grownet"'),))
        return key

    def allowed(self, authorization: str, model: str, *scopes: Scope) -> ApiKey:
        """The API key of a call that may do one of these for its model. Raises Refusal 401 or 403."""
        key = self.known(authorization)
        if not any(key.may(scope, model) for scope in scopes):
            wanted = f"scope {' or '.join(scopes)} for {model[:64]}"
            raise Refusal(403, RoleRefused(f"API key {key.name}", expected=wanted, got=", ".join(key.scopes)))
        return key

    def event_time(self, text: str | None, key: ApiKey, model: str) -> datetime | None:
        """What the header `x-event-time` says, if it is there. Raises Refusal 403, InputError."""
        if text is None:
            return None
        if not key.may("replay", model):
            raise Refusal(
                403, RoleRefused("x-event-time", expected="a key with scope replay", got=", ".join(key.scopes))
            )
        return event_time(text)

    async def body(self, call: Call) -> bytes:
        """The whole body. Raises Refusal 408, 413 or 415."""
        if b"content-encoding" in call.headers:
            _refuse_encoding(call.header(b"content-encoding"))
        length = call.header(b"content-length")
        if length.isdecimal() and int(length) > self._max_body:
            raise _too_large(self._max_body, length)
        with self.patience:
            message = await call.receive()
            body = message.get("body", b"")
            while message.get("more_body") and len(body) <= self._max_body:
                message = await call.receive()
                body += message.get("body", b"")
        if message["type"] == "http.disconnect":
            raise Refusal(400, UsageError("body", expected="all of it", got="a closed connection"))
        if len(body) > self._max_body:
            raise _too_large(self._max_body, f"{len(body)} or more")
        return bytes(body)


def told(error: GrownetError) -> Refusal:
    """The refusal that an error of ours amounts to."""
    return Refusal(next((code for kind, code in STATUS if isinstance(error, kind)), 500), error)


def _too_large(limit: int, got: str) -> Refusal:
    return Refusal(413, UsageError("body", expected=f"at most {limit} bytes", got=got), CLOSE)


def _refuse_encoding(coding: str) -> None:
    """A packed body could be far larger than what was sent."""
    if coding.strip().lower() != "identity":
        error = UsageError("content-encoding", expected="none", got=coding[:64], do="send the body as it is")
        raise Refusal(415, error, CLOSE)
