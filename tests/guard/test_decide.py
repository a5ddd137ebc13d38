"""The decision table at work on a real ledger: what the guard does on findings, what it tells, and what it does only once."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from checks import plans as moves
from configs.schema import Config
from errors import RevisionConflict
from guard.decide import decide
from guard.loop import Guard
from guard.outbox import Courier
from guard.rollout import Hand
from guard.watch import Watch, look
from records import OutboxEvent, utc_now
from stack.endpoints import endpoints
from stores import notify
from stores.ledger import audit, ballots, findings, leases, outbox, plans, rulings
from tests.checks.traffic import pairs
from tests.guard.test_loop import until
from tests.guard.test_outbox import Prefect, prefect_api
from tests.guard.test_rollout import WORSE, content, promoted, traffic
from tests.guard.town import ROLLOUT, Town, config, settings
from tests.stores.ledger.world import MODEL, arm, subject

WELL = {"corruption": "no", "drift": "no", "kpi": "no"}
BAD = {"corruption": "no", "drift": "yes", "kpi": "yes"}
LOST = (0.3, 0.15)  # hit rates of control and champion


def limited(**changes: Any) -> Config:
    """The house with other limits of monitoring or retraining."""
    base = config()
    model = base.models[MODEL]
    parts = {
        name: getattr(model, name).model_copy(
            update={key: value for key, value in changes.items() if key in type(getattr(model, name)).model_fields}
        )
        for name in ("monitor", "retrain")
    }
    return base.model_copy(update={"models": {MODEL: model.model_copy(update=parts)}})


def requests(town: Town) -> list[OutboxEvent]:
    return [event for event in town.events() if event.name == "grownet.retrain.requested"]


def told(town: Town) -> list[tuple[str, str]]:
    return [(alert.level, alert.title) for alert in town.alerts()]


def ticks(guard: Guard, town: Town, number: int = 3) -> None:
    for _ in range(number):
        town.follow()
        guard.tick()


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Version 2 is champion, version 1 stands behind it."""
    town = Town(tmp_path_factory.mktemp("grown"))
    promoted(town, 1)
    promoted(town, 2)
    town.close()
    return town


@pytest.fixture
def two(grown: Town, tmp_path: Path) -> Iterator[Town]:
    """A copy of it: quicker than two releases anew."""
    shutil.copytree(grown.folder, tmp_path / "town")
    town = Town(tmp_path / "town", like=grown)
    yield town
    town.close()


def test_drift_alone_freezes_and_warns_and_never_retrains(two: Town) -> None:
    two.find(corruption="no", drift="yes", kpi="no")
    ticks(two.guard(), two)
    plan = two.plan()
    assert (plan.champion.number, plan.frozen, plan.frozen_for, plan.actor) == (2, True, "drift", "guard")
    assert told(two) == [("warning", "the world drifted (recommendation-v2)")]
    assert requests(two) == []
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
    [event] = requests(two)
    [ruling] = [one for one in two.rulings() if "retrain" in one.actions]
    assert event.body == {"model": MODEL, "verdict": ruling.id, "reason": ruling.reason}
    assert (event.kind, event.id) == ("event", f"retrain-{ruling.id}")
    assert ruling.actions == ("rollback", "freeze", "retrain", "incident")
    [incident] = two.incidents()
    assert (incident.kind, incident.level, incident.status) == ("kpi_drop", "critical", "open")
    assert incident.restored_at is not None
    assert told(two) == [("critical", "the world drifted and the KPI fell (recommendation-v2)")]
    [alert] = two.alerts()
    assert "a retraining is requested" in alert.body["done"]
    assert "recommendation-v1 answers again" in alert.body["done"]
    assert alert.body["evidence"]["incident"] == incident.id


