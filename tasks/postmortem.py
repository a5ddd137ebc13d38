"""An incident as text: the postmortem filled in from the record, and what `grownet incident` prints.

Pure: facts of `tasks.incidents` in, Markdown or lines out. What people wrote is escaped: it cannot become a heading or a link.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from records import IncidentEntry
from tasks.escape import code, plain
from tasks.oneline import oneline
from tasks.sheet import table

Facts = Mapping[str, Any]
LONG = 4000  # characters of what somebody wrote
TO_WRITE = ("What went well", "What went badly, and where we were lucky", "What changes, who does it, until when")


def text(found: Facts) -> str:
    """The postmortem of a closed incident as Markdown."""
    return "\n".join(_lines(found)).rstrip() + "\n"


def _lines(found: Facts) -> Iterator[str]:
    cause, agreed = _last(found, "cause"), _last(found, "agreed")
    yield f"# Postmortem of {found['id']}: {plain(found['kind'].replace('_', ' '))} of {plain(found['model'])}"
    yield ""
    yield "Filled in from the ledger when the incident was closed. People write the last part; it is not written over."
    yield ""
    yield plain(found["summary"], LONG)
    yield ""
    yield from table(
        ("", ""),
        [
            ("level", found["level"]),
            ("owner", plain(found["owner"])),
            ("failed requests", f"{found['failed_requests']:,}"),
            *((plain(str(name)), plain(str(value), LONG)) for name, value in found["evidence"].items()),
        ],
    )
    yield "## Timeline"
    yield ""
    yield from table(
        ("moment", "when (UTC)", "seconds since the first bad answer"), _moments(found["timeline"]), right=1
    )
    yield "## What was done"
    yield ""
    yield from (f"- {plain(one, LONG)}" for one in found["actions"])
    yield ""
    yield from table(
        ("when (UTC)", "revision", "by", "because"),
        [
            (_at(one["at"]), str(one["revision"]), plain(one["by"]), plain(one["because"], LONG))
            for one in found["plans"]
        ],
    )
    yield "## Root cause"
    yield ""
    if cause and agreed:
        yield plain(cause.text, LONG)
        yield ""
        yield f"Evidence: {code(cause.evidence)}"
        yield ""
        yield f"Given by {plain(cause.key)} at {_at(cause.at)} UTC, agreed to by {plain(agreed.key)} at {_at(agreed.at)} UTC."
        yield ""
    yield "## Notes"
    yield ""
    yield from table(
        ("when (UTC)", "by", "note"),
        [(_at(one.at), plain(one.key), plain(one.text, LONG)) for one in found["entries"] if one.kind == "note"],
    ) or ["None.", ""]
    for title in TO_WRITE:
        yield f"## {title}"
        yield ""


def describe(found: Facts) -> str:
    """One incident for a terminal, and what closes it."""
    lines = [_head(found), f"  {oneline(found['summary'])}", f"  owner {oneline(found['owner'])}"]
    lines += [f"  {name:<17} {at}  {seconds}".rstrip() for name, at, seconds in _moments(found["timeline"])]
    lines += [f"  done: {oneline(one)}" for one in found["actions"]]
    lines += [
        f"  plan  {_at(one['at'])} revision {one['revision']} by {oneline(one['by'])}: {oneline(one['because'])}"
        for one in found["plans"]
    ]
    lines += [_entry(one) for one in found["entries"]]
    return "\n".join([*lines, f"  next: {_next(found)}"])


def overview(found: Sequence[Facts]) -> str:
    """Several incidents for a terminal, two lines each."""
    return "\n".join(f"{_head(one)}\n  {oneline(one['summary'])}" for one in found) or "no incident"


def _head(found: Facts) -> str:
    ended = found["seconds_to_restore"]
    over = "goes on" if ended is None else f"restored after {ended:.1f} s"
    kind = oneline(found["kind"].replace("_", " "))
    return f"{found['id']}  {found['status']}, {over}  {found['level']}: {kind} of {oneline(found['model'])}"


def _entry(one: IncidentEntry) -> str:
    evidence = f" (evidence: {oneline(one.evidence)})" if one.evidence else ""
    return f"  {one.number}. {one.kind} by {oneline(one.key)} at {_at(one.at)}: {oneline(one.text)}{evidence}"


def _next(found: Facts) -> str:
    if found["status"] == "closed":
        return found["postmortem"] or f"`grownet incident close {found['id']}` writes its postmortem"
    if not found["cause"]:
        return f"`grownet incident close {found['id']} --cause ... --evidence ... --as NAME`"
    if found["seconds_to_restore"] is None:
        return "it goes on: once it is over somebody else can agree to the cause"
    return f"somebody else looks at the evidence: `grownet incident close {found['id']} --agree {found['cause']} --as NAME`"


def _moments(told: Sequence[Facts]) -> list[tuple[str, str, str]]:
    """Name, time and seconds since the first that is known."""
    first = next((one["at"] for one in told if one["at"] is not None), None)
    return [
        (one["moment"], _at(one["at"]), f"{(one['at'] - first).total_seconds():.1f}")
        if one["at"] is not None and first is not None
        else (one["moment"], "not known" if one["moment"] == "first bad answer" else "-", "")
        for one in told
    ]


def _last(found: Facts, kind: str) -> IncidentEntry | None:
    return next((one for one in reversed(found["entries"]) if one.kind == kind), None)


def _at(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S}" if when else ""
