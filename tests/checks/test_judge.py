"""Verdicts of single ticks and of sequences of them: each state, what it leads to, and what it must not lead to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from checks import plans as moves
from checks.case import Memory, Seen
from checks.findings import BOTH_SECONDS
from checks.judge import judge, memory_of, state_of
from records import Arm, Counter, GuardVerdict, ReleasePlan, Rollout, Step, Trip
from tests.checks.test_plans import approved
from tests.checks.traffic import live, pairs, split
from tests.stores.ledger.world import GATES, MODEL, NOON

STEPS = tuple(
    Step(percent=percent, min_seconds=10, min_answers=answers)
    for percent, answers in ((0.0, 200), (5.0, 500), (50.0, 1000), (100.0, 0))
)
ROLLOUT = Rollout(steps=STEPS, gates=GATES, control_percent=2.0)
SALT = "salt"
GOOD, WORSE = (0.3, 0.3), (0.15, 0.3)


def voted(number: int, *, freeze: bool = False) -> Arm:
    arm = approved(number, freeze=freeze)
    assert arm.approval is not None
    about = replace(arm.approval.subject, rollout=ROLLOUT.digest)
    return replace(arm, approval=replace(arm.approval, subject=about))


def who(at: datetime = NOON) -> dict[str, Any]:
    return {"at": at, "actor": "guard", "reason": "because"}


def plan_at(step: int, *, freeze: bool = False, **changes: Any) -> ReleasePlan:
    """Version 2 as canary at a step of its rollout; version 1 is champion. Step 3 is 100 %."""
    before = replace(moves.initial(MODEL, NOON), mode="model", champion=voted(1), revision=7)
    if freeze:
        before = moves.freeze(before, **who())
    plan = moves.start_rollout(before, voted(2, freeze=freeze), ROLLOUT, SALT, lifts_freeze=freeze, **who())
    for _ in range(step):
        plan = moves.advance(plan, **who())
    return replace(plan, **changes)


@dataclass
class Guard:
    """The judge with its memory, tick after tick."""

    plan: ReleasePlan
    seconds: float = 0.0
    memory: Memory | None = None
    confirmed: bool = True
    trips: tuple[Trip, ...] = ()
    ratio_from: tuple[Counter, ...] | None = None
    verdicts: list[GuardVerdict] = field(default_factory=list)

    def tick(self, rows: Sequence[Counter], seconds: float = 1.0) -> GuardVerdict:
        self.seconds += seconds
        at = NOON + timedelta(seconds=self.seconds)
        seen = Seen(self.plan, tuple(rows), self.trips, self.confirmed, self.ratio_from, at)
        verdict = judge(seen, self.memory)
        assert verdict is not None
        self.memory = memory_of(GuardVerdict.from_json(verdict.to_json()))  # as after a restart
        self.verdicts.append(verdict)
        return verdict

    def follow(self, verdict: GuardVerdict) -> None:
        """Does what the verdict says, as guard.rollout would."""
        back = moves.take_back if verdict.arm == "canary" else moves.rollback
        move = {"advance": moves.advance, "promote": moves.advance, "rollback": back, "hold": moves.hold}
        move["fallback"] = moves.fallback
        self.plan = move[verdict.action](self.plan, **who(verdict.at))


def says(verdict: GuardVerdict) -> tuple[str, str]:
    return state_of(verdict), verdict.action


def trip(artifact: str, **changes: Any) -> Trip:
    made = Trip(
        id="t1",
        model=MODEL,
        replica="replica-1",
        revision=8,
        arm="canary",
        artifact=artifact,
        reason="hash differs",
        at=NOON + timedelta(seconds=1),
    )
    return replace(made, **changes)


def content(arm: Arm | None) -> str:
    assert arm is not None
    assert arm.artifact is not None
    return arm.artifact.content


class TestNothingToJudge:
    def test_before_a_release_and_in_rules_mode(self) -> None:
        for plan in (moves.initial(MODEL, NOON), moves.fallback(plan_at(1), **who())):
            assert judge(Seen(plan, (), (), True, None, NOON), None) is None


class TestTakenBack:
    def test_a_refused_artifact_at_once(self) -> None:
        guard = Guard(plan_at(0))
        guard.trips = (trip(content(guard.plan.canary)),)
        verdict = guard.tick([])
        assert says(verdict) == ("refused_artifact", "rollback")
        assert "replica-1" in verdict.reason
        assert "hash differs" in verdict.reason

    def test_an_arm_that_a_replica_dropped_while_it_served(self) -> None:
        guard = Guard(plan_at(1))
        guard.trips = (trip(content(guard.plan.canary), kind="dropped", reason="5 errors within 10 s"),)
        verdict = guard.tick([])
        assert says(verdict) == ("errors", "rollback")
        assert "dropped recommendation-v2: 5 errors" in verdict.reason

    def test_not_for_a_trip_of_another_artifact(self) -> None:
        guard = Guard(plan_at(0))
        guard.trips = (trip(content(guard.plan.champion)),)
        assert says(guard.tick([])) == ("waiting", "none")

    @pytest.mark.parametrize("kind", ["errors", "late"])
    def test_errors_and_lateness_over_the_limit(self, kind: str) -> None:
        guard = Guard(plan_at(1))
        guard.tick([])
        verdict = guard.tick(live(SALT, "canary", 2, 100, **{kind: 40}))
        assert says(verdict) == (kind, "rollback")
        assert "40 of the last 100" in verdict.reason

    @pytest.mark.parametrize("kind", ["errors", "late"])
    def test_a_spike_that_hits_the_champion_as_well_rejects_no_canary(self, kind: str) -> None:
        """Its hash would be rejected for good for what the host did."""
        guard, rows = Guard(plan_at(2)), [*live(SALT, "champion", 1, 2000), *live(SALT, "canary", 2, 2000)]
        guard.tick(rows)
        rows += [*live(SALT, "champion", 1, 60, **{kind: 60}), *live(SALT, "canary", 2, 60, **{kind: 60})]
        assert says(guard.tick(rows)) == (kind, "none")
        assert "taken back when that has lasted 15 s" in guard.verdicts[-1].reason
        for _ in range(5):
            rows += [*live(SALT, "champion", 1, 600), *live(SALT, "canary", 2, 600)]
            assert guard.tick(rows, seconds=BOTH_SECONDS / 5).action == "none"
        assert state_of(guard.verdicts[-1]) != kind

    def test_what_lasts_for_both_takes_the_canary_back_which_may_be_why(self) -> None:
        guard, rows = Guard(plan_at(2)), [*live(SALT, "champion", 1, 2000), *live(SALT, "canary", 2, 2000)]
        guard.tick(rows)
        for _ in range(3):
            rows += [*live(SALT, "champion", 1, 60, late=60), *live(SALT, "canary", 2, 60, late=60)]
            guard.tick(rows, seconds=BOTH_SECONDS / 2)
        assert [says(one) for one in guard.verdicts[1:]] == [("late", "none"), ("late", "none"), ("late", "rollback")]

    def test_a_champion_that_now_does_well_leaves_it_no_excuse(self) -> None:
        guard, rows = Guard(plan_at(2)), [*live(SALT, "champion", 1, 2000), *live(SALT, "canary", 2, 2000)]
        guard.tick(rows)
        rows += [*live(SALT, "champion", 1, 60, errors=5), *live(SALT, "canary", 2, 60, errors=60)]
        assert says(guard.tick(rows)) == ("errors", "rollback")

    def test_not_below_min_requests_nor_on_a_single_unlucky_answer(self) -> None:
        guard = Guard(plan_at(1))
        guard.tick([])
        assert guard.tick(live(SALT, "canary", 2, 49, errors=49)).action == "none"
        assert Guard(plan_at(1)).tick(live(SALT, "canary", 2, 60, errors=1)).action == "none"

    def test_errors_that_begin_after_many_good_answers_are_found_as_quickly(self) -> None:
        guard = Guard(plan_at(1))
        good = live(SALT, "canary", 2, 100_000)
        guard.tick([])
        guard.tick(good)
        verdict = guard.tick([*good, *live(SALT, "canary", 2, 20, errors=15)])
        assert says(verdict) == ("errors", "rollback")
        assert "15 of the last 20 answers" in verdict.reason
        assert memory_of(verdict).own.errors.since == verdict.at

    def test_errors_of_the_step_before_are_not_counted_again(self) -> None:
        guard = Guard(plan_at(1))
        before = live(SALT, "canary", 2, 1000, errors=12)  # just over 1 %, not beyond chance
        assert guard.tick(before).action == "none"
        guard.plan = moves.advance(guard.plan, **who(NOON + timedelta(seconds=2)))
        guard.tick(before)
        assert guard.tick([*before, *live(SALT, "canary", 2, 100, errors=2)]).action == "none"

    @pytest.mark.parametrize("step", [0, 1, 2])
    def test_a_drop_also_of_a_shadow_and_on_the_first_look(self, step: int) -> None:
        verdict = Guard(plan_at(step)).tick(pairs(SALT, 2, 3000, WORSE))
        assert says(verdict) == ("kpi_drop", "rollback")
        assert verdict.kpi == "drop"
        assert verdict.high is not None
        assert verdict.high < -0.05
        assert "below recommendation-v1" in verdict.reason

    @pytest.mark.parametrize("state", ["hold", "frozen"])
    def test_a_bad_canary_goes_also_while_held_or_frozen(self, state: str) -> None:
        assert Guard(plan_at(1, **{state: True})).tick(pairs(SALT, 2, 3000, WORSE)).action == "rollback"

    def test_rows_of_another_version_do_not_count(self) -> None:
        assert Guard(plan_at(1)).tick(pairs(SALT, 1, 3000, WORSE)).matured == 0


class TestMovedForward:
    def test_from_shadow_to_all_step_by_step(self) -> None:
        guard, rows, matured = Guard(plan_at(0)), list[Counter](), 0
        moved: list[tuple[str, float]] = []
        for look in range(400):
            matured += 40
            rows = [*pairs(SALT, 2, matured, GOOD, seed=3), *live(SALT, "canary", 2, matured // 2)]
            verdict = guard.tick(rows, seconds=1)
            if verdict.action != "none":
                guard.follow(verdict)
                moved.append((verdict.action, guard.plan.canary_percent))
            if guard.plan.canary is None:
                break
            assert look < 399
        assert moved == [("advance", 5.0), ("advance", 50.0), ("promote", 0.0)]
        assert (guard.plan.champion.number, guard.plan.control and guard.plan.control.number) == (2, 1)

    def test_not_before_its_time_nor_its_answers_nor_its_pass(self) -> None:
        guard = Guard(plan_at(0))
        rows = pairs(SALT, 2, 3000, GOOD)
        early = guard.tick(rows)
        assert says(early) == ("waiting", "none")
        assert "9 s of the step" in early.reason
        assert says(guard.tick(rows, seconds=10)) == ("ready", "advance")
        few = Guard(plan_at(0))
        verdict = few.tick(pairs(SALT, 2, 150, GOOD), seconds=20)
        assert says(verdict) == ("waiting", "none")
        assert "50 matured answers" in verdict.reason

    def test_a_wide_interval_is_undecided_and_says_how_much_is_needed(self) -> None:
        rows = pairs(SALT, 2, 400, (0.28, 0.3))
        verdict = Guard(plan_at(0)).tick(rows, seconds=20)
        assert says(verdict) == ("undecided", "none")
        assert verdict.kpi == "inconclusive"
        assert verdict.needed is not None
        assert verdict.needed > 500
        assert str(verdict.needed) in verdict.reason

    def test_what_a_step_needs_is_counted_from_when_all_replicas_had_followed(self) -> None:
        guard = Guard(plan_at(1), confirmed=False)
        before = [*pairs(SALT, 2, 3000, GOOD), *live(SALT, "canary", 2, 100)]
        guard.memory = None
        first = guard.tick(before, seconds=60)
        assert says(first) == ("unconfirmed", "none")
        guard.confirmed = True
        verdict = guard.tick(before, seconds=60)
        assert says(verdict) == ("waiting", "none")
        assert "500 matured answers" in verdict.reason
        assert verdict.needed == 500
        more = [*pairs(SALT, 2, 3500, GOOD), *live(SALT, "canary", 2, 100)]
        assert says(guard.tick(more)) == ("ready", "advance")

    def test_idle_traffic_never_promotes(self) -> None:
        """Time passes, nothing comes: the step before had all it asked for, this one has nothing."""
        guard = Guard(plan_at(2))
        rows = [*pairs(SALT, 2, 5000, GOOD), *live(SALT, "canary", 2, 500)]
        actions = {guard.tick(rows, seconds=10).action for _ in range(6)}
        assert actions == {"none"}

    def test_a_step_that_asks_for_no_answers_still_needs_one(self) -> None:
        steps = tuple(replace(step, min_answers=0) for step in STEPS)
        rollout = replace(ROLLOUT, steps=steps)
        guard = Guard(plan_at(1, rollout=rollout))
        rows = [*pairs(SALT, 2, 5000, GOOD), *live(SALT, "canary", 2, 500)]
        assert {guard.tick(rows, seconds=10).action for _ in range(5)} == {"none"}
        assert guard.tick([*pairs(SALT, 2, 5001, GOOD), *live(SALT, "canary", 2, 500)]).action == "advance"

    def test_an_error_rate_that_was_not_measured_is_no_pass(self) -> None:
        guard = Guard(plan_at(1))
        guard.tick([*pairs(SALT, 2, 3000, GOOD), *live(SALT, "canary", 2, 10)])
        verdict = guard.tick([*pairs(SALT, 2, 4000, GOOD), *live(SALT, "canary", 2, 20)], seconds=20)
        assert says(verdict) == ("waiting", "none")
        assert "30 answers by recommendation-v2" in verdict.reason

    @pytest.mark.parametrize(("state", "named"), [("hold", "held"), ("frozen", "frozen")])
    def test_not_while_held_or_frozen(self, state: str, named: str) -> None:
        rows = pairs(SALT, 2, 3000, GOOD)
        assert says(Guard(plan_at(0, **{state: True})).tick(rows, seconds=20)) == (named, "none")

    def test_a_ballot_that_named_the_freeze_goes_on(self) -> None:
        plan = plan_at(0, freeze=True)
        assert plan.frozen
        assert says(Guard(plan).tick(pairs(SALT, 2, 3000, GOOD), seconds=20)) == ("ready", "advance")

    def test_a_resumed_step_starts_anew(self) -> None:
        guard = Guard(plan_at(0))
        rows = pairs(SALT, 2, 3000, GOOD)
        guard.tick(rows, seconds=5)
        guard.plan = moves.hold(guard.plan, **who())
        assert state_of(guard.tick(rows, seconds=5)) == "held"
        guard.plan = moves.resume(guard.plan, **who(NOON + timedelta(seconds=guard.seconds)))
        verdict = guard.tick(rows, seconds=20)
        assert says(verdict) == ("waiting", "none")
        assert "200 matured answers" in verdict.reason


class TestMissing:
    def test_without_matured_answers_for_too_long_it_is_held(self) -> None:
        guard = Guard(plan_at(0))
        rows = pairs(SALT, 2, 100, GOOD)
        assert guard.tick(rows).action == "none"
        assert guard.tick(rows, seconds=60).action == "none"
        verdict = guard.tick(rows, seconds=1)
        assert says(verdict) == ("missing", "hold")
        guard.follow(verdict)
        assert says(guard.tick(rows)) == ("held", "none")

    def test_a_single_matured_answer_starts_the_clock_again(self) -> None:
        guard = Guard(plan_at(0))
        guard.tick(pairs(SALT, 2, 100, GOOD))
        guard.tick(pairs(SALT, 2, 101, GOOD), seconds=59)
        assert guard.tick(pairs(SALT, 2, 101, GOOD), seconds=59).action == "none"

    def test_traffic_that_never_came_is_held_too(self) -> None:
        guard = Guard(plan_at(0))
        guard.tick([])
        assert says(guard.tick([], seconds=61)) == ("missing", "hold")

    def test_before_the_first_label_can_be_due_it_is_not_missed(self) -> None:
        """The window is a day, the limit a minute: the clock of a rollout without a label runs out a minute after the day."""
        rollout = replace(ROLLOUT, gates=replace(GATES, attribution_seconds=86_400))
        guard = Guard(plan_at(0, rollout=rollout))
        guard.tick([])
        assert guard.tick([], seconds=86_400).action == "none"
        assert says(guard.tick([], seconds=61)) == ("missing", "hold")
        begun = Guard(plan_at(0, rollout=rollout))
        begun.tick(pairs(SALT, 2, 100, GOOD))
        assert says(begun.tick(pairs(SALT, 2, 100, GOOD), seconds=61)) == ("missing", "hold")


class TestSampleRatio:
    def test_a_share_that_is_off_stops_a_rollout(self) -> None:
        guard = Guard(plan_at(1), ratio_from=())
        rows = [*pairs(SALT, 2, 3000, GOOD), *live(SALT, "canary", 2, 2000), *live(SALT, "champion", 1, 8000)]
        verdict = guard.tick(rows)
        assert says(verdict) == ("sample_ratio", "none")
        assert "5 %" in verdict.reason

    def test_the_drop_of_a_split_model_is_not_believed_then(self) -> None:
        rows = [*split(SALT, "canary", 2, 6000, 0.1), *split(SALT, "champion", 1, 6000, 0.3, seed=2)]
        assert state_of(Guard(plan_at(1)).tick(rows)) == "kpi_drop"
        assert state_of(Guard(plan_at(1), ratio_from=()).tick(rows)) == "sample_ratio"


class TestAfterAll:
    """Version 2 is champion, version 1 its control."""

    def test_a_champion_that_its_control_beats_is_for_the_decision_table(self) -> None:
        verdict = Guard(plan_at(3)).tick(pairs(SALT, 1, 3000, (0.3, 0.15), arm="control"))
        assert (verdict.arm, verdict.kpi, *says(verdict)) == ("champion", "drop", "kpi_drop", "none")

    def test_a_good_champion_is_watched_for_ever(self) -> None:
        guard = Guard(plan_at(3))
        rows = pairs(SALT, 1, 3000, GOOD, arm="control")
        assert {says(guard.tick(rows, seconds=1e5)) for _ in range(3)} == {("watching", "none")}

    def test_errors_of_the_new_champion_roll_it_back(self) -> None:
        guard = Guard(plan_at(3))
        verdict = guard.tick([*live(SALT, "champion", 2, 500, errors=100), *live(SALT, "control", 1, 500)])
        assert (verdict.arm, *says(verdict)) == ("champion", "errors", "rollback")
        guard.follow(verdict)
        assert guard.plan.champion.number == 1
        assert guard.plan.previous is None
        assert judge(Seen(guard.plan, (), (), True, None, NOON), guard.memory) is None  # nothing left to flap with

    def test_errors_of_both_are_not_the_releases_fault(self) -> None:
        rows = [*live(SALT, "champion", 2, 500, errors=100), *live(SALT, "control", 1, 500, errors=100)]
        guard = Guard(plan_at(3))
        assert says(guard.tick(rows)) == ("errors", "none")
        assert "no better: the rules answer when that has lasted 15 s" in guard.verdicts[-1].reason
        assert says(guard.tick(rows, seconds=BOTH_SECONDS)) == ("both_bad", "fallback")

    @pytest.mark.parametrize("kind", ["errors", "late"])
    def test_a_spike_that_hits_both_is_over_before_anything_is_done(self, kind: str) -> None:
        """A burst of requests makes every answer late; the models would be away until people vote."""
        guard, rows = Guard(plan_at(3)), [*live(SALT, "champion", 2, 5000), *live(SALT, "control", 1, 100)]
        guard.tick(rows)
        rows += [*live(SALT, "champion", 2, 500, **{kind: 500}), *live(SALT, "control", 1, 20, **{kind: 20})]
        assert says(guard.tick(rows)) == (kind, "none")
        for _ in range(10):
            rows += [*live(SALT, "champion", 2, 2000), *live(SALT, "control", 1, 40)]
            assert guard.tick(rows).action == "none"
        assert says(guard.verdicts[-1]) == ("watching", "none")

    def test_a_control_that_was_bad_once_and_is_well_again_is_gone_back_to(self) -> None:
        guard, rows = Guard(plan_at(3)), [*live(SALT, "champion", 2, 5000), *live(SALT, "control", 1, 100)]
        guard.tick(rows)
        rows += live(SALT, "control", 1, 600, errors=600)
        assert guard.tick(rows).action == "none"
        rows += [*live(SALT, "champion", 2, 25_000), *live(SALT, "control", 1, 500)]
        assert guard.tick(rows, seconds=300.0).action == "none"
        rows += live(SALT, "champion", 2, 100, errors=100)
        assert says(guard.tick(rows)) == ("errors", "none")
        rows += live(SALT, "control", 1, 6)
        assert says(guard.tick(rows, seconds=60.0)) == ("errors", "rollback")

    def test_at_a_limit_above_one_half_a_control_can_do_better_too(self) -> None:
        gates = replace(GATES, max_late_rate=0.6)
        plan = plan_at(3)
        assert plan.rollout is not None
        guard = Guard(replace(plan, rollout=replace(plan.rollout, gates=gates)))
        rows = [*live(SALT, "champion", 2, 500, late=500), *live(SALT, "control", 1, 20)]
        assert says(guard.tick(rows)) == ("late", "rollback")

    def test_a_champion_does_not_go_back_to_a_version_of_which_nothing_is_known(self) -> None:
        guard = Guard(plan_at(3))
        rows = live(SALT, "champion", 2, 500, errors=100)
        assert says(guard.tick(rows)) == ("errors", "none")
        rows += live(SALT, "control", 1, 8)
        assert says(guard.tick(rows)) == ("errors", "none")  # at one in five, eight good ones are luck
        rows += live(SALT, "control", 1, 12)
        assert says(guard.tick(rows)) == ("errors", "rollback")

    def test_what_people_restored_is_judged_from_there(self) -> None:
        guard = Guard(plan_at(3))
        rows = [*live(SALT, "champion", 2, 500, errors=500), *live(SALT, "control", 1, 10, errors=10)]
        guard.tick(rows)
        verdict = guard.tick(rows, seconds=BOTH_SECONDS)
        assert says(verdict) == ("both_bad", "fallback")
        guard.follow(verdict)
        assert judge(Seen(guard.plan, tuple(rows), (), True, None, verdict.at), guard.memory) is None
        guard.plan = moves.restore(guard.plan, **who(verdict.at + timedelta(hours=1)))
        assert says(guard.tick(rows)) == ("watching", "none")
        assert says(guard.tick([*rows, *rows])) == ("errors", "none")
        assert says(guard.tick([*rows, *rows], seconds=BOTH_SECONDS)) == ("both_bad", "fallback")

    def test_errors_of_the_old_champion_are_not_counted_for_the_new_one(self) -> None:
        rows = [*live(SALT, "champion", 1, 500, errors=100), *live(SALT, "champion", 2, 500)]
        assert says(Guard(plan_at(3)).tick(rows)) == ("watching", "none")

    def test_without_a_previous_version_there_is_nothing_to_roll_back_to(self) -> None:
        verdict = Guard(plan_at(3, previous=None)).tick(
            [*live(SALT, "champion", 2, 500, errors=100), *live(SALT, "control", 1, 500)]
        )
        assert says(verdict) == ("errors", "none")

    def test_one_replicas_trip_does_not_roll_everybody_back(self) -> None:
        guard = Guard(plan_at(3))
        guard.trips = (trip(content(guard.plan.champion)),)
        assert guard.tick([]).action == "none"


def test_a_verdict_holds_what_it_was_concluded_from() -> None:
    verdict = Guard(plan_at(1)).tick([*pairs(SALT, 2, 3000, GOOD), *live(SALT, "canary", 2, 100, errors=1)])
    again = GuardVerdict.from_json(verdict.to_json())
    assert again == verdict
    assert verdict.inputs["now"] == {"answers": 100, "errors": 1, "late": 0, "matured": 3000}
    assert verdict.inputs["gates"]["margin_fail"] == 0.05
    assert verdict.inputs["form"] == "paired"
    memory = memory_of(again)
    assert memory.first_matured_at == verdict.at
    assert memory.own.errors.answers == 0  # at step 1 it counts from where it found the counters
    assert verdict.effect is not None
    assert (verdict.low or 0) < verdict.effect < (verdict.high or 0) or verdict.effect == 0


def test_verdicts_differ_by_tick_and_equal_ticks_give_equal_verdicts() -> None:
    one, two = Guard(plan_at(0)), Guard(plan_at(0))
    first, again = one.tick([]), two.tick([])
    assert first == again
    assert one.tick([]).id != first.id
