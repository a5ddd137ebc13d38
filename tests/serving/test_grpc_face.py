"""The limits of the gRPC face: strangers, slow callers, crowds, and leaving without losing a call."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import pytest

from errors import StackError
from serving.grpc_face import Face
from serving.grpc_messages import SERVICE, TYPES
from serving.workers import supervise
from tests.ports import free_port
from tests.serving.inside import Inside, inside
from tests.serving.town import NAME, Town

INFER, LIVE = f"/{SERVICE}/ModelInfer", f"/{SERVICE}/ServerLive"


class Open:
    """A face on a port of its own, and clients of it."""

    def __init__(self, service: Inside, address: str, face: Face) -> None:
        self.service, self.address, self.face = service, address, face
        self.headers = [("authorization", f"Bearer {service.key}")]

    def channel(self) -> grpc.Channel:
        return grpc.insecure_channel(self.address, options=[("grpc.use_local_subchannel_pool", 1)])

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.service.loop).result(timeout=30)


@contextmanager
def opened(town: Town, **limits: Any) -> Iterator[Open]:
    town.configure(limits)
    port = free_port()
    with inside(town) as service:
        service.ready()
        service.loop.call_soon_threadsafe(service.app.protocol.checks.patience.look)
        face = Face(service.app.protocol, service.service.house, ("127.0.0.1", port))
        made = Open(service, f"127.0.0.1:{port}", face)
        made.run(face.start())
        yield made
        made.run(face.stop())


def request() -> bytes:
    asked: Any = TYPES["ModelInferRequest"](model_name=NAME)
    one = asked.inputs.add(name="customer", datatype="BYTES", shape=[1])
    one.contents.bytes_contents.append(b"4")
    return bytes(asked.SerializeToString())


def test_who_sends_nothing_keeps_no_place(town: Town) -> None:
    """A stranger is told at once, a caller with a key after `body_seconds`; before, eight such calls closed the door for good."""
    ended = threading.Event()

    def silent() -> Iterator[bytes]:
        ended.wait(30)
        yield b""

    with opened(town, max_concurrency=2, body_seconds=0.2) as face, ExitStack() as stack:
        channels = [stack.enter_context(face.channel()) for _ in range(4)]
        stack.callback(ended.set)
        strangers = [channel.stream_unary(INFER).future(silent()) for channel in channels for _ in range(2)]
        assert {one.code() for one in strangers} == {grpc.StatusCode.UNAUTHENTICATED}
        known = [one.stream_unary(INFER).future(silent(), metadata=face.headers) for one in channels for _ in range(2)]
        assert {one.code() for one in known} <= {
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.RESOURCE_EXHAUSTED,  # more than four times max_concurrency
        }
        assert channels[0].unary_unary(LIVE)(b"", timeout=10)
        with pytest.raises(grpc.RpcError) as caught:
            channels[0].stream_unary(INFER)(iter(()), metadata=face.headers)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_crowd_is_told_to_come_back(town: Town) -> None:
    with opened(town, max_concurrency=1) as face, face.channel() as channel:
        with face.service.app.protocol.checks.places, pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(INFER)(request(), metadata=face.headers)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert dict(caught.value.trailing_metadata()) == {"retry-after": "1"}
        assert channel.unary_unary(INFER)(request(), metadata=face.headers)


def test_connections_are_limited(town: Town) -> None:
    with opened(town, max_connections=3) as face, ExitStack() as stack:
        host, port = face.address.split(":")
        known = []
        for _ in range(8):
            one = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
            known.append(one)
        assert [_talks(one) for one in known].count(False) >= 5


def _talks(one: socket.socket) -> bool:
    """Whether the other end says anything: HTTP/2's settings come first."""
    try:
        return bool(one.recv(1))
    except OSError:
        return False


def test_leaving_loses_no_call(town: Town) -> None:
    """Calls that gRPC had taken from the wire and not handed out were cancelled."""
    stop = threading.Event()
    lost: list[tuple[grpc.StatusCode, str]] = []

    def caller() -> int:
        done = 0
        with face.channel() as channel:
            infer = channel.unary_unary(INFER)
            while True:
                try:
                    infer(request(), metadata=face.headers, timeout=20)
                    done += 1
                except grpc.RpcError as error:
                    if error.code() != grpc.StatusCode.UNAVAILABLE:  # nobody listens any more
                        lost.append((error.code(), error.details()))
                    return done
                if done == 20:
                    stop.set()

    with opened(town) as face, ThreadPoolExecutor(8) as pool:
        callers = [pool.submit(caller) for _ in range(8)]
        assert stop.wait(60)
        face.run(face.face.stop())
        assert sum(one.result(timeout=30) for one in callers) >= 20
    assert lost == []


def test_one_of_several_listens_when_it_is_ready(town: Town) -> None:
    """Clients that came to it sooner would have been answered by the rules, or not at all."""
    with opened(town) as face:
        face.run(face.face.stop())
        host, port = face.address.split(":")
        face.service.service.draining = True
        late = Face(face.service.app.protocol, face.service.service.house, (host, int(port)), shared=True)
        starting = asyncio.run_coroutine_threadsafe(late.start(), face.service.loop)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=10)
        assert not starting.done()
        face.service.service.draining = False
        starting.result(timeout=30)
        with face.channel() as channel:
            assert channel.unary_unary(LIVE)(b"", timeout=10)
        face.run(late.stop())


def test_workers_do_not_share_a_grpc_port_with_others(town: Town) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken,
        pytest.raises(StackError, match="another port"),
    ):
        supervise(town.settings, town.config, 2, ("127.0.0.1", 0), taken.getsockname()[1])
