"""The HTTP face: one small routing table over raw ASGI, JSON in and out, an error that names the field, never a trace.

    POST /MODEL/predict, /MODEL/vN/predict, /MODEL/feedback    GET /MODEL/plan, /healthz, /readyz, /metrics

Served by `serving.server`. Everything below /MODEL needs an API key; health and metrics carry no personal data.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

import msgspec

from errors import GrownetError, InputError, NotFound, RoleRefused, UsageError
from serving.feedback import take
from serving.house import unavailable
from serving.keys import ApiKey, Scope
from serving.limits import CLOSE, Patience, Places
from serving.predict import predict
from serving.service import Service
from serving.wire import Refusal, event_time

log = logging.getLogger(__name__)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
VERSION = re.compile(r"^v(\d{1,9})$", re.ASCII)
JSON, TEXT = b"application/json", b"text/plain; version=0.0.4; charset=utf-8"
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
STATUS: tuple[tuple[type[GrownetError], int], ...] = ((InputError, 422), (NotFound, 404), (RoleRefused, 403))
encode = msgspec.json.Encoder().encode


class Call(NamedTuple):
    """A request as the handlers see it."""

    receive: Receive
    headers: dict[bytes, bytes]
    model: str
    version: int | None

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")


class Sent(NamedTuple):
    """A reply."""

    status: int
    body: bytes
    kind: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


Handler = Callable[[Call], Awaitable[Sent]]


class App:
    """The ASGI application of one replica."""

    def __init__(self, service: Service) -> None:
        self._service, self._limits = service, service.house.limits
        self._patience = Patience()
        self._places = Places(self._limits.max_concurrency, self._limits.retry_after_seconds)
        self._global: dict[str, Handler] = {
            "healthz": self._healthz, "readyz": self._readyz, "metrics": self._metrics,
        }  # fmt: skip
        self._of_model: dict[str, tuple[str, Handler]] = {
            "predict": ("POST", self._predict), "feedback": ("POST", self._feedback), "plan": ("GET", self._plan),
        }  # fmt: skip

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            route, reply = "none", None
            try:
                route, handler, call = self._route(scope, receive)
                reply = await handler(call)
            except Refusal as error:
                reply = Sent(error.status, error.body, JSON, error.headers)
            except GrownetError as error:
                reply = _told(error)
            except Exception as error:  # the edge of the service: the caller gets a number, the log gets the trace
                log.exception("%s %s failed", scope["method"], route, exc_info=error)
                reply = _told(GrownetError("the service", got="an error of its own, which is in its log"))
            self._service.house.metrics.count("replies", route, str(reply.status))
            await _send(send, reply)

    def _route(self, scope: Message, receive: Receive) -> tuple[str, Handler, Call]:
        """The route's name, its handler, and the call. Raises Refusal 404 or 405."""
        parts = scope["path"].split("/")[1:]
        found: tuple[str, Handler] | None = None
        version: int | None = None
        if len(parts) == 1 and parts[0] in self._global:
            found = ("GET", self._global[parts[0]])
        elif len(parts) == 2:
            found = self._of_model.get(parts[1])
        elif len(parts) == 3 and parts[2] == "predict" and (number := VERSION.match(parts[1])):
            found, version = self._of_model["predict"], int(number[1])
        if found is None:
            raise Refusal(
                404,
                NotFound("path", expected="/MODEL/predict, /MODEL/feedback, /MODEL/plan ...", got=scope["path"][:100]),
            )
        if scope["method"] != found[0]:
            error = UsageError("method", expected=found[0], got=scope["method"])
            raise Refusal(405, error, ((b"allow", found[0].encode()),))
        return parts[-1], found[1], Call(receive, dict(scope["headers"]), parts[0], version)

    # ---- models ----------------------------------------------------------------------------------

    async def _predict(self, call: Call) -> Sent:
        key = self._allowed(call, "predict")
        desk = self._service.desk(call.model)
        when = self._event_time(call, key)
        body = await self._body(call)
        requests, many = desk.forms.requests(body)
        with self._places:
            answers = await predict(self._service.house, desk, requests, when, call.version)
        return Sent(200, encode({"model": desk.name, "answers": answers} if many else answers[0]))

    async def _feedback(self, call: Call) -> Sent:
        key = self._allowed(call, "feedback")
        desk = self._service.desk(call.model)
        when = self._event_time(call, key)
        given = desk.forms.feedback(await self._body(call))
        with self._places:
            return Sent(200, encode(await take(self._service.house, desk, key.id, given, when)))

    async def _plan(self, call: Call) -> Sent:
        self._allowed(call, "read")
        desk = self._service.desk(call.model)
        view = desk.view
        if view is None:
            raise unavailable(f"model {desk.name}", "no release plan yet", self._limits.retry_after_seconds)
        return Sent(
            200,
            encode(
                {
                    "plan": view.plan,
                    "loaded": {found.content: found.name for found in view.loaded.values()},
                    "missing": view.missing,
                    "tripped": sorted(view.tripped),
                    "break_glass": self._service.house.forced,
                    "confirmed_seconds_ago": round(time.monotonic() - view.confirmed_at, 3),
                    "trouble": desk.trouble,
                    "replica": self._service.house.replica,
                }
            ),
        )

    # ---- the replica -----------------------------------------------------------------------------

    async def _healthz(self, _: Call) -> Sent:
        dead = self._service.local.dead
        return Sent(500 if dead else 200, encode({"ok": not dead, "dead_threads": dead}))

    async def _readyz(self, _: Call) -> Sent:
        service = self._service
        ready = service.ready
        revisions = {name: desk.view.plan.revision if desk.view else None for name, desk in service.desks.items()}
        body = encode({"ready": ready, "degraded": service.degraded, "revisions": revisions})
        return Sent(200 if ready else 503, body)

    async def _metrics(self, _: Call) -> Sent:
        house, desks = self._service.house, self._service.desks.values()
        journal = house.journal
        gauges = {
            "journal_bytes": ("Written since the start.", float(journal.bytes_written)),
            "journal_fsync_failures": ("Since the start.", float(journal.fsync_failures)),
            "break_glass": ("1 while a file forces the rules.", float(bool(house.forced))),
            "under_way": ("Requests being answered.", float(self._places.taken)),
        }
        return Sent(200, house.metrics.page(desks, gauges), TEXT)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._service.start()
        self._patience.look()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.to_thread(self._service.close)
        await send({"type": "lifespan.shutdown.complete"})

    # ---- checks ----------------------------------------------------------------------------------

    def _allowed(self, call: Call, scope: Scope) -> ApiKey:
        """The API key of a call that may do this for its model. Raises Refusal 401 or 403."""
        key = self._service.ring.find(call.header(b"authorization"))
        if key is None:
            error = UsageError("authorization", expected="Bearer and a known API key", got="none, or another")
            raise Refusal(401, error, ((b"www-authenticate", b'Bearer realm="grownet"'),))
        if not key.may(scope, call.model):
            wanted = f"scope {scope} for {call.model[:64]}"
            raise Refusal(403, RoleRefused(f"API key {key.name}", expected=wanted, got=", ".join(key.scopes)))
        return key

    def _event_time(self, call: Call, key: ApiKey) -> Any:
        text = call.header(b"x-event-time")
        if not text:
            return None
        if not key.may("replay", call.model):
            raise Refusal(
                403, RoleRefused("x-event-time", expected="a key with scope replay", got=", ".join(key.scopes))
            )
        return event_time(text)

    async def _body(self, call: Call) -> bytes:
        """The whole body. Raises Refusal 408 or 413."""
        limit = self._limits.max_body_bytes
        length = call.header(b"content-length")
        if length.isdecimal() and int(length) > limit:
            raise _too_large(limit, length)
        with self._patience:
            message = await call.receive()
            body = message.get("body", b"")
            while message.get("more_body") and len(body) <= limit:
                message = await call.receive()
                body += message.get("body", b"")
        if message["type"] == "http.disconnect":
            raise Refusal(400, UsageError("body", expected="all of it", got="a closed connection"))
        if len(body) > limit:
            raise _too_large(limit, f"{len(body)} or more")
        return bytes(body)


def _too_large(limit: int, got: str) -> Refusal:
    return Refusal(413, UsageError("body", expected=f"at most {limit} bytes", got=got), CLOSE)


def _told(error: GrownetError) -> Sent:
    status = next((code for kind, code in STATUS if isinstance(error, kind)), 500)
    return Sent(status, Refusal(status, error).body)


async def _send(send: Send, reply: Sent) -> None:
    length = (b"content-length", str(len(reply.body)).encode())
    headers = [(b"content-type", reply.kind), length, *HEADERS, *reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
