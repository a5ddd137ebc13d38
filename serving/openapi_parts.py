"""What OpenAPI documents are put together from: the types of the service's own replies, errors, operations. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from records import ReleasePlan
from serving.feedback import Receipt
from serving.oip import ModelMetadata, ServerMetadata
from serving.oip_routes import Inference
from serving.predict import Reply

Json = dict[str, Any]
REF, JSON = "#/components/schemas/", "application/json"
INFERENCE = "open inference"  # the tag of the protocol, whose errors are sentences
RETRY, CHALLENGE = {"retry-after": "integer"}, {"www-authenticate": "string"}
HEADERS: dict[int, dict[str, str]] = {401: CHALLENGE, 429: RETRY, 503: RETRY}
EVERYWHERE = (405, 500)  # a wrong method, and what should not happen
ERRORS: dict[int, tuple[str, str, str, str]] = {  # what it means, and an example: field, expected, got
    400: ("The connection closed within the body.", "body", "all of it", "a closed connection"),
    401: ("No API key, or an unknown one.", "authorization", "Bearer and a known API key", "none, or another"),
    403: ("A key for something else; a forged prediction id.", "API key shop", "scope feedback", "predict"),
    404: ("No such model, version or answer.", "model 'colour'", "one of the models served", "colour"),
    405: ("Another method.", "method", "POST", "GET"),
    408: ("A body slower than the service waits for.", "body", "within 10 s", "less"),
    410: ("A version that was rejected for good.", "v3", "", "a version that was rejected for good"),
    413: ("A body that is too large.", "body", "at most 1048576 bytes", "2000000"),
    415: ("A content type that is not read here, or a packed body.", "content-type", JSON, "text/csv"),
    421: ("An answer of another replica: send it there.", "$.prediction_id", "an id of replica-1", "of replica-2"),
    422: ("A body that is wrong; `field` is the path of what is.", "$.k", "int >= 1", "0"),
    429: ("More than this key may send.", "feedback", "fewer within a minute", "one more"),
    500: ("An error of the service's own, which is in its log.", "the service", "", "an error of its own"),
    503: ("Too much under way, no plan yet, or the journal's disk is full.", "the service", "to answer", "too much"),
}


class Problem(msgspec.Struct, frozen=True):
    status: int
    field: str
    expected: str
    got: str
    do: str


class Refused(msgspec.Struct, frozen=True):
    error: Problem


class RefusedInWords(msgspec.Struct, frozen=True):
    """As the Open Inference Protocol has it."""

    error: str


class Health(msgspec.Struct, frozen=True):
    ok: bool
    dead_threads: list[str]


class Readiness(msgspec.Struct, frozen=True):
    ready: bool
    degraded: list[str]
    revisions: dict[str, int | None]


class Plan(msgspec.Struct, frozen=True):
    plan: ReleasePlan
    loaded: dict[str, str]
    missing: list[str]
    tripped: list[str]
    break_glass: str
    confirmed_seconds_ago: float
    trouble: list[str]
    replica: str


class Live(msgspec.Struct, frozen=True):
    live: bool


class Ready(msgspec.Struct, frozen=True):
    ready: bool


class ModelReady(msgspec.Struct, frozen=True):
    name: str
    ready: bool


SHARED = (
    Refused, RefusedInWords, Health, Readiness, Plan, Live, Ready, ModelReady, Reply, Receipt, Inference, ModelMetadata,
    ServerMetadata,
)  # fmt: skip


def schemas(kinds: tuple[Any, ...], prefix: str) -> Json:
    _, found = msgspec.json.schema_components(kinds, ref_template=REF + prefix + "{name}")
    return {prefix + name: schema for name, schema in found.items()}


def ref(name: str) -> Json:
    return {"$ref": REF + name}


def content(schema: Json, **more: Any) -> Json:
    return {JSON: {"schema": schema, **more}}


def binary(kind: str) -> Json:
    return {kind: {"schema": {"type": "string", "format": "binary"}}}


def operation(tag: str, summary: str, content: Json, codes: tuple[int, ...] = (), **more: Any) -> Json:
    """One operation: 200 with this content, and these errors in the form of its protocol."""
    form = "RefusedInWords" if tag == INFERENCE else "Refused"
    errors = {str(code): {"$ref": f"#/components/responses/{form}{code}"} for code in (*codes, *EVERYWHERE)}
    security: list[Json] = [{"key": []}] if 401 in codes else []
    done = {"description": more.pop("done", "Done."), "content": content}
    return {"tags": [tag], "summary": summary, "security": security, "responses": {"200": done, **errors}, **more}


def errors(form: str) -> Json:
    """The error responses, by form and status."""
    found: Json = {}
    for status, (meaning, field, expected, got) in ERRORS.items():
        error = {"status": status, "field": field, "expected": expected, "got": got, "do": ""}
        words = f"{field}: expected {expected}, got {got}" if expected else f"{field}: got {got}"
        example = {"error": error if form == "Refused" else words}
        headers = {name: {"schema": {"type": kind}} for name, kind in HEADERS.get(status, {}).items()}
        response = {"description": meaning, "content": content(ref(form), example=example)}
        found[f"{form}{status}"] = {**response, "headers": headers} if headers else response
    return found


def parameter(place: str, name: str, schema: Json, about: str) -> Json:
    return {"in": place, "name": name, "required": place == "path", "schema": schema, "description": about}


def switch(operation: Json, code: int, schema: str) -> Json:
    """An operation that says no with the same body as yes."""
    operation["responses"][str(code)] = {"description": "No.", "content": content(ref(schema))}
    return operation
