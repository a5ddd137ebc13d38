"""Freezes, holds, takes back or falls back to the rules, for an operator who proves in a form who she is; then her own key signs.

Reads plan and operators; writes spent codes and the next plan to the ledger. Started in the UI (the command line, `grownet release
VERB`, is quicker and asks for no code). The run waits with its process alive, so that the plan is written within a second or two of
the code; nobody's code within ten minutes, or a process that dies, and nothing was done.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

from prefect import State, flow, get_run_logger, pause_flow_run
from prefect.exceptions import FlowPauseTimeout
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field, ValidationError

from checks.operating import Stop
from configs.load import load, settings
from errors import LedgerUnavailable, StackError
from tasks import operator_codes, runs, steps
from tasks.operator_codes import Asked, Proof, Shown

WAIT_SECONDS = 600
LOOK_SECONDS = 1  # between two looks at whether the form was answered; Prefect takes whole ones


class Code(RunInput):
    """The form. Any text passes: what is typed is judged inside, so that a wrong code asks again and fails nothing."""

    code: str = Field(title="Code your authenticator shows now, good for once")


@flow(name="operate", flow_run_name="{verb}-{model}-by-{operator}", description=__doc__, persist_result=False)
def operate(model: str, verb: Stop, operator: str, reason: str, revision: int = 0) -> State[Any]:
    """Shows what the verb would do, waits for the operator's code, and does it.

    Args:
        model: a name of models/.
        verb: what to do; undoing it takes a vote, in the flow `release`.
        operator: your operator name.
        reason: why; it is kept in the audit log.
        revision: the revision you looked at, if it must be that one; else the one that the form shows.
    """
    asked = Asked(model=model, verb=verb, operator=operator, reason=reason, revision=revision, run=str(flow_run.id))
    proof = Proof(right=False)
    for key in questions():
        shown = prepare(asked, proof.said)
        if shown.done:
            return Completed(name="Unchanged", message=shown.done)
        if not answered(shown, key):
            return Failed(name="Expired", message=f"no code within {WAIT_SECONDS} s: nothing was done")
        with forgotten(asked):
            proof = prove(asked, key)
            if proof.right:
                return Completed(name="Done", message=carry_out(asked, shown.revision))
        if proof.locked:
            break
        time.sleep(proof.wait_seconds)
    return Failed(name="Refused", message=proof.said)


step = steps.step(LedgerUnavailable, StackError, delays=[0.2, 1, 3])


def questions() -> Iterator[str]:
    """The keys of one form after another."""
    return (f"code-{number}" for number in count(1))


@step
def prepare(asked: Asked, last: str) -> Shown:
    """What the verb would do now; what cannot be done is refused here."""
    house = settings()
    return operator_codes.prepare(house, load(house.configs), asked, last)


def answered(shown: Shown, key: str) -> bool:
    """Shows the page and waits until somebody answers; False when nobody does in time."""
    form = Code.with_initial_data(description=shown.page)
    try:
        with contextlib.suppress(ValidationError):  # resumed past the form: judged as an empty one
            pause_flow_run(wait_for_input=form, timeout=WAIT_SECONDS, poll_interval=LOOK_SECONDS, key=key)
    except FlowPauseTimeout:
        return False
    return True


@contextlib.contextmanager
def forgotten(asked: Asked) -> Iterator[None]:
    """What was typed is deleted from Prefect however this ends; nothing waits for it."""
    try:
        yield
    finally:
        runs.forget(settings(), asked.run, runs.PAUSED)


@step
def prove(asked: Asked, key: str) -> Proof:
    """Whether the code is the operator's; it counts once."""
    house = settings()
    submitted = runs.typed(house, asked.run, key, runs.PAUSED)
    found = operator_codes.prove(house, load(house.configs), asked, submitted)
    get_run_logger().info("%s", f"{asked.operator} it is" if found.right else f"no: {found.said}")
    return found


@step
def carry_out(asked: Asked, revision: int) -> str:
    """Writes the plan, and says how things stand then."""
    words = operator_codes.carry_out(settings(), asked, revision)
    get_run_logger().info("%s", words)
    return words
