"""API keys: who may ask which model for what. Only hashes are kept, in `home/serving/api_keys.json` (0600).

Written by `grownet keys add`; read by every replica, which notices a changed file within a second. A key has 256
random bits, so its plain SHA-256 is no weaker than the key.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

import msgspec

from configs.schema import Settings
from errors import ConfigError, UsageError
from records import Record, utc_now

Scope = Literal["predict", "feedback", "replay", "read"]
ALL = "*"


class ApiKey(Record, frozen=True, kw_only=True):
    """One key. `id` is in the key's own text and in the journal; the key itself is nowhere."""

    id: str
    name: str
    hash: str  # SHA-256 of the whole key
    scopes: tuple[Scope, ...]
    models: tuple[str, ...]  # names, or "*"
    created_at: datetime

    def may(self, scope: Scope, model: str) -> bool:
        return scope in self.scopes and (ALL in self.models or model in self.models)


def path_of(settings: Settings) -> Path:
    return settings.home / "serving" / "api_keys.json"


def add_key(settings: Settings, name: str, scopes: Collection[str], models: Collection[str]) -> str:
    """Makes a key and returns it; it cannot be shown again.

    Args:
        scopes: some of predict, feedback, replay (may set the event time), read (plan).
        models: names, or {"*"} for all.

    Raises:
        UsageError: for an unknown scope, or none, or no model.
    """
    known = get_args(Scope)
    if not scopes or not models or set(scopes) - set(known):
        raise UsageError("API key", expected=f"scopes of {known} and at least one model", got=[*scopes, *models])
    identity = secrets.token_hex(4)
    secret = f"gk_{identity}_{secrets.token_urlsafe(32)}"
    new = ApiKey(
        id=identity,
        name=name,
        hash=_hash(secret),
        scopes=tuple(sorted(scopes)),  # type: ignore[arg-type]  # checked above
        models=tuple(sorted(models)),
        created_at=utc_now(),
    )
    path = path_of(settings)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (path.parent / ".keys-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _write(path, [*read(path), new])
    return secret


def read(path: Path) -> list[ApiKey]:
    """The keys of the file; none when there is no file.

    Raises:
        ConfigError: when it cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[ApiKey])
    except FileNotFoundError:
        return []
    except msgspec.DecodeError as error:
        raise ConfigError([f"{path}: expected a list of API keys, got {error}"]) from error


class Ring:
    """The keys in memory, by hash."""

    def __init__(self, path: Path) -> None:
        self._path, self._stamp = path, (0, 0)
        self._keys: dict[str, ApiKey] = {}
        self.reload()

    def reload(self) -> None:
        """Reads the file again when it is another one than before; raises ConfigError as `read`."""
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_ino)
        except FileNotFoundError:
            stamp = (0, 0)
        if stamp != self._stamp:
            self._keys = {key.hash: key for key in read(self._path)}
            self._stamp = stamp

    def find(self, header: str) -> ApiKey | None:
        """The key of an Authorization header."""
        scheme, _, secret = header.partition(" ")
        return self._keys.get(_hash(secret.strip())) if scheme.lower() == "bearer" else None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _write(path: Path, keys: list[ApiKey]) -> None:
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(keys), indent=1))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
