"""The compliance review of a quarter, as a page, as an artifact of the flow run, and as lines for a terminal.

Reads a checklist; writes `home/pages/audit/review-QUARTER.html`, which works offline and without a script. What people wrote
is escaped. Written by the audit flow each day.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checks.reviews import SETTLED, Checklist, Line
from configs.schema import Config
from tasks import audit_page
from tasks.escape import plain
from tasks.oneline import oneline
from tasks.review import page_of

MARKS: Mapping[str, str] = {"yes": "✅ yes", "no": "❌ no", "due": "⏳ due", "overdue": "❌ overdue"}


def write(home: Path, config: Config, found: Checklist) -> Path:
    """Writes the page of a quarter whole and returns its path."""
    return audit_page.write(
        home / page_of(found.quarter.name),
        "review.html.j2",
        quarter=found.quarter,
        lines=ordered(found),
        counts=counts(found),
        owner=lambda line: config.defaults.owners.of(line.item.owner),
    )


def ordered(found: Checklist) -> list[Line]:
    """What is wrong and what is due first; within these in the order of the configuration."""
    rank = ("no", "overdue", "due", "yes")
    return sorted(found.lines, key=lambda line: rank.index(line.status))


def counts(found: Checklist) -> dict[str, int]:
    """How many items stand how."""
    return {status: sum(line.status == status for line in found.lines) for status in MARKS}


def markdown(found: Checklist, page: Path) -> str:
    """The short form: every item with its answer, by whom, or who is asked."""
    lines = [
        f"## Compliance review of {found.quarter.name}",
        f"Due {found.quarter.due:%Y-%m-%d}, overdue after {found.quarter.overdue:%Y-%m-%d} (UTC).",
        "",
        "| item | | by | why |",
        "|---|---|---|---|",
        *(
            f"| {plain(line.item.question)} | {MARKS[line.status]} | {plain(by(line))} | {plain(why(line))} |"
            for line in ordered(found)
        ),
    ]
    return "\n".join([*lines, "", f"Full page: `{page}`"])


def describe(found: list[Checklist]) -> str:
    """For a terminal."""
    text = []
    for one in found:
        text.append(
            f"{one.quarter.name}: due {one.quarter.due:%Y-%m-%d}, overdue after {one.quarter.overdue:%Y-%m-%d}; "
            + ", ".join(f"{number} {status}" for status, number in counts(one).items() if number)
        )
        for line in ordered(one):
            text.append(f"  {line.status:8} {line.item.id}: {oneline(line.item.question)}")
            text.append(f"           {oneline(f'{by(line)}: {why(line)}')}")
            text += [
                f"           before: {old.answer}, {oneline(f'{old.key}: {old.reason}')}" for old in line.answers[:-1]
            ]
    return "\n".join(text)


def facts(found: list[Checklist]) -> list[dict[str, Any]]:
    """The same as plain values."""
    return [
        {
            **one.quarter._asdict(),
            "items": [
                {**line.item.model_dump(mode="json"), "status": line.status, "answers": list(line.answers)}
                for line in one.lines
            ],
        }
        for one in found
    ]


def by(line: Line) -> str:
    """Who answered, or who is asked."""
    return line.answers[-1].key if line.status in SETTLED else line.item.role


def why(line: Line) -> str:
    """The reason that was given, or where to look for one."""
    return line.answers[-1].reason if line.status in SETTLED else f"look at {line.item.evidence}"