def test_a_drop_alone_is_rolled_back_and_not_retrained_on(two: Town) -> None:
    two.find(corruption="no", drift="no", kpi="yes")
    ticks(two.guard(), two)
    plan = two.plan()
    assert (plan.champion.number, plan.frozen) == (1, False)
    assert requests(two) == []
    assert [incident.kind for incident in two.incidents()] == ["kpi_drop"]
    assert told(two) == [("critical", "the KPI fell (recommendation-v2)")]


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
    assert len(requests(two)) == 1


def test_findings_about_another_version_or_another_time_do_not_count(two: Town) -> None:
    earlier = utc_now()
    two.find(BAD)
    guard = two.guard()
    ticks(guard, two, 2)
    after = two.plan()
    assert after.champion.number == 1
    for version, at in ((2, utc_now()), (1, earlier)):  # the one that fell; the one that answers, before it did
        two.runs += 1
        about = [two.finding(kind, answer, version, at) for kind, answer in BAD.items()]
        findings.save(two.ledgers["flow"], about, "monitor")
        ticks(guard, two, 2)
    assert two.plan() == after
    assert len(two.alerts()) == len(two.incidents()) == 1


def test_when_the_version_before_falls_as_well_the_rules_take_over(two: Town) -> None:
    two.find(BAD)
    guard = two.guard()
    ticks(guard, two, 2)
    two.find(BAD)  # of version 1 now
    ticks(guard, two, 3)
    plan = two.plan()
    assert (plan.mode, plan.champion.number, plan.frozen_for) == ("rules", 1, "drift")
    assert len(two.incidents()) == 2
    assert len(requests(two)) == 1  # the second came within the cool-down
    assert "cool-down" in two.alerts()[-1].body["what"]
    assert "no previous version" in two.alerts()[-1].body["what"]


def test_both_fell_when_the_champion_holds_its_own_against_the_control(two: Town) -> None:
    two.find(corruption="no", drift="no", kpi="yes")
    two.count(pairs("salt-2", 1, 6000, (0.3, 0.3), arm="control"))
    ticks(two.guard(), two)
    assert two.verdicts()[-1].kpi == "pass"
    assert (two.plan().mode, two.plan().champion.number) == ("rules", 2)
    assert "the control fell as well" in two.alerts()[-1].body["what"]
    assert len(two.incidents()) == 1


@pytest.mark.parametrize("where", ["stream", "journal", "snapshot"])
def test_corruption_freezes_falls_back_and_raises_an_emergency(two: Town, where: str) -> None:
    two.find(corruption=where, drift="yes", kpi="yes")
    guard = two.guard()
    ticks(guard, two, 3)
    plan = two.plan()
    assert (plan.mode, plan.frozen_for, plan.champion.number) == ("rules", "corruption", 2)
    assert told(two) == [("emergency", "what the model is given is corrupt (recommendation-v2)")]
    [incident] = two.incidents()
    assert (incident.kind, incident.level, incident.status) == ("corruption", "emergency", "open")
    assert incident.owner == "data-engineering@example.org"
    assert requests(two) == []
    two.find(corruption=where)  # it goes on, found while the rules answer
    ticks(guard, two, 3)
    assert len(two.alerts()) == len(two.incidents()) == 1


def test_corruption_is_an_emergency_in_rules_mode_too(two: Town) -> None:
    two.operate(moves.fallback)
    two.find(corruption="stream")
    ticks(two.guard(), two)
    assert (two.plan().mode, two.plan().frozen_for) == ("rules", "corruption")
    assert told(two) == [("emergency", "what the model is given is corrupt (rules)")]
    assert len(two.incidents()) == 1


def test_corruption_ends_a_canary_over_the_rules(town: Town) -> None:
    """Before the first release the rules are the champion; a canary of version 1 shadows."""
    town.begin(1)
    town.find(corruption="stream")
    ticks(town.guard(), town)
    plan = town.plan()
    assert (plan.mode, plan.canary, plan.frozen_for) == ("rules", None, "corruption")
    assert plan.rejected == ()  # it was not the canary's fault


