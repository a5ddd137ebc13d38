"""`grownet serve`: answers HTTP on uvloop and httptools until SIGTERM, then finishes what is under way and leaves.

Listens before anything is loaded; `/readyz` says when it can be sent traffic. Log lines go to stderr, without bodies;
the access log, when configured, goes to stdout. One replica is one process; `serving.workers` starts several.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

from configs.schema import Config, Settings
from errors import StackError
from serving.access import AccessLog
from serving.front import BACKLOG, Doors, Front
from serving.rest import App, Edge
from serving.service import Service
from serving.siblings import Siblings, short, socket_of
from serving.tls import certificate_of

log = logging.getLogger(__name__)
READY_LOOK_SECONDS = 0.1
SWITCH_SECONDS = 0.0005  # a thread with long Python work gives way to the answers after this, not after 5 ms


@dataclass(frozen=True)
class Membership:
    """What a worker of a set has from its supervisor.

    Args:
        listener: listens for clients, for all workers alike.
        others: replica names of the siblings.
        leaves_alone: False once the supervisor leaves, or is gone.
    """

    listener: socket.socket
    others: tuple[str, ...]
    leaves_alone: Callable[[], bool]


def run(settings: Settings, config: Config, host: str, port: int, grpc_port: int | None = None) -> None:
    """Serves alone until told to stop. Port 0 takes a free one; the log says which. Without a gRPC port there is no gRPC.

    Raises:
        GrownetError: when it cannot start, see `serving.service.Service`; StackError when the address is taken.
    """
    start_logging()
    listener = listen(host, port)
    if grpc_port:
        listen(host, grpc_port).close()  # gRPC binds it itself, later and with less to say
    serve(settings, config, Membership(listener, (), lambda: False), host, grpc_port)


def serve(settings: Settings, config: Config, member: Membership, host: str, grpc_port: int | None) -> None:
    """Serves until told to stop, alone or as a worker of a set. Raises as `run`."""
    sys.setswitchinterval(SWITCH_SECONDS)
    told = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: told.set())  # before uvicorn listens for them, and once it has drained
    _allow_connections(config.defaults.service.max_connections)
    certificate = certificate_of(settings)
    try:
        service = Service(settings, config)
    except OSError as error:
        do = "give it another GROWNET_HOME"
        raise StackError(f"replica {settings.replica}", expected="to start", got=str(error), do=do) from error
    alone = not member.others
    doors = Doors(
        outside=member.listener,
        inside=None if alone else _inside(settings),
        patient=not alone,
        leaves_alone=member.leaves_alone,
        told_to_leave=told.is_set,
        certificate=certificate,
    )
    service.house.url = url(member.listener, settings)
    threading.Thread(target=_settle, args=(service, told), name="settle", daemon=True).start()
    log.info("replica %s serves %s on %s", settings.replica, sorted(service.desks), service.house.url)
    _run(service, doors, Siblings(settings.home, settings.replica, member.others), (host, grpc_port, not alone))
    log.info("replica %s left", settings.replica)


def _settle(service: Service, told: threading.Event) -> None:
    """Once everything is loaded, what is there is left out of the garbage collector's rounds: a full one held every answer up
    for 0.2 s, and a release set one off (docs/decisions/134)."""
    while not service.ready:
        if told.wait(READY_LOOK_SECONDS):
            return
    gc.collect()
    gc.freeze()
    log.info("ready; %d objects are left out of garbage collection", gc.get_freeze_count())


def _run(service: Service, doors: Doors, siblings: Siblings, grpc: tuple[str, int | None, bool]) -> None:
    limits = service.house.limits
    access = AccessLog(limits.access_log_share, limits.access_log_addresses) if limits.access_log_share else None
    app = App(service, Edge(siblings, access, lambda: len(front.connections)))
    host, grpc_port, shared = grpc
    if grpc_port is not None:
        from serving.grpc_face import Face  # noqa: PLC0415  # a service without gRPC does not pay for it

        app.faces.append(
            Face(app.protocol, service.house, (host, grpc_port), shared=shared, certificate=doors.certificate)
        )
    front = Front(app, service, doors)
    with doors.outside, asyncio.Runner(loop_factory=front.config.get_loop_factory()) as runner:
        runner.run(front.serve())
    if access is not None:
        access.close()
    if front.failed:
        raise StackError(
            f"replica {service.house.replica}", expected="to start, and to end", got="what the log says above"
        )


def start_logging() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn.error").setLevel(
        logging.ERROR
    )  # it warns of each malformed request, which anybody can send


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises StackError when the address is taken."""
    try:
        return socket.create_server((host, port), backlog=BACKLOG)
    except OSError as error:
        what = f"service on {host}:{port}"
        raise StackError(what, expected="a free address", got=str(error), do="give it another port") from error


def url(listener: socket.socket, settings: Settings) -> str:
    return "{}://{}:{}".format("https" if settings.tls_cert else "http", *listener.getsockname()[:2])


def _inside(settings: Settings) -> socket.socket:
    """The unix socket for siblings; only this user may connect. What a dead worker left is removed: its journal's lock
    is ours by now."""
    path = socket_of(settings.home, settings.replica)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    inside = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        inside.bind(short(path))
    finally:
        os.umask(before)
    inside.listen(BACKLOG)
    return inside


def _allow_connections(most: int) -> None:
    """As many open files as the system lets us have: twice the connections, and what the replica itself opens."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft != resource.RLIM_INFINITY and soft < 2 * most + 256:
        log.warning("open files are limited to %d: fewer than 2 * max_connections (%d) and 256 of our own", soft, most)
