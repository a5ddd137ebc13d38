"""The Open Inference Protocol over gRPC, in the process and on the loop of the HTTP face; off unless it is given a port.

The API key comes as the metadata `authorization: Bearer KEY`. Limits, versions and answers are those of HTTP, errors are
status codes with the same words, never a trace. Started and ended by `serving.rest` with the service.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from errors import GrownetError, InputError, StackError
from serving.calls import told
from serving.grpc_messages import CONTENTS, SERVICE, TYPES
from serving.house import House
from serving.oip import Asked, Protocol, version_of
from serving.tensors import FLOATS, MOST, Tensor, pack, refuse_infinite
from serving.tls import Certificate, Pem
from serving.wire import Refusal

log = logging.getLogger(__name__)
GRACE_SECONDS = 10.0  # for calls under way at the end
PATIENT_SECONDS = 10.0  # a worker that is not ready by then takes calls all the same, as over HTTP
QUIET_SECONDS, MOST_SECONDS = 0.02, 0.3  # without a new call, before the port is closed; how long that is waited for
CALLS = 4  # times max_concurrency: beyond that a call is refused before its message is read
CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    410: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    503: grpc.StatusCode.UNAVAILABLE,
}
FAILED = Refusal(500, GrownetError("the service", got="an error of its own, which is in its log"))
Verb = Callable[[Any, "Caller"], Awaitable[Any]]


class Caller(NamedTuple):
    """What the metadata of a call says."""

    authorization: str
    event_time: str | None


class Face:
    """The gRPC server of one replica.

    Args:
        address: host and port; port 0 takes a free one, and the log says which.
        shared: whether other processes of this service listen on the same port.
        certificate: for TLS; a new one is for the connections after it.
    """

    def __init__(
        self,
        protocol: Protocol,
        house: House,
        address: tuple[str, int],
        *,
        shared: bool = False,
        certificate: Certificate | None = None,
    ) -> None:
        self._protocol, self._house = protocol, house
        self._address, self._shared, self._certificate = address, shared, certificate
        self._server: grpc.aio.Server | None = None
        self._came = 0  # calls so far
        self._leaving: asyncio.Event | None = None  # set once the clients are told to go elsewhere

    async def start(self) -> None:
        """One of several listens when it is ready: siblings answer until then. Raises StackError when the address is taken."""
        if self._shared:
            await _until(lambda: self._protocol.ready, PATIENT_SECONDS)
        limits, (host, port) = self._house.limits, self._address
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", limits.max_body_bytes),
                ("grpc.max_concurrent_streams", limits.max_concurrency),  # of one connection
                ("grpc.max_allowed_incoming_connections", limits.max_connections),
                ("grpc.server_handshake_timeout_ms", int(limits.header_seconds * 1000)),
                ("grpc.max_connection_idle_ms", int(limits.idle_seconds * 1000)),
                ("grpc.so_reuseport", int(self._shared)),
                ("grpc.compression_enabled_algorithms_bitset", 1),  # none: a packed message could be far larger
            ],
            maximum_concurrent_rpcs=limits.max_concurrency * CALLS,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, self._handlers()),))
        try:
            bound = self._bound(server, f"{host}:{port}")
        except RuntimeError as error:
            raise StackError(
                f"gRPC on {host}:{port}", expected="a free port", got=str(error)[:200], do="give it another --grpc-port"
            ) from error
        await server.start()
        self._server = server
        log.info("replica %s answers gRPC on %s:%d", self._house.replica, host, bound)

    async def stop(self) -> None:
        """Takes no more calls and waits for those under way.

        gRPC cancels what came and was not taken up yet. So replies are held back for a moment, in which who waits for one
        asks nothing more, and leave once clients know that this connection has ended.
        """
        if self._server is None:
            return
        self._leaving, deadline, seen = asyncio.Event(), time.monotonic() + MOST_SECONDS, -1
        while seen != self._came and time.monotonic() < deadline:
            seen = self._came
            await asyncio.sleep(QUIET_SECONDS)
        ending = asyncio.ensure_future(self._server.stop(GRACE_SECONDS))
        await asyncio.sleep(QUIET_SECONDS)
        self._leaving.set()
        await ending

    def _bound(self, server: grpc.aio.Server, address: str) -> int:
        """The port. Raises RuntimeError, as grpc does."""
        if self._certificate is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, _credentials(self._certificate)))

    def _handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        verbs: dict[str, Verb] = {
            "ServerLive": self._live, "ServerReady": self._ready, "ServerMetadata": self._about,
            "ModelReady": self._model_ready, "ModelMetadata": self._metadata, "ModelInfer": self._infer,
        }  # fmt: skip
        return {name: grpc.stream_unary_rpc_method_handler(self._edge(name, verb)) for name, verb in verbs.items()}

    def _edge(self, name: str, verb: Verb) -> Callable[[Any, Any], Awaitable[bytes]]:
        """The handler of a verb; what goes wrong in it becomes a status. It reads the one message itself: gRPC's own way
        waits for it without end, and for a stranger's too."""
        message, checks = TYPES[f"{name}Request"], self._protocol.checks

        async def handle(_: Any, context: Any) -> bytes:
            self._came += 1
            try:
                caller = _caller(context)
                if name == "ModelInfer":
                    checks.known(caller.authorization)
                with checks.patience:
                    data = await context.read()
                reply = await verb(_parsed(message, data), caller)
            except Refusal as error:
                refusal = error
            except GrownetError as error:
                refusal = told(error)
            except Exception as error:  # the edge of the service: the caller gets a code, the log gets the trace
                log.exception("gRPC %s failed", name, exc_info=error)
                refusal = FAILED
            else:
                self._house.metrics.count("replies", f"grpc_{name}", "OK")
                await self._held()
                return reply.SerializeToString()  # type: ignore[no-any-return]  # classes made at run time
            code = CODES.get(refusal.status, grpc.StatusCode.INTERNAL)
            self._house.metrics.count("replies", f"grpc_{name}", code.name)
            more = tuple((key.decode(), value.decode()) for key, value in refusal.headers if key == b"retry-after")
            await self._held()
            await context.abort(code, str(refusal.error), more)
            raise AssertionError(code)  # abort raises

        return handle

    async def _held(self) -> None:
        if self._leaving is not None:
            await self._leaving.wait()

    async def _live(self, _: Any, __: Caller) -> Any:
        return TYPES["ServerLiveResponse"](live=self._protocol.live)

    async def _ready(self, _: Any, __: Caller) -> Any:
        return TYPES["ServerReadyResponse"](ready=self._protocol.ready)

    async def _about(self, _: Any, __: Caller) -> Any:
        facts = self._protocol.server()
        return TYPES["ServerMetadataResponse"](name=facts.name, version=facts.version, extensions=facts.extensions)

    async def _model_ready(self, asked: Any, _: Caller) -> Any:
        ready = self._protocol.model_ready(asked.name, version_of(asked.version))
        return TYPES["ModelReadyResponse"](ready=ready)

    async def _metadata(self, asked: Any, caller: Caller) -> Any:
        facts = self._protocol.metadata(asked.name, version_of(asked.version), caller.authorization)
        tensor = TYPES["TensorMetadata"]
        return TYPES["ModelMetadataResponse"](
            name=facts.name,
            versions=facts.versions,
            platform=facts.platform,
            inputs=[tensor(name=one.name, datatype=one.datatype, shape=one.shape) for one in facts.inputs],
            outputs=[tensor(name=one.name, datatype=one.datatype, shape=one.shape) for one in facts.outputs],
        )

    async def _infer(self, request: Any, caller: Caller) -> Any:
        tensors, wanted = _tensors(request), [one.name for one in request.outputs]
        asked = Asked(request.model_name, version_of(request.model_version), tensors, wanted, *caller)
        found = await self._protocol.infer(asked)
        raw = bool(request.raw_input_contents)  # answered as it was asked
        return TYPES["ModelInferResponse"](
            model_name=request.model_name,
            model_version=found.version,
            id=request.id,
            outputs=[_told(tensor, raw) for tensor in found.tensors],
            raw_output_contents=[pack(tensor) for tensor in found.tensors] if raw else (),
        )


