"""When champion and control fall alike nobody is rolled back: the rules answer, an incident opens, and people bring it back."""

from __future__ import annotations

from itertools import pairwise

import pytest

from checks import findings
from checks import plans as moves
from checks.judge import state_of
from errors import ReleaseRefused
from guard.loop import Guard
from records import ReplicaState, utc_now
from stores.ledger import counters, plans
from tests.checks.traffic import live, pairs
from tests.guard.test_rollout import content
from tests.guard.town import WELL, Town, ticks
from tests.stores.ledger.world import MODEL, subject


def restore(town: Town) -> None:
    ballot = town.voted("restore", town.plan().revision)
    plans.change(
        town.release,
        MODEL,
        lambda plan: moves.restore(plan, at=utc_now(), actor="release", reason="voted"),
        signer=town.signer("release"),
        actor="release",
        ballot=ballot,
    )


def bad(town: Town, kind: str, champion: tuple[int, int], control: tuple[int, int]) -> None:
    """(bad, all) of the answers of each."""
    salt = town.plan().salt
    town.count(live(salt, "champion", 2, champion[1], **{kind: champion[0]}))
    town.count(live(salt, "control", 1, control[1], **{kind: control[0]}))


def watched(two: Town) -> Guard:
    """A guard that has seen champion and control do well."""
    guard = two.guard()
    ticks(guard, two)
    assert two.plan().mode == "model"
    return guard


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for seconds here; that the judge does, tests of the judge show."""
    monkeypatch.setattr(findings, "BOTH_SECONDS", 0.0)


class TestErrorsAndLateness:
    @pytest.mark.usefixtures("at_once")
    @pytest.mark.parametrize("kind", ["errors", "late"])
    def test_where_both_fail_the_rules_answer_and_only_a_vote_brings_it_back(self, two: Town, kind: str) -> None:
        guard = watched(two)
        bad(two, kind, (500, 500), (10, 10))
        ticks(guard, two)
        plan = two.plan()
        assert (plan.mode, plan.champion.number, plan.actor) == ("rules", 2, "guard")
        [incident] = two.incidents()
        assert (incident.kind, incident.level, incident.revision) == ("both_bad", "critical", plan.revision)
        assert incident.first_bad_at is not None
        assert incident.decided_at is not None
        assert incident.restored_at is not None  # every replica serves the rules
        assert incident.owner == "platform@example.org"
        [alert] = [alert for alert in two.alerts() if "fail alike" in alert.title]
        assert alert.level == "critical"
        assert f"the rules answer since revision {plan.revision}" in alert.body["done"]
        assert "restore" in alert.body["next"]
        with pytest.raises(ReleaseRefused, match="ballot"):
            two.operate(moves.restore)
        assert two.plan() == plan

    @pytest.mark.usefixtures("at_once")
    def test_people_who_restore_are_not_overruled_by_what_they_knew_of(self, two: Town) -> None:
        guard = watched(two)
        bad(two, "errors", (500, 500), (10, 10))
        ticks(guard, two)
        restore(two)
        ticks(guard, two)
        assert two.plan().mode == "model"
        again = two.guard(holder="guard-1")  # nor by a guard that starts anew
        ticks(again, two)
        assert two.plan().mode == "model"
        bad(two, "errors", (500, 500), (10, 10))
        ticks(again, two)
        assert two.plan().mode == "rules"
        assert [incident.kind for incident in two.incidents()] == ["both_bad"] * 2
        assert len([alert for alert in two.alerts() if "fail alike" in alert.title]) == 2

    def test_what_has_just_begun_for_both_is_told_and_may_pass(self, two: Town) -> None:
        guard, before = watched(two), two.plan()
        bad(two, "late", (500, 500), (20, 20))
        ticks(guard, two)
        assert two.plan() == before
        assert [(alert.level, "late" in alert.title) for alert in two.alerts()] == [("warning", True)]
        assert "the rules answer when that has lasted 15 s" in two.alerts()[0].body["what"]

    def test_a_champion_whose_control_does_well_goes_back(self, two: Town) -> None:
        guard = watched(two)
        bad(two, "errors", (500, 500), (0, 10))
        ticks(guard, two)
        assert (two.plan().mode, two.plan().champion.number) == ("model", 1)
        assert [incident.kind for incident in two.incidents()] == ["errors"]

    def test_while_the_control_has_hardly_answered_nobody_knows_and_people_are_told(self, two: Town) -> None:
        guard, before = watched(two), two.plan()
        bad(two, "errors", (500, 500), (0, 1))
        ticks(guard, two)
        assert two.plan() == before
        assert state_of(two.verdicts()[-1]) == "errors"
        assert "too few to say that it does better" in two.verdicts()[-1].reason
        assert [(alert.level, "errors" in alert.title) for alert in two.alerts()] == [("warning", True)]
        bad(two, "errors", (0, 0), (0, 9))
        ticks(guard, two)
        assert two.plan().champion.number == 1

    @pytest.mark.usefixtures("at_once")
    def test_good_answers_of_the_control_before_it_began_do_not_count(self, two: Town) -> None:
        guard = two.guard()
        bad(two, "errors", (0, 5000), (0, 500))
        ticks(guard, two)
        before = two.plan()
        bad(two, "errors", (500, 500), (3, 3))
        ticks(guard, two)
        assert two.plan() == before  # neither better nor surely as bad
        bad(two, "errors", (100, 100), (7, 7))
        ticks(guard, two)
        assert two.plan().mode == "rules"


class TestDroppedEverywhere:
    """Replicas drop by themselves what fails, and then nothing more is counted of it."""

    def say(self, two: Town, replica: str, *dropped: int, kind: str = "dropped") -> None:
        """A replica drops these versions, and reports what it has."""
        plan, gone = two.plan(), [content(number) for number in dropped]
        for one in gone:
            two.trip(one, id=f"{replica}-{one[:8]}", replica=replica, kind=kind, arm="champion", reason="5 errors")
        arms = {"champion": plan.champion, "previous": plan.previous, "control": plan.control}
        loaded = {
            name: arm.artifact.content for name, arm in arms.items() if arm is not None and arm.artifact is not None
        }
        kept = {name: one for name, one in loaded.items() if one not in gone}
        state = ReplicaState(replica=replica, model=MODEL, revision=plan.revision, loaded=kept, at=utc_now())
        counters.report_replica(two.ledgers["serving"], state)

    def test_both_by_every_replica_is_rules_and_an_incident(self, two: Town) -> None:
        guard = watched(two)
        self.say(two, "replica-1", 2, 1)
        self.say(two, "replica-2", 2, 1)
        guard.tick()
        assert (two.plan().mode, two.plan().champion.number, two.plan().rejected) == ("rules", 2, ())
        ticks(guard, two)
        [incident] = two.incidents()
        assert (incident.kind, incident.revision) == ("both_bad", two.plan().revision)
        assert incident.first_bad_at is not None
        assert "every replica dropped recommendation-v2 and its control recommendation-v1" in incident.summary

    @pytest.mark.parametrize("others", [(2,), (1,), ()])
    def test_one_that_still_has_either_is_enough_to_wait(self, two: Town, others: tuple[int, ...]) -> None:
        guard, before = watched(two), two.plan()
        self.say(two, "replica-1", 2, 1)
        self.say(two, "replica-2", *others)
        guard.tick()
        assert two.plan() == before
        assert two.incidents() == []

    def test_one_that_was_started_again_has_them_again(self, two: Town) -> None:
        guard, before = watched(two), two.plan()
        self.say(two, "replica-1", 2, 1)
        self.say(two, "replica-1")
        guard.tick()
        assert two.plan() == before

    def test_an_artifact_that_cannot_be_loaded_is_tried_again(self, two: Town) -> None:
        guard, before = watched(two), two.plan()
        self.say(two, "replica-1", 2, 1, kind="refused")
        guard.tick()
        assert two.plan() == before


class TestKpi:
    def test_both_below_the_level_is_rules_and_an_incident(self, two: Town) -> None:
        guard = two.guard()
        ticks(guard, two)
        two.find({"corruption": "no", "drift": "no", "kpi": "no"}, level="yes")
        ticks(guard, two)
        plan = two.plan()
        assert (plan.mode, plan.champion.number, plan.frozen) == ("rules", 2, False)
        [incident] = two.incidents()
        assert (incident.kind, incident.level) == ("both_down", "critical")
        assert incident.evidence["KPI drop"] == "both"
        assert "both_down" in two.rows()
        [alert] = [alert for alert in two.alerts() if "control's" in alert.title]
        assert alert.level == "critical"
        assert "the rules answer" in alert.body["done"]
        with pytest.raises(ReleaseRefused, match="ballot"):
            two.operate(moves.restore)

    def test_with_drift_retraining_is_asked_for_as_well(self, two: Town) -> None:
        guard = two.guard()
        ticks(guard, two)
        two.find({"corruption": "no", "drift": "yes", "kpi": "undecided"}, level="yes")
        ticks(guard, two)
        assert (two.plan().mode, two.plan().frozen_for) == ("rules", "drift")
        assert len(two.requests()) == 1

    def test_a_control_that_beats_it_leads_back_whatever_the_level_says(self, two: Town) -> None:
        guard = two.guard()
        ticks(guard, two)
        two.find({"corruption": "no", "drift": "no", "kpi": "yes"}, level="yes")
        ticks(guard, two)
        assert (two.plan().mode, two.plan().champion.number) == ("model", 1)
        assert [incident.kind for incident in two.incidents()] == ["kpi_drop"]

    def test_it_goes_with_a_running_canary_which_is_not_rejected(self, two: Town) -> None:
        guard = two.guard()
        two.begin(3)
        ticks(guard, two)
        two.find({"corruption": "no", "drift": "no", "kpi": "undecided"}, level="yes")
        ticks(guard, two)
        assert (two.plan().mode, two.plan().canary, two.plan().rejected) == ("rules", None, ())

    @pytest.mark.parametrize("answer", ["no", "undecided"])
    def test_one_that_is_not_known_to_have_fallen_stays(self, two: Town, answer: str) -> None:
        guard, before = two.guard(), two.plan()
        two.find(WELL, level=answer)
        ticks(guard, two)
        assert two.plan() == before
        assert two.incidents() == []

    def test_people_who_restore_are_not_overruled_by_the_week_they_knew_of(self, two: Town) -> None:
        guard = two.guard()
        ticks(guard, two)
        [*_, fell] = two.find({"corruption": "no", "drift": "no", "kpi": "no"}, level="yes")
        ticks(guard, two)
        restore(two)
        ticks(guard, two)
        assert two.plan().mode == "model"
        assert len(two.incidents()) == 1
        two.find(WELL, level="yes")  # another window
        ticks(guard, two)
        assert two.plan().mode == "rules"
        assert len(two.incidents()) == 2
        assert fell.kind == "level"


class TestAlwaysArmed:
    """A ballot that is open stands in nobody's way."""

    def test_a_bad_canary_goes_while_people_vote_on_its_next_step(self, two: Town) -> None:
        guard = two.guard()
        two.begin(3)
        ticks(guard, two)
        two.ask(subject(moves.RULES_ARM, two.plan().revision, "advance"))
        two.count(live("salt-3", "canary", 3, 100, errors=60))
        ticks(guard, two)
        assert two.plan().canary is None

    def test_a_champion_that_its_control_beats_goes_while_people_vote_on_the_next(self, two: Town) -> None:
        guard = watched(two)
        two.ask(subject(moves.RULES_ARM, two.plan().revision, "unfreeze"))
        two.count(pairs("salt-2", 1, 4000, (0.3, 0.15), arm="control"))
        ticks(guard, two)
        assert two.plan().champion.number == 1

    def test_a_kpi_that_swings_day_by_day_changes_who_answers_once_at_most(self, two: Town) -> None:
        guard, seen = watched(two), [two.plan().champion.number]
        for day in range(4):
            rates = ((0.15, 0.3), (0.3, 0.15))[day % 2]
            salt = two.plan().salt
            if salt:
                two.count(pairs(salt, 1, 1500, rates, arm="control", seed=day))
            ticks(guard, two)
            seen.append(two.plan().champion.number)
        assert sum(one != other for one, other in pairwise(seen)) <= 1
        assert len(two.incidents()) <= 1
        assert two.plan().mode == "model"
