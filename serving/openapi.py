"""The OpenAPI 3.1 document of what this replica serves, made from the models' own types and examples.

Pure: the same models give the same bytes. Served as `/openapi.json` and shown at `/docs` by `serving.pages`; what tests and
fuzzers hold the service to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from models.contract import Model
from serving import arrow
from serving.oip_routes import HEAD
from serving.openapi_parts import (
    INFERENCE,
    SHARED,
    Json,
    binary,
    content,
    errors,
    operation,
    parameter,
    ref,
    schemas,
    switch,
)
from serving.tensors import Form

REPLICA = "replica"
BYTES, ARROW, TEXT = "application/octet-stream", arrow.KIND.decode(), "text/plain"
BODY = (408, 413, 415, 422, 503)  # what any route that reads a body may say
KEY = (401, 403)
ABOUT = """Answers of the models this replica serves, each checked by a policy rule and written down before it leaves.

A reply names what answered: version, arm and release revision. Keep `prediction_id`: feedback and `grownet trace` want it.
Errors name the field, what was expected, what came and what to do. `override` says why the reply is not the plan's arm."""


def document(models: Mapping[str, tuple[Model, int]], version: str) -> bytes:
    """The document as JSON.

    Args:
        models: what is served, by name, with the most requests of a batch.
        version: of the service.
    """
    known: Json = schemas(SHARED, "")
    paths: Json = {**_of_the_replica(), **_of_the_protocol()}
    for name, (model, most) in models.items():
        known |= schemas((model.Request, model.Outcome), f"{name}.")
        known |= _wrapped(name, most)
        paths |= _of_model(name, model) | _infer(name, Form(model), model.example()[0])
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "grownet", "version": version, "description": ABOUT},
            "tags": [{"name": name, "description": _about(model)} for name, (model, _) in models.items()]
            + [
                {"name": REPLICA, "description": "Health, metrics, this document."},
                {"name": INFERENCE, "description": "The Open Inference Protocol, version 2; also over gRPC."},
            ],
            "paths": paths,
            "components": {
                "schemas": known,
                "responses": {**errors("Refused"), **errors("RefusedInWords")},
                "securitySchemes": {
                    "key": {"type": "http", "scheme": "bearer", "description": "An API key of `grownet keys add`."}
                },
            },
        }
    )


def _about(model: Any) -> str:
    return (model.__doc__ or "").partition("\n")[0]


def _wrapped(name: str, most: int) -> Json:
    """A batch of requests, and feedback, which are wrapped around the model's own types."""
    many = {"type": "array", "minItems": 1, "maxItems": most, "items": ref(f"{name}.Request")}
    fields = {"prediction_id": {"type": "string"}, "outcome": ref(f"{name}.Outcome")}
    return {
        f"{name}.Batch": {
            "type": "object",
            "required": ["requests"],
            "properties": {"requests": many},
            "additionalProperties": False,
        },
        f"{name}.Feedback": {
            "type": "object",
            "required": ["prediction_id", "outcome"],
            "properties": fields,
            "additionalProperties": False,
        },
    }


EVENT_TIME = parameter(
    "header", "x-event-time", {"type": "string", "format": "date-time"}, "When it happened, if not now; scope replay."
)
VERSION = parameter(
    "path", "version", {"type": "integer", "minimum": 0, "maximum": 999_999_999}, "Champion or previous, by number."
)


def _of_model(name: str, model: Model) -> Json:
    """The routes of one model."""
    examples = [msgspec.to_builtins(one) for one in model.example()]
    named: Json = {f"{at + 1}": {"summary": f"example {at + 1}", "value": one} for at, one in enumerate(examples)}
    named["batch"] = {"summary": "a batch", "value": {"requests": examples[:3]}}
    asked = {"anyOf": [ref(f"{name}.Request"), ref(f"{name}.Batch")]}
    body = {"required": True, "content": {**content(asked, examples=named), **binary(ARROW)}}
    answers = {"model": {"type": "string"}, "answers": {"type": "array", "items": ref("Reply")}}
    several = {"type": "object", "required": ["model", "answers"], "properties": answers}
    given = {**content({"anyOf": [ref("Reply"), several]}, example=_reply(name)), **binary(ARROW)}
    predict: Json = {"requestBody": body, "done": "Answered, and written down."}
    fed = {"required": True, "content": content(ref(f"{name}.Feedback"))}
    return {
        f"/{name}/predict": {
            "post": operation(
                name, "Answer by the plan", given, (400, *KEY, 404, *BODY), parameters=[EVENT_TIME], **predict
            )
        },
        f"/{name}/v{{version}}/predict": {
            "post": operation(
                name, "Answer by a version", given, (400, *KEY, 404, 410, *BODY), parameters=[VERSION, EVENT_TIME],
                **predict,
            )
        },
        f"/{name}/feedback": {
            "post": operation(
                name, "Say what came of an answer", content(ref("Receipt")), (400, *KEY, 404, 421, 429, *BODY),
                parameters=[EVENT_TIME], requestBody=fed,
            )
        },
        f"/{name}/plan": {"get": operation(name, "What serves", content(ref("Plan")), (*KEY, 404, 503))},
    }  # fmt: skip


