"""What was ruled before: retraining within its limits, and nothing done or told twice, whatever is killed when."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from msgspec.structs import replace

from configs.load import HERE, overlay
from errors import RevisionConflict
from guard.decide import decide
from guard.loop import Guard
from guard.outbox import Courier
from guard.rollout import Hand
from guard.watch import Watch, look
from records import utc_now
from stack.endpoints import endpoints
from stores import notify
from stores.ledger import leases, outbox, rulings
from tests.guard.test_loop import ROOT, until
from tests.guard.test_outbox import Prefect, prefect_api
from tests.guard.town import BAD, Town, config, limited, settings, ticks
from tests.stores.ledger.world import MODEL

SAID = "CRITICAL recommendation: drift and a KPI drop (recommendation-v2)"


class TestRetraining:
    def fall(self, two: Town, guard: Guard, *, earlier: timedelta | None) -> None:
        """Drift and a drop, after another retraining was asked for so long ago."""
        if earlier is not None:
            past = two.rulings()[-1]
            asked = replace(past, id="earlier", actions=("retrain",), at=utc_now() - earlier)
            with two.ledgers["guard"].write("guard") as transaction:
                rulings.store(transaction, asked)
        two.find(BAD)
        ticks(guard, two, 3)

    @pytest.mark.parametrize(
        ("limits", "earlier", "why"),
        [
            ({}, timedelta(hours=71), "cool-down"),
            ({"cool_down_hours": 1.0, "max_per_quarter": 1}, timedelta(days=90), "1 are allowed"),
            ({"max_per_quarter": 0}, None, "0 are allowed"),
        ],
        ids=["cool-down", "cap", "never"],
    )
    def test_a_limit_is_said_and_the_rollback_happens_all_the_same(
        self, two: Town, limits: dict[str, float], earlier: timedelta | None, why: str
    ) -> None:
        self.fall(two, two.guard(limited(**limits)), earlier=earlier)
        assert (two.plan().champion.number, two.plan().frozen_for) == (1, "drift")
        assert two.requests() == []
        ruling = next(one for one in two.rulings() if one.row == "drift_and_drop")
        assert "retrain" not in ruling.actions
        assert why in ruling.reason
        assert why in two.alerts()[-1].body["what"]
        assert "requested" not in two.alerts()[-1].body["done"]

    def test_after_the_cool_down_and_in_another_quarter_it_is_asked_for_again(self, two: Town) -> None:
        self.fall(two, two.guard(limited(max_per_quarter=1)), earlier=timedelta(days=92))
        assert len(two.requests()) == 1


class TestOnce:
    def test_a_guard_that_starts_anew_does_and_says_nothing_twice(self, two: Town) -> None:
        two.find(BAD)
        ticks(two.guard(), two, 2)
        plan, alerts, ruled = two.plan(), two.alerts(), two.rulings()
        ticks(two.guard(), two, 2)
        assert (two.plan(), two.alerts(), two.rulings()) == (plan, alerts, ruled)
        assert len(two.requests()) == len(two.incidents()) == 1

    def test_of_two_guards_one_rules(self, two: Town) -> None:
        two.find(BAD)
        first, second = two.guard(holder="guard-1"), two.guard(holder="guard-2")
        for _ in range(3):
            two.follow()
            first.tick()
            second.tick()
        assert len(two.requests()) == len(two.alerts()) == len(two.incidents()) == 1

    def test_a_guard_that_slept_through_its_lease_writes_nothing(self, two: Town) -> None:
        ledger = two.ledgers["guard"]
        later = utc_now() + timedelta(seconds=60)  # the town's own guard may have led a moment ago
        old = leases.acquire(ledger, leases.GUARD, "sleeper", 60, later)
        assert old is not None
        assert leases.acquire(ledger, leases.GUARD, "sleeper", 60, later) is not None
        two.find(BAD)
        before, house = two.plan(), config()
        hand, watch = Hand(ledger, two.signer("guard"), house.defaults, old), Watch(MODEL)
        view = look(ledger, two.signer("guard").ring, watch, utc_now(), 10)
        assert view is not None
        with pytest.raises(RevisionConflict, match="epoch"):
            decide(hand, watch, view, None, house)
        assert (two.plan(), two.alerts(), two.incidents()) == (before, [], [])
        assert "drift_and_drop" not in two.rows()

    def test_a_guard_killed_before_the_ledger_commits_leaves_nothing_and_the_next_does_all(
        self, two: Town, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(*_: object) -> None:
            raise SystemExit("killed")

        two.find(BAD)
        before = two.plan()
        monkeypatch.setattr("stores.ledger.plans.rulings.store", killed)  # the last write of the transaction
        with pytest.raises(SystemExit):
            ticks(two.guard(), two)
        monkeypatch.undo()
        assert (two.plan(), two.requests(), two.alerts(), two.incidents()) == (before, [], [], [])
        ticks(two.guard(), two)
        assert two.plan().champion.number == 1
        assert len(two.requests()) == len(two.alerts()) == len(two.incidents()) == 1

    def test_a_guard_killed_between_ledger_and_outbox_and_it_is_delivered_once(self, two: Town) -> None:
        two.find(BAD)
        ticks(two.guard(), two)  # written, not delivered: the guard is gone
        with endpoints() as box, prefect_api(Prefect()) as state:
            chosen = settings(two.folder, slack_url=box.slack_url, smtp_url=box.smtp_url, prefect_url=state.url)
            for _ in range(2):  # two guards one after the other
                courier = Courier(two.ledgers["guard"], chosen, config().defaults.alerts, lambda: True)
                courier.deliver(threading.Event())
        said = [message["text"] for message in box.slack]
        assert said == [SAID]
        assert len(box.mails) == 1
        asked = [event for event in state.got if event["event"] == "grownet.retrain.requested"]
        [ruling] = [one for one in two.rulings() if "retrain" in one.actions]
        assert [one["payload"]["verdict"] for one in asked] == [ruling.id]
        assert asked[0]["resource"]["prefect.resource.id"] == f"grownet.model.{MODEL}"

    def test_a_request_waits_for_a_prefect_that_is_down(self, two: Town) -> None:
        two.find(BAD)
        ticks(two.guard(), two)
        [asked] = two.requests()
        courier = Courier(two.ledgers["guard"], settings(two.folder), config().defaults.alerts, lambda: True)
        courier.deliver(threading.Event())
        later = outbox.pending(two.ledgers["reader"], 100, utc_now() + timedelta(hours=1))
        assert asked.id in [event.id for event in later]
        with prefect_api(Prefect()) as state:
            for event in later:
                notify.prefect(state.url, event)
        assert str(state.got).count("grownet.retrain.requested") == 1

    def test_a_guard_process_that_is_killed_with_everything_undelivered(self, two: Town) -> None:
        """Real processes and kill -9: the first has nobody to deliver to, the second delivers, once."""
        two.find(BAD)
        two.follow()
        overlay(HERE, two.folder / "configs", {"defaults.yaml": {"guard": {"tick_seconds": 0.05, "lease_seconds": 1}}})
        with guarding(two) as first:
            until(two.requests)
            first.kill()
        two.follow()
        with endpoints() as box, prefect_api(Prefect()) as state:
            addresses = {"GROWNET_SLACK_URL": box.slack_url, "GROWNET_PREFECT_URL": state.url}
            with guarding(two, **addresses):
                until(lambda: "grownet.retrain.requested" in str(state.got) and box.slack)
                until(lambda: two.incidents()[0].restored_at)
        assert [event["event"] for event in state.got].count("grownet.retrain.requested") == 1
        assert [message["text"] for message in box.slack].count(SAID) == len(two.incidents()) == 1
        assert [ruling.row for ruling in two.rulings()].count("drift_and_drop") == 1


@contextmanager
def guarding(town: Town, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """`grownet guard` on a town's home; ended with the block."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GROWNET_")}
    home = {"GROWNET_HOME": str(town.folder), "GROWNET_CONFIGS": str(town.folder / "configs")}
    nobody = {"GROWNET_PREFECT_URL": "http://127.0.0.1:9/api"}
    process = subprocess.Popen(
        [sys.executable, "-m", "grownet", "guard"],
        cwd=ROOT,
        env={**clean, **home, **nobody, **environment},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
