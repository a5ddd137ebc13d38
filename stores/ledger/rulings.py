"""What the guard read from the decision table, with the inputs it read it from; append-only, so that it can be derived again."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from errors import NotFound
from records import Ruling
from stores.ledger import tables as t
from stores.ledger.engine import Ledger, Transaction


def store(transaction: Transaction, ruling: Ruling) -> None:
    """Writes a ruling in a running transaction; an id that is there already is left as it is."""
    if transaction.execute(sa.select(t.rulings.c.id).where(t.rulings.c.id == ruling.id)).first() is None:
        row = {"id": ruling.id, "model": ruling.model, "at": ruling.at, "payload": ruling.to_json().decode()}
        transaction.execute(sa.insert(t.rulings).values(**row))


def ruling(ledger: Ledger, identity: str) -> Ruling:
    """Raises NotFound for an unknown id."""
    with ledger.read() as connection:
        payload = connection.execute(sa.select(t.rulings.c.payload).where(t.rulings.c.id == identity)).scalar()
    if payload is None:
        raise NotFound(
            f"ruling {identity!r}", expected="one that the guard wrote", got="none", do="see `grownet models`"
        )
    return Ruling.from_json(payload)


def rulings(ledger: Ledger, model: str, since: datetime | None = None) -> list[Ruling]:
    """Rulings about a model, oldest first."""
    query = sa.select(t.rulings.c.payload).where(t.rulings.c.model == model).order_by(t.rulings.c.at, t.rulings.c.id)
    query = query if since is None else query.where(t.rulings.c.at >= since)
    with ledger.read() as connection:
        return [Ruling.from_json(payload) for payload in connection.execute(query).scalars()]
