"""`grownet keys`: issues, rotates, revokes and lists API keys, and tells the audit log of every change.

Writes `home/serving/api_keys.json` and the ledger's audit chain; reads when keys were last used from
`home/serving/REPLICA/key_use.json`. A key is shown only when both the file and the log have it; a revocation is in the
file first, since it must not wait for a ledger that is away.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from configs.schema import Settings
from errors import LedgerError, NotFound, UsageError
from records import utc_now
from serving.keys import ApiKey, editing, made, path_of, read
from stores.ledger import audit
from stores.ledger.engine import Ledger, Transaction

ISSUED, ROTATED, REVOKED = "key.issued", "key.rotated", "key.revoked"
USE = "key_use.json"
_SPAN = re.compile(r"^(\d{1,6})([smhd])$", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def span(text: str, option: str) -> timedelta:
    """`7d`, `12h`, `30m` or `0s` as a time span. Raises UsageError for anything else, naming the option."""
    found = _SPAN.match(text)
    if found is None:
        raise UsageError(option, expected="a number and s, m, h or d, such as 7d", got=text)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def issue(
    settings: Settings, name: str, scopes: Collection[str], models: Collection[str], lasts: timedelta | None = None
) -> dict[str, Any]:
    """Makes a key; `lasts` from now on, or until it is revoked.

    Raises:
        UsageError: for an unknown scope, or none, or no model; for a key that would be over already.
        LedgerError: when the audit log cannot be told; then there is no key.
    """
    new, secret = made(name, scopes, models, _end(lasts))
    with _audited(settings) as log, editing(settings) as keys:
        keys.append(new)
        log.audit(ISSUED, new.id, _told(new))
    return {**facts(new), "key": secret}


def rotate(settings: Settings, name: str, overlap: timedelta, lasts: timedelta | None = None) -> dict[str, Any]:
    """A new key with the scopes and models of another, which goes on for the overlap.

    Args:
        name: of the key, or its id. A name must belong to one key that was not rotated yet.
        lasts: how long the new key is for; when not given, as long as the old one was.

    Raises:
        NotFound: when no key that is still good has this name or id.
        UsageError: when several have.
        LedgerError: when the audit log cannot be told; then nothing changed.
    """
    now = utc_now()
    with _audited(settings) as log, editing(settings) as keys:
        old = _one(keys, name, now)
        if lasts is None and old.expires_at is not None:
            lasts = old.expires_at - old.created_at
        new, secret = made(old.name, old.scopes, old.models, _end(lasts))
        ends = min(now + overlap, old.expires_at or now + overlap)
        keys[keys.index(old)] = msgspec.structs.replace(old, expires_at=ends, replaced_by=new.id)
        keys.append(new)
        log.audit(ROTATED, old.id, {**_told(new), "to": new.id, "ends_at": ends.isoformat()})
    return {**facts(new), "key": secret, "replaces": old.id, "old_ends_at": ends}


def revoke(settings: Settings, identity: str) -> dict[str, Any]:
    """Ends a key at once: replicas notice within a second. It may be done again.

    Raises:
        NotFound: for an id that no key has.
        LedgerError: when the audit log cannot be told; the key is revoked all the same.
    """
    with editing(settings) as keys:
        old = next((key for key in keys if key.id == identity), None)
        if old is None:
            raise NotFound(f"API key {identity!r}", expected="an id of `grownet keys list`", got="none")
        keys.remove(old)
    try:
        with _audited(settings) as log:
            log.audit(REVOKED, old.id, _told(old))
    except LedgerError as error:
        do = "tell who keeps the audit log"
        raise LedgerError(f"API key {identity}", got=f"revoked, but not in the audit log: {error}", do=do) from error
    return {**facts(old), "state": "revoked"}


def listed(settings: Settings) -> list[dict[str, Any]]:
    """Every key in the file, without its hash: state, when it was last used (to the hour), and whether the audit log
    tells of it (None: the ledger is away)."""
    used, told, now = _uses(settings.home / "serving"), _ids_told(settings), utc_now()
    return [
        {
            **facts(key),
            "state": "expired" if key.expires_at and key.expires_at <= now else "ends" if key.replaced_by else "good",
            "last_used": used.get(key.id),
            "audited": None if told is None else key.id in told,
        }
        for key in read(path_of(settings))
    ]


def note_use(path: Path, used: dict[str, float]) -> None:
    """Keeps when keys were last used, to the hour: enough to see which are idle, too little to follow anybody."""
    hours = {identity: int(at // 3600) * 3600 for identity, at in list(used.items())}
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(_read_uses(path) | hours))
    new.replace(path)


def facts(key: ApiKey) -> dict[str, Any]:
    """A key as people see it."""
    shown = ("id", "name", "scopes", "models", "created_at", "expires_at", "replaced_by")
    return {name: getattr(key, name) for name in shown}


def describe(found: list[dict[str, Any]]) -> str:
    """The keys as lines for people."""
    lines = [
        f"{one['id']}  {one['state']:<8} {one['name']}: {', '.join(one['scopes'])} for {', '.join(one['models'])}"
        f"{_date(', until', one['expires_at'])}{_date(', last used', one['last_used'])}"
        f"{', NOT IN THE AUDIT LOG' if one['audited'] is False else ''}"
        for one in found
    ]
    return "\n".join(lines) or "no keys: `grownet keys add NAME --scope predict`"


def _one(keys: list[ApiKey], name: str, now: datetime) -> ApiKey:
    good = [key for key in keys if not key.replaced_by and (key.expires_at is None or key.expires_at > now)]
    found = [key for key in good if name in {key.id, key.name}]
    if not found:
        raise NotFound(f"API key {name!r}", expected="a key that is good and not rotated yet", do="`grownet keys list`")
    if len(found) > 1:
        raise UsageError(f"API key {name!r}", expected="the id of one", got=[key.id for key in found])
    return found[0]


def _end(lasts: timedelta | None) -> datetime | None:
    """When a key ends that lasts so long from now on. Raises UsageError for one that would be over already."""
    if lasts is None:
        return None
    if not lasts:
        raise UsageError("--expires", expected="longer than nothing; leave it out for a key without an end", got="0")
    return utc_now() + lasts


@contextmanager
def _audited(settings: Settings) -> Iterator[Transaction]:
    """A transaction of the ledger in the name of the system's user; on a new home it makes the ledger."""
    ledger = Ledger.open(settings.ledger_url, "operator", demo=settings.demo)
    try:
        with ledger.write(_user()) as transaction:
            yield transaction
    finally:
        ledger.close()


