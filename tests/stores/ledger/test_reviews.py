"""Answers to the review: signed by a person or written by a check, one after the other, proved by chain and key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from msgspec.structs import replace

from errors import RevisionConflict, RoleRefused, TamperError
from records import OutboxEvent, ReviewAnswer, ReviewState
from stores.ledger import audit, outbox, reviews
from stores.ledger.signing import Ring
from stores.vault import Vault
from tests.stores.ledger.test_bias import Listener, made
from tests.stores.ledger.world import NOON, World, by_hand

QUARTER = "2026-Q4"


def quiet(answers: Sequence[ReviewAnswer], before: ReviewState | None) -> reviews.Told:
    return None, None


def answered(world: World, number: int = 1, key: str = "operator:ada", **changes: object) -> ReviewAnswer:
    one = ReviewAnswer(
        quarter=QUARTER, item="restore_tested", number=number, answer="yes", reason="restored", question="?",
        role="dev_ops", at=NOON + timedelta(hours=number), key=key,
    )  # fmt: skip
    one = replace(one, **changes)
    return one if key == reviews.CHECK else replace(one, signature=world.signer(key).sign(one.unsigned()))


def write(world: World, *answers: ReviewAnswer) -> None:
    reviews.record(world.ledgers["operator"], answers, QUARTER, quiet, "operator:ada")


def ring(world: World) -> Ring:
    return Vault.open(world.folder, "reader").verifier


def forge(world: World, old: str, new: str) -> None:
    by_hand(world, "UPDATE review_answers SET payload = replace(payload, ?, ?)", old, new)


def test_a_later_answer_supersedes_and_both_stay(world: World) -> None:
    write(world, answered(world, answer="no"))
    write(world, answered(world, 2))
    found = reviews.answers(world.ledgers["reader"], QUARTER, ring(world))
    assert [(one.number, one.answer, one.key) for one in found] == [
        (1, "no", "operator:ada"),
        (2, "yes", "operator:ada"),
    ]
    assert reviews.verify(world.ledgers["reader"], ring(world)) == 2
    entries = audit.entries(world.ledgers["reader"], f"{QUARTER}/restore_tested/2")
    assert [(one.actor, one.action, one.role) for one in entries] == [("operator:ada", "review.answered", "operator")]


def test_of_two_at_once_one_wins_and_the_other_is_told(world: World) -> None:
    mine, hers = answered(world), answered(world, key="operator:eve", answer="no", reason="it did not start")
    write(world, hers)
    with pytest.raises(RevisionConflict, match="the last no of operator:eve: it did not start"):
        write(world, mine)
    assert [one.key for one in reviews.written(world.ledgers["reader"], QUARTER)] == ["operator:eve"]


def test_all_answers_of_a_call_or_none(world: World) -> None:
    with pytest.raises(RevisionConflict):
        write(world, answered(world), answered(world, 3))
    assert reviews.written(world.ledgers["reader"], QUARTER) == []
    assert reviews.first_entry(world.ledgers["reader"]) is None


def test_state_and_alert_are_written_with_the_answer(world: World) -> None:
    event: OutboxEvent | None = Listener()(made(1, "yes"), None)

    def settle(answers: Sequence[ReviewAnswer], before: ReviewState | None) -> reviews.Told:
        assert [one.item for one in answers] == ["restore_tested"]
        number = before.number + 1 if before else 1
        return ReviewState(quarter=QUARTER, number=number, overdue=(), refused=("x",), at=NOON), event

    for _ in range(2):
        reviews.record(world.ledgers["operator"], [] if _ else [answered(world)], QUARTER, settle, "operator:ada")
    found = reviews.state(world.ledgers["reader"], QUARTER)
    assert found is not None
    assert found.number == 2
    assert len(outbox.pending(world.ledgers["reader"], 10, NOON + timedelta(days=9))) == 1
    assert reviews.state(world.ledgers["reader"], "2027-Q1") is None


@pytest.mark.parametrize(
    ("old", "new"), [('"answer":"yes"', '"answer":"no"'), ("restored", "destroyed"), ("operator:ada", "audit")]
)
def test_an_answer_that_was_changed_is_found(world: World, old: str, new: str) -> None:
    write(world, answered(world))
    forge(world, old, new)
    for check in (lambda: reviews.answers(world.ledgers["reader"], QUARTER, ring(world)),
                  lambda: reviews.verify(world.ledgers["reader"], ring(world))):  # fmt: skip
        with pytest.raises(TamperError, match="restore_tested/1"):
            check()


def test_an_answer_that_is_gone_is_found(world: World) -> None:
    write(world, answered(world))
    by_hand(world, "DELETE FROM review_answers")
    with pytest.raises(TamperError, match="got none"):
        reviews.verify(world.ledgers["reader"], ring(world))


@pytest.mark.parametrize(
    "change", ["quarter = '2027-Q1'", "item = 'keys_rotated'", "number = 2", "payload = '{garbage'"]
)
def test_an_answer_counts_only_where_it_was_given(world: World, change: str) -> None:
    write(world, answered(world))
    by_hand(world, f"UPDATE review_answers SET {change}")
    quarter = "2027-Q1" if "quarter" in change else QUARTER
    for check in (lambda: reviews.answers(world.ledgers["reader"], quarter, ring(world)),
                  lambda: reviews.written(world.ledgers["reader"], quarter),
                  lambda: reviews.verify(world.ledgers["reader"], ring(world))):  # fmt: skip
        with pytest.raises(TamperError, match=f"answer {quarter}/"):
            check()


def test_a_ledger_that_lost_its_first_entry_is_no_new_one(world: World) -> None:
    write(world, answered(world))
    assert reviews.first_entry(world.ledgers["reader"]) is not None
    by_hand(world, "DELETE FROM audit WHERE sequence = 1")
    with pytest.raises(TamperError, match="audit entry 1"):
        reviews.first_entry(world.ledgers["reader"])


def test_a_signature_of_another_key_proves_nothing(world: World) -> None:
    good = answered(world)
    other = replace(good, signature=world.signer("operator:eve").sign(good.unsigned()))
    write(world, other)
    with pytest.raises(TamperError, match="operator:ada"):
        reviews.answers(world.ledgers["reader"], QUARTER, ring(world))


def test_a_key_that_votes_answers_no_review(world: World) -> None:
    write(world, answered(world, key="release"))
    with pytest.raises(TamperError, match="key of an operator"):
        reviews.answers(world.ledgers["reader"], QUARTER, ring(world))


def test_a_person_cannot_write_as_a_check_nor_a_check_as_a_person(world: World) -> None:
    write(world, answered(world, key=reviews.CHECK))
    with pytest.raises(TamperError, match="written as flow"):
        reviews.answers(world.ledgers["reader"], QUARTER, ring(world))
    reviews.record(world.ledgers["flow"], [answered(world, item="access")], "2026-Q4", quiet, "audit")
    with pytest.raises(TamperError, match="access/1"):
        reviews.answers(world.ledgers["reader"], QUARTER, ring(world))


def test_serving_and_guard_write_no_answers(world: World) -> None:
    for role in ("guard", "serving", "release"):
        with pytest.raises(RoleRefused):
            reviews.record(world.ledgers[role], [answered(world)], QUARTER, quiet, "eve")
