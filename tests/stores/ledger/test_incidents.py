from datetime import timedelta

import pytest
from msgspec.structs import replace

from errors import NotFound
from records import Incident
from stores.ledger import audit, incidents
from tests.stores.ledger.world import MODEL, NOON, World

DROP = Incident(
    id="i1",
    model=MODEL,
    level="critical",
    kind="kpi_drop",
    summary="hit rate fell",
    evidence={"effect": -0.4},
    first_bad_at=NOON,
    detected_at=NOON,
)


def test_an_incident_is_opened_and_closed_and_both_are_audited(world: World) -> None:
    guard = world.ledgers["guard"]
    for _ in range(2):
        incidents.save(guard, DROP, "guard")
    closed = replace(DROP, status="closed", restored_at=NOON + timedelta(minutes=1))
    incidents.save(guard, closed, "guard")
    assert incidents.incident(guard, "i1") == closed
    assert [entry.action for entry in audit.entries(guard, MODEL)] == ["incident.opened", "incident.changed"]


def test_incidents_by_model_and_status(world: World) -> None:
    guard = world.ledgers["guard"]
    other = replace(DROP, id="i0", model="demand", detected_at=NOON + timedelta(seconds=1))
    closed = replace(DROP, id="i2", status="closed", detected_at=NOON + timedelta(seconds=2))
    for one in (closed, other, DROP):
        incidents.save(guard, one, "guard")
    assert [one.id for one in incidents.incidents(guard)] == ["i1", "i0", "i2"]
    assert [one.id for one in incidents.incidents(guard, MODEL, "open")] == ["i1"]
    assert [one.id for one in incidents.incidents(guard, status="closed")] == ["i2"]
    with pytest.raises(NotFound):
        incidents.incident(guard, "nothing")
