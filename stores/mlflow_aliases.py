"""MLflow's aliases over its REST API, for who has not the two seconds that importing MLflow takes: a run for each change of a plan.

Reads and writes the MLflow server at a URL; called by `tasks.aliases`. It knows one thing, a server that answers as expected. A
database, a login and a server that is away are for `stores.registry`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import httpx
import msgspec

from checks.aliases import ARTIFACT

Told = TypeVar("Told", bound=msgspec.Struct)
ATTEMPT_SECONDS = 5.0
MODEL, ALIAS, VERSIONS = "registered-models/get", "registered-models/alias", "model-versions/search"


class _Alias(msgspec.Struct):
    alias: str
    version: str


class _Model(msgspec.Struct):
    aliases: list[_Alias] = []


class _Registered(msgspec.Struct):
    registered_model: _Model


class _Version(msgspec.Struct):
    version: str


class _Versions(msgspec.Struct):
    model_versions: list[_Version] = []


class _Error(msgspec.Struct):
    error_code: str


def set_aliases(url: str, model: str, wanted: Mapping[str, str]) -> dict[str, str] | None:
    """Points a model's aliases where they should, and writes nothing where they do so already.

    Args:
        wanted: alias -> digest of the artifact; empty to point nowhere.

    Returns:
        alias -> MLflow version, for those that point somewhere; None when this is no server that answers so.
    """
    if not url.startswith(("http://", "https://")):
        return None
    try:
        with httpx.Client(base_url=f"{url}/api/2.0/mlflow", timeout=ATTEMPT_SECONDS) as client:
            return _set(client, model, wanted)
    except (httpx.HTTPError, msgspec.MsgspecError):
        return None


def _set(client: httpx.Client, model: str, wanted: Mapping[str, str]) -> dict[str, str]:
    reply = client.get(MODEL, params={"name": model})
    if reply.status_code == 404 and _told(reply, _Error).error_code == "RESOURCE_DOES_NOT_EXIST":
        return {}
    reply.raise_for_status()
    now = {one.alias: one.version for one in _told(reply, _Registered).registered_model.aliases}
    found = {alias: _version(client, model, content) for alias, content in wanted.items()}
    for alias, version in found.items():
        if version and version != now.get(alias):
            client.post(ALIAS, json={"name": model, "alias": alias, "version": version}).raise_for_status()
        elif not version and alias in now:
            client.request("DELETE", ALIAS, json={"name": model, "alias": alias}).raise_for_status()
    return {alias: version for alias, version in found.items() if version}


def _version(client: httpx.Client, model: str, content: str) -> str:
    """The first version of these bytes; empty for one that this MLflow never saw."""
    if not content:
        return ""
    asked = f"name = '{model}' and tags.`{ARTIFACT}` = '{content}'"
    reply = client.get(VERSIONS, params={"filter": asked, "max_results": 10})
    return min((one.version for one in _told(reply.raise_for_status(), _Versions).model_versions), key=int, default="")


def _told(reply: httpx.Response, kind: type[Told]) -> Told:
    return msgspec.json.decode(reply.content, type=kind)
