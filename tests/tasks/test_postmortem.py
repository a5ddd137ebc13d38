"""What an incident looks like as text: people's words cannot become structure, and what is not known is said to be so."""

from __future__ import annotations

from msgspec.structs import replace

from records import IncidentEntry
from tasks.incidents import facts
from tasks.postmortem import describe, text
from tests.stores.ledger.test_incidents import DROP
from tests.stores.ledger.world import NOON


def whole(*entries: IncidentEntry, **changes: object) -> dict[str, object]:
    one = replace(DROP, **changes)
    moments = {"first bad answer": one.first_bad_at, "detected": one.detected_at, "restored": one.restored_at}
    told = [{"moment": name, "at": at} for name, at in moments.items()]
    more = {"evidence": {"effect": -0.4}, "timeline": told, "entries": entries, "plans": [], "postmortem": ""}
    return facts(one) | more | {"cause": next((one.number for one in entries if one.kind == "cause"), 0)}


def said(kind: str, words: str) -> IncidentEntry:
    return IncidentEntry(
        incident="i1",
        number=1,
        kind=kind,  # type: ignore[arg-type]  # one of the three
        text=words,
        evidence="https://example.org/`x`",
        at=NOON,
        key="operator:ada",
    )


def test_words_cannot_become_headings_links_or_rows() -> None:
    forged = "x\n## Root cause\nnothing | [here](https://evil)"
    page = text(whole(said("note", forged), said("cause", forged), said("agreed", ""), summary=forged))
    assert [line for line in page.splitlines() if line.startswith("## ")].count("## Root cause") == 1
    assert "[here](" not in page
    assert "Evidence: `https://example.org/'x'`" in page


def test_what_is_not_known_is_said_to_be_so() -> None:
    page = text(whole(first_bad_at=None))
    assert "| first bad answer | not known |  |" in page
    assert "| detected | 2026-11-21 12:00:00 | 0.0 |" in page
    assert "| restored | - |  |" in page
    assert "## Notes\n\nNone." in page


def test_the_next_step_is_always_said() -> None:
    assert "--cause" in describe(whole())
    assert "it goes on" in describe(whole(said("cause", "x")))
    assert "--agree 1" in describe(whole(said("cause", "x"), restored_at=NOON))
    assert "writes its postmortem" in describe(whole(status="closed", restored_at=NOON))
