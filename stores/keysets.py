"""Keyset files below `home/vault`: created once, mode 0600, replaced atomically, rotated in place.

Tink makes and reads the keys. With a KMS key URI the files are wrapped by that key; without one they are plain
JSON that only the owner may read. `known/NAME` remembers that a keyset was made, so that a lost file is an error
and not a reason to make a new key that opens nothing. Triggered by `stores.vault` and by `rotate`.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tink
from tink import aead, json_proto_keyset_format, prf, secret_key_access, signature

from checks.keys import KEY_ID, key_kind
from errors import ConfigError, TamperError

Template = Callable[[], Any]
TEMPLATES: Mapping[str, Template] = {
    "aead": lambda: aead.aead_key_templates.AES256_GCM,  # artifacts, features, documents
    "codes": lambda: aead.aead_key_templates.AES256_GCM,  # the reviewers' TOTP secrets
    "pseudonym": lambda: prf.prf_key_templates.HMAC_SHA256,
    "feedback": lambda: prf.prf_key_templates.HMAC_SHA256,  # prediction ids
    "judged": lambda: prf.prf_key_templates.HMAC_SHA256,  # plans that a replica keeps
    "sign": lambda: signature.signature_key_templates.ED25519,
}
KMS_CLIENTS = {  # URI scheme -> module of tink.integration and its client
    "gcp-kms": ("gcpkms", "GcpKmsClient"),
    "aws-kms": ("awskms", "AwsKmsClient"),
}


def register() -> None:
    """Tells Tink which primitives are used; calling it again changes nothing."""
    aead.register()
    prf.register()
    signature.register()


def template(name: str) -> Any:
    """The key template of a keyset; every signing keyset ("guard", "operator:ada") shares one."""
    return TEMPLATES["sign" if KEY_ID.match(name) else name]()


class Keysets:
    """The keyset files of one home.

    Args:
        home: the state directory; keysets live in `home/vault`, public keys in `home/vault/public`.
        kms_key_uri: wraps the files under this key when given.
    """

    def __init__(self, home: Path, kms_key_uri: str = "") -> None:
        register()
        self.folder = home / "vault"
        self.public = self.folder / "public"
        self._wrap = _kms_aead(kms_key_uri) if kms_key_uri else None
        try:
            for folder in (self.folder, self.public, self.folder / "known"):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError([f"GROWNET_HOME: the vault {self.folder} cannot be made: {error}"]) from error

    def handle(self, name: str) -> Any:
        """The keyset of this name, made the first time; safe when two processes ask at once.

        Raises:
            TamperError: for a lost, unreadable or exposed keyset file.
        """
        if not self._path(name).exists():  # files are replaced whole, so reading needs no lock
            with self._locked():
                if not self._path(name).exists():
                    self._refuse_lost(name)
                    self._store(name, tink.new_keyset_handle(template(name)))
        return self._load(name)

    def rotate(self, name: str) -> int:
        """Adds a key and makes it primary; the old ones still decrypt and verify. Returns how many keys there are."""
        with self._locked():
            old = json.loads(_plain(self._load(name)))
            new = json.loads(_plain(tink.new_keyset_handle(template(name))))
            merged = {"primaryKeyId": new["primaryKeyId"], "key": [*old["key"], *new["key"]]}
            self._store(name, json_proto_keyset_format.parse(json.dumps(merged), secret_key_access.TOKEN))
            return len(merged["key"])

    def _store(self, name: str, handle: Any) -> None:
        if KEY_ID.match(name):  # the public half first: nobody can sign with what nobody could verify
            public = json_proto_keyset_format.serialize_without_secret(handle.public_keyset_handle())
            entry = {"key": name, "kind": key_kind(name), "keyset": json.loads(public)}
            _write(self.public / f"{_stem(name)}.json", json.dumps(entry, indent=1), 0o644)
        if self._wrap is None:
            text = _plain(handle)
        else:
            text = json_proto_keyset_format.serialize_encrypted(handle, self._wrap, name.encode())
        _write(self._path(name), text, 0o600)
        _write(self.folder / "known" / _stem(name), "", 0o644)  # last: killed before it, the next start just goes on

    def _load(self, name: str) -> Any:
        path = self._path(name)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise TamperError(
                f"keyset {path}", expected="mode 0600", got=oct(stat.S_IMODE(path.stat().st_mode)), do="chmod 600 it"
            )
        text = path.read_text(encoding="utf-8")
        try:
            if self._wrap is None:
                return json_proto_keyset_format.parse(text, secret_key_access.TOKEN)
            return json_proto_keyset_format.parse_encrypted(text, self._wrap, name.encode())
        except tink.TinkError as error:
            raise TamperError(
                f"keyset {path}", expected="a readable keyset", got=str(error), do="restore it from a backup"
            ) from None  # the cause could show key material

    def _refuse_lost(self, name: str) -> None:
        if (self.folder / "known" / _stem(name)).exists():
            raise TamperError(
                f"keyset {self._path(name)}",
                expected="the keyset that was made here before",
                got="no file",
                do="restore it from a backup; a new key would open nothing that exists",
            )

    def _path(self, name: str) -> Path:
        return self.folder / f"{_stem(name)}.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def rotate(home: Path, name: str, kms_key_uri: str = "") -> int:
    """Rotates one keyset: "aead", "codes", "pseudonym", "feedback", "judged" or a signing key id.

    A new pseudonym key gives new pseudonyms (prefix p2_): rows of one person no longer join across the two.
    """
    return Keysets(home, kms_key_uri).rotate(name)


def _plain(handle: Any) -> str:
    return str(json_proto_keyset_format.serialize(handle, secret_key_access.TOKEN))


def _stem(name: str) -> str:
    return name.replace(":", "-")


def _write(path: Path, text: str, mode: int) -> None:
    """All of the file or none of it, also after a power failure."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _kms_aead(uri: str) -> Any:
    """The AEAD of a key in a KMS. The clients that Tink knows need packages of their own (not installed here)."""
    try:
        client = tink.kms_client_from_uri(uri)
    except tink.TinkError:
        _register_kms(uri)
        client = tink.kms_client_from_uri(uri)
    return client.get_aead(uri)


def _register_kms(uri: str) -> None:
    scheme = uri.partition("://")[0]
    if scheme not in KMS_CLIENTS:
        raise ConfigError([f"GROWNET_KMS_KEY_URI: expected one of {sorted(KMS_CLIENTS)} as scheme, got {scheme!r}"])
    module, client = KMS_CLIENTS[scheme]
    try:
        getattr(importlib.import_module(f"tink.integration.{module}"), client).register_client(uri, None)
    except ImportError as error:
        raise ConfigError([f"GROWNET_KMS_KEY_URI: the client of {scheme} is not installed: {error}"]) from error
