"""Asks people whether a version may serve (or a freeze, hold or fallback may end), and does what they decide.

Reads candidate, evidence and the current plan; writes ballot, votes and the next plan to the ledger. A run of its own per
request, started by the lifecycle, by `grownet release ...` or in the UI. It waits suspended, with no process; each answer
runs it again from the first line, which changes nothing, since the ballot lives in the ledger.
Vote in the form behind "Resume", or with `grownet vote`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any, Literal

from prefect import State, flow, get_run_logger, suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field, ValidationError

from configs.load import load, settings
from errors import LedgerUnavailable, StackError
from records import Verb, utc_now
from stores.ledger import ballots
from stores.ledger.ballots import Ballot
from tasks import board, counting, runs, steps
from tasks.questions import Asked, Board, seated
from tasks.steps import artifact, key_of

LATE = timedelta(seconds=60)  # a run waits this much longer than its ballot: a late vote hears why it is none


class Vote(RunInput):
    """The form. Any text passes: what is typed is judged inside, so that a wrong code asks again and fails nothing.

    Titles and no descriptions: each line here leaves one less for the page above it.
    """

    reviewer: str = Field(title="Your enrolled name")
    decision: Literal["yes", "no"] = Field(title="Decision (one no refuses)")
    reason: str = Field(title="Reason, shown to the others")
    code: str = Field(title="Code your authenticator shows now, good for once")


@flow(name="release", flow_run_name="{verb}-{model}", description=__doc__, persist_result=False)
def release(model: str, candidate: str = "", verb: Verb = "promote", detail: str = "") -> State[Any]:
    """Waits for the votes on one ballot and carries it out.

    Args:
        model: a name of models/, or "reviewers" to enrol one.
        candidate: id of the candidate to promote.
        verb: what is asked for.
        detail: why; the people who vote read it.
    """
    found, said = open_ballot(model, candidate, verb, detail), ""
    for key in questions():
        if found.status != "open":
            break
        wait_for_vote(found, key, said)
        found, said = answered(found.id, key)
    concluded = conclude(found.id)
    write_papers(model)
    return outcome(concluded)


step = steps.step(LedgerUnavailable, StackError, delays=[2, 2, 2])


@contextlib.contextmanager
def _board() -> Iterator[Board]:
    chosen = settings()
    with seated(chosen, load(chosen.configs)) as seats:
        yield seats


@step
def open_ballot(model: str, candidate: str, verb: Verb, detail: str) -> Ballot:
    """The ballot of this run, as it stands; it is opened the first time."""
    asked = Asked(model=model, verb=verb, candidate=candidate, detail=detail, run=str(flow_run.id))
    with _board() as seats:
        found = board.lapse(seats, board.ask(seats, asked), utc_now())
        if not runs.pauses(seats.settings, asked.run):
            _publish(seats, found, "")
    get_run_logger().info("ballot %s over %s is %s", found.id, found.model, found.status)
    return found


def questions() -> Iterator[str]:
    """The key of the question asked last, which may have been answered by now, and then new ones."""
    asked = [int(key.removeprefix("vote-")) for key in runs.pauses(settings(), str(flow_run.id))]
    for number in count(max(asked, default=1)):
        yield f"vote-{number}"


def wait_for_vote(found: Ballot, key: str, said: str) -> None:
    """Shows the page and ends this process until somebody answers; goes on at once when the key was answered."""
    with _board() as seats:
        link = runs.page_url(seats.settings, _key(found))
        form = Vote.with_initial_data(description=board.page(seats, found, said, link))
    left = found.question.expires_at + LATE - utc_now()
    with contextlib.suppress(ValidationError):  # resumed without the form: counted as an empty one, and asked again
        suspend_flow_run(wait_for_input=form, key=key, timeout=max(1, int(left.total_seconds())))


def answered(ballot: str, key: str) -> tuple[Ballot, str]:
    """Counts an answer. What was typed is deleted from Prefect however that ends, after the last try."""
    try:
        return count_vote(ballot, key)
    finally:
        runs.forget(settings(), str(flow_run.id))


@step
def count_vote(ballot: str, key: str) -> tuple[Ballot, str]:
    """Judges what was typed, deletes it from Prefect, and backs off when it was no vote."""
    run = str(flow_run.id)
    with _board() as seats:
        submitted = runs.typed(seats.settings, run, key)
        counted = counting.count(seats, ballots.ballot(seats.ledger, ballot), submitted)
        runs.forget(seats.settings, run)
        found, said = board.lapse(seats, ballots.ballot(seats.ledger, ballot), utc_now()), counted.said
        _publish(seats, found, "" if counted.vote else said)
    get_run_logger().info("%s: %s", "a vote" if counted.vote else "no vote", said)
    time.sleep(counted.wait_seconds)
    return found, "" if counted.vote else said


@step
def conclude(ballot: str) -> Ballot:
    """Carries an approved ballot out, and deletes what was typed too late."""
    with _board() as seats:
        found = board.lapse(seats, ballots.ballot(seats.ledger, ballot), utc_now())
        if found.status in {"approved", "released"}:
            get_run_logger().info(board.carry_out(seats, found))
        runs.forget(seats.settings, str(flow_run.id))
        return ballots.ballot(seats.ledger, ballot)


@step
def write_papers(model: str) -> None:
    """The model's card and release notes with this ballot in them; what the guard does next is added hourly."""
    from tasks import paperwork  # noqa: PLC0415 - imports pandas, which a vote need not wait for

    house = settings()
    paperwork.kept_up(house, load(house.configs), model)


def _publish(seats: Board, found: Ballot, said: str) -> None:
    """The page as an artifact of the run: the form in the UI is narrow, and a closed ballot has none."""
    text = board.page(seats, found, said)
    artifact(f"ballot {found.id}", text, f"ballot {found.id}: {found.status}")


def _key(found: Ballot) -> str:
    return key_of(f"ballot {found.id}")


def outcome(found: Ballot) -> State[Any]:
    """Green is released; everything else is red and says why."""
    state = Completed if found.status == "released" else Failed
    return state(name=found.status.title(), message=found.closed_reason)