def test_people_who_restore_are_not_overruled_by_the_window_they_knew_of(two: Town) -> None:
    first = two.find(corruption="stream")
    guard = two.guard()
    ticks(guard, two, 2)
    restored(two)
    again = [
        replace(one, id="again", version=2, found_at=utc_now()) for one in first
    ]  # the same window, looked at again
    findings.save(two.ledgers["flow"], again, "monitor")
    ticks(guard, two, 2)
    assert two.plan().mode == "model"
    two.find(corruption="stream")  # the next window is corrupt as well
    ticks(guard, two, 2)
    assert two.plan().mode == "rules"
    assert len(two.incidents()) == 2


def restored(town: Town) -> None:
    """People vote the model back."""
    ballot = town.voted("restore", town.plan().revision)
    plans.change(
        town.release,
        MODEL,
        lambda plan: moves.restore(plan, at=utc_now(), actor="release", reason="mended"),
        signer=town.signer("release"),
        actor="release",
        ballot=ballot,
    )


def test_a_batch_refused_at_the_door_freezes_and_leaves_serving_alone(two: Town) -> None:
    two.find(corruption="no", drift="no", kpi="yes", batch="yes")
    ticks(two.guard(), two)
    plan = two.plan()
    assert (plan.mode, plan.champion.number, plan.frozen_for) == ("model", 2, "batch")
    assert told(two) == [("emergency", "a corrupt batch was refused at the door (recommendation-v2)")]
    assert two.incidents() == []


def test_what_is_not_known_changes_nothing_and_says_what_is_missing(two: Town) -> None:
    before = two.plan()
    two.find(corruption="no", drift="undecided")
    ticks(two.guard(), two)
    assert two.plan() == before
    assert two.alerts() == []
    assert two.rulings()[-1].level == "inconclusive"
    assert two.rulings()[-1].reason == "drift: drift was undecided in run 1; kpi: no finding counts now"


def test_a_finding_that_expired_counts_no_more(two: Town) -> None:
    two.find(BAD, at=utc_now() - timedelta(hours=3))
    before = two.plan()
    ticks(two.guard(), two)
    assert two.plan() == before


class TestCanary:
    def test_drift_of_a_canary_stops_its_rollout(self, two: Town) -> None:
        two.begin(3)
        two.runs += 1
        about = [two.finding(kind, answer, 3, utc_now()) for kind, answer in (("corruption", "no"), ("drift", "yes"))]
        findings.save(two.ledgers["flow"], about, "monitor")
        ticks(two.guard(), two)
        assert two.plan().frozen_for == "drift"
        assert two.plan().canary is not None
        assert told(two) == [("warning", "the world drifted (recommendation-v3)")]

    def test_its_drop_is_taken_back_by_the_judge_and_ruled_by_the_table(self, two: Town) -> None:
        two.begin(3)
        two.follow()
        two.count(traffic(3, 4000, WORSE))
        ticks(two.guard(), two)
        assert two.plan().rejected == (content(3),)
        [ruling] = [one for one in two.rulings() if one.row == "drop"]
        assert (ruling.role, ruling.version, ruling.actions) == ("canary", 3, ("take_back", "incident"))
        assert len(two.incidents()) == len(two.alerts()) == 1


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
        assert told(two) == [
            ("warning", "the world drifted (recommendation-v2)"),
            ("ok", "all is well again (recommendation-v2)"),
            ("ok", "all is well again (recommendation-v2)"),
        ]
        assert "the freeze for drift is lifted" in two.alerts()[-1].body["done"]

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
        plans.change(
            two.release,
            MODEL,
            lambda plan: moves.unfreeze(plan, at=utc_now(), actor="release", reason="we know"),
            signer=two.signer("release"),
            actor="release",
            ballot=two.voted("unfreeze", two.plan().revision),
        )
        two.find(corruption="no", drift="yes", kpi="no")
        ticks(guard, two, 3)
        assert not two.plan().frozen

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


