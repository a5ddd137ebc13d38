"""Plays the faults of a drill on one running stack, each so many times, and brings the house back to good after each."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from benchmarks.client.record import Sent
from benchmarks.drill.faults import FAULTS
from benchmarks.drill.house import Running
from benchmarks.drill.measures import Repeat
from benchmarks.drill.rounds import clear
from benchmarks.drill.sittings import Drill
from benchmarks.drill.stage import Stage, Theatre
from benchmarks.drill.watcher import Watcher
from benchmarks.reliability import faulty
from benchmarks.reliability.play import oracle_of
from benchmarks.reliability.village import MODEL
from errors import GrownetError, ReleaseRefused, RevisionConflict, StackError
from records import utc_now
from stores.ledger import audit

SCOPES = ("predict", "feedback", "read", "replay")
BACK = timedelta(days=60)  # to the event time of a sitting's first repeat
HOURS = timedelta(hours=2)  # of event time that each has of its own
ATTEMPTS = 10  # at bringing the plan back, while the guard writes too


def play(running: Running, drill: Drill, tell: Callable[[Repeat], None]) -> None:
    """Every repeat that a drill still lacks; `tell` hears of each as it ends.

    Raises:
        TamperError: when the audit log does not verify after a repeat.
        StackError: when the house cannot be brought back to good.
    """
    first = datetime.now(UTC).replace(minute=10, second=0, microsecond=0) - BACK
    with Watcher(running.house.url) as watcher:
        key = running.house.key(*SCOPES)
        theatre = Theatre(running, watcher, oracle_of(running.house), drill.asked.per_second, key)
        for at, (name, number) in enumerate(drill.left()):
            drill.begins(name, number)
            began = time.monotonic()
            repeat = _played(Stage(theatre, name, number, first + at * HOURS))
            audit.verify(running.house.ledgers["reader"])
            drill.ended(replace(repeat, seconds=time.monotonic() - began))
            tell(repeat)


def _played(stage: Stage) -> Repeat:
    """One repeat. What goes wrong with it is its own; the next one finds a good house."""
    records: list[Sent] = []
    if stage.running.flows:
        clear(stage.running.stack.settings)
    try:
        fault = FAULTS[stage.fault]
        fault.play(stage)
        stage.rest()
        found = stage.incident.kind if stage.incident is not None else ""
        stage.require("the incident is of this fault", found == fault.incident, found)
    except GrownetError as error:
        stage.broken.append(str(error))
    finally:
        faulty.set_fault(stage.running.fault, None)
        records = stage.collect()
    repeat = stage.measured(records)
    _good(stage)
    return repeat


def _good(stage: Stage) -> None:
    """Everything alive, version 1 alone in the plan, served by every replica."""
    running = stage.running
    for name in running.stack.dead():
        running.stack.restart(name)
    since = utc_now().timestamp()
    for _ in range(ATTEMPTS):
        with suppress(RevisionConflict, ReleaseRefused):  # the guard wrote meanwhile: look again
            running.followed(running.house.good(), since)
            return
    raise StackError(f"the plan of {MODEL}", expected="version 1 alone", got=running.house.plan().reason)
