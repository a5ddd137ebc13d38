"""The lifecycle flow on a real Prefect server with a real worker, from orders in a lake to a release run, or to none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from guard import news
from guard.outbox import Courier
from records import Candidate, OutboxEvent, utc_now
from stack.processes import Stack
from stack.up import deploy, pipeline_version
from stores import notify
from stores.ledger import ballots, evidence, outbox
from stores.registry import Registry
from tasks import retrain, runs
from tests.ports import free_port
from tests.stores.ledger.world import ruling
from tests.tasks.school import NAME, School, orders

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(600)]
WAIT_SECONDS = 300.0  # three runs, one after the other, on a busy machine
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
STOP = threading.Event()  # never set
VERDICT = "while-away"


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


def requested(verdict: str, **changes: Any) -> OutboxEvent:
    """The guard's request, as old as its ruling: hours."""
    return replace(news.retraining(ruling(verdict)), **changes)


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def waiting(school: School, port: int) -> OutboxEvent:
    """A ruling asks for a training while Prefect is not there: the courier keeps the request."""
    away = school.settings.model_copy(update={"prefect_url": f"http://127.0.0.1:{port}/api"})
    school.rule(VERDICT)
    event = requested(VERDICT)
    outbox.add(school.ledgers["guard"], [event], "guard")
    courier = Courier(school.ledgers["guard"], away, school.config.defaults.alerts, lambda: True)
    assert courier.deliver(STOP) == 0
    return event


@pytest.fixture(scope="module")
def stack(school: School, port: int, waiting: OutboxEvent) -> Iterator[Stack]:
    with Stack(school.settings, {"prefect": port}) as running:
        running.start("prefect")
        school.settings = running.settings
        running.start("worker")
        deploy(running.settings, pipeline_version(running.settings))
        yield running


def until(what: str, look: Callable[[], Any]) -> Any:
    """Polls with a deadline."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.2)
    raise AssertionError(f"not within {WAIT_SECONDS} s: {what}")


def ended(school: School, run: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        state: dict[str, Any] = httpx.get(f"{school.settings.prefect_url}/flow_runs/{run}", timeout=20).json()["state"]
        return state if state["type"] in FINAL else None

    return dict(until("the run ends", look))


def carried_out(school: School, **parameters: str) -> dict[str, Any]:
    """The final state of a lifecycle run."""
    given = parameters if "cadence" in parameters else {"model": NAME, **parameters}
    return ended(school, runs.start_deployment(school.settings, "lifecycle/lifecycle", given))


def found(school: School, what: str, **filters: Any) -> list[dict[str, Any]]:
    reply = httpx.post(f"{school.settings.prefect_url}/{what}/filter", json=filters, timeout=20)
    reply.raise_for_status()
    return list(reply.json())


def failures(school: School) -> list[OutboxEvent]:
    return [one for one in outbox.pending(school.ledgers["reader"], 100) if one.title == "a training failed"]


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


# ---- what starts it by itself --------------------------------------------------------------------


def candidates(school: School) -> list[Candidate]:
    return evidence.candidates(school.ledgers["reader"], NAME)


def delivered(school: School, *events: OutboxEvent) -> None:
    """What waits in the outbox goes to Prefect by the guard's courier, as often as it takes."""
    ledger = school.ledgers["guard"]
    outbox.add(ledger, events, "guard")
    courier = Courier(ledger, school.settings, school.config.defaults.alerts, lambda: True)
    until("all is delivered", lambda: courier.deliver(STOP) + 1 and not undelivered(school))


def undelivered(school: School) -> list[str]:
    due = outbox.pending(school.ledgers["reader"], 100, utc_now().replace(year=2999))
    return [event.id for event in due if event.name == "grownet.retrain.requested"]