class TestRetraining:
    def fall(self, two: Town, guard: Guard, *, earlier: timedelta | None) -> None:
        """Drift and a drop, after another retraining was asked for so long ago."""
        if earlier is not None:
            past = two.rulings()[-1]
            asked = replace(past, id="earlier", actions=("retrain",), at=utc_now() - earlier)
            with two.ledgers["guard"].write("guard") as transaction:
                rulings.store(transaction, asked)
        two.find(BAD)
        ticks(guard, two, 3)

    @pytest.mark.parametrize(
        ("limits", "earlier", "why"),
        [
            ({}, timedelta(hours=71), "cool-down"),
            ({"cool_down_hours": 1.0, "max_per_quarter": 1}, timedelta(days=90), "1 are allowed"),
            ({"max_per_quarter": 0}, None, "0 are allowed"),
        ],
        ids=["cool-down", "cap", "never"],
    )
    def test_a_limit_is_said_and_the_rollback_happens_all_the_same(
        self, two: Town, limits: dict[str, float], earlier: timedelta | None, why: str
    ) -> None:
        self.fall(two, two.guard(limited(**limits)), earlier=earlier)
        assert (two.plan().champion.number, two.plan().frozen_for) == (1, "drift")
        assert requests(two) == []
        ruling = next(one for one in two.rulings() if one.row == "drift_and_drop")
        assert "retrain" not in ruling.actions
        assert why in ruling.reason
        assert why in two.alerts()[-1].body["what"]
        assert "requested" not in two.alerts()[-1].body["done"]

    def test_after_the_cool_down_and_in_another_quarter_it_is_asked_for_again(self, two: Town) -> None:
        self.fall(two, two.guard(limited(max_per_quarter=1)), earlier=timedelta(days=92))
        assert len(requests(two)) == 1


