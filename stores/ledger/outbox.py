"""Events that people or Prefect must hear of, written in the transaction of what they tell.

Written by whoever acts (`queue`), delivered by the guard: `pending`, then `sent` for each channel, then `delivered`.
An event that fails is tried again later and later; each channel it reached is remembered, so nobody hears it twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from errors import NotFound
from records import OutboxEvent, utc_now
from stores.ledger.engine import Ledger, Transaction
from stores.ledger.tables import deliveries, outbox

FIRST_WAIT_SECONDS = 1.0  # doubled after each failure
LONGEST_WAIT_SECONDS = 300.0


def queue(transaction: Transaction, events: Iterable[OutboxEvent]) -> None:
    """Writes events in a running transaction; one whose id is there already is left as it is."""
    for event in events:
        if transaction.execute(sa.select(outbox.c.id).where(outbox.c.id == event.id)).first() is None:
            row = {"id": event.id, "at": event.at, "payload": event.to_json().decode(), "not_before": event.at}
            transaction.execute(sa.insert(outbox).values(**row, failures=0, last_failure=""))


def add(ledger: Ledger, events: Iterable[OutboxEvent], actor: str) -> None:
    """Writes events that tell of nothing else in the ledger."""
    with ledger.write(actor) as transaction:
        queue(transaction, events)


def pending(ledger: Ledger, limit: int, at: datetime | None = None) -> list[OutboxEvent]:
    """Events to deliver now, first due first; those nobody can read are left out."""
    return due(ledger, limit, at)[0]


def due(ledger: Ledger, limit: int, at: datetime | None = None) -> tuple[list[OutboxEvent], dict[str, str]]:
    """At most `limit` events to deliver now, and by id why a row is no event, for `failed`.

    The one that was due first comes first: one never tried by its age, one that failed by the end of its wait. So those that fail again and
    again cannot keep a new one from its turn.
    """
    query = sa.select(outbox.c.id, outbox.c.payload).where(
        outbox.c.delivered_at.is_(None), outbox.c.not_before <= (at or utc_now())
    )
    with ledger.read() as connection:
        rows = connection.execute(query.order_by(outbox.c.not_before, outbox.c.at, outbox.c.id).limit(limit)).all()
    events, bad = [], {}
    for row in rows:
        try:
            event = OutboxEvent.from_json(row.payload)
        except msgspec.DecodeError as error:
            bad[row.id] = f"no event can be read from it: {error}"
            continue
        if event.id == row.id:
            events.append(event)
        else:
            bad[row.id] = f"holds another event: {event.id}"
    return events, bad


def sent(ledger: Ledger, event: str, channel: str, actor: str, at: datetime | None = None) -> None:
    """Remembers that a channel ("slack", "email:sre@example.org", "prefect") has the event."""
    with ledger.write(actor) as transaction:
        if channel not in _channels(transaction, event):
            transaction.execute(sa.insert(deliveries).values(event=event, channel=channel, at=at or utc_now()))


def channels(ledger: Ledger, event: str) -> frozenset[str]:
    """The channels that have the event."""
    with ledger.read() as connection:
        return frozenset(connection.execute(_sent_to(event)).scalars())


def delivered(ledger: Ledger, event: str, actor: str, at: datetime | None = None) -> None:
    """All channels have it: it is not pending any more."""
    with ledger.write(actor) as transaction:
        _update(transaction, event, delivered_at=at or utc_now())


def failed(ledger: Ledger, event: str, reason: str, actor: str, at: datetime | None = None) -> None:
    """A channel did not take it; it is pending again after a wait."""
    now = at or utc_now()
    with ledger.write(actor) as transaction:
        failures = transaction.execute(sa.select(outbox.c.failures).where(outbox.c.id == event)).scalar()
        wait = min(FIRST_WAIT_SECONDS * 2 ** min(int(failures or 0), 20), LONGEST_WAIT_SECONDS)
        later = now + timedelta(seconds=wait)
        _update(transaction, event, failures=outbox.c.failures + 1, last_failure=reason, not_before=later)


def _update(transaction: Transaction, event: str, **values: object) -> None:
    if transaction.execute(sa.update(outbox).where(outbox.c.id == event).values(**values)).rowcount != 1:
        raise NotFound(f"outbox event {event!r}", do="list the events with outbox.pending")


def _channels(transaction: Transaction, event: str) -> frozenset[str]:
    return frozenset(transaction.execute(_sent_to(event)).scalars())


def _sent_to(event: str) -> sa.Select[tuple[str]]:
    return sa.select(deliveries.c.channel).where(deliveries.c.event == event)
