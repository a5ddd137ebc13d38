"""What people do about an incident: look at it, note, give its root cause, agree to one that somebody else gave.

Reads the ledger; what is said is signed with the operator's own key and written there. An agreement closes the incident and
writes `home/incidents/ID.md`, the postmortem filled in from the record. Behind `grownet incident`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from checks.incidents import began, cause_of, timeline
from configs.schema import Settings
from errors import NotFound, UsageError
from records import Incident, IncidentEntry, utc_now
from stores.ledger import incidents, plans, rulings, verdicts
from stores.ledger.engine import Ledger
from stores.ledger.signing import Ring, Signer
from stores.vault import Vault
from tasks import places, postmortem
from tasks.oneline import typed
from tasks.operate import opened, signer_of
from tasks.origin import write

SHORT = {"detected": "detect", "decided": "decide", "switched": "switch", "restored": "restore"}


@dataclass(frozen=True)
class Close:
    """What somebody gives who closes: why it happened and where that can be looked at, or the number of a cause to agree to."""

    cause: str = ""
    evidence: str = ""
    agree: int = 0


def listed(settings: Settings, model: str = "", *, every: bool = False) -> list[dict[str, Any]]:
    """The open incidents (or all) of a model (or all), oldest first, as `facts`."""
    with opened(settings, "reader") as ledger:
        return [facts(one) for one in incidents.incidents(ledger, model, "" if every else "open")]


def show(settings: Settings, identity: str) -> dict[str, Any]:
    """One incident with its timeline, what people said of it, and every change of plan while it went on.

    Raises:
        NotFound: for an unknown id.
        TamperError: for an entry or a plan that its key did not sign.
    """
    ring = Vault.open(settings.home, "reader", settings.kms_key_uri).verifier
    with opened(settings, "reader") as ledger:
        return _whole(settings, ledger, ring, incidents.incident(ledger, identity))


def note(settings: Settings, identity: str, text: str, operator: str, at: datetime) -> dict[str, Any]:
    """Appends a note, signed by the operator; the incident as it is then. Raises as `incidents.say`."""
    said = IncidentEntry(incident=identity, number=0, kind="note", text=typed("--text", text), at=at, key="")
    return _said(settings, said, operator)


def close(settings: Settings, identity: str, given: Close, operator: str) -> dict[str, Any]:
    """A cause asks for a second person; the second person's agreement closes the incident and writes its postmortem.

    With neither, the postmortem of a closed incident is written where it is not there; one that is there stays as it is.

    Raises:
        UsageError: for both or neither, evidence that nobody can look at, a cause that is not the newest, an incident that
            is closed or, for an agreement, goes on.
        RoleRefused: for the agreement of the operator who gave the cause.
        NotFound: for an unknown incident, or a name that is no operator.
    """
    now, explains = utc_now(), bool(given.cause or given.evidence)
    if explains and not given.agree:
        return _explain(settings, identity, given, operator, now)
    if given.agree and not explains:
        return _agree(settings, identity, given.agree, operator, now)
    whole = show(settings, identity)
    if explains or whole["status"] != "closed":
        raise UsageError(
            f"incident {identity}",
            expected="--cause with --evidence, or --agree with the number of the cause",
            got="both" if explains else "neither, and it is open",
            do="see `grownet incident show`",
        )
    return whole | {"postmortem": str(_kept(settings, whole))}


def facts(incident: Incident) -> dict[str, Any]:
    """An incident with the seconds from the first bad answer to detected, decided, switched and restored (None while open)."""
    first, moments = began(incident), dict(timeline(incident))
    seconds = {
        f"seconds_to_{word}": round((when - first).total_seconds(), 3) if (when := moments[name]) else None
        for name, word in SHORT.items()
    }
    return {
        "id": incident.id,
        "model": incident.model,
        "level": incident.level,
        "kind": incident.kind,
        "summary": incident.summary,
        "status": incident.status,
        "failed_requests": incident.failed_requests,
        "owner": incident.owner,
        "actions": list(incident.actions),
        "revision": incident.revision,
        "detected_at": incident.detected_at,
    } | seconds


def _explain(settings: Settings, identity: str, given: Close, operator: str, at: datetime) -> dict[str, Any]:
    cause, evidence = typed("--cause", given.cause), typed("--evidence", given.evidence)
    with opened(settings, "reader") as ledger:
        _refuse_unseen(settings, ledger, evidence)
    said = IncidentEntry(incident=identity, number=0, kind="cause", text=cause, evidence=evidence, at=at, key="")
    return _said(settings, said, operator)


def _agree(settings: Settings, identity: str, number: int, operator: str, at: datetime) -> dict[str, Any]:
    with opened(settings, "operator") as ledger:
        signer = signer_of(settings, ledger, operator)
        before = incidents.entries(ledger, identity, signer.ring)
        covers = next((one.digest for one in before if one.number == number), "")
        text = f"agrees to entry {number}"
        said = IncidentEntry(incident=identity, number=0, kind="agreed", text=text, covers=covers, at=at, key="")
        found = incidents.say(ledger, _signed(said, len(before), signer), signer.id)
        whole = _whole(settings, ledger, signer.ring, found)
    return whole | {"postmortem": str(_kept(settings, whole))}


def _said(settings: Settings, said: IncidentEntry, operator: str) -> dict[str, Any]:
    with opened(settings, "operator") as ledger:
        signer = signer_of(settings, ledger, operator)
        before = incidents.entries(ledger, said.incident, signer.ring)
        found = incidents.say(ledger, _signed(said, len(before), signer), signer.id)
        return _whole(settings, ledger, signer.ring, found)


def _signed(said: IncidentEntry, before: int, signer: Signer) -> IncidentEntry:
    """With its number, who says it, and the signature over both."""
    unsigned = replace(said, number=before + 1, key=signer.id)
    return replace(unsigned, signature=signer.sign(unsigned.unsigned()))


def _whole(settings: Settings, ledger: Ledger, ring: Ring, incident: Incident) -> dict[str, Any]:
    said = incidents.entries(ledger, incident.id, ring)
    cause = cause_of(said)
    path = settings.home / places.postmortem(incident.id)
    return facts(incident) | {
        "evidence": incident.evidence,
        "timeline": [{"moment": name, "at": when} for name, when in timeline(incident)],
        "entries": said,
        "cause": cause.number if cause else 0,
        "plans": _plans(ledger, ring, incident),
        "postmortem": str(path) if path.is_file() else "",
    }


def _plans(ledger: Ledger, ring: Ring, incident: Incident) -> list[dict[str, Any]]:
    """Every revision from the first bad answer until the incident was closed: what the guard and people did."""
    last = incident.closed_at or utc_now()
    found = [one for one in plans.releases(ledger, incident.model) if began(incident) <= one.at <= last]
    changed = [plans.verify(one.signed, ring) for one in found]
    return [
        {"at": plan.created_at, "revision": plan.revision, "by": plan.actor, "because": plan.reason} for plan in changed
    ]


def _refuse_unseen(settings: Settings, ledger: Ledger, link: str) -> None:
    """Raises UsageError for evidence that is no address, no conclusion of the guard and no file of the house."""
    if _is_address(link) or _is_file(settings.home.resolve(), link):
        return
    for known in (rulings.ruling, verdicts.verdict):
        try:
            known(ledger, link)
        except NotFound:
            continue
        return
    raise UsageError(
        "--evidence",
        expected="an http(s) address, the id of a ruling or a verdict, or a file below the home folder",
        got=link,
        do="the second person must be able to look at it",
    )


def _is_address(link: str) -> bool:
    with suppress(ValueError):  # "http://["
        address = urlsplit(link)
        return address.scheme in {"http", "https"} and bool(address.hostname)
    return False


def _is_file(home: Path, link: str) -> bool:
    with suppress(OSError):  # a name longer than the file system takes
        path = (home / link).resolve()
        return path.is_relative_to(home) and path.is_file()
    return False


def _kept(settings: Settings, whole: dict[str, Any]) -> Path:
    path = settings.home / places.postmortem(whole["id"])
    if not path.is_file():
        try:
            write(path, postmortem.text(whole).encode())
        except OSError as error:
            raise UsageError(
                f"postmortem of {whole['id']}",
                expected="a folder to write into",
                got=f"{path} ({error.strerror})",
                do=f"the incident is closed; `grownet incident close {whole['id']}` writes it again",
            ) from error
    return path
