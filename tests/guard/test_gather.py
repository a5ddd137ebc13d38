"""What is gathered for a ruling: findings that count, people who are not overruled, monitors that fall silent."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from checks import plans as moves
from records import utc_now
from stores.ledger import findings, plans
from tests.guard.test_loop import until
from tests.guard.town import BAD, WELL, Town, limited, ticks
from tests.stores.ledger.world import MODEL


def test_a_finding_that_expired_counts_no_more(two: Town) -> None:
    two.find(BAD, at=utc_now() - timedelta(hours=3))
    before = two.plan()
    ticks(two.guard(), two)
    assert two.plan() == before


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


def test_people_who_restore_after_a_fallback_of_their_own_are_not_overruled_either(two: Town) -> None:
    two.operate(moves.fallback)
    first = two.find(corruption="stream")  # found while the rules answer
    guard = two.guard()
    ticks(guard, two, 2)
    restored(two)
    again = [replace(one, id="again", version=2, found_at=utc_now()) for one in first]
    findings.save(two.ledgers["flow"], again, "monitor")
    ticks(guard, two, 2)
    assert two.plan().mode == "model"


class TestSilence:
    def test_monitors_that_never_came_or_stopped_are_told_once_and_again_when_they_are_back(self, two: Town) -> None:
        quick = two.guard(limited(finding_seconds=0))
        ticks(quick, two, 3)
        assert two.told() == [("warning", "monitors are silent: corruption, drift, kpi")]
        assert two.alerts()[0].body["owner"] == "sre@example.org"
        ticks(two.guard(limited(finding_seconds=0)), two, 2)  # a guard that starts anew
        assert len(two.alerts()) == 1
        two.find(WELL)
        ticks(quick, two, 3)
        assert two.told()[1:] == [("ok", "monitors report again")]

    def test_one_kind_that_stops_is_named(self, two: Town) -> None:
        guard = two.guard(limited(finding_seconds=0))
        two.find(corruption="no", drift="no")
        ticks(guard, two, 3)
        assert two.told() == [("warning", "monitors are silent: kpi")]

    def test_findings_that_ran_out_are_undecided_and_silent(self, two: Town) -> None:
        two.find(WELL, at=utc_now() - timedelta(hours=2, seconds=-1))
        guard = two.guard(limited(finding_seconds=0))
        ticks(guard, two, 1)
        until(lambda: utc_now() > findings.newest(two.ledgers["reader"], MODEL)[0].expires_at)
        ticks(guard, two, 2)
        assert two.told()[0] == ("warning", "monitors are silent: corruption, drift, kpi")
        assert two.rulings()[-1].level == "inconclusive"

    def test_a_release_gives_them_time(self, two: Town) -> None:
        ticks(two.guard(), two, 3)
        assert two.alerts() == []

    def test_in_rules_mode_nobody_is_missed(self, two: Town) -> None:
        two.operate(moves.fallback)
        ticks(two.guard(limited(finding_seconds=0)), two, 3)
        assert two.alerts() == []
