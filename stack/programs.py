"""What the processes of a stack are: command line, environment, how one sees that it is up. Effects are in processes.py.

Each program binds loopback only and keeps its state below `home`. Secrets reach a child through its own environment,
and only the guard, which delivers alerts, is given those of Slack and e-mail.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx

from configs.schema import Settings

HOST = "127.0.0.1"
POOL = "grownet"
BEHIND = ("nice", "-n", "5")  # runs what follows behind the service
ROOT = Path(__file__).resolve().parent.parent
FOREIGN = ("GROWNET_", "PREFECT_", "MLFLOW_")  # the caller's own must not leak into a stack of its own
QUIET = {
    "DO_NOT_TRACK": "1",
    "PYTHONUNBUFFERED": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
}


@dataclass(frozen=True)
class Program:
    """One kind of process; the port given is 0 for a program that listens nowhere."""

    name: str
    command: Callable[[Settings, int], list[str]]
    environment: Callable[[Settings, int], dict[str, str]]
    healthy: Callable[[Settings, int, datetime], bool]  # settings, port, when the child was started
    seconds: float  # to wait until it is up
    listens: bool = True
    says: str = ""  # what its log must have by then; for a program that cannot be asked
    folder: Path = ROOT  # where it runs: modules there come before the house's own


def environment(settings: Settings, extra: Mapping[str, str], *, secrets: bool = False) -> dict[str, str]:
    """The environment of a child: the caller's without foreign settings, `settings` as GROWNET_*, and `extra`."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    own.pop("PYTHONDONTWRITEBYTECODE", None)  # makes every start two to four times slower
    own["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), own.get("PATH", "")])
    given = settings.model_dump(mode="json", exclude=None if secrets else set(settings.secrets), exclude_none=True)
    return {**own, **QUIET, **{f"GROWNET_{key.upper()}": str(value) for key, value in given.items()}, **extra}


def prefect_environment(settings: Settings) -> dict[str, str]:
    """What anything that speaks to this stack's Prefect needs: its own home, so no profile of the user's is touched."""
    return {
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_API_URL": settings.prefect_url,
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",  # a vote waits for this; each look writes, see docs/decisions/070
        "PREFECT_WORKER_PREFETCH_SECONDS": "1",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "MLFLOW_TRACKING_URI": settings.mlflow_url,
    }


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0).status_code == 200
    except httpx.HTTPError:
        return False


def _server_environment(settings: Settings, port: int) -> dict[str, str]:
    """The server is the API itself; its pages must be told where they came from, or they ask port 4200."""
    own = {key: value for key, value in prefect_environment(settings).items() if key != "PREFECT_API_URL"}
    return {
        **own,
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "1",  # of 30: votes stand in line behind each other
    }


def _prefect_server(_: Settings, port: int) -> list[str]:
    return [sys.executable, "-m", "stack.prefect_server", "--host", HOST, "--port", str(port)]


def _mlflow_server(settings: Settings, port: int) -> list[str]:
    folder = settings.home / "mlflow"
    store, artifacts = f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts")
    where = ["--backend-store-uri", store, "--artifacts-destination", artifacts]
    return [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1", *where]


def _worker(_: Settings, __: int) -> list[str]:
    """On one machine training must not slow answers down, so flows have a lower priority."""
    start = [sys.executable, "-m", "prefect", "worker", "start"]
    return [*BEHIND, *start, "--pool", POOL, "--type", "process", "--name", POOL]


def _worker_online(settings: Settings, _: int, since: datetime) -> bool:
    """True when a worker beat after `since`: one that died a moment ago is still ONLINE to the server."""
    url = f"{settings.prefect_url}/work_pools/{POOL}/workers/filter"
    try:
        found = httpx.post(url, json={}, timeout=2.0)
    except httpx.HTTPError:
        return False
    if found.status_code != 200:
        return False
    return any(datetime.fromisoformat(worker["last_heartbeat_time"]) >= since for worker in found.json())


def _guard(_: Settings, __: int) -> list[str]:
    return [sys.executable, "-m", "grownet", "guard"]


def _serve(_: Settings, port: int) -> list[str]:
    return [sys.executable, "-m", "grownet", "serve", "--host", HOST, "--port", str(port)]


PROGRAMS = {
    program.name: program
    for program in (
        Program(
            "prefect",
            _prefect_server,
            lambda settings, port: environment(settings, _server_environment(settings, port)),
            lambda _, port, __: _answers(f"http://{HOST}:{port}/api/ready"),
            180,
        ),
        Program(
            "mlflow",
            _mlflow_server,
            lambda settings, _: environment(settings, {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}),
            lambda _, port, __: _answers(f"http://{HOST}:{port}/health"),
            180,
        ),
        Program(
            "worker",
            _worker,
            lambda settings, _: environment(settings, prefect_environment(settings)),
            _worker_online,
            120,
            listens=False,
        ),
        Program(
            "guard",
            _guard,
            lambda settings, _: environment(settings, {}, secrets=True),
            lambda _, __, ___: True,
            60,
            listens=False,
            says="guarding ",
        ),
        Program(
            "serve",
            _serve,
            lambda settings, _: environment(settings, {}),
            lambda _, port, __: _answers(f"http://{HOST}:{port}/healthz"),
            90,
        ),
    )
}
