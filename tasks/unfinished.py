"""Tells the owner of Retrain that a training which started by itself led to no ballot: it failed, or was discarded.

Writes the ledger's outbox; the guard delivers. Called by the lifecycle flow. A training that a person ordered is that
person's to look at, and raises nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checks.alerts import HOUSE, alert
from configs.schema import Config, Settings
from records import AlertBody, Candidate, Evidence, utc_now
from stores.ledger import outbox
from tasks.operate import opened

ACTOR = "lifecycle"


def discarded(settings: Settings, config: Config, candidate: Candidate, found: Evidence) -> None:
    """Once a candidate: its verdict or period has had its answer, and what serves goes on."""
    by = candidate.verdict or candidate.period
    if not by:
        return
    body = AlertBody(
        what=f"{candidate.versions.model.name}, trained for {by}, did not pass: {found.reason}.",
        evidence={"candidate": candidate.id, "data": candidate.versions.data.name, "asked for by": by},
        done="it is discarded, nobody is asked, and what serves is as before",
        owner=config.defaults.owners.retrain,
        next=f"Read why. When the cause is mended, `grownet retrain {candidate.model} --reason ...`: this order is answered.",
        link=f"pages/models/{candidate.id}.html",
    )
    _tell(settings, [candidate.id, "discarded"], candidate.model, "the retrained candidate is discarded", body)


def failed(settings: Settings, config: Config, run: str, order: Mapping[str, Any], why: str) -> None:
    """Once a run.

    Args:
        order: the run's parameters, as they came: from outside perhaps, so nothing in them is believed.
        why: the message of its state.
    """
    given = {name: str(order.get(name) or "") for name in ("model", "verdict", "cadence")}
    by = given["verdict"] or given["cadence"]
    if not by:
        return
    model = given["model"] if given["model"] in config.models else HOUSE
    again = (
        f"`grownet retrain {model} --verdict {by}`" if given["verdict"] else "it is tried again by the next schedule"
    )
    body = AlertBody(
        what=f"The training of {given['model'] or 'the models'} for {by} failed: {why}",
        evidence={name: value for name, value in given.items() if value},
        done="nothing was trained, or it waits to be judged; what serves is as before",
        owner=config.defaults.owners.retrain,
        next=f"Mend the cause; then {again}. A verdict that nobody knows came from outside: find out from whom.",
        link=f"{settings.prefect_ui_url}/runs/flow-run/{run}",
    )
    _tell(settings, [run, "failed"], model, "a training failed", body)


def _tell(settings: Settings, key: list[str], model: str, title: str, body: AlertBody) -> None:
    event = alert(key=key, level="warning", model=model, title=title, body=body, at=utc_now())
    with opened(settings, "flow") as ledger:
        outbox.add(ledger, [event], ACTOR)
