"""The parts that model cards and release notes share: a state, a figure, parameters, a ballot, a timeline.

Pure. Whatever people wrote is escaped: a reason cannot become a heading or a link.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from records import Outcome
from tasks.escape import code, plain
from tasks.evidence_page import Figure
from tasks.sheet import table
from tasks.story import Asked, Chapter

FORGED = "changed since it was cast: not believed"


def verdict(chapter: Chapter) -> Outcome:
    """How the state of a version looks: green when it serves, red when it went, else undecided."""
    if chapter.state == "serves":
        return "pass"
    gone = ("taken back", "rolled back", "discarded", "refused", "void", "expired")
    return "fail" if chapter.state.startswith(gone) else "inconclusive"


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters as one level, each value in a word or a few."""
    found: dict[str, str] = {}
    for key, value in sorted(values.items()):
        nested = isinstance(value, Mapping) and value
        found |= flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": str(value)}
    return found


def shown(one: Figure, sign: str = "") -> str:
    """A mean with its interval."""
    if one.mean is None:
        return "-"
    interval = f" [{one.low:{sign}.4g}, {one.high:{sign}.4g}]" if one.low is not None and one.high is not None else ""
    return f"{one.mean:{sign}.4g}{interval}"


def percent(one: Figure) -> str:
    interval = f" [{one.low:+.1%}, {one.high:+.1%}]" if one.low is not None and one.high is not None else ""
    return f"{one.mean:+.1%}{interval}"


def votes(one: Asked) -> Iterator[str]:
    """How a ballot went. A vote that is not signed as it stands is named, and what it says is not repeated."""
    opened = f"{one.ballot.question.opened_at:%Y-%m-%d %H:%M}"
    ended = f": {plain(one.ballot.closed_reason)}" if one.ballot.status in {"refused", "expired", "void"} else ""
    yield f"Ballot {code(one.ballot.id)}, opened {opened} UTC, {one.ballot.status}{ended}."
    yield ""
    said = {vote.role: (FORGED, plain(vote.reviewer), "") for vote in one.forged}
    said |= {vote.role: (vote.decision, plain(vote.reviewer), plain(vote.reason)) for vote in one.votes}
    yield from table(
        ("role", "said", "who", "why"),
        (
            (plain(role.replace("_", " ")), *said.get(role, ("nothing yet", "", "")))
            for role in one.ballot.question.required_roles
        ),
    )


def timeline(chapter: Chapter) -> list[str]:
    """Every revision of the plan that was about this version."""
    return table(
        ("when (UTC)", "revision", "what", "by", "because"),
        (
            (f"{one.at:%Y-%m-%d %H:%M:%S}", str(one.revision), plain(one.what), plain(one.actor), plain(one.reason))
            for one in chapter.moments
        ),
    )