def triggered(school: School, verdict: str, count: int) -> list[dict[str, Any]]:
    """The first `count` lifecycle runs with this verdict, when all of them have ended; oldest first."""

    def look() -> list[dict[str, Any]]:
        every = found(school, "flow_runs", flows={"name": {"any_": ["lifecycle"]}}, sort="START_TIME_ASC")
        mine = [run for run in every if run["parameters"].get("verdict") == verdict]
        return mine if len(mine) >= count and all(run["state"]["type"] in FINAL for run in mine) else []

    return list(until(f"{count} runs for {verdict}", look))


def automation_events(school: School, name: str) -> list[dict[str, Any]]:
    wanted = {"filter": {"event": {"name": [f"prefect.automation.{name}"]}}, "limit": 50}
    reply = httpx.post(f"{school.settings.prefect_url}/events/filter", json=wanted, timeout=20)
    reply.raise_for_status()
    return list(reply.json()["events"])


def test_a_training_asked_for_while_prefect_was_down_is_done_once(
    school: School, stack: Stack, waiting: OutboxEvent
) -> None:
    """The request that waited starts it by the trigger; told again, it changes nothing; a made-up one fails."""
    school.configure()
    for asked in ballots.ballots(school.release, NAME):  # of the tests before: one question of a model at a time
        if asked.status == "open":
            ballots.close(school.release, asked.id, "void", "another test", actor="release")
    known = len(candidates(school))
    assert undelivered(school) == [waiting.id]
    delivered(school, requested("made-up"), requested(VERDICT, id="told-again"))
    first, again = triggered(school, VERDICT, 2)
    given = {name: value for name, value in first["parameters"].items() if value}
    assert given == waiting.body
    assert first["state"]["name"] == "Asked", first["state"]["message"]
    (made,) = candidates(school)[known:]
    assert (made.verdict, made.reason) == (VERDICT, f"{waiting.body['reason']} (verdict {VERDICT})")
    assert (again["state"]["type"], again["state"]["name"]) == ("COMPLETED", "Done before")
    assert made.id in again["state"]["message"]

    (forged,) = triggered(school, "made-up", 1)
    assert forged["state"]["type"] == "FAILED"
    assert "ruling 'made-up'" in forged["state"]["message"]
    assert len(candidates(school)) == known + 1
    (told,) = until("its owner is told", lambda: failures(school))  # after the run's state is set
    assert "ruling 'made-up'" in told.body["what"]
    assert forged["id"] in told.body["link"]
    assert len(automation_events(school, "action.executed")) >= 3
    assert automation_events(school, "action.failed") == []


def test_an_event_that_names_no_verdict_starts_nothing(school: School, stack: Stack) -> None:
    """And Prefect says so where the test above looks."""
    before = len(found(school, "flow_runs", flows={"name": {"any_": ["lifecycle"]}}))
    notify.prefect(school.settings.prefect_url, replace(requested("none"), body={"reason": "because"}))
    (failed,) = until("Prefect says that the action failed", lambda: automation_events(school, "action.failed"))
    assert "Unable to create flow run" in failed["payload"]["reason"]
    assert len(found(school, "flow_runs", flows={"name": {"any_": ["lifecycle"]}})) == before


def test_a_cadence_starts_a_run_for_each_of_its_models_once_a_period(school: School, stack: Stack) -> None:
    deployed = next(one for one in found(school, "deployments") if one["name"] == "lifecycle")
    cadences = {one["parameters"]["cadence"]: one["active"] for one in deployed["schedules"]}
    assert cadences == {"weekly": True, "monthly": True, "seasonal": True}
    started = carried_out(school, cadence="monthly")
    assert (started["type"], started["name"]) == ("COMPLETED", "Started"), started["message"]
    run = started["message"].removeprefix(f"{NAME}: ")
    assert retrain.start_due(school.settings, school.config, "monthly", utc_now()) == {NAME: run}
    given = httpx.get(f"{school.settings.prefect_url}/flow_runs/{run}", timeout=20).json()["parameters"]
    assert given == {"model": NAME, "cadence": "monthly"}
    names = {one["name"] for one in found(school, "flow_runs", flows={"name": {"any_": ["lifecycle"]}})}
    assert "lifecycle-monthly" in names
