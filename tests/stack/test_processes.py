from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from configs.load import settings
from configs.schema import Settings
from errors import StackError, UsageError
from stack import ports, state
from stack.processes import Stack
from stack.programs import HOST, PROGRAMS, ROOT, environment
from stack.watchdog import marked, sweep
from tests.ports import free_port
from tests.stack.toys import SERVE, answers, program, toys, until


@pytest.fixture
def house(tmp_path: Path) -> Settings:
    return settings({"GROWNET_HOME": str(tmp_path / "home")})


@pytest.fixture
def stack(house: Settings) -> Iterator[Stack]:
    with Stack(house, programs=toys()) as opened:
        yield opened
    assert marked(opened.mark) == []


def port_of(stack: Stack, name: str) -> int:
    listening = psutil.Process(stack.pid(name)).net_connections(kind="tcp")
    return int(next(one.laddr.port for one in listening if one.status == psutil.CONN_LISTEN))


def test_what_is_started_answers_and_ends_with_the_block(house: Settings) -> None:
    with Stack(house, programs=toys()) as stack:
        stack.start("web")
        pid, port = stack.pid("web"), port_of(stack, "web")
        assert answers(house, port, None)
        known = state.running(house.home)
        assert known is not None
        assert (known.pids, known.pid) == ({"web": pid}, os.getpid())
        assert os.getpgid(pid) == pid != os.getpgrp()
    assert not psutil.pid_exists(pid)
    assert state.running(house.home) is None
    assert state.left_behind(house.home) is None
    assert "GET /" in (house.home / "logs" / "web.log").read_text(encoding="utf-8")


def test_one_that_ends_at_once_is_told_with_its_last_lines(stack: Stack) -> None:
    with pytest.raises(StackError, match="exit code 3") as caught:
        stack.start("failing")
    assert "the reason why" in str(caught.value)
    assert caught.value.exit_code == 9


def test_one_that_does_not_come_up_is_told_in_its_time(stack: Stack) -> None:
    with pytest.raises(StackError, match="not up after"):
        stack.start("mute")


def test_a_program_runs_in_the_folder_it_names(house: Settings, tmp_path: Path) -> None:
    (tmp_path / "said.py").write_text("print('from here', flush=True)\n", encoding="utf-8")
    code = "import time, said; time.sleep(600)"
    here = replace(program("here", code, says="from here"), folder=tmp_path)
    with Stack(house, programs=toys(here=here)) as stack:
        stack.start("here")
        assert stack.dead() == {}


def test_an_unknown_program(stack: Stack) -> None:
    with pytest.raises(UsageError, match="mystery"):
        stack.start("mystery")
    with pytest.raises(UsageError, match="not started"):
        stack.restart("web")


