"""A client that does not take its reply: held for a while, and no longer. On a real connection, whose time is told to it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from configs.load import load
from serving.calls import Message, Receive, Send
from serving.connections import Connection, Watch

LIMITS = load().defaults.service.model_copy(update={"request_seconds": 3, "idle_seconds": 0.05})
REQUEST = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


async def large(_: Message, __: Receive, send: Send) -> None:
    body = b"x" * 4_000_000
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def held(requests: int, taking: bool) -> tuple[list[int], list[str]]:
    """How many connections there are after 0, 2 and 4 seconds with a reply under way, and what was counted."""
    shed: list[str] = []
    watch, state = Watch(LIMITS, shed.append), ServerState()
    config: Any = uvicorn.Config(large, ws="none", log_config=None, timeout_keep_alive=LIMITS.idle_seconds)  # type: ignore[arg-type]
    config.load()
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(
        lambda: Connection(watch, config=config, server_state=state, app_state={}), sock=ours
    )
    theirs.setblocking(False)
    await loop.sock_sendall(theirs, REQUEST * requests)
    await asyncio.sleep(0.2)  # answered, and past what an idle connection may
    while taking and state.connections:
        if not await loop.sock_recv(theirs, 1 << 20):
            break
    found = []
    for now in (0.0, 2.0, 4.0):
        watch.look(state.connections, now)  # type: ignore[arg-type]  # all are ours
        await asyncio.sleep(0.01)
        found.append(len(state.connections))
    theirs.close()
    return found, shed


@pytest.mark.parametrize("requests", [1, 3])
def test_who_does_not_take_a_reply_is_cut_after_request_seconds(requests: int) -> None:
    assert asyncio.run(held(requests, taking=False)) == ([1, 1, 0], ["slow"])


def test_who_takes_it_is_not() -> None:
    assert asyncio.run(held(1, taking=True)) == ([0, 0, 0], [])  # its reply came whole, and then it was idle
