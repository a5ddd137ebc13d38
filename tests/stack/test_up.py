"""`grownet up` as a person runs it: a process that is started, looked at, refused a second time, and interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from errors import StackError
from stack import state
from stack.programs import ROOT
from stack.up import deploy, pipeline_version
from stack.watchdog import marked
from tests.stack.toys import until
from tests.tasks.release_world import House

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(400)]


def grownet(home: Path, *arguments: str, **where: object) -> subprocess.Popen[bytes]:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("GROWNET_", "PREFECT_"))}
    command = [sys.executable, "-m", "grownet", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=env | {"GROWNET_HOME": str(home)}, **where)  # type: ignore[call-overload,no-any-return]  # where: stdout, stderr


@pytest.mark.parametrize("how", [signal.SIGINT])
def test_up_runs_everything_and_stops_cleanly(tmp_path: Path, how: signal.Signals) -> None:
    home, log = tmp_path / "home", tmp_path / "up.log"
    with log.open("wb") as said, grownet(home, "up", stdout=said, stderr=said) as process:
        try:
            ready = until(lambda: "Ctrl-C" in log.read_text(encoding="utf-8") or process.poll() is not None, 300)
            assert ready, log.read_text(encoding="utf-8")
            assert process.poll() is None, log.read_text(encoding="utf-8")
            found = state.running(home)
            assert found is not None
            assert set(found.pids) == {"prefect", "mlflow", "worker", "guard", "serve"}
            assert httpx.get(f"{found.service_url}/healthz", timeout=10).status_code == 200
            assert httpx.get(f"{found.mlflow_url}/health", timeout=10).status_code == 200
            deployments = httpx.post(f"{found.prefect_url}/deployments/filter", json={}, timeout=10).json()
            assert {one["name"] for one in deployments} >= {"ingest", "lifecycle", "release"}
            assert len({one["version"] for one in deployments}) == 1
            assert deployments[0]["version"].startswith("pipeline_v")

            with grownet(home, "up", stderr=subprocess.PIPE) as second:
                _, refusal = second.communicate(timeout=60)
                assert second.returncode == StackError.exit_code
                assert b"no other stack on this home" in refusal

            os.kill(found.pids["guard"], signal.SIGKILL)
            assert until(lambda: _pid(home, "guard") not in {0, found.pids["guard"]}, 60)
        finally:
            process.send_signal(how)
            process.wait(timeout=60)
    assert process.returncode == 0, log.read_text(encoding="utf-8")
    assert "stopped" in log.read_text(encoding="utf-8")
    assert marked(found.mark) == []
    assert state.left_behind(home) is None


def _pid(home: Path, name: str) -> int:
    found = state.running(home)
    return found.pids.get(name, 0) if found else 0


def test_a_deployment_that_cannot_be_applied_is_told(tmp_path: Path) -> None:
    house = House(tmp_path)
    away = house.settings.model_copy(update={"prefect_url": "http://127.0.0.1:9/api"})
    with pytest.raises(StackError, match="prefect deploy") as caught:
        deploy(away, pipeline_version(house.settings))
    assert "It said" in str(caught.value)
