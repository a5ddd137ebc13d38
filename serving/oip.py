"""The Open Inference Protocol (v2) over what this replica serves: readiness, metadata, inference; no bytes of any carrier.

Answers through `serving.predict` as the REST routes do, with the same keys, limits and versions. Called by
`serving.oip_routes` (HTTP) and `serving.grpc_face` (gRPC).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import NamedTuple

import msgspec

from errors import NotFound
from serving.calls import Checks
from serving.predict import predict
from serving.service import Service
from serving.tensors import OUTPUTS, Field, Form, Tensor, outputs, refuse_unknown
from serving.view import View
from serving.wire import Refusal

VERSION = re.compile(r"^v?(\d{1,9})$", re.ASCII)


class TensorMetadata(msgspec.Struct, frozen=True):
    name: str
    datatype: str
    shape: tuple[int, ...]


class ModelMetadata(msgspec.Struct, frozen=True):
    name: str
    versions: list[str]  # that may be asked for
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(msgspec.Struct, frozen=True):
    name: str
    version: str
    extensions: list[str]


class Asked(NamedTuple):
    """One inference. `wanted`: the names of the outputs, none for all."""

    model: str
    version: int | None
    tensors: Sequence[Tensor]
    wanted: Sequence[str]
    authorization: str
    event_time: str | None


class Inferred(NamedTuple):
    """`version` is empty when several answered, each for its own rows."""

    version: str
    tensors: list[Tensor]


class Protocol:
    """What the protocol says of one replica."""

    def __init__(self, service: Service, checks: Checks) -> None:
        self._service, self.checks = service, checks
        self._forms: dict[str, Form] = {}

    @property
    def live(self) -> bool:
        return not self._service.local.dead

    @property
    def ready(self) -> bool:
        return self._service.ready

    def model_ready(self, model: str, version: int | None) -> bool:
        """Whether the model answers: by its plan, or with this version of it. Raises NotFound for an unknown model."""
        view = self._service.desk(model).view
        if view is None or self._service.draining:
            return False
        arms = [arm for arm in (view.plan.champion, view.plan.previous) if arm is not None]
        return version is None or any(arm.number == version and (arm.is_rules or view.of(arm)) for arm in arms)

    def server(self) -> ServerMetadata:
        return ServerMetadata("grownet", metadata.version("grownet"), ["binary_tensor_data"])

    def metadata(self, model: str, version: int | None, authorization: str) -> ModelMetadata:
        """What goes in and comes out; the same for all versions of a model.

        Raises:
            Refusal: 401, 403, and 404 for a version that cannot be asked for.
            NotFound: for an unknown model.
        """
        self.checks.allowed(authorization, model, "predict", "read")
        view = self._service.desk(model).view
        versions = _versions(view)
        if version is not None and str(version) not in versions:
            raise Refusal(404, NotFound(f"{model} v{version}", expected=f"one of {versions}", got=version))
        return ModelMetadata(model, versions, "grownet", _told(self.form(model).inputs), _told(OUTPUTS.values()))

    def form(self, model: str) -> Form:
        """The tensors of a model. Raises NotFound."""
        if model not in self._forms:
            self._forms[model] = Form(self._service.desk(model).model)
        return self._forms[model]

    async def infer(self, asked: Asked) -> Inferred:
        """The answers as tensors.

        Raises:
            Refusal, NotFound, InputError: as `POST /MODEL/predict`.
        """
        key = self.checks.allowed(asked.authorization, asked.model, "predict")
        desk = self._service.desk(asked.model)
        when = self.checks.event_time(asked.event_time, key, asked.model)
        refuse_unknown(asked.wanted)  # before anything is answered and written down
        requests = self.form(asked.model).requests(asked.tensors, desk.config.serving.max_batch_rows)
        with self.checks.places:
            replies = await predict(self._service.house, desk, requests, when, asked.version)
        versions = {reply.version for reply in replies}
        return Inferred(str(versions.pop()) if len(versions) == 1 else "", outputs(replies, asked.wanted))


def version_of(text: str) -> int | None:
    """`3` or `v3` as a number, nothing as None. Raises Refusal 404 for what no version is called."""
    if not text:
        return None
    found = VERSION.match(text)
    if found is None:
        raise Refusal(404, NotFound("version", expected="a number", got=text[:32]))
    return int(found[1])


def _versions(view: View | None) -> list[str]:
    """What `serving.predict` answers by number: champion and previous."""
    arms = (view.plan.champion, view.plan.previous) if view is not None else ()
    return [str(number) for number in sorted({arm.number for arm in arms if arm is not None})]


def _told(fields: Iterable[Field]) -> list[TensorMetadata]:
    return [TensorMetadata(field.name, field.datatype, field.shape) for field in fields]
