"""Two `grownet guard` processes on one ledger: the leader is killed in a rollout, or sleeps through its lease in a write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from psutil import STATUS_STOPPED
from psutil import Process as Standing

from configs import load as loading
from records import utc_now
from stores.ledger import audit, leases, plans
from tests.checks.traffic import live
from tests.guard.test_loop import until
from tests.guard.test_rollout import content
from tests.guard.town import Town
from tests.stores.ledger.world import MODEL

ROOT = Path(__file__).resolve().parents[2]
SHORT = 2.0  # seconds of the lease; a test with the house's own is slow
LEADS = "leading under epoch"
MARGIN = 5.0  # beyond it, on a busy machine: a tick, and the work itself


class Process:
    """A guard of its own, with its log."""

    def __init__(self, town: Town, name: str) -> None:
        self.log = town.folder / f"{name}.log"
        own = {key: value for key, value in os.environ.items() if not key.startswith("GROWNET_")}
        given = {**own, "GROWNET_HOME": str(town.folder), "GROWNET_CONFIGS": str(town.folder / "configs")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "grownet", "guard"], cwd=ROOT, env=given, stdout=log, stderr=log
            )

    @property
    def lines(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def saying(self, words: str) -> Process:
        """Waits until its log has the words."""
        until(lambda: words in self.lines)
        return self

    def send(self, how: signal.Signals) -> None:
        self.process.send_signal(how)

    def end(self) -> None:
        for how in (signal.SIGCONT, signal.SIGKILL):
            if self.process.poll() is None:
                self.send(how)
        self.process.wait(60)


class Watch(list[Process]):
    """The guards of a test, on a configuration with this lease."""

    def __init__(self, town: Town, lease: float) -> None:
        super().__init__()
        self.town = town
        changes = {"defaults.yaml": {"guard": {"tick_seconds": 0.1, "lease_seconds": lease}}}
        loading.overlay(loading.HERE, town.folder / "configs", changes)

    def begin(self, number: int) -> None:
        """So many, all at once; one leads."""
        self += [Process(self.town, f"guard-{at}") for at in range(number)]
        until(lambda: all("guarding" in one.lines for one in self) and self._epochs())

    @property
    def leader(self) -> Process:
        """Who led last."""
        epochs = self._epochs()
        return max(epochs, key=lambda one: epochs[one])

    @property
    def epoch(self) -> int:
        return max(self._epochs().values())

    def _epochs(self) -> dict[Process, int]:
        """As they say themselves."""
        said = {one: one.lines.rpartition("leading under epoch ")[2].split() for one in self if LEADS in one.lines}
        return {one: int(words[0]) for one, words in said.items()}


@pytest.fixture
def quick(two: Town) -> Iterator[Watch]:
    made = Watch(two, SHORT)
    yield made
    for one in made:
        one.end()


@pytest.fixture
def house(two: Town) -> Iterator[Watch]:
    made = Watch(two, loading.load().defaults.guard.lease_seconds)
    yield made
    for one in made:
        one.end()


def test_a_leader_that_is_killed_in_a_rollout_is_followed_within_its_lease(quick: Watch) -> None:
    quick.town.begin(3)
    quick.begin(2)
    _killed(quick, SHORT)


@pytest.mark.slow
def test_of_three_the_first_is_killed_in_a_rollout_and_the_second_sleeps_through_its_lease(quick: Watch) -> None:
    quick.town.begin(3)
    quick.begin(3)
    _killed(quick, SHORT)
    _slept(quick)


@pytest.mark.slow
def test_a_leader_is_followed_within_the_lease_of_the_house(house: Watch) -> None:
    house.town.begin(3)
    house.begin(2)
    _killed(house, 10.0)


def _killed(watch: Watch, lease: float) -> None:
    """The canary begins to fail when nobody leads any more."""
    town = watch.town
    town.follow()
    until(lambda: town.verdicts() and town.verdicts()[-1].arm == "canary")  # it judges the rollout
    leader, first = watch.leader, watch.epoch
    leader.send(signal.SIGKILL)
    leader.process.wait(60)
    killed = time.monotonic()
    town.follow()
    town.count(live("salt-3", "canary", 3, 100, errors=60))
    until(lambda: town.plan().canary is None, lease + MARGIN)
    took = time.monotonic() - killed
    assert took < lease + MARGIN
    assert watch.epoch == first + 1
    assert watch.leader is not leader
    plan = town.plan()
    assert (plan.champion.number, plan.actor) == (2, "guard")
    assert content(3) in plan.rejected
    assert [incident.kind for incident in town.incidents()] == ["errors"]
    _whole(town)


def _slept(watch: Watch) -> None:
    """It has looked, ruled and said so, and waits for the lock; then it sleeps, and another one leads."""
    town, sleeper, first = watch.town, watch.leader, watch.epoch
    town.follow()
    ledger = town.ledgers["operator"]
    renewed = leases.held(ledger, leases.GUARD)
    until(lambda: leases.held(ledger, leases.GUARD) != renewed)  # the next time is a third of a lease away
    town.find(corruption="stream", at=utc_now() + timedelta(seconds=0.3))  # counts from then on
    before = town.plan()
    with ledger.write("a long one"):
        with suppress(AssertionError):  # on a busy machine it may wait to renew its lease instead: refused all the same
            until(lambda: "corrupt" in sleeper.lines, 2)
        sleeper.send(signal.SIGSTOP)
        until(lambda: Standing(sleeper.process.pid).status() == STATUS_STOPPED)
        assert town.plan() == before
    until(lambda: town.plan().revision == before.revision + 1, SHORT + MARGIN)
    assert watch.epoch == first + 1
    assert watch.leader is not sleeper
    answered = town.plan()
    assert (answered.mode, answered.frozen_for) == ("rules", "corruption")
    sleeper.send(signal.SIGCONT)
    until(lambda: "a write was refused" in sleeper.lines or "another guard leads now" in sleeper.lines)
    sleeper.saying("another guard leads now")
    assert town.plan() == answered
    assert [incident.kind for incident in town.incidents()] == ["errors", "corruption"]
    assert [one.role for one in town.rulings() if one.row == "corrupt"].count("champion") == 1
    _whole(town)


def _whole(town: Town) -> None:
    """One history, each plan signed and told of."""
    reader = town.ledgers["reader"]
    rows = plans.history(reader, MODEL)
    assert [one.plan.revision for one in rows] == list(range(1, len(rows) + 1))
    assert plans.verify_all(reader, town.signer("guard").ring) == len(rows)
    audit.verify(reader)
