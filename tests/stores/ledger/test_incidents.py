"""Incidents in the ledger, and what people say of them: signed, in order, told in the audit log, closed by two."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from errors import NotFound, RevisionConflict, RoleRefused, TamperError, UsageError
from records import Incident, IncidentEntry
from stores.ledger import audit, incidents
from stores.ledger.signing import Ring
from stores.vault import Vault
from tests.stores.ledger.world import MODEL, NOON, World, by_hand

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


def ring(world: World) -> Ring:
    return Vault.open(world.folder, "reader").verifier


def entry(world: World, number: int = 1, name: str = "ada", **changes: object) -> IncidentEntry:
    made = IncidentEntry(
        incident="i1", number=number, kind="note", text="looked at it", at=NOON, key=f"operator:{name}"
    )
    made = replace(made, **changes)
    return replace(made, signature=world.signer(f"operator:{name}").sign(made.unsigned()))


def say(world: World, said: IncidentEntry) -> Incident:
    return incidents.say(world.ledgers["operator"], said, said.key)


def explained(world: World, *, over: bool = True) -> IncidentEntry:
    """An open incident with a note and a cause; the cause."""
    restored = NOON + timedelta(minutes=1) if over else None
    incidents.save(world.ledgers["guard"], replace(DROP, restored_at=restored), "guard")
    say(world, entry(world))
    cause = entry(world, 2, kind="cause", text="a wrong price list", evidence="https://example.org/1")
    say(world, cause)
    return cause


def test_two_people_close_an_incident_and_all_of_it_is_signed_and_told(world: World) -> None:
    cause = explained(world)
    closed = say(world, entry(world, 3, "ben", kind="agreed", covers=cause.digest, text="agrees"))
    assert (closed.status, closed.closed_at) == ("closed", NOON)
    reader = world.ledgers["reader"]
    assert incidents.incident(reader, "i1") == closed
    assert [one.kind for one in incidents.entries(reader, "i1", ring(world))] == ["note", "cause", "agreed"]
    assert incidents.verify(reader, ring(world)) == 1
    told = [(one.action, one.actor) for one in audit.entries(reader)]
    assert told == [
        ("incident.opened", "guard"),
        ("incident.said", "operator:ada"),
        ("incident.said", "operator:ada"),
        ("incident.said", "operator:ben"),
        ("incident.changed", "operator:ben"),
    ]
    assert say(world, entry(world, 4, text="a later note")).status == "closed"
    with pytest.raises(UsageError, match="got closed"):
        say(world, entry(world, 5, kind="cause", text="another", evidence="https://example.org/2"))


def test_nobody_agrees_to_a_cause_of_ones_own(world: World) -> None:
    cause = explained(world)
    with pytest.raises(RoleRefused, match="somebody else"):
        say(world, entry(world, 3, kind="agreed", covers=cause.digest))
    assert incidents.incident(world.release, "i1").status == "open"


def test_an_agreement_is_to_the_newest_cause_and_to_no_other(world: World) -> None:
    cause = explained(world)
    say(world, entry(world, 3, kind="cause", text="no, the season", evidence="https://example.org/2"))
    with pytest.raises(UsageError, match="entry 3"):
        say(world, entry(world, 4, "ben", kind="agreed", covers=cause.digest))


def test_what_goes_on_is_not_closed(world: World) -> None:
    cause = explained(world, over=False)
    with pytest.raises(UsageError, match="one that is over"):
        say(world, entry(world, 3, "ben", kind="agreed", covers=cause.digest))


def test_of_two_who_write_at_once_the_second_is_told(world: World) -> None:
    explained(world)
    with pytest.raises(RevisionConflict, match="the last cause of operator:ada"):
        say(world, entry(world, 2, "ben"))


def test_an_unknown_incident_takes_no_note(world: World) -> None:
    with pytest.raises(NotFound, match="i1"):
        say(world, entry(world))


def test_the_guard_writes_no_entries(world: World) -> None:
    incidents.save(world.ledgers["guard"], DROP, "guard")
    with pytest.raises(RoleRefused):
        incidents.say(world.ledgers["guard"], entry(world), "guard")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE incident_entries SET payload = replace(payload, 'wrong', 'right')", "entry i1/2"),
        ("UPDATE incident_entries SET payload = '{garbage'", "entry i1/1"),
        ("UPDATE incident_entries SET incident = 'i2' WHERE number = 2", "entry i2/2"),
        ("DELETE FROM incident_entries WHERE number = 1", "entry i1/1.*got none"),
        ("UPDATE incidents SET status = 'closed'", "incident i1"),
        ("UPDATE incidents SET payload = replace(payload, 'hit rate fell', 'all was well')", "incident i1"),
        ("DELETE FROM incidents", "incident i1.*got none"),
        ("DELETE FROM audit WHERE action = 'incident.said'", "entry i1/1"),
        ("DELETE FROM audit WHERE action = 'incident.opened'", "incident i1"),
    ],
)
def test_what_is_changed_by_hand_is_found(world: World, change: str, named: str) -> None:
    explained(world)
    by_hand(world, change)
    with pytest.raises(TamperError, match=named):
        incidents.verify(world.ledgers["reader"], ring(world))


def test_a_signature_of_another_key_proves_nothing(world: World) -> None:
    incidents.save(world.ledgers["guard"], DROP, "guard")
    forged = replace(entry(world, name="eve"), key="operator:ada")
    world.signer("operator:ada")
    say(world, forged)
    with pytest.raises(TamperError, match="operator:ada"):
        incidents.entries(world.ledgers["reader"], "i1", ring(world))


def test_a_key_that_is_no_operators_explains_nothing(world: World) -> None:
    incidents.save(world.ledgers["guard"], DROP, "guard")
    made = replace(entry(world), key="guard", signature="")
    say(world, replace(made, signature=world.signer("guard").sign(made.unsigned())))
    with pytest.raises(TamperError, match="key of an operator"):
        incidents.verify(world.ledgers["reader"], ring(world))


def test_what_was_restored_first_stays(world: World) -> None:
    incidents.save(world.ledgers["guard"], DROP, "guard")
    for minutes in (1, 2):
        with world.ledgers["guard"].write("guard") as transaction:
            incidents.restored(transaction, "i1", NOON + timedelta(minutes=minutes))
    assert incidents.incident(world.release, "i1").restored_at == NOON + timedelta(minutes=1)
