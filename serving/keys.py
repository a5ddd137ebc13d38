"""API keys: who may ask which model for what, and until when. Only hashes are kept, in `home/serving/api_keys.json` (0600).

Changed by `serving.issuing`; read by every replica, which notices a changed file within a second. A key has 256
random bits, so its plain SHA-256 is no weaker than the key; its id stands in its own text and in the journal.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import msgspec

from configs.schema import Settings
from errors import ConfigError, UsageError
from records import Record, utc_now

Scope = Literal["predict", "feedback", "replay", "read"]
ALL = "*"
FRONT = "gk_"
ID = slice(len(FRONT), len(FRONT) + 8)  # where the id stands in a key
FOREVER = float("inf")


class ApiKey(Record, frozen=True, kw_only=True):
    """One key. `id` is in the key's own text and in the journal; the key itself is nowhere."""

    id: str
    name: str
    hash: str  # SHA-256 of the whole key
    scopes: tuple[Scope, ...]
    models: tuple[str, ...]  # names, or "*"
    created_at: datetime
    expires_at: datetime | None = None
    replaced_by: str = ""  # id of the key it was rotated to

    def may(self, scope: Scope, model: str) -> bool:
        return scope in self.scopes and (ALL in self.models or model in self.models)


class _Held(NamedTuple):
    key: ApiKey
    hash: str
    until: float  # seconds since the epoch


def path_of(settings: Settings) -> Path:
    return settings.home / "serving" / "api_keys.json"


def made(
    name: str, scopes: Collection[str], models: Collection[str], expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """A new key and its text, which is kept nowhere.

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
    secret = f"{FRONT}{identity}_{secrets.token_urlsafe(32)}"
    new = ApiKey(
        id=identity,
        name=name,
        hash=_hash(secret),
        scopes=tuple(sorted(scopes)),  # type: ignore[arg-type]  # checked above
        models=tuple(sorted(models)),
        created_at=utc_now(),
        expires_at=expires_at,
    )
    return new, secret


def add_key(settings: Settings, name: str, scopes: Collection[str], models: Collection[str]) -> str:
    """Makes a key, keeps its hash and returns it; it cannot be shown again. Tells no audit log: `serving.issuing` does.

    Raises:
        UsageError: as `made`.
    """
    new, secret = made(name, scopes, models)
    with editing(settings) as keys:
        keys.append(new)
    return secret


@contextmanager
def editing(settings: Settings) -> Iterator[list[ApiKey]]:
    """The keys, to be changed in place, under a lock; written when the block ends, and not when it raises."""
    path = path_of(settings)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (path.parent / ".keys-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = read(path)
        yield keys
        _write(path, keys)


def read(path: Path) -> list[ApiKey]:
    """The keys of the file; none when there is no file.

    Raises:
        ConfigError: when it cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[ApiKey])
    except FileNotFoundError:
        return []
    except (OSError, UnicodeError, msgspec.DecodeError) as error:
        raise ConfigError([f"{path}: expected a list of API keys, got {error}"]) from error


class Ring:
    """The keys in memory, by id. `used` has when each was last used here, in seconds since the epoch."""

    def __init__(self, path: Path) -> None:
        self._path, self._stamp = path, (0, 0)
        self._keys: dict[str, _Held] = {}
        self.used: dict[str, float] = {}
        self.reload()

    def reload(self) -> None:
        """Reads the file again when it is another one than before; raises ConfigError as `read`."""
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_ino)
        except OSError:  # what it is, `read` says
            stamp = (0, 0)
        if stamp != self._stamp:
            self._keys = {key.id: _Held(key, key.hash, _until(key)) for key in read(self._path)}
            self._stamp = stamp

    def find(self, header: str) -> ApiKey | None:
        """The key of an Authorization header; None for an unknown, a wrong and an expired one alike.

        Found by the id, which is public; the rest is compared in constant time, also when there is no such id.
        """
        scheme, _, given = header.partition(" ")
        secret = given.strip()
        held = self._keys.get(secret[ID], _NOBODY)
        if not hmac.compare_digest(_hash(secret), held.hash) or scheme.lower() != "bearer":
            return None
        now = time.time()
        if now >= held.until:
            return None
        self.used[held.key.id] = now
        return held.key


def _until(key: ApiKey) -> float:
    return FOREVER if key.expires_at is None else key.expires_at.timestamp()


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


def _nobody() -> _Held:
    """What stands for an unknown id: a key whose text nobody has, and that is over."""
    return _Held(made("nobody", {"read"}, {ALL})[0], _hash(secrets.token_urlsafe(32)), 0.0)


_NOBODY = _nobody()
