"""`grownet up`: the whole stack on one machine in the foreground, with the deployments of prefect.yaml applied.

Starts Prefect, MLflow, a worker, the guard and the service on loopback (their usual ports if free), writes
`home/stack.json`, starts again what dies, and ends everything on Ctrl-C or SIGTERM. Started by a person.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from urllib.parse import urlsplit

import typer

from configs.schema import Config, Settings
from errors import StackError
from records import Version
from stack.processes import Stack, ending_on_signals
from stack.programs import ROOT, environment, prefect_environment
from stores.ledger.engine import Ledger
from stores.ledger.versions import version_for
from tasks.provenance import pipeline_digest

LOOK_SECONDS = 0.5
MOST_RESTARTS = 3  # of one program; after that something is wrong that starting again does not mend
DEPLOY_SECONDS = 180
SERVICE_PORT = 8000


def up(settings: Settings, config: Config) -> None:
    """Runs until Ctrl-C or SIGTERM.

    Raises:
        StackError: when another stack runs on this home, a program does not come up, or one keeps dying.
    """
    ports = {"prefect": _port(settings.prefect_url), "mlflow": _port(settings.mlflow_url), "serve": SERVICE_PORT}
    _tell(f"starting on {settings.home}, for {', '.join(config.enabled)}")
    try:
        with ending_on_signals(), Stack(settings, ports) as stack:
            start(stack)
            _tell(addresses(stack))
            keep_alive(stack)
    except (KeyboardInterrupt, SystemExit):
        _tell("stopped")


def start(stack: Stack) -> None:
    """Brings every program up and applies the deployments."""
    version = pipeline_version(stack.settings)
    stack.start("prefect", "mlflow")
    stack.start("worker", "guard", "serve")
    deploy(stack.settings, version)


def pipeline_version(settings: Settings) -> Version:
    """pipeline_vN of the code that runs; makes the ledger when it is new."""
    from tasks.train import PIPELINE

    ledger = Ledger.open(settings.ledger_url, "flow", demo=settings.demo)
    try:
        return version_for(ledger, "pipeline", PIPELINE, pipeline_digest())
    finally:
        ledger.close()


def deploy(settings: Settings, version: Version) -> None:
    """Applies prefect.yaml to the Prefect at `settings.prefect_url`; the worker's pool must be there.

    Raises:
        StackError: with the last lines of what Prefect said.
    """
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    chosen = {"PIPELINE_VERSION": version.name, "SCHEDULED": str(not settings.demo).lower()}
    env = environment(settings, {**prefect_environment(settings), **chosen})
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=DEPLOY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise StackError("prefect deploy", expected=f"an end within {DEPLOY_SECONDS} s", got="none") from error
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise StackError("prefect deploy", expected="exit code 0", got=done.returncode, do=f"It said:\n{said}")


def keep_alive(stack: Stack) -> None:
    """Starts again what died, a few times; never returns.

    Raises:
        StackError: when one program keeps dying, with its last log lines.
    """
    restarts: Counter[str] = Counter()
    while True:
        for name, how in stack.dead().items():
            restarts[name] += 1
            if restarts[name] > MOST_RESTARTS:
                raise StackError(f"{name} died {restarts[name]} times", got=how, do="mend what its log says")
            _tell(f"{name} died and is started again: {how}")
            stack.restart(name)
        time.sleep(LOOK_SECONDS)


def addresses(stack: Stack) -> str:
    """Where everything is, for people."""
    return "\n".join(
        [
            f"  Prefect (flows, votes)   {stack.settings.prefect_ui_url}",
            f"  MLflow (runs, versions)  {stack.settings.mlflow_url}",
            f"  predictions              {stack.service_url}",
            f"  logs                     {stack.settings.home / 'logs'}",
            "Ctrl-C stops everything",
        ]
    )


def _port(url: str) -> int:
    return urlsplit(url).port or 0


def _tell(text: str) -> None:
    typer.echo(text, err=True)
