"""What the ledger needs of a key: it signs and checks through these two shapes and knows no vault."""

from __future__ import annotations

from typing import Protocol

from checks.keys import Act


class Ring(Protocol):
    """The public keys (`stores.vault.Verifier`)."""

    def verify(self, key: str, data: bytes, signature_hex: str, /) -> None:
        """Raises TamperError for a signature that is not this key's over this data."""

    def allowed(self, key: str, act: Act, /) -> bool:
        """True when the key is in the ring and may sign this."""


class Signer(Protocol):
    """A private key with its id (`stores.vault.Signer`)."""

    @property
    def id(self) -> str: ...

    @property
    def ring(self) -> Ring: ...

    def sign(self, data: bytes) -> str:
        """The signature as hex."""
