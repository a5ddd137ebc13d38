"""The process: it starts, drains, dies and comes back without losing an answer, and says when there is too much."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from checks import plans as moves
from errors import StackError
from records import Answer
from stores.ledger import counters
from stores.lookup import read
from stores.segments import entries, segments
from tests.serving.town import NAME, ROOT, Server, Town, wait_for

pytestmark = pytest.mark.stack


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Whatever a test starts is ended."""
    started: list[Server] = []
    yield started
    for server in started:
        server.stop(signal.SIGKILL)


def answered(town: Town) -> list[Answer]:
    found = [entry for segment in segments(town.folder / "journal" / "replica-1") for _, entry in entries(segment.path)]
    return [entry for entry in found if isinstance(entry, Answer)]


def counted(town: Town) -> int:
    rows = counters.totals(town.ledgers["reader"], NAME, town.plan().salt)
    return sum(row.answers for row in rows if row.arm != "shadow")


@pytest.mark.slow  # three starts
def test_killed_and_started_again_it_loses_no_answer_and_counts_none_twice(town: Town, servers: list[Server]) -> None:
    key = town.key()
    identities = []
    for _ in range(2):
        servers.append(Server(town).ready())
        identities += [servers[-1].ask(key, {"customer": f"{n}"}).json()["prediction_id"] for n in range(40)]
        servers[-1].stop(signal.SIGKILL)
    assert [read(town.folder / "journal", identity).answer.prediction_id for identity in identities] == identities
    servers.append(Server(town).ready())
    receipt = servers[-1].ask(key, {"prediction_id": identities[0], "outcome": {"purchased": ["20000"]}}, "feedback")
    assert receipt.json()["duplicate"] is False  # of two lives ago
    wait_for(lambda: counted(town) == 80)
    assert servers[-1].stop() == 0
    assert counted(town) == 80


def test_sigterm_finishes_what_is_under_way(town: Town, servers: list[Server]) -> None:
    server = Server(town).ready()
    servers.append(server)
    key, statuses = town.key(), []
    wait_for(lambda: server.ask(key).status_code == 200)

    def work() -> None:
        with httpx.Client(base_url=server.url, timeout=10) as client:
            while True:
                try:
                    reply = client.post(f"/{NAME}/predict", json={}, headers={"authorization": f"Bearer {key}"})
                except httpx.TransportError:
                    return
                statuses.append(reply.json().get("prediction_id", reply.text))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(statuses) > 50)
    assert server.stop() == 0
    for thread in threads:
        thread.join()
    written = {answer.prediction_id for answer in answered(town)}
    assert len(statuses) > 50
    assert set(statuses) <= written
    assert "Traceback" not in server.lines
    assert [segment.path.suffix for segment in segments(town.folder / "journal" / "replica-1")] == [".log"]


def test_once_ready_what_is_loaded_is_left_out_of_garbage_collection(town: Town, servers: list[Server]) -> None:
    """A full round of the collector holds every answer up; that over what came later is short."""
    town.released(2)
    servers.append(Server(town).ready())
    wait_for(lambda: "left out of garbage collection" in servers[0].lines)
    left = int(servers[0].lines.split("ready; ")[1].split()[0])
    assert left > 50_000


