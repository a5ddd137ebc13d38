"""What people may say of an incident and when: notes always, a cause while it is open, an agreement by somebody else.

Pure. Asked by the ledger in the transaction that writes an entry; the seconds of a timeline are reckoned here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from errors import RevisionConflict, RoleRefused, UsageError
from records import Incident, IncidentEntry


def refuse_entry(incident: Incident, before: Sequence[IncidentEntry], entry: IncidentEntry) -> None:
    """Raises when an entry cannot follow those before it.

    Raises:
        RevisionConflict: when somebody else wrote since they were read.
        UsageError: for a cause or an agreement of a closed incident, or of one that goes on; for an agreement to what is
            not the newest cause, and for a cause without text or evidence.
        RoleRefused: when who agrees is who gave the cause.
    """
    if entry.number != len(before) + 1:
        last = f"{before[-1].kind} of {before[-1].key}" if before else "nothing"
        raise RevisionConflict(
            f"incident {incident.id}",
            expected=f"{entry.number - 1} entries, as when it was read",
            got=f"{len(before)}, the last {last}",
            do="read it with `grownet incident show` and say it again if you still want to",
        )
    if entry.kind == "note":
        return
    _refuse_closed(incident)
    if entry.kind == "agreed":
        _refuse_agreement(incident, before, entry)
    elif not (entry.text and entry.evidence):
        raise UsageError(
            f"cause of {incident.id}", expected="a root cause and its evidence", got=entry.text or "nothing"
        )


def cause_of(entries: Sequence[IncidentEntry]) -> IncidentEntry | None:
    """The newest cause that was given, which is the one that can be agreed to."""
    return next((entry for entry in reversed(entries) if entry.kind == "cause"), None)


def timeline(incident: Incident) -> list[tuple[str, datetime | None]]:
    """The moments of an incident in their order, by name; None is not known, or not yet."""
    return [
        ("first bad answer", incident.first_bad_at),
        ("detected", incident.detected_at),
        ("decided", incident.decided_at),
        ("switched", incident.switched_at),
        ("restored", incident.restored_at),
        ("closed", incident.closed_at),
    ]


def first_bad(known: Sequence[datetime], detected: datetime) -> datetime | None:
    """The first of the moments that are known. None is later than the detection, whatever the clock of a replica says."""
    return min(*known, detected) if known else None


def began(incident: Incident) -> datetime:
    """When an incident began, as far as it is known."""
    return incident.first_bad_at or incident.detected_at


def _refuse_closed(incident: Incident) -> None:
    if incident.status == "closed":
        at = f" since {incident.closed_at:%Y-%m-%d %H:%M} UTC" if incident.closed_at else ""
        do = "`grownet incident note` still takes what came later"
        raise UsageError(f"incident {incident.id}", expected="an open one", got=f"closed{at}", do=do)


def _refuse_agreement(incident: Incident, before: Sequence[IncidentEntry], entry: IncidentEntry) -> None:
    cause = cause_of(before)
    if cause is None or entry.covers != cause.digest:
        raise UsageError(
            f"incident {incident.id}",
            expected=f"agreement to its newest cause, entry {cause.number}" if cause else "a root cause first",
            got="another one" if cause else "none",
            do="see `grownet incident show`; give one with `grownet incident close ID --cause ... --evidence ...`",
        )
    if entry.key == cause.key:
        raise RoleRefused(
            f"incident {incident.id}",
            expected="the agreement of somebody else",
            got=f"{entry.key}, who gave the cause",
            do="ask another operator to look at the evidence",
        )
    if incident.restored_at is None:
        raise UsageError(
            f"incident {incident.id}",
            expected="one that is over",
            got="no time of restoration yet",
            do="the guard notes it once every living replica serves the plan, or the decision table says it is over",
        )
