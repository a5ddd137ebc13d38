"""The limits of a client's connection that uvicorn does not have: slow and large headers, slow requests, pipelines, crowds.

Nothing here runs per request but one comparison; the rest is a look at all connections once a second. What is refused
below the application is told in the same JSON as everywhere, and counted under `grownet_shed_total`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from configs.schema import ServiceConfig
from errors import UsageError
from serving.calls import HEADERS, JSON, Message, Receive, Send
from serving.house import unavailable
from serving.limits import CLOSE
from serving.wire import Refusal

Asgi = Callable[[Message, Receive, Send], Any]


class Watch:
    """Who may come in, and who stayed too long. One for all connections of a replica, on its loop.

    Args:
        shed: counts what was turned away, by reason.
    """

    def __init__(self, limits: ServiceConfig, shed: Callable[[str], None]) -> None:
        self.limits, self.shed = limits, shed
        self.draining = False
        self._since: dict[Connection, tuple[object, float]] = {}  # what it was at when last seen, and since when

    def admit(self, connection: Connection) -> None:
        """A new connection: taken, told to come back with its first request, or cut when there are far too many."""
        there, most = len(connection.connections), self.limits.max_connections
        if there > 2 * most:
            self.shed("connections_cut")
            connection.transport.abort()
        elif there > most:
            connection.app = self._crowded
        elif self.draining:
            connection.app = last(connection.app)

    def drain(self, connections: Iterable[Connection]) -> None:
        """From now on each connection ends with its next reply."""
        self.draining = True
        for connection in list(connections):
            connection.end_with_next_reply()

    def look(self, connections: Iterable[Connection], now: float) -> None:
        """Ends what takes too long; `now` is the loop's time. Called once a second."""
        before, self._since = self._since, {}
        for connection in list(connections):
            doing, seconds = connection.doing()
            if doing is None:
                continue
            known = before.get(connection)
            since = known[1] if known is not None and known[0] is doing else now
            if now - since > seconds:
                self.shed("slow")
                connection.give_up(seconds)
            else:
                self._since[connection] = doing, since

    async def _crowded(self, _: Message, __: Receive, send: Send) -> None:
        self.shed("connections")
        error = unavailable("the service", "too many connections", self.limits.retry_after_seconds)
        head = [(b"content-type", JSON), (b"content-length", str(len(error.body)).encode()), *HEADERS]
        await send({"type": "http.response.start", "status": 503, "headers": [*head, *error.headers, *CLOSE]})
        await send({"type": "http.response.body", "body": error.body})


class Together:
    """A transport on which the head of a reply waits for its body: both leave with one call of the system.

    uvicorn writes them one after the other, and each write wakes the client. What has no body leaves at the end of the turn.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._head = transport, b""

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/") and data.endswith(b"\r\n\r\n"):
            self._head = data
            asyncio.get_running_loop().call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        if self._head:
            self.write(b"")


class Connection(HttpToolsProtocol):
    """uvicorn's connection, watched."""

    def __init__(self, watch: Watch, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._watch = watch
        self._head = 0  # bytes of headers that are not complete yet
        self._silent = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(cast(asyncio.Transport, Together(transport)))
        self._watch.admit(self)

    def data_received(self, data: bytes) -> None:
        self._silent = False
        super().data_received(data)
        complete = self._complete
        if complete and not self.pipeline:
            self._head = 0
            return
        limits = self._watch.limits
        if len(self.pipeline) > limits.max_pipelined:
            self._watch.shed("pipelined")
            self.transport.abort()
        elif not complete:
            self._head += len(data)
            if self._head > limits.header_bytes:
                self._watch.shed("headers")
                self.refuse(431, UsageError("headers", expected=f"at most {limits.header_bytes} bytes", got="more"))

    @property
    def _complete(self) -> bool:
        """The newest request's headers are all there."""
        return self.cycle is not None and self.cycle.scope is self.scope

    @property
    def _at_work(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _unread(self) -> bool:
        """What was written is not taken; closing alone would wait for that, for ever."""
        return self.transport.get_write_buffer_size() > 0 and (self.flow.write_paused or self.transport.is_closing())

    def doing(self) -> tuple[object, float]:
        """What it is at, as something that is the same thing next time, and how long it may be; None when idle between
        two requests, which uvicorn ends by itself."""
        limits = self._watch.limits
        if self._unread:
            return self.flow, limits.request_seconds
        if self._at_work:
            return self.cycle, limits.request_seconds
        if self.timeout_keep_alive_task is not None:
            return None, 0.0
        scope: Any = self.scope  # None while it said nothing, or blank lines
        return scope or self, limits.header_seconds

    def end_with_next_reply(self) -> None:
        """Closing it at once could cross a request that is on its way; the next reply says that it is the last."""
        if self._at_work:
            self.cycle.keep_alive = False
        else:
            self.app = last(self.app)

    def give_up(self, seconds: float) -> None:
        """It took too long. What never said anything is not told anything."""
        if self._at_work or self._silent or self._unread:
            self.transport.abort()
        elif self._complete:
            self.transport.close()  # it was answered, and goes on with a body nobody reads
        else:
            self.refuse(408, UsageError("headers", expected=f"within {seconds:g} s", got="less"))

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says it in our form
        self._watch.shed("malformed")
        self.refuse(400, UsageError("request", expected="HTTP/1.1", got="something else"))

    def refuse(self, status: int, error: UsageError) -> None:
        """Tells what is wrong and ends the connection; without a word when another reply is on its way."""
        if self.transport.is_closing():
            return
        if self._at_work:
            self.transport.abort()
            return
        body = Refusal(status, error).body
        head = [(b"content-type", JSON), (b"content-length", str(len(body)).encode()), *HEADERS, *CLOSE]
        lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *head)]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
        self.transport.close()


def last(app: Any) -> Asgi:
    """The application, whose reply says that the connection ends with it."""

    async def closing(scope: Message, receive: Receive, send: Send) -> None:
        async def final(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *CLOSE]
            await send(message)

        await app(scope, receive, final)

    return closing
