"""The decision table at work on a real ledger: what the guard does on findings, what it tells, and what it does only once."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from checks import plans as moves
from checks.authority import authorise
from checks.facts import role_of
from checks.policy import CHANGES, rule
from errors import ReleaseRefused
from guard.decide import moves as changed_by
from guard.gather import standing
from records import RULES, Role, utc_now
from stores.ledger import audit, ballots, findings, plans
from tests.checks.test_plans import MOVES, WHO
from tests.checks.test_policy import COMBINATIONS, TABLE, facts, finding, found
from tests.checks.traffic import pairs
from tests.guard.test_rollout import GOOD, WORSE, content, traffic
from tests.guard.town import BAD, ROLLOUT, WELL, Town, limited, ticks
from tests.stores.ledger.world import MODEL, NOON, arm, subject

NO_DRIFT = "no corruption and no drift, the KPI is not decided"
LOST = (0.3, 0.15)  # hit rates of control and champion


def test_drift_alone_freezes_and_warns_and_never_retrains(two: Town) -> None:
    two.find(corruption="no", drift="yes", kpi="no")
    ticks(two.guard(), two)
    plan = two.plan()
    assert (plan.champion.number, plan.frozen, plan.frozen_for, plan.actor) == (2, True, "drift", "guard")
    assert two.told() == [("warning", "drift (recommendation-v2)")]
    assert two.requests() == []
    assert two.incidents() == []
    assert two.rows().count("drift") == 1
    audit.verify(two.ledgers["reader"])


def test_an_alert_says_everything_a_person_on_call_needs(two: Town) -> None:
    two.find(corruption="no", drift="yes", kpi="no")
    ticks(two.guard(), two)
    ruling, body = two.rulings()[-1], two.alerts()[-1].body
    assert body["what"] == "drift: drift was yes in run 1."
    assert body["evidence"] == {
        "corruption": "no",
        "drift": "yes",
        "KPI drop": "no",
        "answered by": "recommendation-v2",
        "drift window": "2026-11-21 12:00 to 2026-11-22 12:00",
        "drift report": "pages/monitor/recommendation/1.html",
        "ruling": ruling.id,
    }
    assert body["done"] == f"frozen for drift: nothing is promoted unattended (revision {two.plan().revision})"
    assert body["owner"] == "sre@example.org"
    assert "clean windows" in body["next"]
    assert body["link"] == f"grownet replay {ruling.id}"


def test_drift_and_a_drop_go_the_whole_way_once(two: Town) -> None:
    two.find(BAD)
    guard = two.guard()
    ticks(guard, two, 4)
    plan = two.plan()
    assert (plan.champion.number, plan.previous, plan.frozen_for) == (1, None, "drift")
    assert plan.revision == 7  # in one revision
    assert content(2) not in plan.rejected
    [event] = two.requests()
    [ruling] = [one for one in two.rulings() if "retrain" in one.actions]
    assert event.body == {"model": MODEL, "verdict": ruling.id, "reason": ruling.reason}
    assert (event.kind, event.id) == ("event", f"retrain-{ruling.id}")
    assert ruling.actions == ("rollback", "freeze", "retrain", "incident")
    [incident] = two.incidents()
    assert (incident.kind, incident.level, incident.status) == ("kpi_drop", "critical", "open")
    assert incident.restored_at is not None
    assert two.told() == [("critical", "drift and a KPI drop (recommendation-v2)")]
    [alert] = two.alerts()
    assert "a retraining is requested" in alert.body["done"]
    assert "recommendation-v1 answers again" in alert.body["done"]
    assert alert.body["evidence"]["incident"] == incident.id


def test_an_old_window_looked_at_again_takes_no_model_back(two: Town) -> None:
    guard = two.guard()
    two.runs = 50
    two.find(WELL)
    ticks(guard, two, 2)
    two.runs = 5
    two.find(BAD)
    ticks(guard, two, 2)
    assert two.plan().champion.number == 2


def test_a_drop_alone_is_rolled_back_and_not_retrained_on(two: Town) -> None:
    two.find(corruption="no", drift="no", kpi="yes")
    ticks(two.guard(), two)
    plan = two.plan()
    assert (plan.champion.number, plan.frozen) == (1, False)
    assert two.requests() == []
    assert [incident.kind for incident in two.incidents()] == ["kpi_drop"]
    assert two.told() == [("critical", "KPI drop (recommendation-v2)")]


def test_the_judges_drop_goes_through_the_table(two: Town) -> None:
    two.count(pairs("salt-2", 1, 4000, LOST, arm="control"))
    ticks(two.guard(), two)
    assert two.plan().champion.number == 1
    [ruling] = [one for one in two.rulings() if one.row == "drop"]
    [verdict] = [one for one in two.verdicts() if one.id == ruling.inputs["judged"]["verdict"]]
    assert (verdict.kpi, verdict.action) == ("drop", "none")
    assert (ruling.corruption, ruling.drift, ruling.kpi) == ("undecided", "undecided", "yes")
    [alert] = two.alerts()
    assert alert.body["evidence"]["interval to"] < -0.05
    assert alert.body["evidence"]["matured answers"] == 4000
    [incident] = two.incidents()
    assert incident.first_bad_at is not None
    assert incident.first_bad_at <= incident.detected_at


def test_the_judges_drop_with_drift_asks_for_retraining(two: Town) -> None:
    two.find(corruption="no", drift="yes", kpi="undecided")
    two.count(pairs("salt-2", 1, 4000, LOST, arm="control"))
    ticks(two.guard(), two)
    assert two.plan().champion.number == 1
    assert len(two.requests()) == 1


def test_when_the_version_before_falls_as_well_the_rules_take_over(two: Town) -> None:
    two.find(BAD)
    guard = two.guard()
    ticks(guard, two, 2)
    two.find(BAD)  # of version 1 now
    ticks(guard, two, 3)
    plan = two.plan()
    assert (plan.mode, plan.champion.number, plan.frozen_for) == ("rules", 1, "drift")
    assert len(two.incidents()) == 2
    assert len(two.requests()) == 1  # the second came within the cool-down
    assert "cool-down" in two.alerts()[-1].body["what"]
    assert "no previous version" in two.alerts()[-1].body["what"]


@pytest.mark.parametrize("where", ["stream", "journal", "snapshot"])
def test_corruption_freezes_falls_back_and_raises_an_emergency(two: Town, where: str) -> None:
    two.find(corruption=where, drift="yes", kpi="yes")
    guard = two.guard()
    ticks(guard, two, 3)
    plan = two.plan()
    assert (plan.mode, plan.frozen_for, plan.champion.number) == ("rules", "corruption", 2)
    assert two.told() == [("emergency", "what the model is given is corrupt (recommendation-v2)")]
    [incident] = two.incidents()
    assert (incident.kind, incident.level, incident.status) == ("corruption", "emergency", "open")
    assert incident.owner == "data-engineering@example.org"
    assert two.requests() == []
    two.find(corruption=where)  # it goes on, found while the rules answer
    ticks(guard, two, 3)
    assert len(two.alerts()) == len(two.incidents()) == 1


def test_corruption_is_an_emergency_in_rules_mode_too(two: Town) -> None:
    two.operate(moves.fallback)
    two.find(corruption="stream")
    ticks(two.guard(), two)
    assert (two.plan().mode, two.plan().frozen_for) == ("rules", "corruption")
    assert two.told() == [("emergency", "what the model is given is corrupt (rules)")]
    assert len(two.incidents()) == 1


def test_corruption_ends_a_canary_over_the_rules(town: Town) -> None:
    """Before the first release the rules are the champion; a canary of version 1 shadows."""
    town.begin(1)
    town.find(corruption="stream")
    ticks(town.guard(), town)
    plan = town.plan()
    assert (plan.mode, plan.canary, plan.frozen_for) == ("rules", None, "corruption")
    assert plan.rejected == ()  # it was not the canary's fault


def test_a_batch_refused_at_the_door_freezes_and_leaves_serving_alone(two: Town) -> None:
    two.find(corruption="no", drift="yes", kpi="no", batch="yes")
    ticks(two.guard(), two)
    plan = two.plan()
    assert (plan.mode, plan.champion.number, plan.frozen_for) == ("model", 2, "batch")
    assert two.told() == [("emergency", "a corrupt batch was refused at the door (recommendation-v2)")]
    assert two.incidents() == []


def test_a_refused_batch_does_not_keep_a_model_that_its_control_beats(two: Town) -> None:
    two.find(corruption="no", drift="yes", kpi="undecided", batch="yes")
    guard = two.guard()
    ticks(guard, two, 2)
    two.count(pairs("salt-2", 1, 4000, LOST, arm="control"))
    ticks(guard, two, 3)
    assert (two.plan().champion.number, two.plan().frozen_for) == (1, "batch")
    assert [incident.kind for incident in two.incidents()] == ["kpi_drop"]
    assert two.requests() == []


def test_what_is_not_known_changes_nothing_and_says_what_is_missing(two: Town) -> None:
    before = two.plan()
    two.find(corruption="no", drift="undecided")
    ticks(two.guard(), two)
    assert two.plan() == before
    assert two.alerts() == []
    assert two.rulings()[-1].level == "inconclusive"
    assert two.rulings()[-1].reason == "drift: drift was undecided in run 1; kpi: no finding counts now"


class TestCanary:
    def test_drift_of_a_canary_stops_its_rollout(self, two: Town) -> None:
        two.begin(3)
        two.runs += 1
        about = [two.finding(kind, answer, 3, utc_now()) for kind, answer in (("corruption", "no"), ("drift", "yes"))]
        findings.save(two.ledgers["flow"], about, "monitor")
        ticks(two.guard(), two)
        assert two.plan().frozen_for == "drift"
        assert two.plan().canary is not None
        assert two.told() == [("warning", "drift (recommendation-v3)")]

    @pytest.mark.parametrize("where", ["stream", "snapshot"])
    def test_corruption_that_only_it_finds_takes_only_it_back(self, two: Town, where: str) -> None:
        two.begin(3)
        two.find(corruption="no")
        findings.save(two.ledgers["flow"], [two.finding("corruption", where, 3, utc_now())], "monitor")
        ticks(two.guard(), two)
        plan = two.plan()
        assert (plan.mode, plan.champion.number, plan.canary, plan.frozen_for) == ("model", 2, None, "corruption")
        assert plan.rejected == (content(3),)

    def test_the_next_canary_begins_anew(self, two: Town) -> None:
        guard = two.guard()
        for number in (3, 4):
            two.begin(number)
            two.find(corruption="no")
            findings.save(two.ledgers["flow"], [two.finding("corruption", "snapshot", number, utc_now())], "monitor")
            ticks(guard, two, 2)
            if number == 3:
                lifted(two)
        assert len(two.incidents()) == len(two.alerts()) == 2
        assert two.plan().rejected == (content(3), content(4))

    def test_its_drop_is_taken_back_by_the_judge_and_ruled_by_the_table(self, two: Town) -> None:
        two.begin(3)
        two.follow()
        two.count(traffic(3, 4000, WORSE))
        ticks(two.guard(), two)
        assert two.plan().rejected == (content(3),)
        [ruling] = [one for one in two.rulings() if one.row == "drop"]
        assert (ruling.role, ruling.version, ruling.actions) == ("canary", 3, ("take_back", "incident"))
        assert len(two.incidents()) == len(two.alerts()) == 1


def lifted(town: Town) -> None:
    """People vote the freeze away."""
    plans.change(
        town.release,
        MODEL,
        lambda plan: moves.unfreeze(plan, at=utc_now(), actor="release", reason="we know"),
        signer=town.signer("release"),
        actor="release",
        ballot=town.voted("unfreeze", town.plan().revision),
    )


def refuse(town: Town, table: str, batch: str, answer: str = "yes", days: int = 0) -> None:
    """The door refuses a batch of a table, or takes it in."""
    town.runs += 1
    made = town.finding("batch", answer, RULES, utc_now() - timedelta(days=days))
    figures = {"table": table, "batch": batch}
    one = replace(made, window_end=made.found_at, figures=figures, expires_at=made.found_at + timedelta(days=30))
    findings.save(town.ledgers["flow"], [one], "door")


class TestFreeze:
    def test_a_drift_freeze_is_lifted_after_clean_windows_and_said(self, two: Town) -> None:
        guard = two.guard(limited(clean_windows=2))
        two.find(corruption="no", drift="yes", kpi="no")
        ticks(guard, two, 2)
        two.find(WELL)
        ticks(guard, two, 2)
        assert two.plan().frozen
        assert "1 so far" in two.rulings()[-1].reason
        two.find(WELL | {"drift": "undecided"})
        ticks(guard, two, 2)
        assert two.plan().frozen
        two.find(WELL)
        ticks(guard, two, 3)
        assert (two.plan().frozen, two.plan().actor) == (False, "guard")
        assert two.told() == [
            ("warning", "drift (recommendation-v2)"),
            ("ok", "all is well again (recommendation-v2)"),
            ("ok", "all is well again (recommendation-v2)"),
        ]
        assert "the freeze for drift is lifted" in two.alerts()[-1].body["done"]

    @pytest.mark.parametrize("mode", ["champion", "canary", "rules"])
    def test_it_is_lifted_where_the_kpi_is_never_decided_too(self, two: Town, mode: str) -> None:
        if mode == "canary":
            two.begin(3)
        if mode == "rules":
            two.operate(moves.fallback)
        guard = two.guard(limited(clean_windows=2))
        two.find(corruption="no", drift="yes", kpi="undecided")
        ticks(guard, two, 2)
        assert two.plan().frozen_for == "drift"
        for _ in range(2):
            two.find(corruption="no", drift="no", kpi="undecided")
            ticks(guard, two, 2)
        assert not two.plan().frozen
        assert [title.split(" (")[0] for _, title in two.told()][1:] == [NO_DRIFT, NO_DRIFT]

    def test_an_undecided_kpi_does_not_end_a_drop(self, two: Town) -> None:
        guard = two.guard()
        two.operate(moves.fallback)
        for kpi in ("yes", "undecided", "yes", "undecided", "no"):
            two.find(corruption="no", drift="no", kpi=kpi)
            ticks(guard, two, 2)
        assert len(two.incidents()) == 1
        assert two.told() == [("critical", "KPI drop (rules)"), ("ok", "all is well again (rules)")]

    def test_drift_in_between_starts_the_count_anew(self, two: Town) -> None:
        guard = two.guard(limited(clean_windows=2))
        for answer in ("yes", "no", "yes", "no"):
            two.find(corruption="no", drift=answer, kpi="no")
            ticks(guard, two, 2)
        assert two.plan().frozen

    def test_the_same_window_found_clean_twice_is_one(self, two: Town) -> None:
        guard = two.guard(limited(clean_windows=2))
        two.find(corruption="no", drift="yes", kpi="no")
        ticks(guard, two, 2)
        again = [replace(one, id=f"again-{one.id}", found_at=utc_now()) for one in two.find(WELL)]
        findings.save(two.ledgers["flow"], again, "monitor")
        ticks(guard, two, 2)
        assert two.plan().frozen

    def test_windows_of_before_the_freeze_that_are_looked_at_again_do_not_lift_it(self, two: Town) -> None:
        guard = two.guard()
        two.runs = 50
        two.find(corruption="no", drift="yes", kpi="no")
        ticks(guard, two, 2)
        for two.runs in (10, 11, 12, 49):
            two.find(WELL)
            ticks(guard, two, 2)
        assert two.plan().frozen
        assert two.rows()[-1] == "drift"

    @pytest.mark.parametrize("first", [True, False], ids=["before the drift", "after it"])
    def test_an_operators_freeze_is_never_lifted(self, two: Town, first: bool) -> None:
        guard = two.guard(limited(clean_windows=1))
        if first:
            two.operate(moves.freeze)
        two.find(corruption="no", drift="yes", kpi="no")
        ticks(guard, two, 2)
        if not first:
            two.operate(moves.freeze)
        two.find(WELL)
        ticks(guard, two, 3)
        assert (two.plan().frozen, two.plan().frozen_for) == (True, "")

    def test_people_who_unfreeze_are_not_overruled_while_the_drift_goes_on(self, two: Town) -> None:
        guard = two.guard()
        two.find(corruption="no", drift="yes", kpi="no")
        ticks(guard, two, 2)
        lifted(two)
        two.find(corruption="no", drift="yes", kpi="no")
        ticks(guard, two, 3)
        assert not two.plan().frozen

    @pytest.mark.parametrize(
        ("between", "then"),
        [
            ({}, {"kpi": "undecided"}),
            ({"drift": "undecided", "kpi": "no"}, {"kpi": "no"}),
            ({"drift": "yes", "kpi": "undecided"}, {"kpi": "no"}),
        ],
        ids=["kpi undecided", "drift undecided in between", "kpi flickers"],
    )
    @pytest.mark.parametrize("anew", [False, True], ids=["", "another guard"])
    def test_nor_over_an_answer_that_flickers(
        self, two: Town, between: dict[str, str], then: dict[str, str], anew: bool
    ) -> None:
        guard = two.guard()
        two.find(corruption="no", drift="yes", kpi="no")
        ticks(guard, two, 2)
        lifted(two)
        ticks(guard, two, 2)
        if between:
            two.find({"corruption": "no", **between})
            ticks(guard, two, 2)
        two.find({"corruption": "no", "drift": "yes", **then})
        ticks(two.guard() if anew else guard, two, 2)
        assert not two.plan().frozen
        assert two.rulings()[-1].row == "drift"
        assert "people lifted a freeze knowing of this drift" in two.rulings()[-1].reason

    def test_drift_that_comes_back_after_a_clean_window_freezes_again(self, two: Town) -> None:
        guard = two.guard()
        two.find(corruption="no", drift="yes", kpi="no")
        ticks(guard, two, 2)
        lifted(two)
        for answer in ("no", "yes"):
            two.find(corruption="no", drift=answer, kpi="no")
            ticks(guard, two, 2)
        assert two.plan().frozen_for == "drift"

    def test_a_drop_is_a_reason_to_freeze_again(self, two: Town) -> None:
        guard = two.guard()
        two.find(corruption="no", drift="yes", kpi="no")
        ticks(guard, two, 2)
        lifted(two)
        two.find(BAD)
        ticks(guard, two, 2)
        assert (two.plan().frozen_for, two.plan().champion.number) == ("drift", 1)

    def test_people_who_unfreeze_are_not_overruled_by_the_same_refused_batch(self, two: Town) -> None:
        guard = two.guard()
        refuse(two, "events", "monday")
        two.find(corruption="no", drift="no", kpi="no")
        ticks(guard, two, 2)
        lifted(two)
        refuse(two, "events", "monday")  # somebody tried again
        two.find(corruption="no", drift="no", kpi="undecided")
        ticks(guard, two, 2)
        assert not two.plan().frozen
        refuse(two, "events", "tuesday")
        ticks(guard, two, 2)
        assert two.plan().frozen_for == "batch"

    def test_a_batch_of_one_table_that_is_let_in_mends_no_other_table(self, two: Town) -> None:
        guard = two.guard()
        refuse(two, "events", "monday")
        refuse(two, "items", "monday")
        two.find(WELL)
        ticks(guard, two, 2)
        refuse(two, "items", "monday", "no")
        ticks(guard, two, 2)
        assert two.rulings()[-1].corruption == "batch"
        refuse(two, "events", "monday", "no")
        ticks(guard, two, 2)
        assert two.rulings()[-1].row == "ok"

    def test_a_refusal_of_weeks_ago_stands_beside_a_newer_one_of_another_table(self, two: Town) -> None:
        refuse(two, "events", "monday", days=20)
        refuse(two, "items", "monday", "no")
        ticks(two.guard(), two, 2)
        assert two.rulings()[-1].corruption == "batch"

    def test_a_batch_freeze_that_a_promotion_lifted_is_not_set_again(self, two: Town) -> None:
        guard = two.guard()
        refuse(two, "events", "monday")
        ticks(guard, two, 2)
        assert two.plan().frozen_for == "batch"
        two.begin(3, names_freeze=True)
        for tick in range(20):
            two.follow()
            guard.tick()
            two.count(traffic(3, 3000, GOOD, seed=tick))
            if two.plan().canary is None:
                break
        ticks(guard, two, 3)
        assert (two.plan().champion.number, two.plan().frozen) == (3, False)

    def test_a_freeze_is_not_lifted_under_an_open_ballot(self, two: Town) -> None:
        guard = two.guard(limited(clean_windows=1))
        two.find(corruption="no", drift="yes", kpi="no")
        ticks(guard, two, 2)
        question = ballots.Question(
            subject=replace(subject(arm(3), two.plan().revision), names_freeze=True),
            rollout=ROLLOUT,
            page="# Recommendation",
            required_roles=("dev_ops",),
            barred=(),
            opened_by="release",
            opened_at=utc_now(),
            expires_at=utc_now() + timedelta(hours=1),
        )
        asked = ballots.open_ballot(two.release, question)
        two.find(WELL)
        ticks(guard, two, 2)
        assert two.plan().frozen
        assert "while a ballot is open" in two.rulings()[-1].reason
        ballots.close(two.release, asked.id, "refused", "a no", actor="release", at=utc_now())
        ticks(guard, two, 2)
        assert not two.plan().frozen


@given(st.lists(st.sampled_from(range(len(MOVES))), max_size=25), st.sampled_from(COMBINATIONS), st.data())
def test_whatever_is_ruled_on_whatever_plan_the_guard_can_do_it_and_may_sign_it(
    steps: list[int], inputs: tuple[str, str, str], data: st.DataObject
) -> None:
    plan = moves.initial(MODEL, NOON)
    for number, step in enumerate(steps):
        with suppress(ReleaseRefused):
            plan = MOVES[step](replace(plan, revision=number), **WHO)
    roles: list[Role] = [role_of(plan), "canary"] if plan.canary else [role_of(plan)]
    role = data.draw(st.sampled_from(roles))
    corruption, drift, kpi = inputs
    batch = [finding("batch", "yes", "batch")] if corruption == "batch" else []
    told = [*found("no" if batch else corruption, drift, kpi), *batch]
    ruling = rule(facts(*told, role=role, standing=standing(plan, role, voting=False), clean=(NOON,) * 3), TABLE)
    after = changed_by(plan, ruling)
    assert (after != plan) == bool(set(CHANGES) & set(ruling.actions))
    authorise(plan, after, "guard")
    again = rule(facts(*told, role=role, standing=standing(after, role, voting=False), before=ruling.row), TABLE)
    if role_of(after) == role and after.champion == plan.champion and after.canary == plan.canary:
        assert not set(again.actions) & {"fallback", "freeze", "take_back", "incident"}  # it is done
