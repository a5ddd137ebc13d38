"""Flow runs over Prefect's HTTP API: start one, find the one that waits, answer it, read and delete what was typed.

No Prefect package is imported, so a vote from a terminal does not wait for it. A SQLite server answers 503 while it is
busy: such calls are made again until a deadline. Used by `tasks.approve`, by the flows that ask people, and by the lifecycle.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx
import msgspec

from configs.schema import Settings
from errors import NotFound, StackError
from records import Record

RELEASE = "release/release"
MONITOR = "monitor/monitor"
AUDIT = "audit/audit"
# prefect.input.run_input: keysets of a state that waits without a process, and of one that waits with it
SUSPENDED, PAUSED, RESPONSE = "suspended-", "paused-", "-response"
ATTEMPT_SECONDS = 10.0
BUSY_SECONDS, AWAY_SECONDS = 30.0, 5.0  # a busy server is waited for, one that is not there hardly
BUSY = frozenset({408, 429, 502, 503, 504})
ALIVE = frozenset({"SCHEDULED", "PENDING", "RUNNING", "PAUSED"})


class Typed(Record, frozen=True, kw_only=True):
    """What somebody submitted to a waiting run, and when the server took it."""

    values: dict[str, Any]
    at: datetime


class Answered(Record, frozen=True, kw_only=True):
    """What Prefect said of a submission. A refusal comes with HTTP 200: `accepted` is what counts."""

    accepted: bool
    reason: str
    at: datetime | None  # the server's clock when it took it


def start_deployment(settings: Settings, name: str, parameters: Mapping[str, Any], *, key: str = "") -> str:
    """Starts a run of the deployment "flow/deployment" and returns the run's id.

    Args:
        key: the same key starts the same run once.

    Raises:
        NotFound: when the deployment is not there.
        StackError: when Prefect is away, or refuses the parameters.
    """
    found = _call(settings, "GET", f"deployments/name/{name}")
    body = {"parameters": dict(parameters), "idempotency_key": key or uuid.uuid4().hex}
    return str(_call(settings, "POST", f"deployments/{found['id']}/create_flow_run", body)["id"])


def start_once(settings: Settings, name: str, parameters: Mapping[str, Any], key: str) -> str:
    """As `start_deployment`: the run that is under way for a key, or a new one when there is none; it may start or wait.

    One that ended is not taken for the answer: what it was to bring is looked for by the caller, before.
    """
    run = start_deployment(settings, name, parameters, key=key)
    while not alive(settings, run):
        run = start_deployment(settings, name, parameters, key=_successor(run))
    return run


def under_way(settings: Settings, key: str) -> str | None:
    """The run that `start_once` started under a key and that has not ended, or None."""
    while found := _call(settings, "POST", "flow_runs/filter", {"flow_runs": {"idempotency_key": {"any_": [key]}}}):
        run = found[0]
        if (run["state"] or {}).get("type") in ALIVE:
            return str(run["id"])
        key = _successor(str(run["id"]))
    return None


def _successor(run: str) -> str:
    return f"after {run}"


def waiting(settings: Settings, model: str) -> str | None:
    """The newest release run of this model that waits for somebody's answer."""
    flow, deployment = RELEASE.split("/")
    wanted = {
        "flows": {"name": {"any_": [flow]}},
        "deployments": {"name": {"any_": [deployment]}},
        "flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}},
        "sort": "EXPECTED_START_TIME_DESC",
    }
    runs = _call(settings, "POST", "flow_runs/filter", wanted)
    return next((str(run["id"]) for run in runs if run["parameters"].get("model") == model), None)


