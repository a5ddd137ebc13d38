"""Keys at work: envelope encryption, signatures, pseudonyms, prediction-id MACs and TOTP secrets.

Reads and, the first time, makes keysets in `home/vault`; writes nothing else. Opened by every process under the
name of what it is (the holder); HOLDINGS is the one table of who may use which key.
Tink AES-256-GCM, Ed25519 and HMAC-SHA256 (as PRF); TOTP as in RFC 6238.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyotp
import tink
from tink import aead, json_proto_keyset_format, prf, signature

from checks.keys import KEY_ID, Act, may_sign
from errors import RoleRefused, TamperError
from stores.keysets import Keysets, register

if TYPE_CHECKING:
    import pandas as pd

ISSUER = "grownet"
PSEUDONYM_BYTES = 16
MAC_BYTES = 16
HOLDINGS: Mapping[str, frozenset[str]] = {
    "ingest": frozenset({"aead", "pseudonym"}),
    "serving": frozenset({"aead", "pseudonym", "feedback", "judged"}),
    "train": frozenset({"aead"}),
    "release": frozenset({"aead", "codes", "sign"}),
    "guard": frozenset({"sign"}),
    "refresh": frozenset({"aead", "sign"}),
    "prover": frozenset({"codes"}),  # judges the codes of operators
    "operator": frozenset({"sign"}),
    "reader": frozenset(),
}


class Verifier:
    """The public ring: one file per key id in `home/vault/public`. A key made after opening is found too."""

    def __init__(self, folder: Path) -> None:
        register()
        self._folder = folder
        self._ring: dict[str, Any] = {}

    def verify(self, key: str, data: bytes, signature_hex: str) -> None:
        """Checks a signature.

        Raises:
            TamperError: for a wrong signature and for a key that is not in the ring.
        """
        try:
            self._primitive(key).verify(bytes.fromhex(signature_hex), data)
        except (tink.TinkError, ValueError):
            if self._reloaded(key, data, signature_hex):
                return
            raise TamperError(
                f"signature of {key!r}",
                expected="the signature of that key over these bytes",
                got="another one",
                do="do not use what it covers; run `grownet audit verify`",
            ) from None

    def allowed(self, key: str, act: Act) -> bool:
        """True when this key is in the ring and its id may sign this."""
        return may_sign(key, act) and key in self.holders()

    def holders(self) -> tuple[str, ...]:
        """The key ids of the ring, sorted."""
        return tuple(sorted(str(_entry(path)["key"]) for path in self._folder.glob("*.json")))

    def _primitive(self, key: str) -> Any:
        if key not in self._ring:
            self._ring[key] = self._read(key)
        return self._ring[key]

    def _read(self, key: str) -> Any:
        path = self._folder / f"{key.replace(':', '-')}.json"
        if not KEY_ID.match(key) or not path.exists():
            raise TamperError(
                f"signing key {key!r}",
                expected=f"one of {list(self.holders())}",
                got=key,
                do="only keys of the public ring are believed",
            )
        entry = _entry(path)
        if entry["key"] != key:
            raise TamperError(f"public key {path}", expected=f"key {key}", got=entry["key"], do="restore the file")
        handle = json_proto_keyset_format.parse_without_secret(json.dumps(entry["keyset"]))
        return handle.primitive(signature.PublicKeyVerify)

    def _reloaded(self, key: str, data: bytes, signature_hex: str) -> bool:
        """After a rotation the file holds a key that the ring in memory does not."""
        self._ring.pop(key, None)
        try:
            self._primitive(key).verify(bytes.fromhex(signature_hex), data)
        except (tink.TinkError, ValueError):
            return False
        return True


class Signer:
    """Signs as one key id. `ring` checks what others signed."""

    def __init__(self, key: str, handle: Any, ring: Verifier) -> None:
        self.id, self.ring = key, ring
        self._key = handle.primitive(signature.PublicKeySign)

    def sign(self, data: bytes) -> str:
        """The signature as hex."""
        return bytes(self._key.sign(data)).hex()


class Vault:
    """The keys of one holder of HOLDINGS; an operator is "operator:NAME"."""

    def __init__(self, holder: str, keysets: Keysets) -> None:
        self.holder = holder
        self._holds = HOLDINGS[holder.partition(":")[0]]
        self._keysets = keysets

    @classmethod
    def open(cls, home: Path, holder: str, kms_key_uri: str = "") -> Vault:
        """Opens the vault below `home`; keysets of this holder that do not exist yet are made.

        Raises:
            RoleRefused: for a holder that is not in HOLDINGS.
            TamperError: for a keyset that is lost, unreadable or readable by others.
        """
        kind = holder.partition(":")[0]
        if kind not in HOLDINGS or (holder != kind and not KEY_ID.match(holder)) or holder == "operator":
            raise RoleRefused(
                f"vault holder {holder!r}",
                expected=f"one of {sorted(HOLDINGS)}, an operator as operator:NAME",
                got=holder,
            )
        vault = cls(holder, Keysets(home, kms_key_uri))
        for name in sorted(vault._holds):
            vault._keysets.handle(vault._name(name))
        return vault

    def encrypt(self, plaintext: bytes, context: bytes) -> bytes:
        """Ciphertext that opens only with the same context (the content digest, say)."""
        return bytes(self._aead.encrypt(plaintext, context))

    def decrypt(self, ciphertext: bytes, context: bytes) -> bytes:
        """Raises TamperError when a byte, the context or the key is another."""
        return _opened(self._aead, ciphertext, context)

    @cached_property
    def signer(self) -> Signer:
        """Signs as this holder; RoleRefused for a holder without a signing key."""
        return Signer(self.holder, self._handle("sign"), self.verifier)

    @cached_property
    def verifier(self) -> Verifier:
        return Verifier(self._keysets.public)

    def pseudonym(self, subject: str) -> str:
        """`p1_` and 32 hex characters; equal for equal subjects. The number is the key's version."""
        number, key = self._pseudonym_key
        return f"p{number}_{key.compute(subject.encode(), PSEUDONYM_BYTES).hex()}"

    def pseudonyms(self, subjects: pd.Series) -> pd.Series:
        """One pseudonym per value, computed once per distinct value; null stays null."""
        known = {subject: self.pseudonym(str(subject)) for subject in subjects.dropna().unique()}
        return subjects.map(known).astype("str")

    def feedback_mac(self, data: bytes) -> bytes:
        """16 bytes that only serving can make; any prefix of it is as good as its length."""
        return bytes(self._feedback_keys.primary().compute(data, MAC_BYTES))

    def feedback_mac_valid(self, data: bytes, mac: bytes) -> bool:
        """True for a MAC (or a prefix of at least 8 bytes) made with this or an older key."""
        made = [bytes(key.compute(data, MAC_BYTES))[: len(mac)] for key in self._feedback_keys.all().values()]
        return len(mac) >= 8 and True in [hmac.compare_digest(mac, one) for one in made]

    def judged_mac(self, data: bytes) -> bytes:
        """What a replica puts beside a plan that it judged; nobody else can."""
        return bytes(self._judged_keys.primary().compute(data, MAC_BYTES))

    def judged_mac_valid(self, data: bytes, mac: bytes) -> bool:
        """True for a MAC made with this or an older key."""
        made = [bytes(key.compute(data, MAC_BYTES)) for key in self._judged_keys.all().values()]
        return True in [hmac.compare_digest(mac, one) for one in made]

    def seal_code(self, reviewer: str, secret: str) -> str:
        """A reviewer's TOTP secret as text that the ledger may hold; bound to the reviewer."""
        return base64.b64encode(self._codes.encrypt(secret.encode(), _code_context(reviewer))).decode()

    def open_code(self, reviewer: str, sealed: str) -> str:
        """What `seal_code` sealed for this reviewer; TamperError for anything else."""
        try:
            ciphertext = base64.b64decode(sealed, validate=True)
        except ValueError:
            ciphertext = b""
        return _opened(self._codes, ciphertext, _code_context(reviewer)).decode()

    @cached_property
    def _aead(self) -> Any:
        return self._handle("aead").primitive(aead.Aead)

    @cached_property
    def _codes(self) -> Any:
        return self._handle("codes").primitive(aead.Aead)

    @cached_property
    def _feedback_keys(self) -> Any:
        return self._handle("feedback").primitive(prf.PrfSet)

    @cached_property
    def _judged_keys(self) -> Any:
        return self._handle("judged").primitive(prf.PrfSet)

    @cached_property
    def _pseudonym_key(self) -> tuple[int, Any]:
        handle = self._handle("pseudonym")
        info = handle.keyset_info()
        number = [key.key_id for key in info.key_info].index(info.primary_key_id) + 1
        return number, handle.primitive(prf.PrfSet).primary()

    def _name(self, keyset: str) -> str:
        return self.holder if keyset == "sign" else keyset

    def _handle(self, keyset: str) -> Any:
        if keyset not in self._holds:
            holders = sorted(kind for kind, held in HOLDINGS.items() if keyset in held)
            raise RoleRefused(f"the {keyset} key", expected=f"one of its holders {holders}", got=self.holder)
        return self._keysets.handle(self._name(keyset))


def totp_secret() -> str:
    """A new secret for an authenticator app: base32, 160 bits."""
    return str(pyotp.random_base32())


def provisioning_uri(name: str, secret: str) -> str:
    """The otpauth:// address that an authenticator app reads from a QR code."""
    return str(pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER))


def _entry(path: Path) -> dict[str, Any]:
    """A file of the public ring: {"key", "kind", "keyset"}."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        return {"key": entry["key"], "keyset": entry["keyset"]}
    except (ValueError, KeyError, TypeError) as error:
        raise TamperError(
            f"public key {path}", expected="a key id and its public keyset", got=str(error), do="restore the file"
        ) from error


def _code_context(reviewer: str) -> bytes:
    return f"totp:{reviewer}".encode()


def _opened(key: Any, ciphertext: bytes, context: bytes) -> bytes:
    try:
        return bytes(key.decrypt(ciphertext, context))
    except tink.TinkError:
        raise TamperError(
            "ciphertext",
            expected=f"what was encrypted for {context.decode(errors='replace')!r} under a key of this vault",
            got="bytes that do not open",
            do="restore the bytes, or the keyset, from a backup",
        ) from None
