"""The level of a release from the ledger's counters: which rows it rests on, and what the monitor says of it."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from checks import plans as moves
from checks.tallies import sides
from records import Counter, Finding, utc_now
from stores.ledger import counters, findings
from tests.serving.town import NAME
from tests.tasks.observatory import NOW, Observatory
from tests.tasks.test_monitor import restore

DAY, WEEK = timedelta(days=1), timedelta(days=7)
TODAY = NOW.replace(hour=0, minute=0, second=0, microsecond=0)


def count(town: Observatory, start: datetime, days: int, factor: float = 1.0, beside: float | None = None) -> None:
    """Pairs of so many days, 30 % worse on workdays; weeks differ by some 2 %.

    Args:
        factor: what the champion has of its usual KPI, a hit rate of 0.5 at weekends.
        beside: the same of what is compared with it (0.4).
    """
    plan = town.plan()
    who = sides(plan)
    assert who is not None
    arm, version = ("canary", who.arm.number) if who.role == "canary" else ("control", who.control.number)
    draw = np.random.default_rng(int(start.timestamp()) % 10_000)
    other = factor if beside is None else beside
    rows = []
    for day in range(days):
        at = start + day * DAY
        usual = (1.0 if at.weekday() >= 5 else 0.7) * (1 + 0.02 * np.sin(3.7 * ((at - NOW) // WEEK)))
        for bucket in range(100):
            champion, rival = draw.binomial(20, [0.5 * usual * factor, 0.4 * usual * other])
            rows.append(
                Counter(
                    model=NAME, salt=plan.salt, arm=arm, version=version, bucket=bucket, hour=at, answers=20, matured=20,
                    total=float(rival), squares=float(rival), other_total=float(champion), other_squares=float(champion),
                )
            )  # fmt: skip
    counters.add(town.ledgers["serving"], rows)


def said(town: Observatory) -> Finding:
    town.said(NOW - DAY, 60)
    return next(one for one in town.monitor() if one.kind == "level")


def test_both_fell_below_what_weeks_had(town: Observatory) -> None:
    count(town, TODAY - 9 * WEEK, 56)
    count(town, TODAY - WEEK, 7, factor=0.6)
    found = said(town)
    assert found.answer == "yes"
    assert (found.version, found.figures["weeks"]) == (1, 8)
    assert found.figures["champion"]["high"] < -0.05
    assert found.figures["beside"]["high"] < -0.05
    assert (found.window_start, found.window_end) == (TODAY - WEEK, TODAY)
    assert "beside what rules had in 8 weeks" in found.reason


def test_weeks_as_ever_are_no_fall(town: Observatory) -> None:
    count(town, TODAY - 9 * WEEK, 63)
    assert said(town).answer == "no"


def test_a_champion_that_fell_alone_is_not_both(town: Observatory) -> None:
    count(town, TODAY - 9 * WEEK, 56)
    count(town, TODAY - WEEK, 7, factor=0.5, beside=1.0)
    assert said(town).answer != "yes"


def test_without_weeks_enough_nothing_is_said(town: Observatory) -> None:
    assert "not known from 4 weeks" in said(town).reason
    count(town, TODAY - 4 * WEEK, 21)
    count(town, TODAY - WEEK, 7, factor=0.3)
    found = said(town)
    assert (found.answer, found.figures) == ("undecided", {})


def test_a_week_with_a_day_without_answers_is_waited_for(town: Observatory) -> None:
    count(town, TODAY - 9 * WEEK, 56)
    count(town, TODAY - WEEK, 6, factor=0.5)
    assert said(town).answer == "undecided"


def test_the_level_of_a_rollout_is_the_champions_before_it(town: Observatory) -> None:
    """Its own control's rows and those of the salt before count; the canary is the one beside."""
    count(town, TODAY - 9 * WEEK, 56)
    town.begin(town.candidate(2))
    count(town, TODAY - WEEK, 7, factor=0.6)
    found = said(town)
    assert (found.answer, found.version, found.figures["weeks"]) == ("yes", 1, 8)
    assert found.figures["champion"]["change"] < -0.3


def test_people_who_restore_are_left_a_week(town: Observatory, monkeypatch: pytest.MonkeyPatch) -> None:
    behind = utc_now() - NOW  # the town's clock stands still, people's does not
    monkeypatch.setattr("tasks.level.LOOK_BACK", behind + DAY)
    count(town, TODAY - 9 * WEEK, 56)
    count(town, TODAY - WEEK, 7, factor=0.6)
    assert said(town).answer == "yes"
    town.guard(moves.fallback)
    assert said(town).answer == "undecided"  # the rules answer
    restore(town)
    found = said(town)
    assert (found.answer, found.version) == ("undecided", 1)
    assert "a week since then is not over" in found.reason


def test_a_house_may_do_without(town: Observatory) -> None:
    model = town.config.models[NAME]
    monitor = model.monitor.model_copy(update={"level_weeks": 0})
    town.config = town.config.model_copy(update={"models": {NAME: model.model_copy(update={"monitor": monitor})}})
    count(town, TODAY - 9 * WEEK, 63, factor=0.5)
    assert "level_weeks is 0" in said(town).reason
    assert findings.newest(town.ledgers["reader"], NAME)