def _credentials(certificate: Certificate) -> grpc.ServerCredentials:
    """The certificate as gRPC wants it, looked at again with each connection."""
    seen = certificate.pem

    def made(pem: Pem) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(pem.key, pem.chain)], pem.client_ca)

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal seen
        if certificate.pem is seen:
            return None
        seen = certificate.pem
        return made(seen)

    return grpc.dynamic_ssl_server_credentials(made(seen), changed, seen.client_ca is not None)


async def _until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        await asyncio.sleep(QUIET_SECONDS)


def _parsed(message: Any, data: Any) -> Any:
    if data is grpc.aio.EOF:
        raise InputError("message", expected=message.DESCRIPTOR.name, got="none")
    try:
        return message.FromString(data)
    except DecodeError as error:
        raise InputError("message", expected=message.DESCRIPTOR.name, got=str(error)[:100]) from None


def _caller(context: Any) -> Caller:
    given = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    return Caller(given.get("authorization", ""), given.get("x-event-time"))


def _tensors(request: Any) -> list[Tensor]:
    """The inputs, raw or typed, but not both."""
    raw, many = request.raw_input_contents, max(len(request.inputs), len(request.outputs))
    if many > MOST:
        raise InputError("inputs, outputs", expected=f"at most {MOST} of each", got=many)
    if raw and len(raw) != len(request.inputs):
        raise InputError("raw_input_contents", expected=f"{len(request.inputs)}, one for each input", got=len(raw))
    found = []
    for at, one in enumerate(request.inputs):
        name = one.name[:64]
        if raw and one.HasField("contents"):
            raise InputError(name, expected="contents, or raw_input_contents", got="both")
        data = raw[at] if raw else _typed(one, name)
        found.append(Tensor(one.name, one.datatype, list(one.shape), data))
    return found


def _typed(one: Any, name: str) -> list[Any]:
    if one.datatype not in CONTENTS:
        raise InputError(name, expected=f"one of {', '.join(CONTENTS)}", got=one.datatype[:32])
    data = list(getattr(one.contents, CONTENTS[one.datatype]))
    if one.datatype in FLOATS:
        refuse_infinite(data, name)
    return data


def _told(tensor: Tensor, raw: bool) -> Any:
    told = TYPES["InferTensor"](name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    if not raw:
        data = tensor.data
        if tensor.datatype == "BYTES":
            data = [one.encode() if isinstance(one, str) else one for one in data]
        getattr(told.contents, CONTENTS[tensor.datatype]).extend(data)
    return told
