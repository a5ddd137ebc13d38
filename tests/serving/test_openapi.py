"""The OpenAPI document: whole, true of the running service, and shown by a page that needs nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from models import contract
from serving.openapi import document
from serving.wire import Forms
from tests.serving.town import NAME, Server, wait_for

Json = dict[str, Any]


@lru_cache
def whole() -> Json:
    """The document of all models."""
    names = contract.names()
    assert len(names) > 5
    made: Json = json.loads(document({name: (contract.find(name), 100) for name in names}, "1"))
    return made


def walk(value: Any) -> Iterator[Any]:
    yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(part)


def resolved(found: Json, value: Json) -> Json:
    if "$ref" not in value:
        return value
    at: Any = found
    for part in value["$ref"].removeprefix("#/").split("/"):
        at = at[part]
    return resolved(found, at)


def problems(found: Json, schema: Json, value: Any) -> list[str]:
    validator = Draft202012Validator({**schema, "components": found["components"]})
    return [error.message for error in validator.iter_errors(value)]


def test_every_reference_leads_somewhere_and_the_same_models_give_the_same_bytes() -> None:
    found = whole()
    references = [one for one in walk(found) if isinstance(one, dict) and "$ref" in one]
    assert len(references) > 100
    for reference in references:
        resolved(found, reference)
    models = {NAME: (contract.find(NAME), 100)}
    assert document(models, "1") == document(models, "1")
    Draft202012Validator.check_schema({"components": found["components"]["schemas"]})


@pytest.mark.parametrize("name", contract.names())
def test_the_examples_are_requests(name: str) -> None:
    found = whole()
    body = found["paths"][f"/{name}/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert len(body["examples"]) > 1
    for example in body["examples"].values():
        assert Forms(contract.find(name)).requests(json.dumps(example["value"]).encode())[0]
        assert not problems(found, body["schema"], example["value"])


def test_what_the_document_says_is_so(server: Server) -> None:
    """Each operation without a key, then with one: its status is among those it names, its body as described."""
    key = server.stand.key()
    wait_for(lambda: server.ask(key).status_code == 200)
    found = server.http.get("/openapi.json").json()
    operations = [(path, verb, one) for path, verbs in found["paths"].items() for verb, one in verbs.items()]
    assert {path.split("/")[1] for path, _, _ in operations} == {
        NAME, "v2", "healthz", "readyz", "metrics", "openapi.json", "docs",
    }  # fmt: skip
    for path, verb, operation in operations:
        url = path.replace("{version}", "1")
        nobody = server.http.request(verb, url, content=b"{}" if verb == "post" else None)
        assert nobody.status_code == (401 if operation["security"] else 200), path
        assert described(found, operation, nobody) == []
        example = an_example(operation)
        headers = {"authorization": f"Bearer {key}"}
        known = server.http.request(verb, url, json=example, headers=headers)
        assert known.status_code in ({200} if "feedback" not in path else {422}), (path, known.text)
        assert described(found, operation, known) == [], path
        wrong = server.http.request("delete", url, headers=headers)
        assert wrong.status_code == 405
        assert described(found, operation, wrong) == []


def an_example(operation: Json) -> Any:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    if "examples" in content:
        return content["examples"]["1"]["value"]
    return content.get("example")


def described(found: Json, operation: Json, reply: httpx.Response) -> list[str]:
    """What of a reply is not as its operation says."""
    response = resolved(found, operation["responses"][str(reply.status_code)])
    missing = [name for name in response.get("headers", {}) if name not in reply.headers and reply.status_code != 200]
    kind = reply.headers["content-type"].partition(";")[0]
    if kind != "application/json":
        return missing + ([] if kind in response["content"] else [kind])
    return missing + problems(found, response["content"][kind]["schema"], reply.json())


def test_the_page_is_served_with_a_policy_of_its_own_and_nothing_from_elsewhere(server: Server) -> None:
    page = server.http.get("/docs")
    policy = page.headers.get_list("content-security-policy")
    assert len(policy) == 1
    assert "script-src 'self';" in policy[0]
    assert "http" not in policy[0] + page.text
    for name, kind in (
        ("swagger-ui.css", "text/css"), ("swagger-ui-bundle.js", "text/javascript"),
        ("start.js", "text/javascript"), ("favicon-32x32.png", "image/png"),
    ):  # fmt: skip
        asset = server.http.get(f"/docs/{name}")
        assert asset.status_code == 200
        assert asset.headers["content-type"].startswith(kind)
        assert asset.headers["cache-control"] == "max-age=3600"
    for path in ("/docs/../../LICENSE", "/docs/%2e%2e/LICENSE", "/docs/LICENSE", "/docs/swagger-ui.js", "/docs/a/b"):
        assert server.http.get(path).status_code == 404
    assert (
        server.http.get("/healthz").headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    )
