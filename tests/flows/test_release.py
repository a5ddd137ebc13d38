"""The release flow on a real Prefect server with a real worker: one server for all tests, one home each would be too slow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import psutil
import pytest
import yaml

from errors import VoteRefused
from records import ReleasePlan, Verb, utc_now
from stack.processes import Stack
from stack.up import pipeline_version
from stores.ledger import ballots, plans, votes
from stores.ledger.ballots import Ballot
from stores.ledger.engine import Ledger
from tasks import board, runs
from tasks.approve import Submission, request, submit
from tasks.operate import act
from tests.stores.ledger.world import MODEL
from tests.tasks.release_world import House, approved, promote, running

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(400)]
WAIT_SECONDS = 120.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    made = House(tmp_path_factory.mktemp("release"))
    made.enrol_all()
    return made


@pytest.fixture(scope="module")
def stack(house: House) -> Iterator[Stack]:
    with running(house) as started:
        yield started


def api(house: House, method: str, path: str, **body: Any) -> Any:
    reply = httpx.request(method, f"{house.settings.prefect_url}/{path}", json=body or None, timeout=20)
    reply.raise_for_status()
    return reply.json() if reply.content else None


def until(what: str, look: Callable[[], Any]) -> Any:
    """Polls with a deadline."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {WAIT_SECONDS} s: {what}")


def state(house: House, run: str) -> dict[str, Any]:
    found: dict[str, Any] = api(house, "GET", f"flow_runs/{run}")["state"]
    return found


def ended(house: House, run: str) -> dict[str, Any]:
    final = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
    return dict(until("the run ends", lambda: (now := state(house, run))["type"] in final and now))


