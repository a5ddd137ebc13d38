"""A set of workers: one port, one page of metrics, feedback to whom it belongs, and no request lost when one goes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import tritonclient.grpc as by_grpc
from prometheus_client.parser import text_string_to_metric_families

from checks.prediction_ids import parse
from errors import ConfigError, StackError, UsageError
from serving.workers import Slot, Workers, supervise
from stores.segments import segments
from tests.ports import free_port
from tests.serving.town import NAME, ROOT, Server, Town, wait_for

pytestmark = pytest.mark.stack
SET = ["replica-1-1", "replica-1-2"]


@pytest.fixture(scope="module")
def workers(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers that the tests of this file share."""
    home = tmp_path_factory.mktemp("workers") / "home"
    shutil.copytree(built, home)
    town = Town(home, {"drain_idle_seconds": 0.5})
    running = Server(town, "--workers", "2", "--grpc-port", str(free_port())).ready()
    wait_for(lambda: len(pids(running)) == 2 and running.lines.count("takes connections") >= 2, 60)
    yield running
    assert running.stop() == 0, running.lines
    left = [segment.path.suffix for name in SET for segment in segments(home / "journal" / name)]
    assert set(left) == {".log"}  # sealed
    town.close()


@pytest.fixture(scope="module")
def key(workers: Server) -> str:
    secret = workers.stand.key()
    wait_for(lambda: {workers.ask(secret).status_code for _ in range(6)} == {200})
    return secret


def pids(server: Server) -> dict[str, int]:
    """The newest process of each worker, as the supervisor said."""
    return {name: int(pid) for name, pid in re.findall(r"worker (\S+) is process (\d+)", server.lines)}


def ids(server: Server, key: str) -> dict[str, str]:
    """A prediction id of each worker; every request on a connection of its own."""
    found: dict[str, str] = {}

    def asked() -> bool:
        with httpx.Client(base_url=server.url, timeout=10) as client:
            reply = client.post(f"/{NAME}/predict", json={"customer": "4"}, headers={"authorization": f"Bearer {key}"})
        identity = reply.json()["prediction_id"]
        found[parse(identity).replica] = identity
        return set(found) == set(SET)

    wait_for(asked)
    return found


def test_feedback_reaches_the_worker_that_answered_whoever_gets_it(workers: Server, key: str) -> None:
    for identity in ids(workers, key).values():
        body = {"prediction_id": identity, "outcome": {"purchased": ["20000"]}}
        receipts = []
        for _ in range(6):  # connections of their own: both workers are asked, sooner or later
            with httpx.Client(base_url=workers.url, timeout=10) as client:
                reply = client.post(f"/{NAME}/feedback", json=body, headers={"authorization": f"Bearer {key}"})
            assert reply.status_code == 200, reply.text
            receipts.append(reply.json()["duplicate"])
        assert receipts == [False] + [True] * 5
    sockets = [workers.stand.folder / "serving" / f"{name}.sock" for name in SET]
    assert [stat.S_IMODE(path.stat().st_mode) for path in sockets] == [0o600] * 2


def test_a_grpc_client_reaches_both(workers: Server, key: str) -> None:
    """Each worker listens on the same port; every call on a connection of its own."""
    address = workers.lines.split("answers gRPC on ")[1].split()[0]
    asked = by_grpc.InferInput("customer", [1], "BYTES")
    asked.set_data_from_numpy(np.array(["4"], dtype=object))
    found: set[str] = set()

    def both() -> bool:
        client = by_grpc.InferenceServerClient(address, channel_args=[("grpc.use_local_subchannel_pool", 1)])
        reply = client.infer(NAME, [asked], headers={"authorization": f"Bearer {key}"})
        found.add(parse(reply.as_numpy("prediction_id")[0].decode()).replica)
        client.close()
        return found == set(SET)

    wait_for(both)


def test_one_page_has_the_metrics_of_all(workers: Server, key: str) -> None:
    ids(workers, key)
    text = workers.http.get("/metrics").text
    families = {one.name: one for one in text_string_to_metric_families(text)}
    assert len(re.findall(r"^# TYPE ", text, re.MULTILINE)) == len(families)
    for name in ("grownet_answers", "grownet_plan_revision", "process_cpu_seconds", "grownet_build_info"):
        assert {sample.labels["replica"] for sample in families[name].samples} == set(SET), name
    up = {sample.labels["worker"]: sample.value for sample in families["grownet_worker_up"].samples}
    assert (up, len(families["grownet_worker_up"].samples)) == (dict.fromkeys(SET, 1.0), 2)  # one word for each
    own = workers.http.get("/metrics", headers={"x-grownet-sibling": "1"}).text
    assert sum(name in own for name in SET) == 1


