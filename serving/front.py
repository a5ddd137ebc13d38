"""uvicorn's server with our doors and our way out: who may connect, when it starts to, and how it ends without losing a request.

On SIGTERM: `/readyz` says 503; after the lag no new connections are taken; each open one ends with its next reply, idle
ones after a while; then the service closes and the journal is sealed. Made and run by `serving.server`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import uvicorn

from serving.connections import Connection, Watch
from serving.service import Service
from serving.tls import HSTS, Certificate

log = logging.getLogger(__name__)
BACKLOG = 2048
PATIENT_SECONDS = (
    10.0  # a worker that is not ready by then takes connections all the same, and says why it cannot answer
)
HANDSHAKE_SECONDS = 10.0
GOODBYE_SECONDS = 1.0  # for a client's end of a TLS connection that we end
LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Doors:
    """Where a replica listens.

    Args:
        outside: for clients; shared with the siblings of a set.
        inside: for siblings; a unix socket that listens.
        patient: takes clients only when it is ready: siblings answer until then.
        leaves_alone: False when the whole set is leaving, so that load balancers are to be waited for.
        told_to_leave: True when a signal came before the server was there to hear it.
    """

    outside: socket.socket
    inside: socket.socket | None = None
    patient: bool = False
    leaves_alone: Callable[[], bool] = lambda: False
    told_to_leave: Callable[[], bool] = lambda: False
    certificate: Certificate | None = None


class Front(uvicorn.Server):
    """The server of one replica. `failed` is True when the service did not start, or did not end well."""

    def __init__(self, app: Any, service: Service, doors: Doors) -> None:
        limits = service.house.limits
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                loop="uvloop",
                ws="none",
                lifespan="on",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nothing here believes who a proxy says the client is
                timeout_keep_alive=limits.idle_seconds,  # type: ignore[arg-type]  # seconds for call_later
                headers=[HSTS] if doors.certificate else [],
            )
        )
        self.failed = False
        self._service, self._doors, self._limits = service, doors, limits
        self._watch = Watch(limits, partial(service.house.metrics.count, "shed"))
        self._opening: asyncio.Task[None] | None = None

    @property
    def connections(self) -> set[Connection]:
        return cast("set[Connection]", self.server_state.connections)  # all come from `_connection`

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        """As uvicorn's; a service that cannot start ends the server without a trace."""
        self.servers = []
        self.should_exit = self.should_exit or self._doors.told_to_leave()
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            self.failed = self.should_exit = True
            return
        if self._doors.inside is not None:
            loop = asyncio.get_running_loop()
            self.servers.append(await loop.create_unix_server(self._connection, sock=self._doors.inside))
        if self._doors.patient:
            self._opening = asyncio.create_task(self._open_when_ready())
        else:
            await self._open()
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """As uvicorn's, ten times a second; once a second it looks at the connections."""
        if counter % 10 == 0:
            self._watch.look(self.connections, asyncio.get_running_loop().time())
            if self._doors.certificate is not None:
                self._doors.certificate.look()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Leaves; a second Ctrl-C cuts it short."""
        self._service.draining = True
        if not self._doors.leaves_alone():
            log.info("not ready any more; taking connections for %g s yet", self._limits.drain_lag_seconds)
            await self._until(lambda: False, self._limits.drain_lag_seconds)
        if self._opening is not None:
            self._opening.cancel()
        for server in self.servers:
            server.close()
        connections = self.connections
        self._watch.drain(connections)
        begun = time.monotonic()
        await self._until(lambda: not connections, min(self._limits.drain_idle_seconds, self._limits.drain_seconds))
        for connection in list(connections):
            connection.shutdown()  # an idle one ends here, one at work with its reply
        left = self._limits.drain_seconds - (time.monotonic() - begun)
        await self._until(lambda: not connections and not self.server_state.tasks, left)
        self._cut_off()
        if not self.force_exit:
            await self.lifespan.shutdown()
            self.failed = self.lifespan.should_exit  # the log has why

    async def _open_when_ready(self) -> None:
        await self._until(lambda: self._service.ready, PATIENT_SECONDS)
        await self._open()
        log.info("replica %s takes connections", self._service.house.replica)

    async def _open(self) -> None:
        loop, tls = asyncio.get_running_loop(), self._doors.certificate
        server = await loop.create_server(
            self._connection,
            sock=self._doors.outside,
            backlog=BACKLOG,
            ssl=tls.context if tls else None,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None,
            ssl_shutdown_timeout=GOODBYE_SECONDS if tls else None,
        )
        self.servers.append(server)

    def _connection(self) -> Connection:
        return Connection(
            self._watch, config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def _until(self, true: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not true() and not self.force_exit and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)

    def _cut_off(self) -> None:
        """What is still at it after `drain_seconds`."""
        if self.server_state.tasks:
            log.error("%d requests cut off after %g s", len(self.server_state.tasks), self._limits.drain_seconds)
        for connection in list(self.connections):
            connection.transport.abort()
        for task in self.server_state.tasks:
            task.cancel()
