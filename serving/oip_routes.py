"""The Open Inference Protocol over HTTP: JSON, and tensors as raw bytes behind it (binary tensor data extension).

    GET /v2, /v2/health/live, /v2/health/ready, /v2/models/MODEL[/versions/N][/ready]    POST .../infer

Routed by `serving.rest`. With raw tensors the header `inference-header-content-length` says how long the JSON is, both ways.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from errors import InputError
from serving.calls import BYTES, Call, Checks, Headers, Route, Sent
from serving.formats import refuse_other
from serving.oip import Asked, Inferred, Protocol, version_of
from serving.tensors import MOST, Tensor, pack
from serving.wire import decode

HEAD = b"inference-header-content-length"
DIGITS = re.compile(r"^\d{1,12}$", re.ASCII)
Scalar = str | int | float | bool | None
Elements = list[Scalar | list[Scalar | list[Scalar]]]  # no deeper: a million brackets would hold up everybody
Size = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
encode = msgspec.json.Encoder().encode


class InputParameters(msgspec.Struct, frozen=True):
    binary_data_size: Size | None = None


class Input(msgspec.Struct, frozen=True):
    name: str
    shape: Annotated[list[Size], msgspec.Meta(min_length=1, max_length=3)]
    datatype: str
    parameters: InputParameters = InputParameters()
    data: Elements | None = None


class OutputParameters(msgspec.Struct, frozen=True):
    binary_data: bool | None = None


class Wanted(msgspec.Struct, frozen=True):
    name: str
    parameters: OutputParameters = OutputParameters()


class Parameters(msgspec.Struct, frozen=True):
    binary_data_output: bool = False


class Inference(msgspec.Struct, frozen=True):
    """The body of a request. What else a client adds to it is passed over, as the protocol has it."""

    inputs: Annotated[list[Input], msgspec.Meta(max_length=MOST)]
    id: str = ""
    parameters: Parameters = Parameters()
    outputs: Annotated[list[Wanted], msgspec.Meta(max_length=MOST)] = []


INFERENCE = msgspec.json.Decoder(Inference)


class OipRoutes:
    """Where the paths of the protocol lead."""

    def __init__(self, protocol: Protocol, checks: Checks) -> None:
        self._protocol, self._checks = protocol, checks

    def find(self, parts: list[str]) -> Route | None:
        """The route of a path cut at its slashes. Raises Refusal 404 for a version that is no number."""
        match parts:
            case ["v2"] | ["v2", ""]:
                return Route("v2", "GET", self._server)
            case ["v2", "health", "live"]:
                return Route("v2_live", "GET", self._live)
            case ["v2", "health", "ready"]:
                return Route("v2_ready", "GET", self._ready)
            case ["v2", "models", model, "versions", version, *rest] if version:
                return self._of_model(model, version_of(version), rest)
            case ["v2", "models", model, *rest]:
                return self._of_model(model, None, rest)
        return None

    def _of_model(self, model: str, version: int | None, rest: list[str]) -> Route | None:
        match rest:
            case []:
                return Route("v2_metadata", "GET", self._metadata, model, version)
            case ["ready"]:
                return Route("v2_model_ready", "GET", self._model_ready, model, version)
            case ["infer"]:
                return Route("v2_infer", "POST", self._infer, model, version)
        return None

    async def _server(self, _: Call) -> Sent:
        return Sent(200, encode(self._protocol.server()))

    async def _live(self, _: Call) -> Sent:
        live = self._protocol.live
        return Sent(200 if live else 500, encode({"live": live}))

    async def _ready(self, _: Call) -> Sent:
        ready = self._protocol.ready
        return Sent(200 if ready else 503, encode({"ready": ready}))

    async def _model_ready(self, call: Call) -> Sent:
        ready = self._protocol.model_ready(call.model, call.version)
        return Sent(200 if ready else 503, encode({"name": call.model, "ready": ready}))

    async def _metadata(self, call: Call) -> Sent:
        return Sent(200, encode(self._protocol.metadata(call.model, call.version, call.header(b"authorization"))))

    async def _infer(self, call: Call) -> Sent:
        self._checks.allowed(call.header(b"authorization"), call.model, "predict")  # before a stranger's body is read
        if (kind := call.headers.get(b"content-type")) != BYTES:
            refuse_other(kind)
        inference, raw = _parts(await self._checks.body(call), call.header(HEAD))
        asked = Asked(
            model=call.model,
            version=call.version,
            tensors=_tensors(inference, raw),
            wanted=[one.name for one in inference.outputs],
            authorization=call.header(b"authorization"),
            event_time=call.event_time,
        )
        return _reply(call.model, inference, await self._protocol.infer(asked))


def _parts(body: bytes, length: str) -> tuple[Inference, bytes]:
    """The JSON of a body, and the raw tensors behind it."""
    if not length:
        return decode(INFERENCE, body), b""
    if not (DIGITS.match(length) and int(length) <= len(body)):
        raise InputError(HEAD.decode(), expected=f"0 to {len(body)}, the length of the JSON", got=length[:32])
    end = int(length)
    return decode(INFERENCE, body[:end]), body[end:]


def _tensors(inference: Inference, raw: bytes) -> list[Tensor]:
    found, at = [], 0
    for one in inference.inputs:
        size = one.parameters.binary_data_size
        data: list[Any] | bytes
        if size is None:
            data = _flat(one.data or [], len(one.shape))
        elif at + size > len(raw) or one.data is not None:
            raise InputError(
                one.name[:64], expected=f"{size} bytes behind the JSON, and no data in it", got=len(raw) - at
            )
        else:
            data, at = raw[at : at + size], at + size
        found.append(Tensor(one.name, one.datatype, one.shape, data))
    if at != len(raw):
        raise InputError("inputs", expected=f"{at} bytes behind the JSON", got=len(raw))
    return found


def _flat(data: list[Any], dimensions: int) -> list[Any]:
    """Row by row, however it was nested."""
    for _ in range(dimensions - 1):
        if not any(isinstance(one, list) for one in data):
            break
        data = [value for one in data for value in (one if isinstance(one, list) else [one])]
    return data


def _reply(model: str, inference: Inference, found: Inferred) -> Sent:
    raw: list[bytes] = []
    told = [
        _output(tensor, binary, raw) for tensor, binary in zip(found.tensors, _binary(inference, found), strict=True)
    ]
    facts: dict[str, Any] = {"model_name": model, "model_version": found.version, "outputs": told}
    head = encode({**facts, "id": inference.id} if inference.id else facts)
    if not raw:
        return Sent(200, head)
    length: Headers = ((HEAD, str(len(head)).encode()),)
    return Sent(200, head + b"".join(raw), BYTES, length)


def _binary(inference: Inference, found: Inferred) -> Sequence[bool]:
    """Which outputs go as raw bytes."""
    usual = inference.parameters.binary_data_output
    asked = {one.name: one.parameters.binary_data for one in inference.outputs}
    given = [asked.get(tensor.name) for tensor in found.tensors]
    return [usual if one is None else one for one in given]


def _output(tensor: Tensor, binary: bool, raw: list[bytes]) -> dict[str, Any]:
    """What the JSON says of an output; raw bytes are added to `raw`."""
    about = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
    if not binary:
        data = [one.decode() if isinstance(one, bytes) else one for one in tensor.data]
        return {**about, "data": data}
    raw.append(pack(tensor))
    return {**about, "parameters": {"binary_data_size": len(raw[-1])}}