@pytest.mark.slow  # it waits for a worker to start; how one leaves without a lost request is in test_front
def test_one_is_told_to_leave_and_replaced_under_load_without_a_lost_request(workers: Server, key: str) -> None:
    before, stop = pids(workers), threading.Event()
    statuses: Counter[str] = Counter()
    replicas: Counter[str] = Counter()

    def work() -> None:
        with httpx.Client(base_url=workers.url, timeout=20) as client:
            while not stop.is_set():
                try:
                    reply = client.post(f"/{NAME}/predict", json={}, headers={"authorization": f"Bearer {key}"})
                except httpx.HTTPError as error:
                    statuses[repr(error)] += 1
                    continue
                statuses[str(reply.status_code)] += 1
                if reply.status_code == 200:
                    replicas[parse(reply.json()["prediction_id"]).replica] += 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: sum(statuses.values()) > 100, 30)
        opened = workers.lines.count("takes connections")
        os.kill(before[SET[0]], signal.SIGTERM)
        wait_for(lambda: workers.lines.count("takes connections") == opened + 1, 60)
        wait_for(lambda: not psutil.pid_exists(before[SET[0]]))
        seen = sum(statuses.values())
        wait_for(lambda: sum(statuses.values()) > seen + 100, 30)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(statuses) == {"200"}, statuses
    assert pids(workers)[SET[0]] != before[SET[0]]
    assert pids(workers)[SET[1]] == before[SET[1]]
    assert "was told to leave and has left" in workers.lines
    assert "Traceback" not in workers.lines
    ids(workers, key)  # both answer again


@pytest.mark.slow
def test_one_that_is_killed_is_started_again_while_the_other_answers(workers: Server, key: str) -> None:
    before = pids(workers)[SET[1]]
    opened = workers.lines.count("takes connections")
    os.kill(before, signal.SIGKILL)
    for _ in range(10):
        with httpx.Client(base_url=workers.url, timeout=10) as client:
            assert (
                client.post(f"/{NAME}/predict", json={}, headers={"authorization": f"Bearer {key}"}).status_code == 200
            )
    wait_for(lambda: workers.lines.count("takes connections") == opened + 1, 60)
    assert f"worker {SET[1]} died (SIGKILL)" in workers.lines
    ids(workers, key)


@pytest.mark.slow
def test_a_supervisor_that_is_killed_takes_its_workers_with_it(town: Town) -> None:
    server = Server(town, "--workers", "2")
    wait_for(lambda: len(pids(server)) == 2, 30)
    wait_for(lambda: server.lines.count("takes connections") == 2, 60)
    children = [psutil.Process(pid) for pid in pids(server).values()]
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    gone, alive = psutil.wait_procs(children, timeout=20)
    assert (len(gone), alive) == (2, [])


@pytest.mark.slow
def test_a_configuration_that_no_worker_accepts_ends_the_set_at_once(town: Town) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "grownet", "serve", "--port", "0", "--workers", "2"],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
        env={**os.environ, **town.environment, "GROWNET_TLS_CERT": "/none.pem", "GROWNET_TLS_KEY": "/none.pem"},
    )  # fmt: skip
    assert done.returncode == 9, done.stderr
    assert "GROWNET_TLS_CERT" in done.stderr
    assert "refused its configuration" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_cannot_be_a_set_is_refused(town: Town) -> None:
    long = town.settings.model_copy(update={"replica": "r" * 62})
    with pytest.raises(ConfigError, match="short name"):
        supervise(long, town.config, 2, ("127.0.0.1", 0))
    with pytest.raises(UsageError, match="grpc-port"):
        supervise(town.settings, town.config, 2, ("127.0.0.1", 0), grpc_port=0)
    with pytest.raises(StackError, match="free address"):
        supervise(town.settings, town.config, 2, ("203.0.113.1", 0))


@pytest.fixture
def lone() -> Iterator[Workers]:
    """A set of one that was not started."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Workers(("replica-1-1",), listener, None, 1.0)


def test_a_configuration_refused_later_or_a_process_that_cannot_start_is_a_death_and_no_end_of_the_set(
    lone: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked() -> str:
        """A start, and what is thought of its end."""
        slot.due = 0.0
        assert lone._look(slot) == ""
        if slot.process is None:
            return ""
        slot.process.wait()
        return lone._look(slot)

    [slot], refusing = lone.slots, tmp_path / "refusing"
    refusing.write_text(f"#!/bin/sh\nexit {ConfigError([]).exit_code}\n")
    refusing.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(refusing))
    assert "refused its configuration" in looked()
    lone._settled = 0.0  # the set has served for long: a certificate is being replaced, say
    assert (looked(), len(slot.deaths)) == ("", 1)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    assert (looked(), len(slot.deaths)) == ("", 2)
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files
    assert slot.due > time.monotonic()


def test_who_dies_again_and_again_waits_longer_and_is_given_up() -> None:
    slot, now = Slot("replica-1-1"), time.monotonic()
    waits = [slot.died(now + n) for n in range(7)]
    assert waits == [0.0, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    given_up = [slot.keeps_dying, slot.died(now + 7), slot.keeps_dying]
    assert given_up == [False, 5.0, True]
    rare = Slot("replica-1-1")
    assert [rare.died(now + 100 * n) for n in range(10)] == [0.0] * 10
    assert not rare.keeps_dying
