"""What people say and sign in the ledger (answers to the review, entries of incidents), proved before anybody believes it.

A statement counts when the audit log tells of it, written under the role that may, and when its key signed it.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import sqlalchemy as sa

from checks.keys import Act
from errors import TamperError
from stores.ledger import audit
from stores.ledger.engine import Transaction
from stores.ledger.signing import Ring
from stores.ledger.tables import Role


class Statement(Protocol):
    """A record that somebody signed."""

    @property
    def key(self) -> str: ...
    @property
    def signature(self) -> str: ...
    @property
    def digest(self) -> str: ...
    def unsigned(self) -> bytes: ...


class Witness(NamedTuple):
    """How the audit log tells of a statement: by which action, about what, written under which role."""

    action: str
    what: str  # people call it
    subject: str
    role: Role

    @property
    def thing(self) -> str:
        return f"{self.what} {self.subject}"


def refuse_untold(reader: sa.Connection | Transaction, said: Statement, told: Witness) -> None:
    """Raises TamperError for a statement that the audit log does not tell of."""
    found = [(entry.detail.get("digest"), entry.role) for entry in audit.told(reader, told.action, told.subject)]
    if (said.digest, told.role) not in found:
        raise TamperError(
            told.thing,
            expected=f"the one that the audit log tells of, written as {told.role}",
            got="another",
            do="compare the ledger with a backup",
        )


def refuse_unsigned(said: Statement, told: Witness, ring: Ring, act: Act) -> None:
    """Raises TamperError for a statement that no operator's key signed."""
    if not ring.allowed(said.key, act):
        raise TamperError(told.thing, expected="the key of an operator", got=said.key, do="run `grownet audit verify`")
    ring.verify(said.key, said.unsigned(), said.signature)
