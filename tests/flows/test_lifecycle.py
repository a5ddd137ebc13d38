"""The lifecycle flow on a real Prefect server with a real worker, from orders in a lake to a release run, or to none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from stack.processes import Stack
from stack.up import deploy, pipeline_version
from stores.ledger import evidence
from stores.registry import Registry
from tasks import runs
from tests.tasks.school import NAME, School, orders

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
WAIT_SECONDS = 200.0


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    folder = tmp_path_factory.mktemp("lifecycle")
    url = f"sqlite:///{folder}/mlflow/mlflow.db"
    (folder / "mlflow").mkdir()
    Registry.open(url)
    made = School(folder, url)
    made.take_in(orders(), "all")
    yield made
    made.close()


@pytest.fixture(scope="module")
def stack(school: School) -> Iterator[Stack]:
    with Stack(school.settings) as running:
        running.start("prefect")
        school.settings = running.settings
        running.start("worker")
        deploy(running.settings, pipeline_version(running.settings))
        yield running


def carried_out(school: School, **parameters: str) -> dict[str, Any]:
    """The final state of a lifecycle run."""
    run = runs.start_deployment(school.settings, "lifecycle/lifecycle", {"model": NAME, **parameters})
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        state: dict[str, Any] = httpx.get(f"{school.settings.prefect_url}/flow_runs/{run}", timeout=20).json()["state"]
        if state["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}:
            return state
        time.sleep(0.2)
    raise AssertionError(f"the run did not end within {WAIT_SECONDS} s")


def found(school: School, what: str, **filters: Any) -> list[dict[str, Any]]:
    reply = httpx.post(f"{school.settings.prefect_url}/{what}/filter", json=filters, timeout=20)
    reply.raise_for_status()
    return list(reply.json())


def releases(school: School) -> list[dict[str, Any]]:
    return found(school, "flow_runs", flows={"name": {"any_": ["release"]}})


def test_from_orders_to_a_question_or_to_a_reason_why_not(school: School, stack: Stack) -> None:
    """One candidate passes and people are asked about it; the next one does not, and nobody is asked."""
    asked = carried_out(school, reason="first release")
    assert (asked["type"], asked["name"]) == ("COMPLETED", "Asked"), asked["message"]
    (candidate,) = evidence.candidates(school.ledgers["reader"], NAME)
    (release,) = [run for run in releases(school) if run["parameters"]["candidate"] == candidate.id]
    assert release["parameters"]["detail"] == candidate.reason == "first release"
    assert release["parent_task_run_id"] is None
    (page,) = found(school, "artifacts", artifacts={"key": {"like_": "evidence-%"}})
    assert "passed all gates" in page["data"]
    assert (school.settings.home / "pages" / "models" / f"{candidate.id}.html").exists()

    school.configure(champion_margin=1.0)
    before = len(releases(school))
    discarded = carried_out(school, reason="the same, judged harder")
    assert (discarded["type"], discarded["name"]) == ("COMPLETED", "Discarded"), discarded["message"]
    assert "champion fail" in discarded["message"]
    assert len(releases(school)) == before
    _, second = evidence.candidates(school.ledgers["reader"], NAME)
    assert str(evidence.discarded(school.ledgers["reader"], second.id)).startswith("champion fail")


def test_an_order_without_a_reason_fails_before_anything_is_done(school: School, stack: Stack) -> None:
    known = len(evidence.candidates(school.ledgers["reader"], NAME))
    refused = carried_out(school, reason=" ")
    assert refused["type"] == "FAILED"
    assert "why this training is asked for" in refused["message"]
    assert len(evidence.candidates(school.ledgers["reader"], NAME)) == known
