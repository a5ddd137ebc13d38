"""A repeat in which the harm was left out, or nobody asked afterwards, says so; and the sample is one that the page prints."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.drill import stage as staging
from benchmarks.drill.asking import WORSE
from benchmarks.drill.faults import FAULTS
from benchmarks.drill.house import ALONE
from benchmarks.drill.measures import Answered, Reply
from benchmarks.drill.stage import Stage
from benchmarks.drill.watcher import wall
from tasks.ballot_page import samples
from tests.stores.ledger.world import NOON


def answer(at: float, override: str = "") -> Answered:
    return Answered("steady", Reply(7, "champion", 1, override), at)


@pytest.fixture
def repeat() -> Stage:
    theatre: Any = SimpleNamespace(running=SimpleNamespace(house=None))  # nothing of it is looked at
    made = Stage(theatre, "errors", 1, NOON, bad=lambda one: one.reply.override == "error")
    made.began = time.time()
    made.restored = made.began + 1.0
    made._offset = wall(0.0)
    return made


def said(repeat: Stage, *answers: Answered) -> list[str]:
    repeat._refuse_nothing(list(answers))
    return repeat.broken


def test_a_fault_that_spoilt_an_answer_and_is_over(repeat: Stage) -> None:
    assert said(repeat, answer(repeat.began + 0.5, "error"), answer(repeat.began + 1.5)) == []


def test_a_fault_that_did_no_harm_shows_nothing(repeat: Stage) -> None:
    early = answer(repeat.began - 0.5, "error")
    assert said(repeat, early, answer(repeat.began + 1.5)) == ["not so: the fault met an answer"]


def test_one_that_a_replica_spared_was_met_and_is_not_bad(repeat: Stage) -> None:
    repeat.spared = lambda one: one.reply.override == "tripped"
    repeat.restored = repeat.began + 0.2
    spared = answer(repeat.began + 0.5, "tripped")
    assert said(repeat, spared, answer(repeat.began + 1.5)) == []
    assert repeat._over([spared]) == repeat.restored
    assert said(repeat, answer(repeat.began - 0.5, "tripped"), answer(repeat.began + 1.5)) == [
        "not so: the fault met an answer"
    ]


def test_a_fault_after_which_nobody_asked_shows_nothing(repeat: Stage) -> None:
    assert said(repeat, answer(repeat.began + 0.5, "error")) == ["not so: answers came when it was over"]
    repeat.broken, repeat.bad = [], None
    assert said(repeat) == ["not so: answers came when it was over"]


def test_an_answer_that_must_not_come_is_counted(repeat: Stage) -> None:
    repeat.never = lambda one: one.reply.version == 1
    (found,) = said(repeat, answer(repeat.began + 0.5, "error"), answer(repeat.began + 1.5))
    assert found == "not so: no answer came that must not (2)"


def test_a_clock_that_was_set_shows_nothing(repeat: Stage) -> None:
    repeat._offset -= 2 * staging.CLOCKS_SECONDS
    (found,) = said(repeat, answer(repeat.began + 0.5, "error"), answer(repeat.began + 1.5))
    assert found.startswith("not so: the clocks ran alike (0.2")


def test_the_sample_is_the_smaller_one_of_the_ballots_page(repeat: Stage) -> None:
    repeat.prints(ALONE, WORSE)
    printed = [need for need, _ in samples(ALONE, 0.5, paired=True)]
    assert repeat.printed == min(need for need in printed if need is not None)
    assert len(set(printed)) == 2


def test_every_fault_that_is_taken_back_names_its_incident() -> None:
    assert {name for name, fault in FAULTS.items() if not fault.incident} == {
        name for name, fault in FAULTS.items() if not fault.limit.switches
    }