def _user() -> str:
    """Who the system says this is; in a container the number may have no name."""
    try:
        return f"user:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"user:{os.getuid()}"


def _told(key: ApiKey) -> dict[str, Any]:
    ends = key.expires_at.isoformat() if key.expires_at else ""
    return {"name": key.name, "scopes": list(key.scopes), "models": list(key.models), "expires_at": ends}


def _ids_told(settings: Settings) -> set[str] | None:
    try:
        ledger = Ledger.open(settings.ledger_url, "reader", demo=settings.demo, create=False)
    except LedgerError:
        return None
    try:
        with ledger.read() as connection:
            issued = {entry.subject for entry in audit.told(connection, ISSUED)}
            return issued | {str(entry.detail["to"]) for entry in audit.told(connection, ROTATED)}
    finally:
        ledger.close()


def _uses(folder: Path) -> dict[str, datetime]:
    """The newest use of each key that a replica on this machine kept."""
    found: dict[str, int] = {}
    for path in sorted(folder.glob(f"*/{USE}")):
        for identity, at in _read_uses(path).items():
            found[identity] = max(at, found.get(identity, 0))
    return {identity: datetime.fromtimestamp(at, utc_now().tzinfo) for identity, at in found.items()}


def _read_uses(path: Path) -> dict[str, int]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except (FileNotFoundError, UnicodeError, msgspec.DecodeError):
        return {}  # nothing depends on it: it is written again with the next use


def _date(before: str, when: datetime | None) -> str:
    return f"{before} {when:%Y-%m-%d %H:%M}" if when else ""
