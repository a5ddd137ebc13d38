"""Comparisons that begin later: which are kept, what they may spend, and that a fall after a long good time is found by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from msgspec.structs import replace

from checks import later, sequential, tallies
from checks import plans as moves
from checks.case import Memory, Seen
from checks.judge import concluded_again, judge, memory_of, state_of
from checks.later import AGES, Starts
from records import Counter, GuardVerdict, ReleasePlan
from stores.ledger.tables import COUNTED, SUMMED
from tests.checks.test_judge import ROLLOUT, SALT, plan_at, who
from tests.checks.traffic import HOUR, pairs, row, split
from tests.stores.ledger.world import NOON

STEP = 1000  # answers between two starts
EQUAL, FALLEN = (0.3, 0.3), (0.24, 0.3)
DROP = 0.05


def added(*parts: Sequence[Counter]) -> list[Counter]:
    """Rows as the ledger adds them up."""
    found: dict[tuple[object, ...], Counter] = {}
    for one in (one for part in parts for one in part):
        key = one.arm, one.version, one.bucket, one.hour
        before = found.get(key)
        sums = {name: getattr(one, name) + getattr(before, name) for name in (*COUNTED, *SUMMED)} if before else {}
        found[key] = replace(one, **sums)
    return list(found.values())


@dataclass
class Looks:
    """The judge at look after look, with and without later comparisons."""

    plan: ReleasePlan
    with_later: bool = True
    rows: list[Counter] = field(default_factory=list)
    starts: Starts = field(default_factory=Starts)
    memory: Memory | None = None
    seconds: float = 0.0

    def look(self, *more: Sequence[Counter]) -> GuardVerdict:
        self.rows = added(self.rows, *more)
        self.starts = self.starts.after(self.plan, self.rows)
        self.seconds += 1
        at = NOON + timedelta(seconds=self.seconds)
        kept = self.starts.kept if self.with_later else ()
        verdict = judge(Seen(self.plan, tuple(self.rows), (), True, None, at, later=kept), self.memory)
        assert verdict is not None
        self.memory = memory_of(verdict)
        return verdict

    def until_drop(self, arm: str = "canary", version: int = 2, rates: tuple[float, float] = FALLEN) -> GuardVerdict:
        for seed in range(2000, 2400):
            verdict = self.look(pairs(SALT, version, 100, rates, arm=arm, seed=seed))
            if verdict.kpi == "drop":
                return verdict
        raise AssertionError("no drop was said")


def after_good_time(plan: ReleasePlan, *, with_later: bool, arm: str = "canary", version: int = 2) -> Looks:
    looks = Looks(plan, with_later)
    for seed in range(10):
        verdict = looks.look(pairs(SALT, version, STEP, EQUAL, arm=arm, seed=seed))
        assert verdict.kpi != "drop"
    return looks


class TestRates:
    @pytest.mark.parametrize("alpha", [0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 0.9])
    def test_a_false_drop_of_the_whole_and_of_all_later_ones_together_is_below_alpha(self, alpha: float) -> None:
        """One side of a two-sided mixture at level a is crossed with probability at most a / (2 - a)."""
        levels = [alpha, *(later.rate(number, alpha) for number in range(1, 100_000))]
        spent = sum(level / (2 - level) for level in levels)
        assert spent < alpha
        assert spent > 0.95 * alpha or alpha > 0.2  # and nothing is given away

    def test_each_start_spends_less_than_the_one_before(self) -> None:
        rates = [later.rate(number, 0.05) for number in range(1, 50)]
        assert rates == sorted(rates, reverse=True)
        assert rates[-1] > 0


class TestAges:
    @pytest.mark.parametrize("number", [2, 3, 7, 8, 31, 32, 33, 100, 999])
    def test_there_is_one_of_each_age(self, number: int) -> None:
        kept = {one for one in later.ages(number) if one > 0}
        assert number in kept
        assert len(kept) <= AGES + 3
        for power in range(AGES):
            if number >= 2 ** (power + 1):
                assert any(2**power <= number - one < 2 ** (power + 1) for one in kept)

    def test_none_is_kept_that_was_dropped_before(self) -> None:
        kept: set[int] = set()
        for number in range(1, 300):
            wanted = {one for one in later.ages(number) if one > 0}
            assert wanted <= kept | {number}
            kept = wanted


class TestStarts:
    def test_one_begins_after_each_step_and_few_are_kept(self) -> None:
        looks = after_good_time(plan_at(2), with_later=True)
        assert [one.number for one in looks.starts.kept] == sorted(one for one in later.ages(10) if one > 0)
        matured = [sum(row.matured for row in one.since(looks.rows)) for one in looks.starts.kept]
        assert matured == [(10 - one.number) * STEP for one in looks.starts.kept]

    def test_whoever_looks_first_in_the_middle_begins_with_the_next(self) -> None:
        """The rate of those before may have been spent by the guard that led before."""
        rows = pairs(SALT, 2, 4500, EQUAL)
        starts = Starts().after(plan_at(2), rows)
        assert (starts.begun, starts.kept) == (4, ())
        assert starts.after(plan_at(2), rows) is starts
        starts = starts.after(plan_at(2), added(rows, pairs(SALT, 2, 600, EQUAL, seed=9)))
        assert [one.number for one in starts.kept] == [5]

    def test_each_rollout_and_role_has_its_own(self) -> None:
        looks = after_good_time(plan_at(2), with_later=True)
        again = looks.starts.after(replace(plan_at(2), salt="another"), [])
        assert (again.of, again.begun, again.kept) == (("another", "canary"), 0, ())
        watched = looks.starts.after(plan_at(3), looks.rows)
        assert watched.of == (SALT, "champion")
        assert watched.kept == ()

    def test_without_a_rollout_there_are_none(self) -> None:
        looks = after_good_time(plan_at(2), with_later=True)
        assert looks.starts.after(moves.fallback(plan_at(2), **who()), looks.rows) == Starts()

    def test_several_that_are_due_at_once_are_one(self) -> None:
        starts = Starts().after(plan_at(2), []).after(plan_at(2), pairs(SALT, 2, 7300, EQUAL))
        assert [one.number for one in starts.kept] == [7]

    def test_what_was_counted_since_is_what_came_since(self) -> None:
        before, after = pairs(SALT, 2, STEP, EQUAL), pairs(SALT, 2, 700, FALLEN, seed=5)
        starts = Starts().after(plan_at(2), []).after(plan_at(2), before)
        since = starts.kept[0].since(added(before, after))
        assert {one.bucket: one for one in since if one.matured} == {one.bucket: one for one in after}

    @pytest.mark.parametrize("window", [0.0, 7200.0])
    def test_of_a_split_model_one_begins_with_a_whole_hour_of_which_all_labels_count(self, window: float) -> None:
        """An hour under way has given those labels that come first, and in one arm perhaps more of them."""
        plan, arms = with_window(plan_at(2), window), (("canary", 2), ("champion", 1))
        hours = [HOUR + timedelta(hours=number) for number in range(8)]
        rows = [
            one for hour in hours[:5] for arm, number in arms for one in split(SALT, arm, number, 2500, 0.3, hour=hour)
        ]
        starts = Starts().after(plan, []).after(plan, rows)
        assert [one.hour for one in starts.kept] == [hours[5] if window == 0 else hours[2]]

    def test_one_that_looked_split_until_the_first_hit_is_dropped(self) -> None:
        plan = plan_at(2)
        rows = [*pairs(SALT, 2, 5000, (0.0, 0.0)), *split(SALT, "champion", 1, 5000, 0.3)]
        starts = Starts().after(plan, []).after(plan, rows)
        assert [one.number for one in starts.kept] == [2]
        hit = row(SALT, "canary", 2, 0, matured=1, total=1.0, other_total=1.0, cross=1.0)
        starts = starts.after(plan, added(rows, [hit]))
        assert [one.number for one in starts.kept] == [5]
        assert (
            sum(one.matured for one in starts.kept[0].since(one for one in added(rows, [hit]) if one.arm == "canary"))
            == 0
        )

    def test_equal_arms_of_which_one_has_its_hits_at_once_are_no_drop(self) -> None:
        """Of each hour the canary's hits are known first, the champion's in the next hour, misses in the one after that."""
        plan = with_window(plan_at(2), 7200.0)
        sides, starts, rows = tallies.sides(plan), Starts(), list[Counter]()
        assert sides is not None
        assert plan.rollout is not None
        for number in range(20):
            rows = added(rows, *labels(number, "canary", 2, known=0), *labels(number, "champion", 1, known=1))
            starts = starts.after(plan, rows)
            assert later.fallen(starts.kept, rows, sides, plan.rollout) is None
        assert len(starts.kept) > 2


def with_window(plan: ReleasePlan, seconds: float) -> ReleasePlan:
    assert plan.rollout is not None
    gates = replace(plan.rollout.gates, attribution_seconds=seconds)
    return replace(plan, rollout=replace(plan.rollout, gates=gates))


def labels(now: int, arm: str, version: int, *, known: int) -> list[list[Counter]]:
    """What becomes known in an hour: answers, hits of `known` hours ago, misses of two hours ago."""
    found = []
    for ago in {0, known, 2}:
        hour = HOUR + timedelta(hours=now - ago)
        rows = split(SALT, arm, version, 2000, 0.3, hour=hour, seed=1000 + 10 * (now - ago) + version)
        found += [
            [
                replace(
                    one,
                    answers=one.answers if ago == 0 else 0,
                    matured=(int(one.total) if ago == known else 0) + (one.matured - int(one.total) if ago == 2 else 0),
                    total=one.total if ago == known else 0.0,
                )
                for one in rows
            ]
        ]
    return found if now >= 2 else found[:1]


class TestFall:
    def test_a_canary_that_falls_after_a_long_good_time_is_taken_back_on_what_came_since(self) -> None:
        alone = after_good_time(plan_at(2), with_later=False).until_drop()
        beside = after_good_time(plan_at(2), with_later=True).until_drop()
        whole = tallies.tally(pairs(SALT, 2, 10 * STEP, EQUAL), "canary", 2).matured
        until = [one.inputs["now"]["matured"] - whole for one in (alone, beside)]
        assert until[1] < until[0] / 2
        assert (state_of(beside), beside.action) == ("kpi_drop", "rollback")
        assert alone.inputs["later"] is None

    def test_the_verdict_says_on_what(self) -> None:
        verdict = after_good_time(plan_at(2), with_later=True).until_drop()
        said = verdict.inputs["later"]
        assert verdict.matured == verdict.inputs["now"]["matured"] - said["after"]
        assert f"on the newest {verdict.matured} matured answers" in verdict.reason
        assert said["alpha"] == later.rate(said["number"], ROLLOUT.gates.alpha)
        assert verdict.high is not None
        assert verdict.high < -DROP
        assert verdict.needed == 0
        assert verdict.inputs["size"] == verdict.matured
        assert concluded_again(GuardVerdict.from_json(verdict.to_json())) == {}

    def test_they_say_it_where_the_whole_is_undecided_too(self) -> None:
        """A canary that is a little worse, and then much."""
        looks = Looks(plan_at(2))
        for seed in range(4):
            assert looks.look(pairs(SALT, 2, STEP, (0.288, 0.3), seed=seed)).kpi == "inconclusive"
        verdict = looks.until_drop()
        alone = judge(Seen(looks.plan, tuple(looks.rows), (), True, None, verdict.at), looks.memory)
        assert alone is not None
        assert (verdict.inputs["later"] is not None, alone.kpi) == (True, "inconclusive")

    def test_pairs_without_a_hit_are_no_split_comparison(self) -> None:
        """The champion's rows of a paired model have outcomes too, of other requests."""
        plan, whole = plan_at(2), split(SALT, "champion", 1, 3000, 0.3)
        rows = added(pairs(SALT, 2, STEP, EQUAL), whole)
        starts = Starts().after(plan, []).after(plan, rows)
        more = added(rows, pairs(SALT, 2, 900, (0.0, 0.0), seed=3), split(SALT, "champion", 1, 2000, 0.3, seed=4))
        sides = tallies.sides(plan)
        assert sides is not None
        assert later.fallen(starts.kept, more, sides, ROLLOUT) is None
        since = starts.kept[0].since(more)
        assert tallies.compare(since, sides, ROLLOUT).effect.effect == -1.0  # what it would look like

    def test_a_champion_is_found_as_well(self) -> None:
        """Its pairs are in the control's rows, the other way round."""
        looks = after_good_time(plan_at(3), with_later=True, arm="control", version=1)
        verdict = looks.until_drop("control", 1, (0.3, 0.24))
        assert (verdict.arm, state_of(verdict), verdict.action) == ("champion", "kpi_drop", "none")  # the table decides
        assert verdict.inputs["later"] is not None

    def test_of_a_split_model(self) -> None:
        said = {}
        for with_later in (False, True):
            looks = Looks(plan_at(2), with_later)
            for hour in range(60):
                at, rate = HOUR + timedelta(hours=hour), 0.3 if hour < 30 else 0.2
                verdict = looks.look(
                    split(SALT, "canary", 2, 600, rate, hour=at, seed=hour),
                    split(SALT, "champion", 1, 600, 0.3, hour=at, seed=1000 + hour),
                )
                if verdict.kpi == "drop":
                    said[with_later] = hour
                    break
        assert said[True] < said[False]

    def test_they_never_say_pass(self) -> None:
        """A canary that was just too bad and is well since: the whole decides, and cannot."""
        looks = Looks(plan_at(2))
        for seed in range(6):
            looks.look(pairs(SALT, 2, STEP, (0.282, 0.3), seed=seed))
        for seed in range(10, 13):
            verdict = looks.look(pairs(SALT, 2, STEP, EQUAL, seed=seed))
        sides = tallies.sides(looks.plan)
        assert sides is not None
        newest = [tallies.compare(one.since(looks.rows), sides, ROLLOUT).effect for one in looks.starts.kept]
        assert any(sequential.decide(one, DROP, DROP) == "pass" for one in newest)
        assert (verdict.kpi, verdict.inputs["later"]) == ("inconclusive", None)
