"""What the benchmark counts and adds up: CPU over a tree of processes, turns, medians, the sums of a profile, a record's figures."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from msgspec.structs import replace

from benchmarks import questions
from benchmarks.serving import load, parts, peers, race
from benchmarks.serving.cpu import Tree
from errors import NotFound

BURN = "import time\nwhile time.process_time() < {}: pass"
PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", {burn!r}])
left = subprocess.Popen([sys.executable, "-c", {burn!r} + chr(10) + "input()"], stdin=subprocess.PIPE)
print("made", flush=True)
input()
left.communicate(b"end" + bytes([10]))
"""


def test_it_is_a_question_of_the_command_line_and_what_it_is_built_on_is_none() -> None:
    assert "serving" in questions()
    assert not {"home", "stand", "server"} & set(questions())


def test_cpu_is_that_of_all_processes_below_one() -> None:
    burn = BURN.format(0.3)
    made = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(burn=burn)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert made.stdin
    assert made.stdout
    tree = Tree(made.pid)
    while made.poll() is None and not made.stdout.readline():
        tree.seconds()
    limit = time.monotonic() + 60
    while (found := tree.seconds()) < 0.28 and time.monotonic() < limit:
        time.sleep(0.02)
    assert found >= 0.28  # the child that still runs
    assert tree.unique_bytes() > 2**20
    made.communicate("end\n")
    assert tree.seconds() >= found  # what ended keeps what it had


def test_nobody_is_always_first_and_everybody_has_a_turn_in_each_round() -> None:
    names = ["a", "b", "c"]
    turns = list(race.turns(names, 6))
    assert all(sorted(turn) == names for turn in turns)
    assert {turn[0] for turn in turns} == set(names)
    followers = {(turn[at], turn[at + 1]) for turn in turns for at in range(2)}
    assert len(followers) > 3


def lap(name: str, cpu: float, failed: int = 0) -> race.Lap:
    return race.Lap(name=name, rows=1, cpu_us=cpu, per_second=1.0, p50_ms=1.0, p99_ms=2.0, failed=failed)


def test_figures_are_medians_over_rounds_and_multiples_of_ours() -> None:
    laps = [lap("grownet", cpu) for cpu in (100.0, 900.0, 200.0)] + [
        lap("other", cpu, 1) for cpu in (400.0, 300.0, 9000.0)
    ]
    ours, other = race.medians(laps)
    assert (ours["cpu_us"], ours["times"], ours["failed"]) == (200.0, 1.0, 0)
    assert (other["cpu_us"], other["times"], other["failed"], other["rounds"]) == (400.0, 2.0, 3, 3)


def test_the_rest_of_a_profile_is_what_has_no_name_of_the_three() -> None:
    found = parts.summed(100.0, {"decoding": 10.0, "predicting": 30.0, "encoding": 5.0, "journal": 15.0})
    assert (found["rest"], found["unexplained"], found["total"]) == (55.0, 40.0, 100.0)


class Quick(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        wrong = self.headers["x-wrong"] is not None
        self.send_response(500 if wrong else 200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None: ...


def test_load_keeps_its_pace_and_counts_what_failed() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Quick)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    order = load.Order(port=server.server_port, path="/", body="{}", connections=2, seconds=1.0, per_second=20.0)
    found = load.record(load.started(order))
    assert found.answered == 21  # at once, and one each twentieth of the second
    assert found.failed == {}
    assert 0 < found.percentile(0.5) <= found.percentile(0.99)
    wrong = load.record(load.started(replace(order, headers={"x-wrong": "1"})))
    server.shutdown()
    server.server_close()
    assert wrong.answered == 0
    assert list(wrong.failed) == ["500"]


def test_nobody_there_is_failures_and_no_answer() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        order = load.Order(port=closed.getsockname()[1], path="/", body="{}", connections=1, seconds=0.2)
        found = load.record(load.started(order))
    assert found.answered == 0
    assert set(found.failed) == {"no connection"}


def test_a_peer_that_nobody_knows_is_refused_by_name() -> None:
    assert [*peers.chosen(["bare"])] == ["bare"]
    assert peers.chosen([]) == peers.PEERS
    with pytest.raises(NotFound, match="nonsense"):
        peers.chosen(["nonsense"])