def engines() -> list[int]:
    """Processes below this one that run a flow."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it ended while we were looking
            if "prefect.engine" in process.cmdline():
                found.append(process.pid)
    return found


def asks(house: House, run: str, key: str) -> str:
    """Waits until the run waits for an answer under this key; the page it shows."""
    until(f"the run waits as {key}", lambda: (state(house, run)["state_details"] or {}).get("pause_key") == key)
    return str(until("the page", lambda: page(house, run, key)))


def page(house: House, run: str, key: str) -> str:
    found = api(house, "POST", f"flow_runs/{run}/input/filter", prefix=f"suspended-{key}-", limit=10, exclude_keys=[])
    return next((one["value"] for one in found if one["key"].endswith("description")), "")


def reading(house: House) -> Ledger:
    return Ledger.open(house.settings.ledger_url, "reader")


def newest(house: House) -> Ballot:
    ledger = reading(house)
    try:
        return ballots.ballots(ledger, MODEL)[-1]
    finally:
        ledger.close()


def plan_of(house: House) -> ReleasePlan:
    ledger = reading(house)
    try:
        signed = plans.current(ledger, MODEL)
        assert signed is not None
        return signed.plan
    finally:
        ledger.close()


def say(house: House, name: str, decision: str = "yes", code: str = "") -> Submission:
    return submit(house.settings, MODEL, name, decision, "looked at it", code or house.code(name, utc_now()))


candidates: dict[int, str] = {}


def ask(house: House, number: int) -> str:
    """Starts a release run for version `number`, which is made when it is new."""
    if number not in candidates:
        candidates[number] = house.candidate(number).id
    return request(house.settings, MODEL, "promote", candidates[number], "a test")


def test_each_deployment_says_which_pipeline_it_runs(house: House, stack: Stack) -> None:
    version = pipeline_version(stack.settings)
    found = api(house, "POST", "deployments/filter", limit=50)
    assert {one["name"] for one in found} >= {"release"}
    assert {one["version"] for one in found} == {version.name}
    release = next(one for one in found if one["name"] == "release")
    assert release["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert "GROWNET" not in str([one["job_variables"] for one in found])
    ingest = next(one for one in found if one["name"] == "ingest")
    assert [(one["active"], one["parameters"]) for one in ingest["schedules"]] == [(True, {"dataset": "online_retail"})]


def test_a_release_is_voted_on_across_a_restart_of_the_worker(house: House, stack: Stack) -> None:
    ada, ben, cleo = house.newcomers("1")
    run = ask(house, 1)
    assert "recommendation-v1" in asks(house, run, "vote-1")
    with pytest.raises(VoteRefused, match="the code shown at that moment"):
        say(house, ada, code="000000")
    assert "last submission was no vote" in asks(house, run, "vote-2")  # resumed after an invalid one, with a new key
    assert say(house, ada).counted
    asks(house, run, "vote-3")
    until("the process of the run has left", lambda: not engines())  # one killed while it suspends has crashed
    stack.restart("worker")
    assert say(house, ben).counted
    shown = asks(house, run, "vote-4")
    assert ada in shown
    assert ben in shown
    last = say(house, cleo)
    assert last.status in {"approved", "released"}
    assert ended(house, run)["name"] == "Released"
    plan = plan_of(house)
    assert plan.canary is not None
    assert plan.canary.number == 1
    left = api(house, "POST", f"flow_runs/{run}/input/filter", prefix="suspended", limit=50, exclude_keys=[])
    assert left
    assert not [one["key"] for one in left if one["key"].endswith("response")]  # no typed code stays


def test_a_no_refuses_and_an_empty_form_only_asks_again(house: House, stack: Stack) -> None:
    ada, ben, _ = house.newcomers("2")
    take_back(house)
    run = ask(house, 2)
    asks(house, run, "vote-1")
    assert not runs.answer(house.settings, run, {}).accepted
    past_the_form = {"state": {"type": "SCHEDULED", "name": "Resuming"}}
    assert api(house, "POST", f"flow_runs/{run}/set_state", **past_the_form)["status"] == "ACCEPT"
    assert "an empty form" in asks(house, run, "vote-2")
    with pytest.raises(VoteRefused, match="a form that Prefect takes"):
        say(house, ada, decision="perhaps")
    with pytest.raises(VoteRefused, match="expected other"):
        submit(house.settings, MODEL, ada, "yes", "read", "123456", ballot="other")
    assert say(house, ada).counted
    asks(house, run, "vote-3")
    assert say(house, ben, "no").status == "refused"
    over = ended(house, run)
    assert (over["type"], over["name"]) == ("FAILED", "Refused")
    assert ben in over["message"]
    assert plan_of(house).canary is None


def test_a_second_request_is_refused_and_one_that_lost_its_run_is_taken_over(house: House, stack: Stack) -> None:
    ada, ben, cleo = house.newcomers("3")
    first = ask(house, 3)
    asks(house, first, "vote-1")
    assert say(house, ada).counted
    asks(house, first, "vote-2")
    second = ask(house, 4)
    assert "no open ballot of this model" in ended(house, second)["message"]
    crash = {"state": {"type": "CRASHED", "name": "Crashed"}, "force": True}
    api(house, "POST", f"flow_runs/{first}/set_state", **crash)
    third = ask(house, 3)
    assert ada in asks(house, third, "vote-1")  # the vote cast in the run that died still counts
    assert say(house, ben).counted
    asks(house, third, "vote-2")
    assert say(house, cleo).counted
    assert ended(house, third)["name"] == "Released"
    canary = plan_of(house).canary
    assert canary is not None
    assert canary.number == 3


def test_a_vote_after_the_end_refuses(house: House, stack: Stack) -> None:
    ada, _, _ = house.newcomers("5")
    take_back(house)
    rules = house.settings.configs / "defaults.yaml"
    before = rules.read_text(encoding="utf-8")
    values = yaml.safe_load(before)
    values["approval"]["expires_seconds"] = 12.0  # more than it takes to show the form
    rules.write_text(yaml.safe_dump(values), encoding="utf-8")
    try:
        run = ask(house, 5)
        asks(house, run, "vote-1")
    finally:
        rules.write_text(before, encoding="utf-8")
    found = newest(house)
    until("its time is over", lambda: utc_now() > found.question.expires_at)
    with pytest.raises(VoteRefused, match="is expired"):
        say(house, ada)
    over = ended(house, run)
    assert over["name"] == "Expired"
    assert "data_science_lead" in over["message"]
    ledger = reading(house)
    assert votes.votes(ledger, found.id) == []
    ledger.close()
    left = api(house, "POST", f"flow_runs/{run}/input/filter", prefix="suspended", limit=50, exclude_keys=[])
    assert not [one["key"] for one in left if one["key"].endswith("response")]


@pytest.mark.parametrize(
    ("before", "verb"), [("freeze", "unfreeze"), ("hold", "resume"), ("", "advance"), ("fallback", "restore")]
)
def test_what_operators_stop_goes_on_by_a_run_that_people_vote_in(
    house: House, stack: Stack, before: str, verb: Verb
) -> None:
    under_way(house)
    stopped = act(house.settings, before, MODEL, "olga", f"before {verb}")[0] if before else plan_of(house)
    run = request(house.settings, MODEL, verb, "", "looked at and mended")
    lead, _, ops = house.newcomers(verb)
    asks(house, run, "vote-1")
    assert say(house, lead).counted
    asks(house, run, "vote-2")
    assert say(house, ops).counted
    assert ended(house, run)["name"] == "Released"
    plan = plan_of(house)
    assert (plan.revision, plan.actor) == (stopped.revision + 1, "release")
    assert (plan.frozen, plan.hold, plan.mode) == (False, False, "model")
    assert plan.step == stopped.step + (verb == "advance")


def under_way(house: House) -> None:
    """A rollout runs: the one of the test before, or a new one that everybody said yes to."""
    with house.board() as seats:
        signed = plans.current(seats.ledger, MODEL)
        if signed is None or signed.plan.canary is None:
            board.carry_out(seats, approved(house, seats, promote(house.candidate(9), "run-9")))


def take_back(house: House) -> None:
    """Ends a running rollout, as an operator may."""
    act(house.settings, "rollback", MODEL, "olga", "the next test wants the place")
