"""`grownet serve`: answers HTTP on uvloop and httptools until SIGTERM, then finishes what is under way and leaves.

Listens before anything is loaded; `/readyz` says when it can be sent traffic. Log lines go to stderr, without bodies.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys

import uvicorn

from configs.schema import Config, Settings
from errors import StackError
from serving.rest import App
from serving.service import Service

log = logging.getLogger(__name__)
GRACE_SECONDS = 15  # for requests under way at the end
CONNECTIONS = 16  # times max_concurrency: beyond that not even a connection is kept
SWITCH_SECONDS = 0.0005  # a thread with long Python work gives way to the answers after this, not after 5 ms


def run(settings: Settings, config: Config, host: str, port: int, grpc_port: int | None = None) -> None:
    """Serves until told to stop. Port 0 takes a free one; the log says which. Without a gRPC port there is no gRPC.

    Raises:
        GrownetError: when it cannot start, see `serving.service.Service`; StackError when the address is taken.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    sys.setswitchinterval(SWITCH_SECONDS)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: None)  # what uvicorn puts back, and raises again, once it has drained
    try:
        listener = socket.create_server((host, port), backlog=2048)
        if grpc_port:
            socket.create_server((host, grpc_port)).close()  # gRPC binds it itself, later and with less to say
        service = Service(settings, config)
    except OSError as error:
        do = "give it another port, or another GROWNET_HOME"
        raise StackError(f"service on {host}:{port}", expected="to start", got=str(error), do=do) from error
    service.house.url = "http://{}:{}".format(*listener.getsockname()[:2])
    log.info("replica %s serves %s on %s", settings.replica, sorted(service.desks), service.house.url)
    app = App(service)
    if grpc_port is not None:
        from serving.grpc_face import Face  # noqa: PLC0415  # a service without gRPC does not pay for it

        app.faces.append(Face(app.protocol, service.house, (host, grpc_port)))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http="httptools",
            loop="uvloop",
            ws="none",
            lifespan="on",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=config.defaults.service.max_concurrency * CONNECTIONS,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
    with listener, asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listener]))
    log.info("replica %s left", settings.replica)
