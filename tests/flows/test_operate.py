"""The flow `operate` on a real Prefect server with a real worker: who clicks proves who she is, and the plan is written at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from guard.outbox import Courier
from records import ReleasePlan, utc_now
from stack.processes import Stack
from stores.ledger import audit, plans
from stores.ledger.engine import Ledger
from tasks import board, runs
from tasks.operate import opened
from tests.flows.test_release import api, ended, until
from tests.stores.ledger.world import MODEL
from tests.tasks.release_world import House, approved, promote, running

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(400)]
SOON_SECONDS = 10.0  # from a code to the plan, on a busy machine; two seconds on an idle one


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Version 1 is on its way; olga, otto and ines may act."""
    made = House(tmp_path_factory.mktemp("operate"))
    for name in ("otto", "ines"):
        made.operator(name)
    made.enrol_all()
    with made.board() as seats:
        board.carry_out(seats, approved(made, seats, promote(made.candidate(1))))
    return made


@pytest.fixture(scope="module")
def stack(house: House) -> Iterator[Stack]:
    with running(house) as started:
        yield started


def start(house: House, verb: str, operator: str = "olga", reason: str = "clicks fell") -> str:
    about = {"model": MODEL, "verb": verb, "operator": operator, "reason": reason}
    return runs.start_deployment(house.settings, "operate/operate", about)


def form(house: House, run: str, key: str = "code-1") -> str:
    """What the operator reads above the field."""
    until(
        f"the run asks as {key}",
        lambda: (api(house, "GET", f"flow_runs/{run}")["state"]["state_details"] or {}).get("pause_key") == key,
    )
    return str(until("the page", lambda: page(house, run, key)))


def page(house: House, run: str, key: str) -> str:
    found = typed(house, run, f"paused-{key}-")
    return next((one["value"] for one in found if one["key"].endswith("description")), "")


def typed(house: House, run: str, prefix: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api(
        house, "POST", f"flow_runs/{run}/input/filter", prefix=prefix, limit=50, exclude_keys=[]
    )
    return found


def answer(house: House, run: str, code: str) -> float:
    """Submits a code as the page in the UI does; the monotonic clock by then."""
    until("the form takes it", lambda: runs.answer(house.settings, run, {"code": code}).accepted)
    return time.monotonic()


def plan_of(house: House) -> ReleasePlan:
    with opened(house.settings, "reader") as ledger:
        signed = plans.current(ledger, MODEL)
    assert signed is not None
    return signed.plan


def code(house: House, operator: str) -> str:
    return house.code(f"operator:{operator}", utc_now())


def test_a_freeze_by_form_is_proved_signed_and_quick(house: House, stack: Stack) -> None:
    began = time.monotonic()
    run = start(house, "freeze")
    shown = form(house, run)
    print(f"{time.monotonic() - began:.1f} s from the start to the form")
    assert "## Freeze recommendation?" in shown
    answer(house, run, "000000")
    assert "The last code did not count" in form(house, run, "code-2")
    assert not plan_of(house).frozen
    sent = answer(house, run, code(house, "olga"))
    until("the plan is written", lambda: plan_of(house).frozen)
    seconds = time.monotonic() - sent
    print(f"{seconds:.2f} s from the code to the plan")
    assert seconds < SOON_SECONDS
    over = ended(house, run)
    assert (over["type"], over["name"]) == ("COMPLETED", "Done")
    assert "The plan is frozen" in over["message"]
    assert plan_of(house).actor == "operator:olga"
    with opened(house.settings, "reader") as ledger:
        assert [entry.action for entry in audit.entries(ledger, "olga")][-2:] == [
            "operator.unproved",
            "operator.proved",
        ]
    left = typed(house, run, "paused-")
    assert left
    assert not [one["key"] for one in left if one["key"].endswith("response")]  # no typed code stays


def test_what_is_so_needs_no_code_and_what_cannot_be_done_is_refused_with_its_reason(
    house: House, stack: Stack
) -> None:
    again = ended(house, start(house, "freeze"))
    assert (again["type"], again["name"]) == ("COMPLETED", "Unchanged")
    stranger = ended(house, start(house, "hold", "mallory"))
    assert stranger["type"] == "FAILED"
    assert "operators add" in stranger["message"]


def test_of_two_operators_with_the_same_form_one_wins_and_the_other_is_told(house: House, stack: Stack) -> None:
    first, second = start(house, "rollback", "otto"), start(house, "rollback", "ines")
    for run in (first, second):
        assert "rejected for good" in form(house, run)
    answer(house, first, code(house, "otto"))
    assert ended(house, first)["name"] == "Done"
    answer(house, second, code(house, "ines"))
    lost = ended(house, second)
    assert lost["type"] == "FAILED"
    assert "written by operator:otto" in lost["message"]
    assert plan_of(house).canary is None


def test_what_changed_is_told_by_the_outbox_and_shown_by_the_run_that_starts(house: House, stack: Stack) -> None:
    ledger = Ledger.open(house.settings.ledger_url, "guard")
    courier = Courier(ledger, house.settings, house.config.defaults.alerts, lambda: True)
    told = until("Prefect takes the events", lambda: courier.deliver(threading.Event()))
    ledger.close()
    assert told >= 2  # one for each revision; the runs that wait in line are not all needed
    bar: dict[str, Any] = until("the bar", lambda: bars(house))[-1]
    revision = plan_of(house).revision
    assert bar["description"].startswith(f"Revision {revision}: the rules answer")
    assert "rollback: clicks fell" in api(house, "POST", "artifacts/filter", artifacts=named("rollout"))[-1]["data"]


def bars(house: House) -> list[dict[str, Any]]:
    return list(api(house, "POST", "artifacts/filter", artifacts=named("progress")))


def named(kind: str) -> dict[str, Any]:
    return {"key": {"any_": [f"{kind}-{MODEL}"]}}
