"""Transitions on plans small enough to read."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from checks import plans as moves
from errors import ReleaseRefused
from records import Approval, Arm, ReleasePlan, Step
from tests.stores.ledger.world import MODEL, NOON, ROLLOUT, arm, subject

WHO: dict[str, Any] = {"at": NOON + timedelta(minutes=1), "actor": "guard", "reason": "because"}
Move = Callable[..., ReleasePlan]


def approved(number: int, *, freeze: bool = False) -> Arm:
    plain = arm(number)
    return replace(
        plain, approval=Approval(subject=subject(plain, 0, freeze=freeze), votes=(), required_roles=("dev_ops",))
    )


def started(plan: ReleasePlan, number: int, *, freeze: bool = False) -> ReleasePlan:
    return moves.start_rollout(plan, approved(number, freeze=freeze), ROLLOUT, "salt", lifts_freeze=freeze, **WHO)


def promoted(plan: ReleasePlan, number: int) -> ReleasePlan:
    plan = started(plan, number)
    while plan.canary is not None:
        plan = moves.advance(plan, **WHO)
    return plan


@pytest.fixture
def first() -> ReleasePlan:
    return moves.initial(MODEL, NOON)


def test_before_any_release_the_rules_answer(first: ReleasePlan) -> None:
    assert (first.revision, first.mode, first.champion.is_rules) == (0, "rules", True)


def test_a_rollout_begins_in_the_shadow_beside_the_champion(first: ReleasePlan) -> None:
    plan = started(first, 1)
    assert (plan.mode, plan.champion, plan.canary_percent, plan.step) == ("model", first.champion, 0.0, 0)
    assert plan.canary is not None
    assert plan.canary.number == 1
    assert plan.rollout_started_at == WHO["at"]


def test_a_rollout_goes_step_by_step_to_champion_with_control(first: ReleasePlan) -> None:
    plan, shares = started(first, 1), []
    while plan.canary is not None:
        shares.append(plan.canary_percent)
        plan = moves.advance(plan, **WHO)
    assert shares == [0.0, 5.0, 50.0]
    assert (plan.champion.number, plan.previous, plan.canary_percent) == (1, moves.RULES_ARM, 0.0)
    assert (plan.control, plan.control_percent, plan.rollout, plan.salt) == (moves.RULES_ARM, 2.0, ROLLOUT, "salt")


def test_no_control_stays_where_none_is_wanted(first: ReleasePlan) -> None:
    rollout = replace(ROLLOUT, control_percent=0.0)
    chosen = approved(1)
    assert chosen.approval is not None
    asked = replace(chosen.approval.subject, rollout=rollout.digest)
    chosen = replace(chosen, approval=replace(chosen.approval, subject=asked))
    plan = moves.start_rollout(first, chosen, rollout, "salt", lifts_freeze=False, **WHO)
    for _ in range(3):
        plan = moves.advance(plan, **WHO)
    assert (plan.champion, plan.control, plan.control_percent) == (chosen, None, 0.0)


def test_the_next_rollout_ends_the_control(first: ReleasePlan) -> None:
    plan = started(promoted(first, 1), 2)
    assert (plan.control, plan.control_percent, plan.champion.number) == (None, 0.0, 1)


def test_the_same_arm_again_is_the_same_plan(first: ReleasePlan) -> None:
    running = started(first, 1)
    assert started(running, 1) is running
    done = promoted(first, 1)
    assert started(done, 1) is done


def test_a_failed_canary_is_rejected_for_good(first: ReleasePlan) -> None:
    plan = moves.take_back(started(first, 1), **WHO)
    assert (plan.canary, plan.rollout, plan.salt, plan.champion) == (None, None, "", moves.RULES_ARM)
    assert plan.rejected == (arm(1).artifact.content,)  # type: ignore[union-attr]  # an arm of the tests has one
    with pytest.raises(ReleaseRefused, match="rejected"):
        started(plan, 1)
    assert started(plan, 2).canary == approved(2)


@pytest.mark.parametrize("number", [1, 2])
def test_what_answers_or_stands_behind_is_no_canary(first: ReleasePlan, number: int) -> None:
    """Under another ballot, say: taken back it would be rejected, and replicas would drop the champion with it."""
    plan = promoted(promoted(first, 1), 2)
    again = approved(number)
    assert again.approval is not None
    about = replace(again.approval.subject, base_revision=99)
    again = replace(again, approval=replace(again.approval, subject=about))
    with pytest.raises(ReleaseRefused, match="not in the plan"):
        moves.start_rollout(plan, again, ROLLOUT, "salt", lifts_freeze=False, **WHO)


def test_a_champion_gets_its_control_back_when_the_canary_goes(first: ReleasePlan) -> None:
    plan = moves.take_back(started(promoted(first, 1), 2), **WHO)
    assert (plan.champion.number, plan.canary, plan.control, plan.control_percent) == (1, None, moves.RULES_ARM, 2.0)
    assert (plan.rollout, plan.salt, plan.step) == (ROLLOUT, "salt", len(ROLLOUT.steps) - 1)


def test_the_control_outlives_a_fallback(first: ReleasePlan) -> None:
    plan = promoted(first, 1)
    back = moves.restore(moves.fallback(plan, **WHO), **WHO)
    assert (back.control, back.control_percent, back.rollout) == (moves.RULES_ARM, 2.0, ROLLOUT)


def test_taking_back_nothing_changes_nothing(first: ReleasePlan) -> None:
    assert moves.take_back(first, **WHO) is first


def test_rollback_leads_one_release_back(first: ReleasePlan) -> None:
    plan = moves.rollback(promoted(promoted(first, 1), 2), **WHO)
    assert (plan.champion.number, plan.previous, plan.control, plan.rejected) == (1, None, None, ())
    with pytest.raises(ReleaseRefused, match="fallback"):
        moves.rollback(plan, **WHO)


def test_the_verb_rollback_takes_a_running_canary_back_first(first: ReleasePlan) -> None:
    plan = started(promoted(promoted(first, 1), 2), 3)
    without = moves.undo(plan, **WHO)
    assert (without.champion.number, without.canary, len(without.rejected)) == (2, None, 1)
    assert moves.undo(without, **WHO).champion.number == 1


def test_fallback_and_restore(first: ReleasePlan) -> None:
    plan = moves.fallback(started(promoted(first, 1), 2), **WHO)
    assert (plan.mode, plan.champion.number, plan.canary, plan.rejected) == ("rules", 1, None, ())
    assert moves.fallback(plan, **WHO) is plan
    with pytest.raises(ReleaseRefused, match="restore"):
        started(plan, 2)
    back = moves.restore(plan, **WHO)
    assert (back.mode, back.champion) == ("model", plan.champion)
    assert moves.restore(back, **WHO) is back


def test_a_freeze_stops_a_running_rollout(first: ReleasePlan) -> None:
    plan = moves.freeze(started(first, 1), **WHO)
    assert (plan.frozen, plan.hold) == (True, False)
    with pytest.raises(ReleaseRefused, match="unfreeze"):
        moves.advance(plan, **WHO)
    assert moves.freeze(plan, **WHO) is plan
    assert moves.advance(moves.unfreeze(plan, **WHO), **WHO).canary_percent == 5.0


def test_a_frozen_model_is_released_only_by_a_ballot_that_names_the_freeze(first: ReleasePlan) -> None:
    frozen = moves.freeze(first, **WHO)
    with pytest.raises(ReleaseRefused, match="names the freeze"):
        started(frozen, 1)
    plan = started(frozen, 1, freeze=True)
    while plan.canary is not None:
        assert plan.frozen
        plan = moves.advance(plan, **WHO)
    assert not plan.frozen


def test_a_freeze_during_a_rollout_that_named_one_holds_it(first: ReleasePlan) -> None:
    plan = moves.freeze(started(moves.freeze(first, **WHO), 1, freeze=True), **WHO)
    assert (plan.frozen, plan.hold) == (True, True)
    with pytest.raises(ReleaseRefused, match="resume"):
        moves.advance(plan, **WHO)
    assert moves.freeze(plan, **WHO) is plan


def test_hold_and_resume(first: ReleasePlan) -> None:
    plan = moves.hold(started(first, 1), **WHO)
    assert moves.hold(plan, **WHO) is plan
    with pytest.raises(ReleaseRefused, match="resume"):
        moves.advance(plan, **WHO)
    later = {**WHO, "at": NOON + timedelta(hours=2)}
    back = moves.resume(plan, **later)
    assert (back.hold, back.step_started_at) == (False, later["at"])
    assert moves.resume(back, **later) is back
    with pytest.raises(ReleaseRefused, match="resume"):
        started(moves.hold(first, **WHO), 1)
    assert moves.take_back(plan, **WHO).canary is None  # ways back stay open


@pytest.mark.parametrize("move", [moves.advance, moves.rollback])
def test_what_is_impossible_is_refused_with_the_plan_as_it_is(first: ReleasePlan, move: Move) -> None:
    with pytest.raises(ReleaseRefused, match=r"recommendation, revision 0: rules answers"):
        move(first, **WHO)


def test_two_rollouts_do_not_run_at_once(first: ReleasePlan) -> None:
    with pytest.raises(ReleaseRefused, match="no running rollout"):
        started(started(first, 1), 2)


def test_an_arm_without_approval_or_over_other_steps_is_refused(first: ReleasePlan) -> None:
    with pytest.raises(ReleaseRefused, match="ballot"):
        moves.start_rollout(first, arm(1), ROLLOUT, "salt", lifts_freeze=False, **WHO)
    other = replace(ROLLOUT, control_percent=50.0)
    with pytest.raises(ReleaseRefused, match="voted on"):
        moves.start_rollout(first, approved(1), other, "salt", lifts_freeze=False, **WHO)
    with pytest.raises(ReleaseRefused, match="voted on"):
        moves.start_rollout(first, approved(1), ROLLOUT, "salt", lifts_freeze=True, **WHO)


def test_steps_must_begin_below_everything(first: ReleasePlan) -> None:
    rollout = replace(ROLLOUT, steps=(Step(percent=100, min_seconds=0, min_answers=0),))
    chosen = approved(1)
    assert chosen.approval is not None
    asked = replace(chosen.approval.subject, rollout=rollout.digest)
    with pytest.raises(ReleaseRefused, match="below 100"):
        moves.start_rollout(
            first,
            replace(chosen, approval=replace(chosen.approval, subject=asked)),
            rollout,
            "salt",
            lifts_freeze=False,
            **WHO,
        )


def test_a_plan_reads_aloud(first: ReleasePlan) -> None:
    text = moves.describe(moves.freeze(started(promoted(first, 1), 2), **WHO))
    assert "recommendation-v1 answers." in text
    assert "Canary recommendation-v2 runs in the shadow (step 1 of 4)." in text
    assert "The plan is frozen." in text
    assert "By guard at 2026-11-21 12:01:00 UTC: because" in text
    assert "the rules answer everything (recommendation-v1 stays loaded)" in moves.describe(
        moves.fallback(promoted(first, 1), **WHO)
    )


def test_a_freeze_says_what_it_is_for_and_only_grows_stronger(first: ReleasePlan) -> None:
    drift = moves.freeze(promoted(first, 1), what_for="drift", **WHO)
    assert (drift.frozen, drift.frozen_for) == (True, "drift")
    assert "The plan is frozen for drift." in moves.describe(drift)
    assert moves.freeze(drift, what_for="drift", **WHO) is drift
    corrupt = moves.freeze(drift, what_for="corruption", **WHO)
    assert corrupt.frozen_for == "corruption"
    assert moves.freeze(corrupt, what_for="drift", **WHO) is corrupt
    assert moves.freeze(corrupt, **WHO) is corrupt
    assert moves.freeze(drift, **WHO).frozen_for == ""  # a person's
    for plan in (drift, corrupt):
        assert (moves.unfreeze(plan, **WHO).frozen, moves.unfreeze(plan, **WHO).frozen_for) == (False, "")


def test_promotion_by_a_ballot_that_names_the_freeze_ends_it_with_what_it_was_for(first: ReleasePlan) -> None:
    plan = started(moves.freeze(promoted(first, 1), what_for="drift", **WHO), 2, freeze=True)
    assert (plan.frozen, plan.frozen_for) == (True, "drift")
    while plan.canary is not None:
        plan = moves.advance(plan, **WHO)
    assert (plan.champion.number, plan.frozen, plan.frozen_for) == (2, False, "")


MOVES: tuple[Move, ...] = (
    moves.advance,
    moves.take_back,
    moves.rollback,
    moves.undo,
    moves.freeze,
    lambda plan, **who: moves.freeze(plan, what_for="drift", **who),
    moves.unfreeze,
    moves.hold,
    moves.resume,
    moves.fallback,
    moves.restore,
    lambda plan, **who: started(plan, plan.revision % 5 + 1),
    lambda plan, **who: started(plan, plan.revision % 5 + 1, freeze=True),
)


@given(st.lists(st.sampled_from(range(len(MOVES))), max_size=40))
def test_whatever_is_done_in_whatever_order_the_plan_stays_sound(steps: list[int]) -> None:
    plan = moves.initial(MODEL, NOON)
    for number, step in enumerate(steps):
        before = replace(plan, revision=number)
        try:
            plan = MOVES[step](before, **WHO)
        except ReleaseRefused:
            plan = before
        assert set(before.rejected) <= set(plan.rejected)
        assert plan.frozen or not plan.frozen_for
        assert not (before.frozen and plan.frozen and plan.frozen_for == "drift" != before.frozen_for)
        assert (plan.canary is None) <= (plan.canary_percent == 0)
        assert (plan.control is None) == (plan.control_percent == 0)
        assert plan.canary is None or (plan.rollout is not None and plan.salt and plan.mode == "model")
        assert not {one for arm in moves.arms(plan) for one in moves.contents(arm)} & set(plan.rejected)
        if before.hold and plan.hold:
            assert plan.canary_percent <= before.canary_percent
        if (plan.champion, plan.mode) != (before.champion, before.mode) and plan.champion == before.canary:
            assert not before.hold
            assert not before.frozen or moves.names_freeze(plan.champion)
        assert ReleasePlan.from_json(plan.to_json()) == plan
        assert moves.describe(plan)
