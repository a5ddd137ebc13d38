"""`grownet doctor`: every setting (secrets hidden), what is reachable, and whether the configuration is accepted.

Reads the environment, `home/stack.json`, the ledger, MLflow and Prefect; writes nothing.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import httpx

from configs.load import load
from configs.schema import Settings
from errors import GrownetError
from stack.state import connected
from tasks.operate import opened, verify_audit

CREDENTIALS = re.compile(r"://[^/@]+@")
PACKAGES = ("prefect", "mlflow", "great-expectations", "evidently", "deltalake", "pandas", "sqlalchemy", "fastapi")


def check_up(settings: Settings) -> dict[str, Any]:
    """The facts; `ok` is False when the configuration or the ledger is not as it must be.

    Prefect and MLflow that are not running are reported, and are no fault: serving and guard live without them.
    """
    running = connected(settings)
    hidden = {name: _hidden(str(value), secret=name in settings.secrets) for name, value in running}
    checks = {
        "configuration": _tried(lambda: f"{len(load(settings.configs).models)} model(s)"),
        "ledger": _tried(lambda: _ledger(running)),
        "prefect": _http(f"{running.prefect_url}/health"),
        "mlflow": _http(f"{running.mlflow_url}/health"),
    }
    return {
        "ok": not checks["configuration"].startswith("refused") and not checks["ledger"].startswith("refused"),
        "settings": {f"GROWNET_{name.upper()}": value for name, value in hidden.items()},
        "checks": checks,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def _hidden(value: str, *, secret: bool) -> str:
    """A secret as stars; an address without the user and password in it."""
    return "***" if secret and value else CREDENTIALS.sub("://***@", value)


def _ledger(settings: Settings) -> str:
    if settings.ledger_url.startswith("sqlite:///") and not (settings.home / "ledger.db").exists():
        return "none yet: `grownet up` or `grownet ingest` makes it"
    with opened(settings, "reader"):
        found = verify_audit(settings)
    return f"intact, {found['entries']} audit entries, {found['plans']} plans"


def _tried(check: Callable[[], str]) -> str:
    try:
        return check()
    except GrownetError as error:
        return f"refused: {error}"


def _http(url: str) -> str:
    try:
        return f"answers {httpx.get(url, timeout=3).status_code}"
    except httpx.HTTPError as error:
        return f"away ({type(error).__name__}) at {url}"
