"""Bias audits in the ledger: kept, told in the audit log, and their alert in the same transaction."""

from __future__ import annotations

import sqlite3
from datetime import timedelta

import pytest
from msgspec.structs import replace

from checks.alerts import alert
from errors import RevisionConflict, RoleRefused, TamperError
from records import AlertBody, Answered, BiasAudit, OutboxEvent
from stores.ledger import audit, bias, outbox
from tests.stores.ledger.world import MODEL, NOON, World, by_hand


def made(number: int, answer: Answered, **changes: object) -> BiasAudit:
    one = BiasAudit(
        id=f"bias-{number}", model=MODEL, source="live", metric="hit", answer=answer, version=1, window_start=NOON,
        window_end=NOON, subjects=9, overall=0.5, limit=0.3, reason="so", report="page", segments=(),
        found_at=NOON + timedelta(days=number),
    )  # fmt: skip
    return replace(one, **changes)


class Listener:
    """Remembers what each audit was compared with; tells of those that say yes."""

    def __init__(self) -> None:
        self.before: list[str] = []

    def __call__(self, now: BiasAudit, before: BiasAudit | None) -> OutboxEvent | None:
        self.before.append(before.id if before else "")
        body = AlertBody(what="", evidence={}, done="", owner="", next="", link="")
        return (
            alert(key=[now.id], level="warning", model=now.model, title=now.id, body=body, at=now.found_at)
            if now.answer == "yes"
            else None
        )


def test_an_audit_is_compared_with_the_last_one_that_was_decided(world: World) -> None:
    ledger, tell = world.ledgers["flow"], Listener()
    bias.save(ledger, [made(1, "no"), made(2, "undecided")], tell, "audit")
    bias.save(ledger, [made(3, "yes"), made(3, "yes", id="bias-3h", source="history")], tell, "audit")
    bias.save(ledger, [made(4, "no", model="other")], tell, "audit")
    assert tell.before == ["", "bias-1", "bias-1", "", ""]
    assert [one.id for one in bias.audits(ledger, MODEL)] == ["bias-1", "bias-2", "bias-3", "bias-3h"]
    assert [one.id for one in bias.audits(ledger, MODEL, NOON + timedelta(days=3))] == ["bias-3", "bias-3h"]
    assert [one.id for one in bias.newest(ledger, MODEL)] == ["bias-3h", "bias-3"]  # by source
    assert {event.title for event in outbox.pending(ledger, 10, NOON + timedelta(days=9))} == {"bias-3", "bias-3h"}
    assert [entry.detail["answer"] for entry in audit.entries(ledger, MODEL)] == ["no", "undecided", "yes", "yes"]


def test_the_same_audit_again_writes_and_tells_nothing(world: World) -> None:
    ledger = world.ledgers["flow"]
    assert len(bias.save(ledger, [made(1, "yes")], Listener(), "audit")) == 1
    assert bias.save(ledger, [made(1, "yes")], Listener(), "audit") == []
    assert audit.verify(ledger) == 1


def test_nobody_else_writes_audits_and_nobody_changes_one(world: World) -> None:
    for role in ("operator", "guard", "release"):
        with pytest.raises(RoleRefused):
            bias.save(world.ledgers[role], [made(1, "no")], Listener(), "eve")
    bias.save(world.ledgers["flow"], [made(1, "no")], Listener(), "audit")
    from stores.ledger import tables as t

    with pytest.raises(RevisionConflict, match="append-only"), world.ledgers["flow"].write("eve") as transaction:
        transaction.execute(t.bias_audits.update().values(answer="yes"))


def test_an_alert_that_cannot_be_made_leaves_no_audit(world: World) -> None:
    def fail(now: BiasAudit, before: BiasAudit | None) -> OutboxEvent | None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bias.save(world.ledgers["flow"], [made(1, "yes")], fail, "audit")
    assert bias.audits(world.ledgers["flow"], MODEL) == []


def test_a_clock_that_jumped_ahead_once_reorders_nothing(world: World) -> None:
    ledger, tell = world.ledgers["flow"], Listener()
    for one in (made(400, "no"), made(1, "yes"), made(8, "yes")):
        bias.save(ledger, [one], tell, "audit")
    assert tell.before == ["", "bias-400", "bias-1"]
    assert [one.id for one in bias.newest(ledger, MODEL)] == ["bias-8"]
    assert [one.id for one in bias.audits(ledger, MODEL, until=NOON + timedelta(days=9))] == ["bias-1", "bias-8"]
    assert [one.id for one in bias.newest(ledger, MODEL, until=NOON + timedelta(days=2))] == ["bias-1"]


@pytest.mark.parametrize(
    "change",
    [
        """UPDATE bias_audits SET payload = replace(payload, '"yes"', '"no"')""",
        "UPDATE bias_audits SET payload = '{garbage'",
        "UPDATE bias_audits SET id = 'bias-2'",
        "DELETE FROM bias_audits",
    ],
)
def test_an_audit_that_was_changed_counts_no_more_and_is_found(world: World, change: str) -> None:
    bias.save(world.ledgers["flow"], [made(1, "yes")], Listener(), "audit")
    assert bias.verify(world.ledgers["reader"]) == 1
    by_hand(world, change)
    assert bias.audits(world.ledgers["reader"], MODEL) == []
    with pytest.raises(TamperError, match="bias audit bias-1"):
        bias.verify(world.ledgers["reader"])


@pytest.mark.parametrize("change", ["answer = 'no'", "source = 'history'", "model = 'demand'", "at = at + 1"])
def test_columns_say_what_the_audit_says(world: World, change: str) -> None:
    bias.save(world.ledgers["flow"], [made(1, "yes")], Listener(), "audit")
    by_hand(world, f"UPDATE bias_audits SET {change}")
    with pytest.raises(TamperError, match="bias audit bias-1"):
        bias.verify(world.ledgers["reader"])


def test_an_audit_that_somebody_slipped_in_counts_nothing_and_is_found(world: World) -> None:
    bias.save(world.ledgers["flow"], [made(1, "yes")], Listener(), "audit")
    forged, raw = made(2, "no"), sqlite3.connect(world.folder / "ledger.db")  # with every trigger in place
    row = (forged.id, forged.model, forged.source, forged.answer, 1, forged.to_json().decode())
    raw.execute("INSERT INTO bias_audits (id, model, source, answer, at, payload) VALUES (?, ?, ?, ?, ?, ?)", row)
    raw.commit()
    raw.close()
    assert [one.id for one in bias.newest(world.ledgers["reader"], MODEL)] == ["bias-1"]
    with pytest.raises(TamperError, match="bias audit bias-2"):
        bias.verify(world.ledgers["reader"])
