"""What the ledger says of each version, told from plans that were really signed and ballots that were really voted on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from checks import plans as moves
from errors import TamperError
from records import Arm, Candidate, Evidence, ReleasePlan
from stores.ledger import evidence, plans, votes
from tasks import telling
from tasks.story import CHANGED, UNTOLD, Story, tell
from tests.stores.ledger.world import MODEL, NOON, REVIEWERS, World, arm, subject
from tests.tasks import papers


class Town(World):
    """Versions are candidates too, and the guard moves what was voted on."""

    def known(self, number: int, *, passed: bool = True) -> Candidate:
        made = papers.candidate(number)
        evidence.save_candidate(self.ledgers["flow"], made)
        found: Evidence = replace(papers.evidence(passed=passed, number=number), candidate=made.id)
        evidence.save_evidence(self.ledgers["flow"], found)
        return made

    def guard(self, move: Callable[..., ReleasePlan]) -> ReleasePlan:
        return plans.change(
            self.ledgers["guard"],
            MODEL,
            lambda plan: move(plan, at=NOON, actor="guard", reason=f"because of {move.__name__}"),
            signer=self.signer("guard"),
            actor="guard",
        )

    def approved(self, number: int, base: int, *, freeze: bool = False) -> tuple[Arm, str]:
        """As in any world, with the evidence that is really kept."""
        if not self.secrets:
            self.enrol()
        kept = evidence.evidence_of(self.ledgers["flow"], self.known(number).id)[-1]
        chosen = replace(arm(number), evidence=kept.digest)
        asked = self.ask(subject(chosen, base, freeze=freeze))
        for name in REVIEWERS:
            self.cast(asked, name)
        return replace(chosen, approval=votes.approval(self.release, asked.id)), asked.id

    def forge(self, table: str, change: str) -> None:
        """What somebody with the file can do."""
        with sqlite3.connect(self.folder / "ledger.db") as raw:
            raw.execute(f"DROP TRIGGER IF EXISTS {table}_update")
            assert raw.execute(f"UPDATE {table} SET {change}").rowcount
        raw.close()

    def story(self) -> Story:
        return tell(self.ledgers["reader"], MODEL, self.signer("guard").ring)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    yield made
    made.close()


def states(story: Story) -> dict[str, str]:
    return {chapter.name: chapter.state for chapter in story.chapters}


def test_a_model_nobody_trained_has_no_story(town: Town) -> None:
    town.ledgers["flow"]
    assert town.story().chapters == ()


def test_before_people_are_asked(town: Town) -> None:
    evidence.save_candidate(town.ledgers["flow"], papers.candidate(1))
    town.known(2)
    town.known(3, passed=False)
    evidence.discard(town.ledgers["flow"], papers.candidate(3).id, "worse")
    assert states(town.story()) == {
        f"{MODEL}-v3": "discarded",
        f"{MODEL}-v2": "passed its gates, nobody was asked yet",
        f"{MODEL}-v1": "trained, not judged yet",
    }


def test_a_promotion_with_its_votes_and_its_steps(town: Town) -> None:
    revision = town.promote(1, base=0).revision
    (only,) = town.story().chapters
    assert only.state == "serves"
    assert only.promoted
    assert [(one.ballot.status, [vote.reviewer for vote in one.votes]) for one in only.asked] == [
        ("released", ["ada", "ben", "cleo"])
    ]
    assert [moment.revision for moment in only.moments] == list(range(1, revision + 1))
    assert only.moments[-1].what == "promoted to 100 %; rules keeps 2 %"
    assert only.before.is_rules


def test_a_canary_taken_back_and_a_champion_replaced(town: Town) -> None:
    revision = town.promote(1, base=0).revision
    town.known(2)
    town.start(2, revision)
    assert states(town.story())[f"{MODEL}-v2"] == "canary, in the shadow"
    town.guard(moves.take_back)
    town.promote(3, base=revision + 2)
    story = town.story()
    assert states(story) == {
        f"{MODEL}-v3": "serves",
        f"{MODEL}-v2": "taken back, rejected for good",
        f"{MODEL}-v1": "control and ready to come back",
    }
    second = story.of(2)
    assert second
    assert second.before.name == f"{MODEL}-v1"
    predecessor = story.predecessor(second)
    assert predecessor
    assert predecessor.number == 1
    town.guard(moves.rollback)
    assert states(town.story())[f"{MODEL}-v3"] == f"rolled back to {MODEL}-v1"
    assert states(town.story())[f"{MODEL}-v1"] == "serves"


def test_while_the_rules_answer_a_champion_is_only_loaded(town: Town) -> None:
    town.promote(1, base=0)
    town.guard(moves.fallback)
    assert states(town.story()) == {f"{MODEL}-v1": "loaded, while the rules answer"}


def test_after_the_rules_the_last_promoted_version_is_the_predecessor(town: Town) -> None:
    town.promote(1, base=0)
    town.guard(moves.rollback)
    town.known(2)
    story = town.story()
    newest = story.of(2)
    assert newest
    assert newest.before.is_rules
    assert story.predecessor(newest) == story.of(1)


def test_equal_bytes_trained_again_are_one_version_and_what_was_voted_on_counts(town: Town) -> None:
    town.promote(1, base=0)
    again = replace(papers.candidate(1), id="again", created_at=NOON.replace(hour=20))
    evidence.save_candidate(town.ledgers["flow"], again)
    evidence.discard(town.ledgers["flow"], again.id, "is the champion")
    (only,) = town.story().chapters
    assert (only.trainings, only.discarded, only.state) == (2, "", "serves")


def test_a_plan_that_nobody_signed_is_no_story(town: Town) -> None:
    town.promote(1, base=0)
    town.forge("releases", "payload = replace(payload, 'passed', 'forged')")
    with pytest.raises(TamperError):
        town.story()


def test_evidence_changed_since_the_vote_is_not_believed(town: Town) -> None:
    town.promote(1, base=0)
    (before,) = town.story().chapters
    assert before.evidence
    assert not before.doubt
    town.forge("evidence", "payload = replace(payload, '0.1', '0.94')")
    (only,) = town.story().chapters
    assert (only.evidence, only.doubt) == (None, CHANGED)
    assert len(only.asked[0].votes) == 3


def test_evidence_that_nobody_voted_on_is_what_the_audit_log_tells_of(town: Town) -> None:
    town.known(1)
    town.forge("evidence", "payload = replace(payload, '0.1', '0.94')")
    (only,) = town.story().chapters
    assert (only.evidence, only.doubt, only.state) == (None, UNTOLD, "its evidence is not believed")


def test_a_vote_changed_since_it_was_cast_is_named_and_not_repeated(town: Town) -> None:
    town.promote(1, base=0)
    town.forge("votes", "payload = replace(payload, 'looked at it', 'it is great') WHERE reviewer = 'ben'")
    (only,) = town.story().chapters
    assert [vote.reviewer for vote in only.asked[0].votes] == ["ada", "cleo"]
    assert only.evidence
    said = "\n".join(telling.votes(only.asked[0]))
    assert "| privacy officer | changed since it was cast: not believed | ben |  |" in said
    assert "it is great" not in said


def test_a_question_changed_since_the_votes_covers_no_evidence(town: Town) -> None:
    town.promote(1, base=0)
    town.forge("ballots", "payload = replace(payload, 'promote', 'restore')")
    (only,) = town.story().chapters
    assert (only.evidence, only.doubt, only.asked[0].votes) == (None, CHANGED, ())
