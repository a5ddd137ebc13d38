"""The watcher sees what the ledger keeps only for a moment, and knows which plans may have answered since when."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.drill.watcher import Watcher, monotonic, wall
from benchmarks.reliability.fleet import until
from benchmarks.reliability.village import MODEL
from checks import plans as moves
from records import ReplicaState, utc_now
from stores.ledger import counters
from tests.guard.town import Town


def told(town: Town, revision: int) -> ReplicaState:
    state = ReplicaState(replica="one", model=MODEL, revision=revision, loaded={}, at=utc_now())
    counters.report_replica(town.ledgers["serving"], state)
    return state


def test_every_report_and_every_plan_is_kept(tmp_path: Path) -> None:
    town = Town(tmp_path)
    town.begin(1)
    said = [told(town, 1)]
    with Watcher(town.url) as watcher:
        began = time.monotonic()
        for revision in (1, 2):
            said.append(told(town, revision))
            until(lambda: watcher.states[-1] == said[-1], "the report", 30)
        second = town.operate(moves.freeze)
        until(lambda: watcher.changes[-1].plan.revision == second.revision, "the plan", 30)
        assert watcher.states == said
        assert watcher.plan(2) == second
        assert [one.plan.revision for one in watcher.since(began).changes] == [1, 2]
        assert [one.plan.revision for one in watcher.since(time.monotonic()).changes] == [2]
        change = watcher.changes[-1]
        assert change.before <= change.after
        assert abs(change.before - monotonic(second.created_at)) < 0.5
    town.close()


def test_clocks_are_told_from_each_other() -> None:
    now = utc_now()
    off = min(abs(wall(monotonic(now)) - now.timestamp()) for _ in range(50))  # not interrupted between two clocks
    assert off < 0.05
