from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from checks.alerts import HOUSE, alert
from records import AlertBody, OutboxEvent
from tests.stores.ledger.world import NOON

BODY = AlertBody(what="it moved", evidence={"psi": 0.4}, done="nothing", owner="sre", next="look", link="page")


def raised(key: list[Any], body: AlertBody = BODY) -> OutboxEvent:
    return alert(key=key, level="warning", model=HOUSE, title="drift", body=body, at=NOON)


def test_an_alert_is_known_by_what_it_is_about_and_not_by_its_words() -> None:
    assert raised(["a", 1]).id == raised(["a", 1], replace(BODY, what="it moved more")).id
    assert raised(["a", 1]).id != raised(["a", 2]).id


def test_its_body_is_plain_values_that_read_back() -> None:
    made = raised(["a"])
    assert (made.kind, made.level, made.name, made.model) == ("alert", "warning", "grownet.alert.warning", "grownet")
    assert msgspec.convert(made.body, AlertBody) == BODY
