"""Schemathesis over `/openapi.json` of a running service: what fits the document and what does not is told as it says, and
nothing is ever a 500."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, CheckContext, Response
from schemathesis.config import ChecksConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.config._checks import NegativeDataRejectionConfig
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.serving.town import Server, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.stack]
EXAMPLES = 15  # of each operation
REFUSED = NegativeDataRejectionConfig(expected_statuses=["4xx"])  # a body too large is 413, whatever else is wrong
CHECKED = ChecksConfig(negative_data_rejection=REFUSED)
CONFIG = SchemathesisConfig(projects=ProjectsConfig(default=ProjectConfig(checks=CHECKED)))


def no_error_of_its_own(context: CheckContext, response: Response, case: Case[Any]) -> None:
    """503 is an answer that the document states: not ready, or come back later."""
    assert response.status_code < 500 or response.status_code == 503, response.text[:500]


CHECKS: list[Any] = [
    no_error_of_its_own,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
    # not positive_data_acceptance: to JSON Schema 12.0 is an integer, and here an integer is written as one
]


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    secret = server.town.key()
    wait_for(lambda: server.ask(secret).status_code == 200)
    return secret


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_service_does_what_its_document_says(mode: GenerationMode, server: Server, key: str) -> None:
    document = schemathesis.openapi.from_url(f"{server.url}/openapi.json", config=CONFIG)
    found = list(document.get_all_operations())
    operations = [one.ok() for one in found if isinstance(one, Ok)]
    assert len(operations) == len(found) > 10
    asked = 0

    for operation in operations:

        @seed(20261122)
        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def does(case: Case[Any]) -> None:
            nonlocal asked
            asked += 1
            case.call_and_validate(headers={"authorization": f"Bearer {key}"}, checks=CHECKS, timeout=10)

        with suppress(Unsatisfiable):  # nothing about it can be wrong
            does()
    assert asked > len(operations)
    assert "Traceback" not in server.lines
