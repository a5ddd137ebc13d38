"""The guard's process: bad models, a ledger that goes and comes, alerts on their way, and a clean end."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from configs.schema import Config, Settings
from errors import WrongLedger
from guard.loop import run
from records import OutboxEvent, utc_now
from stack.endpoints import endpoints
from stores.ledger import leases, outbox
from stores.ledger.engine import Ledger
from tests.checks.traffic import live
from tests.guard.test_rollout import GOOD, content, promoted, traffic
from tests.guard.town import Town, config, settings
from tests.stores.ledger.world import MODEL

ROOT = Path(__file__).resolve().parents[2]


def until(true: Callable[[], object], seconds: float = 30) -> None:
    deadline = utc_now() + timedelta(seconds=seconds)
    pause = threading.Event()
    while not true():
        assert utc_now() < deadline, "it did not come true in time"
        pause.wait(0.02)


@contextmanager
def running(chosen: Settings, house: Config) -> Iterator[threading.Thread]:
    """`run` in a thread, stopped at the end; it must end quickly."""
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(chosen, house, stop))
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


def raw(town: Town, statement: str, *values: object) -> None:
    """Writes to the file past all roles, as a broken program would."""
    connection = sqlite3.connect(town.folder / "ledger.db", isolation_level=None, timeout=60)
    connection.execute(statement, values)
    connection.close()


def two_models() -> Config:
    """The house with a second model, which comes first."""
    house = config()
    one = house.models[MODEL]
    return house.model_copy(update={"models": {"another": one.model_copy(update={"name": "another"}), MODEL: one}})


class TestOneBadModel:
    def test_a_forged_plan_does_not_disarm_the_others_and_is_told_once(self, town: Town) -> None:
        town.begin(1)
        raw(
            town,
            "INSERT INTO releases SELECT 'another', 1, at, actor, key, signature, '', audit || 'x', "
            "replace(payload, '\"recommendation\"', '\"another\"') FROM releases",
        )
        town.follow()
        town.count(traffic(1, 3000, GOOD))
        guard = town.guard(two_models())
        for _ in range(3):
            guard.tick()
        assert town.plan().step >= 1  # this one is watched as ever
        [alert] = town.alerts()
        assert (alert.model, alert.level) == ("another", "critical")
        assert alert.title == "the guard cannot watch this model"
        assert "signature" in alert.body["what"]

    def test_a_row_nobody_can_read_and_its_end(self, town: Town, caplog: pytest.LogCaptureFixture) -> None:
        town.begin(1)
        raw(town, "INSERT INTO replicas VALUES ('broken', ?, 0, 'no json')", MODEL)
        guard = town.guard()
        guard.tick()
        guard.tick()
        assert [alert.title for alert in town.alerts()] == ["the guard cannot watch this model"]
        raw(town, "DELETE FROM replicas")
        with caplog.at_level("INFO", logger="grownet.guard"):
            guard.tick()
            guard.tick()
        assert [line for line in caplog.messages if "watched again" in line] == [f"{MODEL}: watched again"]


def test_a_model_that_is_switched_off_is_left_alone(town: Town) -> None:
    """No replica serves it: what its plan says waits, and nobody is alarmed that nothing follows."""
    town.begin(1)
    town.count(traffic(1, 3000, GOOD))
    off = config()
    off = off.model_copy(update={"models": {MODEL: off.models[MODEL].model_copy(update={"enabled": False})}})
    before = town.plan()
    guard = town.guard(off)
    for _ in range(3):
        guard.tick()
    assert town.plan() == before
    assert town.alerts() == []
    town.follow()
    on = town.guard()
    for _ in range(3):
        on.tick()
    assert town.plan().step >= 1


def test_an_alert_is_on_its_way_seconds_after_the_errors(town: Town) -> None:
    promoted(town, 1)
    town.begin(2)
    town.follow()
    with endpoints() as box:
        chosen = settings(town.folder, slack_url=box.slack_url, smtp_url=box.smtp_url)
        with running(chosen, config()):
            town.count(live("salt-2", "canary", 2, 100, errors=60))
            until(lambda: box.slack and box.mails)
            town.follow()
            until(lambda: town.incidents()[0].restored_at)
    assert town.plan().rejected == (content(2),)
    assert box.slack[0]["text"] == "CRITICAL recommendation: canary recommendation-v2 taken back: errors"
    assert box.mails[0][1] == ("sre@example.org",)
    assert leases.acquire(town.ledgers["guard"], leases.GUARD, "the next", 5) is not None  # the lease was given back


def test_a_ledger_that_goes_and_comes_back(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    town.begin(1)
    file, away = town.folder / "ledger.db", town.folder / "ledger.away"
    with caplog.at_level("INFO", logger="grownet.guard"), running(settings(town.folder), config()):
        until(town.verdicts)
        file.rename(away)
        until(lambda: any("no file" in line for line in caplog.messages))
        away.rename(file)
        until(lambda: "the ledger answers again" in caplog.messages)
        town.follow()
        town.count(traffic(1, 3000, GOOD))
        until(lambda: town.plan().step > 0)
    ticks_away = [line for line in caplog.messages if "no file" in line and "outbox" not in line]
    assert len(ticks_away) == 1  # said once, not at every tick


def test_a_courier_that_dies_does_not_end_the_judging(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    def pending(*_: object) -> None:
        raise ZeroDivisionError("a library")

    monkeypatch.setattr("guard.outbox.outbox.due", pending)

    def waiting(at: datetime) -> list[OutboxEvent]:
        return outbox.pending(town.ledgers["reader"], 100, at)

    town.begin(1)
    with running(settings(town.folder), config()) as thread:
        until(town.verdicts)
        monkeypatch.undo()
        tomorrow = utc_now() + timedelta(days=1)  # one that Prefect did not take waits
        until(lambda: "the delivery of alerts failed" in [one.title for one in waiting(tomorrow)])
        town.follow()
        town.count(traffic(1, 3000, GOOD))
        until(lambda: town.plan().step > 0)
        assert thread.is_alive()


def test_a_ledger_that_is_away_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "disk"
    folder.write_text("not mounted yet")
    chosen = settings(tmp_path, ledger_url=f"sqlite:///{folder}/ledger.db")
    with caplog.at_level("INFO", logger="grownet.guard"):
        with running(chosen, config()):
            until(lambda: any("ledger" in line for line in caplog.messages))
            folder.unlink()
            folder.mkdir(exist_ok=True)  # the guard may have made it already
            until(lambda: any("guarding" in line for line in caplog.messages))
        assert any("leading under epoch" in line for line in caplog.messages) or "stopped" in caplog.messages


def test_stopped_before_the_ledger_ever_came(tmp_path: Path) -> None:
    (tmp_path / "disk").write_text("x")
    with running(settings(tmp_path, ledger_url=f"sqlite:///{tmp_path}/disk/ledger.db"), config()):
        pass


def test_a_demo_ledger_is_refused_outside_the_demo(tmp_path: Path) -> None:
    Ledger.open(f"sqlite:///{tmp_path}/ledger.db", "guard", demo=True).close()
    with pytest.raises(WrongLedger):
        run(settings(tmp_path), config(), threading.Event())


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_what_it_does_and_ends_on_a_signal(tmp_path: Path, end: signal.Signals) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GROWNET_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "grownet", "guard"],
        cwd=ROOT,
        env={**environment, "GROWNET_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "leading" in line:
                process.send_signal(end)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    assert any("guarding " in line and "recommendation" in line for line in lines)
    assert "stopped" in lines[-1]
