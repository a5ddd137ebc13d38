from __future__ import annotations

from dataclasses import replace

from msgspec.structs import replace as with_

from checks.plans import initial
from tasks.release_notes import notes
from tasks.story import CHANGED, Chapter, Story
from tests.stores.ledger.world import MODEL, NOON, arm
from tests.tasks.papers import chapter, evidence, moved, origin

PLAN = initial(MODEL, NOON)


def told(*chapters: Chapter, demo: bool = False) -> str:
    known = {1: origin(1), 2: moved(with_(origin(2), params={"ridge": 1.0}), 2)}
    return notes(Story(MODEL, PLAN, chapters), known, demo=demo)


def test_what_changed_is_told_against_the_version_before() -> None:
    text = told(replace(chapter(2), before=arm(1)), chapter(1))
    assert "| what changed | recommendation-v1 | recommendation-v2 |" in text
    assert "| params `ridge` | 500.0 | 1.0 |" in text
    assert "| params `blend.weight` | 0.5 | - |" in text
    assert "| feature definitions |  | the definitions are the same; the code that builds them changed |" in text
    assert "1,200 rows, 2026-11-21 to 2026-11-21; learned from 1,000" in text


def test_the_first_version_has_nothing_before_it() -> None:
    assert "| what changed | - | recommendation-v1 |" in told(chapter(1))


def test_after_the_rules_the_last_promoted_version_counts() -> None:
    promoted = replace(chapter(1), state="rolled back to rules")
    assert "| what changed | - |" in told(chapter(2), promoted)


def test_a_gate_that_did_not_pass_is_told_in_full() -> None:
    text = told(replace(chapter(1), evidence=evidence(passed=False)))
    assert "Gates passed: bias." in text
    assert "Gate champion fail: against rules, a \\| b" in text


def test_people_cannot_write_headings_and_a_demo_says_it_is_one() -> None:
    text = told(chapter(1, reason="x\n## forged <b>"), demo=True)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## recommendation-v1: trained, not judged yet"
    ]
    assert "the reviewers are made up" in text
    assert "made up" not in told(chapter(1))


def test_a_version_whose_facts_are_lost_is_told_without_them() -> None:
    assert "table orders" not in notes(Story(MODEL, PLAN, (chapter(1),)), {}, demo=False)


def test_evidence_that_is_not_believed_is_said_to_be_so() -> None:
    text = told(replace(chapter(1), doubt=CHANGED))
    assert f"**{CHANGED}**" in text
    assert "difference on the holdout" not in text