def test_sigterm_while_it_still_starts_is_not_forgotten(town: Town) -> None:
    early = """
import os, signal
from configs.load import load, settings
from serving import server
start = server.Service
def told(*given):
    os.kill(os.getpid(), signal.SIGTERM)
    return start(*given)
server.Service = told
server.run(settings(), load(settings().configs), "127.0.0.1", 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", early], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
        env={**os.environ, **town.environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "replica replica-1 left" in done.stderr


@pytest.mark.slow  # the ledger is waited for, five seconds; one that is away is not
def test_a_ledger_that_is_locked_at_the_start(town: Town, servers: list[Server]) -> None:
    key = town.key()
    town.close()  # or nobody could lock it whole
    lock = sqlite3.connect(town.folder / "ledger.db", isolation_level=None)
    lock.execute("PRAGMA locking_mode=EXCLUSIVE")
    lock.execute("BEGIN EXCLUSIVE")
    server = Server(town)
    servers.append(server)
    wait_for(lambda: server.ask(key).status_code == 503, 20)
    assert "database is locked" in server.lines
    assert server.http.get("/healthz").status_code == 200
    lock.execute("ROLLBACK")
    lock.close()
    server.ready()
    assert server.ask(key).json()["revision"] == 3


def test_a_ledger_that_is_away_at_the_start_and_nothing_is_cached(town: Town, servers: list[Server]) -> None:
    (town.folder / "ledger.db").rename(town.folder / "away.db")
    key = town.key()
    server = Server(town)
    servers.append(server)
    wait_for(lambda: server.ask(key).status_code == 503)
    reply = server.ask(key)
    assert reply.headers["retry-after"] == "1"
    assert server.http.get("/readyz").status_code == 503
    assert "no plan yet" in server.http.get("/readyz").text
    (town.folder / "away.db").rename(town.folder / "ledger.db")
    server.ready()
    assert server.ask(key).json()["revision"] == 3


def test_without_ledger_and_store_the_cache_answers_from_the_start(town: Town, servers: list[Server]) -> None:
    key = town.key()
    servers.append(Server(town).ready())
    wait_for(lambda: not servers[-1].http.get("/readyz").json()["degraded"])
    before = servers[-1].ask(key, path="v1/predict").json()
    assert servers[-1].stop() == 0
    (town.folder / "ledger.db").rename(town.folder / "away.db")
    (town.folder / "artifacts").rename(town.folder / "elsewhere")
    server = Server(town).ready()
    servers.append(server)
    wait_for(lambda: server.ask(key, path="v1/predict").json()["version"] == 1)
    after = server.ask(key, path="v1/predict").json()
    assert (after["decision"], after["revision"], after["override"]) == (before["decision"], 3, "")
    wait_for(lambda: any("ledger" in reason for reason in server.http.get("/readyz").json()["degraded"]))


def test_more_than_it_may_have_at_once_is_told_to_come_back(town: Town, servers: list[Server]) -> None:
    town.configure({"max_concurrency": 1, "retry_after_seconds": 7})
    server = Server(town).ready()
    servers.append(server)
    key = town.key()
    wait_for(lambda: server.ask(key).status_code == 200)
    body = json.dumps({"requests": [{"customer": str(n), "k": 100} for n in range(900)]}).encode()
    replies: list[httpx.Response] = []
    until = time.monotonic() + 60

    def work() -> None:
        with httpx.Client(base_url=server.url, timeout=20) as client:
            while {one.status_code for one in replies} < {200, 503} and time.monotonic() < until:
                head = {"authorization": f"Bearer {key}"}
                replies.append(client.post(f"/{NAME}/predict", content=body, headers=head))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = {reply.status_code for reply in replies}
    assert statuses == {200, 503}
    refused = next(reply for reply in replies if reply.status_code == 503)
    assert refused.headers["retry-after"] == "7"
    assert "requests under way" in refused.json()["error"]["got"]


def test_two_processes_cannot_be_one_replica(town: Town, servers: list[Server]) -> None:
    servers.append(Server(town).ready())
    with pytest.raises(StackError, match="GROWNET_REPLICA"):
        Server(town)
    servers.append(Server(town, GROWNET_REPLICA="replica-2").ready())


def test_a_port_that_is_taken_is_one_line(town: Town, servers: list[Server]) -> None:
    servers.append(Server(town).ready())
    port = servers[-1].url.rsplit(":", 1)[1]
    done = subprocess.run(
        [sys.executable, "-m", "grownet", "serve", "--port", port],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, **town.environment}, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 9
    assert f"service on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("environment", "said"),
    [({"GROWNET_REPLICA": "../etc"}, "GROWNET_REPLICA"), ({"GROWNET_DEMO": "1"}, "demo")],
)
def test_what_it_cannot_start_with_is_one_line(town: Town, environment: dict[str, str], said: str) -> None:
    with pytest.raises(StackError) as caught:
        Server(town, **environment)
    assert said in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_corrupt_artifact_is_refused_by_a_running_server(town: Town, servers: list[Server]) -> None:
    server = Server(town).ready()
    servers.append(server)
    key, arm = town.key(), town.candidate(2)
    assert arm.artifact is not None
    path = town.folder / "artifacts" / arm.artifact.content[:2] / f"{arm.artifact.content}.sealed"
    path.write_bytes(b"\0" + path.read_bytes()[1:])
    town.begin(arm)
    wait_for(lambda: counters.trips(town.ledgers["reader"], NAME))
    town.guard(moves.take_back)
    server.revision(5)
    assert server.ask(key).json()["version"] in {0, 1}
    assert "bytes that do not open" in server.lines