class TestOnce:
    def test_a_guard_that_starts_anew_does_and_says_nothing_twice(self, two: Town) -> None:
        two.find(BAD)
        ticks(two.guard(), two, 2)
        plan, alerts, ruled = two.plan(), two.alerts(), two.rulings()
        ticks(two.guard(), two, 2)
        assert (two.plan(), two.alerts(), two.rulings()) == (plan, alerts, ruled)
        assert len(requests(two)) == len(two.incidents()) == 1

    def test_of_two_guards_one_rules(self, two: Town) -> None:
        two.find(BAD)
        first, second = two.guard(holder="guard-1"), two.guard(holder="guard-2")
        for _ in range(3):
            two.follow()
            first.tick()
            second.tick()
        assert len(requests(two)) == len(two.alerts()) == len(two.incidents()) == 1

    def test_a_guard_that_slept_through_its_lease_writes_nothing(self, two: Town) -> None:
        ledger = two.ledgers["guard"]
        old = leases.acquire(ledger, leases.GUARD, "sleeper", 60)
        assert old is not None
        assert leases.acquire(ledger, leases.GUARD, "sleeper", 60) is not None
        two.find(BAD)
        before, house = two.plan(), config()
        hand, watch = Hand(ledger, two.signer("guard"), house.defaults, old), Watch(MODEL)
        view = look(ledger, two.signer("guard").ring, watch, utc_now(), 10)
        assert view is not None
        with pytest.raises(RevisionConflict, match="epoch"):
            decide(hand, watch, view, None, house)
        assert (two.plan(), two.alerts(), two.incidents()) == (before, [], [])
        assert "drift_and_drop" not in two.rows()

    def test_a_guard_killed_before_the_ledger_commits_leaves_nothing_and_the_next_does_all(
        self, two: Town, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(*_: object) -> None:
            raise SystemExit("killed")

        two.find(BAD)
        before = two.plan()
        monkeypatch.setattr("stores.ledger.plans.rulings.store", killed)  # the last write of the transaction
        with pytest.raises(SystemExit):
            ticks(two.guard(), two)
        monkeypatch.undo()
        assert (two.plan(), requests(two), two.alerts(), two.incidents()) == (before, [], [], [])
        ticks(two.guard(), two)
        assert two.plan().champion.number == 1
        assert len(requests(two)) == len(two.alerts()) == len(two.incidents()) == 1

    def test_a_guard_killed_between_ledger_and_outbox_and_it_is_delivered_once(self, two: Town) -> None:
        two.find(BAD)
        ticks(two.guard(), two)  # written, not delivered: the guard is gone
        with endpoints() as box, prefect_api(Prefect()) as state:
            chosen = settings(two.folder, slack_url=box.slack_url, smtp_url=box.smtp_url, prefect_url=state.url)
            for _ in range(2):  # two guards one after the other
                courier = Courier(two.ledgers["guard"], chosen, config().defaults.alerts, lambda: True)
                courier.deliver(threading.Event())
        said = [message["text"] for message in box.slack]
        assert said == ["CRITICAL recommendation: the world drifted and the KPI fell (recommendation-v2)"]
        assert len(box.mails) == 1
        asked = [event for event in state.got if event["event"] == "grownet.retrain.requested"]
        [ruling] = [one for one in two.rulings() if "retrain" in one.actions]
        assert [one["payload"]["verdict"] for one in asked] == [ruling.id]
        assert asked[0]["resource"]["prefect.resource.id"] == f"grownet.model.{MODEL}"

    def test_a_request_waits_for_a_prefect_that_is_down(self, two: Town) -> None:
        two.find(BAD)
        ticks(two.guard(), two)
        [asked] = requests(two)
        courier = Courier(two.ledgers["guard"], settings(two.folder), config().defaults.alerts, lambda: True)
        courier.deliver(threading.Event())
        later = outbox.pending(two.ledgers["reader"], 100, utc_now() + timedelta(hours=1))
        assert asked.id in [event.id for event in later]
        with prefect_api(Prefect()) as state:
            for event in later:
                notify.prefect(state.url, event)
        assert str(state.got).count("grownet.retrain.requested") == 1


class TestSilence:
    def test_monitors_that_never_came_or_stopped_are_told_once_and_again_when_they_are_back(self, two: Town) -> None:
        quick = two.guard(limited(finding_seconds=0))
        ticks(quick, two, 3)
        assert told(two) == [("warning", "monitors are silent: corruption, drift, kpi")]
        assert two.alerts()[0].body["owner"] == "sre@example.org"
        ticks(two.guard(limited(finding_seconds=0)), two, 2)  # a guard that starts anew
        assert len(two.alerts()) == 1
        two.find(WELL)
        ticks(quick, two, 3)
        assert told(two)[1:] == [("ok", "monitors report again")]

    def test_one_kind_that_stops_is_named(self, two: Town) -> None:
        guard = two.guard(limited(finding_seconds=0))
        two.find(corruption="no", drift="no")
        ticks(guard, two, 3)
        assert told(two) == [("warning", "monitors are silent: kpi")]

    def test_findings_that_ran_out_are_undecided_and_silent(self, two: Town) -> None:
        two.find(WELL, at=utc_now() - timedelta(hours=2, seconds=-1))
        guard = two.guard(limited(finding_seconds=0))
        ticks(guard, two, 1)
        until(lambda: utc_now() > findings.newest(two.ledgers["reader"], MODEL)[0].expires_at)
        ticks(guard, two, 2)
        assert told(two)[0] == ("warning", "monitors are silent: corruption, drift, kpi")
        assert two.rulings()[-1].level == "inconclusive"

    def test_a_release_gives_them_time(self, two: Town) -> None:
        ticks(two.guard(), two, 3)
        assert two.alerts() == []

    def test_in_rules_mode_nobody_is_missed(self, two: Town) -> None:
        two.operate(moves.fallback)
        ticks(two.guard(limited(finding_seconds=0)), two, 3)
        assert two.alerts() == []