def test_stubborn_children_and_their_runaway_children_are_ended(
    house: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stack.children.GRACE_SECONDS", 0.3)
    monkeypatch.setattr("stack.processes.STRAY_SECONDS", 0.3)
    with Stack(house, programs=toys()) as stack:
        stack.start("stubborn")
        assert until(lambda: len(marked(stack.mark)) == 2)  # the second leads a session of its own
    assert marked(stack.mark) == []


def test_restart_keeps_the_port_and_kill_leaves_it_dead(house: Settings) -> None:
    port = free_port()
    with Stack(house, {"web": port}, programs=toys()) as stack:
        stack.start("web")
        pid = stack.pid("web")
        stack.restart("web")
        assert stack.pid("web") != pid
        assert port_of(stack, "web") == port
        stack.kill("web")
        assert not answers(stack.settings, port, None)


def test_the_dead_are_named_with_how(stack: Stack) -> None:
    stack.start("web")
    assert stack.dead() == {}
    os.kill(stack.pid("web"), signal.SIGKILL)
    assert until(stack.dead)
    assert "exit code -9" in stack.dead()["web"]
    stack.restart("web")
    assert stack.dead() == {}


def test_a_preferred_port_is_taken_when_free_and_left_when_not(house: Settings) -> None:
    port = free_port()  # nobody takes it in between
    with Stack(house, {"web": port}, programs=toys()) as stack:
        stack.start("web")
        assert port_of(stack, "web") == port
        assert ports.free_port(port) != port


def test_a_port_that_somebody_takes_in_between_is_left_to_him(house: Settings) -> None:
    with socket.socket() as thief:

        def command(_: Settings, port: int) -> list[str]:
            if thief.getsockname()[1] == 0:
                thief.bind((HOST, port))
                thief.listen()
            return [sys.executable, "-c", SERVE, str(port)]

        racing = replace(program("racing", SERVE, listens=True), command=command)
        with Stack(house, programs=toys(racing=racing)) as stack:
            stack.start("racing")
            assert port_of(stack, "racing") != thief.getsockname()[1]


def test_an_answer_of_somebody_else_does_not_make_a_child_healthy(house: Settings) -> None:
    with Stack(house, programs=toys()) as stack:
        stack.start("web")
        port = port_of(stack, "web")
        idle = program("idle", "import time; time.sleep(600)", listens=True, seconds=1)
        idle = replace(idle, healthy=lambda chosen, _, since: answers(chosen, port, since))
        stack._programs = toys(idle=idle)
        with pytest.raises(StackError, match="not up after"):
            stack.start("idle")


def test_a_second_stack_on_a_home_is_refused(house: Settings, stack: Stack) -> None:
    with pytest.raises(StackError, match=f"process {os.getpid()}"), Stack(house, programs=toys()):
        pass
    assert state.running(house.home) is not None


def parent(home: Path, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "tests.stack.toys", str(home), *arguments]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    assert started.stdout is not None
    mark = started.stdout.readline().strip()
    return started, mark


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, None])
def test_everything_ends_however_the_parent_ends(tmp_path: Path, how: signal.Signals | None) -> None:
    started, mark = parent(tmp_path, *([] if how else ["fail"]))
    assert started.stdout is not None
    with started.stdout:
        if how:
            assert len(marked(mark)) >= 2
            started.send_signal(how)
        started.wait(timeout=120)  # bounded, for a busy machine
    assert until(lambda: not marked(mark))


@pytest.mark.slow  # a stack
def test_a_home_left_behind_is_taken_over_and_swept(tmp_path: Path) -> None:
    started, mark = parent(tmp_path)
    family = psutil.Process(started.pid).children()
    watchdog = next(one for one in family if "stack.watchdog" in one.cmdline())
    watchdog.kill()
    started.kill()
    started.wait()
    assert started.stdout is not None
    started.stdout.close()
    assert len(marked(mark)) >= 2  # nobody is there to end them
    assert state.running(tmp_path) is None
    with Stack(settings({"GROWNET_HOME": str(tmp_path)}), programs=toys()):
        assert marked(mark) == []


def test_sweeping_nothing_is_quick() -> None:
    assert sweep("no-such-mark", 5) == 0


def test_other_commands_find_the_stack(house: Settings, stack: Stack) -> None:
    assert state.connected(house).prefect_url == house.prefect_url
    shown = state.StackState(
        mark="m",
        pid=1,
        started_at=stack._since,
        prefect_url="http://127.0.0.1:1/api",
        mlflow_url="http://127.0.0.1:2",
        pids={},
    )
    state.write(house.home, shown)
    found = state.connected(house)
    assert (found.prefect_url, found.prefect_ui_url) == ("http://127.0.0.1:1/api", "http://127.0.0.1:1")
    assert found.mlflow_url == "http://127.0.0.1:2"


def test_secrets_reach_the_guard_only(house: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere")
    monkeypatch.setenv("GROWNET_SLACK_URL", "of the caller")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    chosen = house.model_copy(update={"slack_url": "https://hooks.example/secret", "smtp_url": "smtp://u:p@h:25"})
    for name, one in PROGRAMS.items():
        given = one.environment(chosen, 1)
        assert ("https://hooks.example/secret" in given.values()) is (name == "guard"), name
        assert given["GROWNET_HOME"] == str(house.home)
        assert given.get("PREFECT_API_URL") != "http://elsewhere"
        assert "PYTHONDONTWRITEBYTECODE" not in given
        assert settings(given).home == house.home
    assert environment(chosen, {"A": "b"})["A"] == "b"
    assert "GROWNET_TLS_CERT" not in environment(chosen, {})  # what is not set is not said to be "None"
