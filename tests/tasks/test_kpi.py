"""The KPI finding: the champion against its control by the ledger's counters, over windows of event time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from checks import plans as moves
from records import Counter, Finding
from stores.ledger import counters
from tests.serving.town import NAME
from tests.tasks.observatory import NOW, Observatory

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Observatory]:
    made = Observatory(tmp_path)
    made.watched()
    yield made
    made.close()


def count(town: Observatory, champion: float, control: float, back: timedelta = 6 * HOUR, answers: int = 40) -> None:
    """Pairs in every bucket at one hour: what the champion and its control hit on the same requests."""
    plan = town.plan()
    assert plan.control is not None
    rows = [
        Counter(
            model=NAME, salt=plan.salt, arm="control", version=plan.control.number, bucket=bucket, hour=NOW - back,
            answers=answers, matured=answers, total=round(control * answers) + bucket % 3,
            other_total=round(champion * answers) + bucket % 3,
        )
        for bucket in range(200)
    ]  # fmt: skip
    counters.add(town.ledgers["serving"], rows)


def said(town: Observatory) -> Finding:
    town.said(NOW - DAY, 60)
    return next(one for one in town.monitor() if one.kind == "kpi")


def test_a_drop_is_said_with_its_interval(town: Observatory) -> None:
    count(town, champion=0.3, control=0.6)
    found = said(town)
    assert found.answer == "yes"
    assert found.figures["high"] < -0.05
    assert found.figures["matured"] == 8000
    assert (found.window_start, found.window_end) == (NOW - 3 * DAY, NOW)
    assert "against rules" in found.reason


def test_a_champion_that_does_better_is_no_drop(town: Observatory) -> None:
    count(town, champion=0.6, control=0.3)
    assert said(town).answer == "no"


def test_the_stated_rate_is_shared_among_the_stretches_of_a_quarter(town: Observatory) -> None:
    count(town, champion=0.6, control=0.6)
    plan = town.plan()
    assert plan.rollout is not None
    assert said(town).figures["alpha"] == pytest.approx(plan.rollout.gates.alpha / 91)


def test_few_answers_none_and_old_ones_are_never_no_drop(town: Observatory) -> None:
    assert said(town).answer == "undecided"
    count(town, champion=0.0, control=0.9, back=30 * DAY)  # before the stretch
    assert said(town).answer == "undecided"


def test_labels_that_are_not_due_are_left_out(town: Observatory) -> None:
    count(town, champion=0.3, control=0.6, back=timedelta(0))
    found = said(town)
    assert found.answer == "undecided"
    assert found.figures["matured"] == 0


def test_without_anything_beside_it_there_is_nothing_to_say(town: Observatory) -> None:
    count(town, champion=0.3, control=0.6)
    town.guard(moves.fallback)
    found = said(town)
    assert found.answer == "undecided"
    assert "beside the champion" in found.reason