def _reply(name: str) -> Json:
    """What a reply looks like."""
    decision = {"items": [], "scores": [], "value": 0.5, "overruled": []}
    about = {"model": name, "version": 2, "name": f"{name}-v2", "arm": "champion", "revision": 7, "override": ""}
    return {
        "prediction_id": f"{name}.champion.v2.r7.29400123.replica-1.5f3a9c1e-2a.9d0c4e",
        **about,
        "decision": decision,
    }


def _of_the_replica() -> Json:
    tag = REPLICA
    page = {"text/html": {"schema": {"type": "string"}}}
    return {
        "/healthz": {"get": switch(operation(tag, "Alive", content(ref("Health"))), 500, "Health")},
        "/readyz": {"get": switch(operation(tag, "May take traffic", content(ref("Readiness"))), 503, "Readiness")},
        "/metrics": {
            "get": operation(tag, "Metrics for Prometheus", {TEXT: {"schema": {"type": "string"}}}),
        },
        "/openapi.json": {"get": operation(tag, "This document", content({"type": "object"}))},
        "/docs": {"get": operation(tag, "This document, to read and to try", page)},
    }


def _of_the_protocol() -> Json:
    tag = INFERENCE
    return {
        "/v2": {"get": operation(tag, "Server metadata", content(ref("ServerMetadata")))},
        "/v2/health/live": {"get": switch(operation(tag, "Alive", content(ref("Live"))), 500, "Live")},
        "/v2/health/ready": {"get": switch(operation(tag, "Ready", content(ref("Ready"))), 503, "Ready")},
    }


def _infer(name: str, form: Form, example: Any) -> Json:
    """The protocol's routes of one model, by the plan and by version."""
    tag, length = INFERENCE, HEAD.decode()
    header = parameter("header", length, {"type": "integer", "minimum": 0}, "Length of the JSON, with raw tensors.")
    inputs = "\n".join(
        f"- `{one.name}` {one.datatype} {list(one.shape)}{' JSON' if one.json else ''}{'' if one.required else ', optional'}"
        for one in form.inputs
    )
    body = content(ref("Inference"), example={"id": "1", "inputs": _inputs(form, example)})
    replies = {**content({"type": "object", "required": ["model_name", "outputs"]}), **binary(BYTES)}
    asked: Json = {"requestBody": {"required": True, "content": {**body, **binary(BYTES)}}}
    asked["description"] = f"Inputs, n rows each:\n\n{inputs}"
    found: Json = {}
    for path, own, codes in ((f"/v2/models/{name}", [], (404,)), (f"/v2/models/{name}/versions/{{version}}", [VERSION], (404, 410))):  # fmt: skip
        infer = operation(
            tag,
            f"Infer with {name}",
            replies,
            (400, *KEY, *codes, *BODY),
            parameters=[*own, header, EVENT_TIME],
            **asked,
        )
        infer["responses"]["200"]["headers"] = {length: {"schema": {"type": "integer"}}}
        ready = operation(tag, f"Whether {name} is ready", content(ref("ModelReady")), (404,), parameters=own)
        facts = operation(tag, f"Metadata of {name}", content(ref("ModelMetadata")), (*KEY, 404), parameters=own)
        found |= {
            f"{path}/infer": {"post": infer},
            path: {"get": facts},
            f"{path}/ready": {"get": switch(ready, 503, "ModelReady")},
        }
    return found


def _inputs(form: Form, example: Any) -> list[Json]:
    """The example as tensors of one row; what it leaves out is left out."""
    values = msgspec.to_builtins(example)
    found = []
    for one in form.inputs:
        value = values.get(one.name)
        if value is None:
            continue
        listed = len(one.shape) == 2
        data = [msgspec.json.encode(value).decode() if one.json else value]
        shape = [1, len(value)] if listed else [1]
        found.append({"name": one.name, "shape": shape, "datatype": one.datatype, "data": value if listed else data})
    return found