def in_line(settings: Settings, deployment: str) -> dict[str, str]:
    """The runs of a deployment that somebody or an event started and that have not begun: id -> the model they are about."""
    wanted = {
        "deployments": {"name": {"any_": [deployment]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
    }
    found = _call(settings, "POST", "flow_runs/filter", wanted)
    return {str(run["id"]): str(run["parameters"].get("model") or "") for run in found if not run["auto_scheduled"]}


def cancel(settings: Settings, run: str, why: str) -> None:
    """Ends a run that waits; one that is gone is left as it is."""
    state = {"type": "CANCELLED", "name": "Cancelled", "message": why}
    with contextlib.suppress(NotFound):
        _call(settings, "POST", f"flow_runs/{run}/set_state", {"state": state})


def alive(settings: Settings, run: str) -> bool:
    """True while a run may still do something by itself or wait for an answer."""
    try:
        found = _call(settings, "GET", f"flow_runs/{run}")
    except NotFound:
        return False
    return str((found["state"] or {}).get("type")) in ALIVE


def state(settings: Settings, run: str) -> tuple[str, str]:
    """Type (COMPLETED, FAILED ...) and message of a run's state."""
    found = _call(settings, "GET", f"flow_runs/{run}")["state"]
    return str(found["type"]), str(found.get("message") or "")


def answer(settings: Settings, run: str, values: Mapping[str, str]) -> Answered:
    """Submits the form of a waiting run, as its page in the Prefect UI does."""
    said = _call(settings, "POST", f"flow_runs/{run}/resume", {"run_input": dict(values)})
    accepted, state = said["status"] == "ACCEPT", said.get("state") or {}
    reason = str((said.get("details") or {}).get("reason") or said["status"])
    at = datetime.fromisoformat(state["timestamp"]) if accepted else None
    return Answered(accepted=accepted, reason="" if accepted else reason, at=at)


def pauses(settings: Settings, run: str) -> frozenset[str]:
    """The keys under which a run was suspended so far; the server keeps them."""
    found = _call(settings, "GET", f"flow_runs/{run}")
    return frozenset((found["empirical_policy"] or {}).get("pause_keys") or ())


def typed(settings: Settings, run: str, key: str, how: str = SUSPENDED) -> Typed | None:
    """What was submitted under the key that a run waited with, or None: an empty form leaves nothing behind."""
    found = [one for one in _inputs(settings, run, how) if one["key"] == f"{how}{key}{RESPONSE}"]
    if not found:
        return None
    values = msgspec.json.decode(found[0]["value"])
    taken = datetime.fromisoformat(found[0]["created"])
    return Typed(values=values if isinstance(values, dict) else {}, at=taken)


def forget(settings: Settings, run: str, how: str = SUSPENDED) -> None:
    """Deletes everything that was typed into a run from Prefect; what the forms looked like stays."""
    for one in _inputs(settings, run, how):
        if one["key"].endswith(RESPONSE):
            _delete(settings, f"flow_runs/{run}/input/{one['key']}")


def page_url(settings: Settings, key: str) -> str:
    """Where the newest artifact of a key is shown; empty when there is none."""
    wanted = {"artifacts": {"key": {"any_": [key]}}, "sort": "CREATED_DESC", "limit": 1}
    found = _call(settings, "POST", "artifacts/filter", wanted)
    return f"{settings.prefect_ui_url}/artifacts/artifact/{found[0]['id']}" if found else ""


def _delete(settings: Settings, path: str) -> None:
    try:
        _call(settings, "DELETE", path)
    except NotFound:
        return


def _inputs(settings: Settings, run: str, how: str) -> list[dict[str, Any]]:
    body = {"prefix": how, "limit": 200, "exclude_keys": []}
    found: list[dict[str, Any]] = _call(settings, "POST", f"flow_runs/{run}/input/filter", body)
    return found


def _call(settings: Settings, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """One answer of the API as plain values; asked again while the server is busy or away, up to a deadline."""
    began, wait = time.monotonic(), 0.1
    while True:
        try:
            reply = httpx.request(method, f"{settings.prefect_url}/{path}", json=body, timeout=ATTEMPT_SECONDS)
        except httpx.TransportError as error:
            away = isinstance(error, httpx.ConnectError)  # nobody listens; one that is slow to answer is busy
            patience, said = AWAY_SECONDS if away else BUSY_SECONDS, f"{type(error).__name__}: {error}"
        else:
            if reply.status_code not in BUSY:
                return _content(settings, path, reply)
            patience, said = BUSY_SECONDS, f"HTTP {reply.status_code}"
        if time.monotonic() - began + wait > patience:
            raise StackError(
                f"Prefect at {settings.prefect_url}",
                expected=f"an answer within {patience:.0f} s",
                got=said,
                do="see that `grownet up` runs, or set GROWNET_PREFECT_URL",
            )
        time.sleep(wait)
        wait = min(wait * 2, 2.0)


def _content(settings: Settings, path: str, reply: httpx.Response) -> Any:
    if reply.status_code == 404:
        raise NotFound(f"{path} in Prefect at {settings.prefect_url}", do="`grownet up` applies the deployments")
    if reply.is_error:
        raise StackError(f"Prefect: {path}", got=f"HTTP {reply.status_code}: {reply.text[:300]}")
    return reply.json() if reply.content else None
