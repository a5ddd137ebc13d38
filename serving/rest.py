"""The HTTP face: one small routing table over raw ASGI, JSON in and out, an error that names the field, never a trace.

    POST /MODEL/predict, /MODEL/vN/predict, /MODEL/feedback    GET /MODEL/plan, /healthz, /readyz, /metrics

Served by `serving.server`. Everything below /MODEL needs an API key; health and metrics carry no personal data.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from errors import GrownetError, NotFound, UsageError
from records import utc_now
from serving import arrow, formats, gauges
from serving.access import AccessLog
from serving.calls import JSON, TEXT, Call, Checks, Handler, Message, Receive, Send, Sent, told
from serving.feedback import take
from serving.house import unavailable
from serving.metrics import merged
from serving.oip import Protocol
from serving.oip_routes import OipRoutes
from serving.pages import Pages
from serving.predict import predict
from serving.service import Service
from serving.siblings import Siblings
from serving.wire import Refusal

if TYPE_CHECKING:
    from serving.grpc_face import Face  # imported by who asks for it: a service without it does not pay

log = logging.getLogger(__name__)
VERSION = re.compile(r"^v(\d{1,9})$", re.ASCII)
PATHS = "/MODEL/predict, /MODEL/feedback, /MODEL/plan ... as in /openapi.json"
FAILED = GrownetError("the service", got="an error of its own, which is in its log")
encode = msgspec.json.Encoder().encode


class Edge(NamedTuple):
    """What the process around the application lends it."""

    siblings: Siblings
    access: AccessLog | None = None
    connections: Callable[[], int] = int  # none are counted


class App:
    """The ASGI application of one replica."""

    def __init__(self, service: Service, edge: Edge | None = None) -> None:
        self._service, self._limits = service, service.house.limits
        self._edge = edge or Edge(Siblings(service.house.home, service.house.replica))
        self._checks = Checks(service)
        self._global: dict[str, Handler] = {
            "healthz": self._healthz, "readyz": self._readyz, "metrics": self._metrics,
        }  # fmt: skip
        self.protocol = Protocol(service, self._checks)
        self.faces: list[Face] = []  # others on this loop, started and ended with the service
        self._beside = (OipRoutes(self.protocol, self._checks).find, Pages(service).find)
        self._of_model: dict[str, tuple[str, Handler]] = {
            "predict": ("POST", self._predict), "feedback": ("POST", self._feedback), "plan": ("GET", self._plan),
        }  # fmt: skip

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            route, reply, call = "none", None, None
            begun = time.perf_counter()
            try:
                route, handler, call = self._route(scope, receive)
                reply = await handler(call)
            except Refusal as error:
                reply = _refused(scope, error)
            except GrownetError as error:
                reply = _refused(scope, told(error))
            except Exception as error:  # the edge of the service: the caller gets a number, the log gets the trace
                log.exception("%s %s failed", scope["method"], route, exc_info=error)
                reply = _refused(scope, told(FAILED))
            self._service.house.metrics.count("replies", route, str(reply.status))
            if self._edge.access is not None:
                self._edge.access.note(scope, route, call, reply, begun)
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
            other = next((route for find in self._beside if (route := find(parts))), None)
            if other is None:
                raise Refusal(404, NotFound("path", expected=PATHS, got=scope["path"][:100]))
            _only(scope, other.method)
            return other.name, other.handler, Call(receive, dict(scope["headers"]), other.model, other.version)
        _only(scope, found[0])
        return parts[-1], found[1], Call(receive, dict(scope["headers"]), parts[0], version)

    # ---- models ----------------------------------------------------------------------------------

    async def _predict(self, call: Call) -> Sent:
        key = self._checks.allowed(call.header(b"authorization"), call.model, "predict")
        desk = self._service.desk(call.model)
        when = self._checks.event_time(call.event_time, key, call.model)
        body = await self._checks.body(call)
        kind = call.headers.get(b"content-type")
        with self._checks.places:
            if kind in formats.JSON_KINDS:
                requests, many = desk.forms.requests(body)
            else:
                requests, many = await formats.requests(kind, desk, body)
            answers = await predict(self._service.house, desk, requests, when, call.version)
        if arrow.KIND in call.headers.get(b"accept", b""):
            return await formats.sent(answers)
        return Sent(200, encode({"model": desk.name, "answers": answers} if many else answers[0]))

    async def _feedback(self, call: Call) -> Sent:
        key = self._checks.allowed(call.header(b"authorization"), call.model, "feedback")
        desk = self._service.desk(call.model)
        when = self._checks.event_time(call.event_time, key, call.model)
        body = await self._checks.body(call)
        formats.refuse_other(call.headers.get(b"content-type"))
        given = desk.forms.feedback(body)
        if author := self._edge.siblings.author(given[0], call):
            return await self._edge.siblings.forward(author, f"/{desk.name}/feedback", call, body)
        with self._checks.places:
            return Sent(200, encode(await take(self._service.house, desk, key.id, given, when)))

    async def _plan(self, call: Call) -> Sent:
        self._checks.allowed(call.header(b"authorization"), call.model, "read")
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
                    "features": view.features(utc_now()),
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

    async def _metrics(self, call: Call) -> Sent:
        """The whole set's when it comes from outside, this worker's for a sibling."""
        siblings = self._edge.siblings
        others = await siblings.pages(call)
        own = await asyncio.to_thread(self._page, call, others)
        return Sent(200, merged([own, *others.values()]) if others else own, TEXT)

    def _page(self, call: Call, others: dict[str, bytes]) -> bytes:
        unlogged = self._edge.access.dropped if self._edge.access else 0
        outside = gauges.Outside(self._checks.places.taken, self._edge.connections(), unlogged)
        now = gauges.metrics(self._service, outside)
        house = self._service.house
        return house.metrics.page(house.replica, [*now, *self._edge.siblings.up(call, others)])

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._service.start()
            self._checks.patience.look()
            for face in self.faces:
                await face.start()
        except GrownetError as error:
            log.critical("the service does not start: %s", error)
            return await send({"type": "lifespan.startup.failed", "message": ""})
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            for face in self.faces:
                await face.stop()
            await self._edge.siblings.close()
        finally:
            await asyncio.to_thread(self._service.close)
        return await send({"type": "lifespan.shutdown.complete"})


def _only(scope: Message, method: str) -> None:
    if scope["method"] != method:
        error = UsageError("method", expected=method, got=scope["method"])
        raise Refusal(405, error, ((b"allow", method.encode()),))


def _refused(scope: Message, error: Refusal) -> Sent:
    """The reply to what went wrong, in the form of the protocol that was spoken."""
    body = error.text if scope["path"].split("/")[1:2] == ["v2"] else error.body  # there is no "/" in `OPTIONS *`
    return Sent(error.status, body, JSON, error.headers)


async def _send(send: Send, reply: Sent) -> None:
    length = (b"content-length", str(len(reply.body)).encode())
    headers = [(b"content-type", reply.kind), length, *reply.always, *reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
