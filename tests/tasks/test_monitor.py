"""The monitor on a real journal, lake and ledger: quiet days, shifts, broken inputs, gaps, clocks, a killed run."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from checks import corruption, shifts
from checks import plans as moves
from errors import NotFound, UsageError
from records import RULES, Answer, Answered, Finding
from stores.lake import Lake
from stores.ledger import findings, plans
from stores.segments import SEALED
from tasks.corrupt import marks
from tasks.monitor import chosen, monitor
from tasks.profiling import TABLE
from tasks.timeline import restored, subjects
from tests.serving.town import NAME
from tests.tasks.observatory import CUSTOMERS, NOW, Observatory

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
STRANGERS = [f"stranger {number}" for number in range(40)]


def answers(found: list[Finding], kind: str) -> list[Answered]:
    return [one.answer for one in found if one.kind == kind]


def last(found: list[Finding], kind: str) -> Finding:
    return [one for one in found if one.kind == kind][-1]


def rows(town: Observatory) -> Any:
    table = Lake(town.settings.lake_uri).read(TABLE)
    return table[table["model"] != ""]


def test_quiet_days_are_said_to_be_quiet(town: Observatory) -> None:
    for back in (3, 2, 1):
        town.said(NOW - back * DAY, 120)
    found = town.monitor()
    assert answers(found, "drift") == ["undecided", "no", "no"]  # one day alone says nothing of two of three
    assert answers(found, "corruption") == ["no"]
    assert answers(found, "kpi") == ["undecided"]
    stored = {one.kind: one for one in findings.newest(town.ledgers["reader"], NAME)}
    assert stored["drift"] == last(found, "drift")
    assert (stored["drift"].window_start, stored["drift"].window_end) == (NOW - DAY, NOW)
    assert stored["drift"].expires_at == NOW + timedelta(seconds=7800)
    assert last(found, "drift").figures["answers"] == 120
    assert [one.found_at for one in found] == sorted({one.found_at for one in found})


def test_a_shift_is_drift_once_the_same_column_shifted_twice(town: Observatory) -> None:
    town.said(NOW - 3 * DAY, 120)
    town.said(NOW - 2 * DAY, 120, customers=STRANGERS + CUSTOMERS[:5])
    found = town.monitor(NOW - DAY)
    assert answers(found, "drift") == ["undecided", "undecided"]
    town.said(NOW - DAY, 120, customers=STRANGERS + CUSTOMERS[:5])
    found = town.monitor()
    assert answers(found, "drift") == ["undecided", "yes"]  # the window judged last time, again, and the new one
    said = last(found, "drift")
    assert said.figures["worst"]["drifted"]
    assert "customer" in said.reason
    assert said.figures["shown"]["previous"]["psi"] < said.figures["worst"]["psi"]
    assert all(shifts.answer_of(one.figures) == one.answer for one in found if one.kind == "drift")


def test_without_traffic_it_is_undecided_and_says_so(town: Observatory) -> None:
    assert {one.kind: one.answer for one in town.monitor()} == dict.fromkeys(
        ("drift", "corruption", "kpi", "level"), "undecided"
    )
    town.said(NOW - 3 * DAY, 120)
    town.said(NOW - DAY, 10)
    found = town.monitor()
    assert answers(found, "drift")[-1] == "undecided"
    assert last(found, "drift").window_end == NOW
    assert answers(found, "corruption") == ["undecided"]
    later = town.monitor(NOW + 4 * DAY)
    assert answers(later, "drift")[-1] == "undecided"  # the clock goes on though nothing comes
    assert last(later, "drift").window_end == NOW + 4 * DAY
    assert answers(later, "corruption") == ["undecided"]


def test_nothing_is_counted_twice_and_a_run_catches_up(town: Observatory) -> None:
    town.said(NOW - 3 * DAY, 60)
    assert town.read() > 0
    assert town.read() == 0
    for back in (2, 1):
        town.said(NOW - back * DAY, 60)
    assert len([one for one in town.monitor() if one.kind == "drift"]) == 3
    assert rows(town)["answers"].sum() == 180
    folder = town.folder / "journal" / "replica-1"
    (segment,) = folder.glob("*.open")
    shutil.copy(segment, segment.with_suffix(SEALED))  # shipped twice
    (town.folder / "journal" / "replica-2").mkdir()
    shutil.copy(segment, town.folder / "journal" / "replica-2" / f"{segment.stem}{SEALED}")  # and to the wrong place
    town.monitor()
    assert rows(town)["answers"].sum() == 180


def test_a_run_that_died_after_the_append_changes_nothing(town: Observatory) -> None:
    town.said(NOW - DAY, 60)
    town.read()
    before = Lake(town.settings.lake_uri).version(TABLE)
    found = town.monitor()  # as after a kill: the rows are there, nothing was found yet
    assert Lake(town.settings.lake_uri).version(TABLE) == before
    assert answers(found, "drift") == ["undecided"]
    assert rows(town)["answers"].sum() == 60


def test_a_torn_end_is_left_for_the_next_time(town: Observatory) -> None:
    town.said(NOW - DAY, 60)
    (path,) = (town.folder / "journal" / "replica-1").glob("*.open")
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    assert town.read() == 59
    path.write_bytes(whole)
    assert town.read() == 1
    assert rows(town)["answers"].sum() == 60
    assert answers(town.monitor(), "corruption") == ["no"]


def test_a_sealed_segment_cut_in_the_middle_keeps_what_is_there(town: Observatory) -> None:
    town.said(NOW - 2 * DAY, 60)
    town.close_journals()
    (path,) = (town.folder / "journal" / "replica-1").glob(f"*{SEALED}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    town.said(NOW - DAY, 60)
    found = town.monitor()
    assert 85 <= rows(town)["answers"].sum() < 95
    assert answers(found, "corruption") == ["no"]  # where a process died looks the same


def test_changed_lines_are_corruption_of_the_journal_and_the_others_count(town: Observatory) -> None:
    town.said(NOW - DAY, 70)
    change(town, range(20, 24))
    found = last(town.monitor(), "corruption")
    assert (found.answer, found.where) == ("yes", "journal")
    assert found.reason.startswith("4 of 70 lines")
    assert rows(town)["answers"].sum() == 66
    assert answers(town.monitor(NOW + 3 * HOUR), "corruption") == ["no"]  # said as long as a finding counts


def test_one_changed_line_is_said_and_is_no_corruption(town: Observatory) -> None:
    town.said(NOW - DAY, 60)
    change(town, [20])
    found = last(town.monitor(), "corruption")
    assert (found.answer, found.where) == ("no", "")
    assert "1 of 60 lines" in found.reason
    assert (found.figures["damaged"], found.figures["lines"]) == (1, 60)


def test_damage_is_held_against_models_that_may_have_written_the_lines(town: Observatory) -> None:
    town.said(NOW - DAY, 60)
    change(town, range(20, 24))
    town.monitor()
    lake, subject = Lake(town.settings.lake_uri), subjects(town.plan())[0]
    assert marks(lake, subject, NOW) == (4, 60, 0)
    assert marks(lake, subject._replace(model="other"), NOW) == (0, 0, 0)  # it has no answers there
    assert marks(lake, subject, NOW + HOUR) == (0, 0, 0)  # read before that
    only = town.folder / "journal" / "replica-2"
    only.mkdir()
    (path,) = (town.folder / "journal" / "replica-1").glob("*.open")
    spoilt = b"".join(one.replace(b"champion", b"champiom") for one in path.read_bytes().splitlines(keepends=True))
    (only / f"{path.stem}{SEALED}").write_bytes(spoilt)
    town.monitor()
    assert marks(lake, subject, NOW) == (64, 120, 0)  # nobody else's answers are there
    assert marks(lake, subject._replace(model="other"), NOW) == (0, 0, 0)


def change(town: Observatory, which: Iterable[int]) -> None:
    """Changes lines of the journal, so that they do not fit their checksum."""
    (path,) = (town.folder / "journal" / "replica-1").glob("*.open")
    lines = path.read_bytes().splitlines(keepends=True)
    for at in which:
        lines[at] = lines[at].replace(b'"latency_us":0', b'"latency_us":9')
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"customer": "p1_x", "k": "ten"}, "stream"),  # another type
        ({"customer": "p1_x", "surprise": 1}, "stream"),
        ({"customer": "p1_x", "recent": [1, 2]}, "stream"),
    ],
)
def test_requests_that_cannot_be_read_are_corruption(town: Observatory, broken: dict[str, Any], where: str) -> None:
    lines = town.answers(NOW - DAY, 100)
    spoilt = [replace(line, features=broken) if at % 4 == 0 else line for at, line in enumerate(lines)]
    town.journal().append(*spoilt)
    found = last(town.monitor(), "corruption")
    assert (found.answer, found.where) == ("yes", where)
    assert "24%" in found.reason  # 12 beside the newest 38 that can be read


def test_one_request_that_cannot_be_read_says_nothing(town: Observatory) -> None:
    (line,) = town.answers(NOW - HOUR, 1)
    town.journal().append(replace(line, features={"customer": "p1_x", "surprise": 1}))
    assert answers(town.monitor(), "corruption") == ["undecided"]


def test_a_version_that_was_brought_back_is_judged_by_what_came_since(town: Observatory) -> None:
    town.said(NOW - DAY, 60, customers=STRANGERS)
    before = last(town.monitor(), "corruption")
    assert (before.answer, before.window_end) == ("yes", NOW)
    later = [moved(one, NOW + at * 10 * MINUTE) for at, one in enumerate(town.answers(NOW, 20))]
    town.journal().append(*later)
    again = last(town.monitor(NOW + 4 * HOUR), "corruption")
    assert (again.answer, again.window_end) == ("yes", NOW)  # the same bad hours: the guard was told of them
    town.guard(moves.fallback)
    assert restored(town.ledgers["reader"], subjects(town.plan())[0]) is None
    restore(town)
    back, subject = town.plan().created_at, subjects(town.plan())[0]
    assert restored(town.ledgers["reader"], subject) == back
    town.journal().append(*[moved(one, back - 2 * HOUR) for one in town.answers(NOW, 60, customers=STRANGERS)])
    change(town, range(10))
    town.read(back - HOUR / 2)
    town.journal().append(*[moved(one, back + HOUR) for one in town.answers(NOW, 20)])
    found = last(town.monitor(back + 2 * HOUR), "corruption")
    assert (found.answer, found.figures["damaged"]) == ("undecided", 0)
    town.journal().append(*[moved(one, back + HOUR) for one in town.answers(NOW, 60, customers=STRANGERS)])
    found = last(town.monitor(back + 2 * HOUR), "corruption")
    assert found.answer == "yes"
    assert back + HOUR < found.window_end <= back + 2 * HOUR


def restore(town: Observatory) -> None:
    """Ends the rules' time, by vote."""
    ballot = town.voted("restore", town.plan().revision)
    plans.change(
        town.ledgers["release"],
        NAME,
        lambda plan: moves.restore(plan, at=datetime.now(UTC), actor="release", reason="mended"),
        signer=town.signer("release"),
        actor="release",
        ballot=ballot,
    )


def test_requests_on_which_the_champion_failed_are_its_inputs(town: Observatory) -> None:
    town.said(NOW - DAY, 60)
    lines = town.answers(NOW - DAY, 120, customers=STRANGERS)
    how = {"override": "error", "failed_arm": "champion", "failed_version": 1}
    town.journal().append(*[replace(town.by_rules(one), **how) for one in lines])
    found = last(town.monitor(), "corruption")
    assert (found.answer, found.version) == ("yes", 1)
    assert "is missing in 67%" in found.reason
    counted = rows(town).groupby("version")["answers"].sum()
    assert counted.to_dict() == {RULES: 120, 1: 60}  # it gave no answer there


def moved(line: Answer, when: datetime) -> Answer:
    return replace(line, event_time=when, received_at=when)


def test_an_input_that_turns_all_null_is_corruption(town: Observatory) -> None:
    town.said(NOW - DAY, 120, customers=STRANGERS)  # nothing is known of anybody: days and spend are missing
    found = last(town.monitor(), "corruption")
    assert (found.answer, found.where) == ("yes", "stream")
    assert "is missing in 100%" in found.reason
    assert corruption.answer_of(found.figures) == "yes"


def test_a_clock_that_jumps_moves_no_window(town: Observatory) -> None:
    for back in (3, 2, 1):
        town.said(NOW - back * DAY, 120)
    ahead = [replace(one, event_time=NOW + 3650 * DAY) for one in town.answers(NOW - DAY, 30)]
    both = [replace(one, event_time=one.event_time + 3650 * DAY, received_at=NOW + 3650 * DAY) for one in ahead]
    behind = [replace(one, event_time=datetime(1970, 1, 2, tzinfo=NOW.tzinfo)) for one in town.answers(NOW - DAY, 3)]
    town.journal().append(*ahead, *[replace(one, prediction_id=town.next_id(NOW)) for one in both], *behind)
    found = town.monitor()
    assert last(found, "drift").window_end == NOW
    assert answers(found, "drift")[-1] == "no"
    assert last(found, "corruption").figures["set_aside"] == 60
    assert rows(town)["answers"].sum() == 363


def test_a_replay_is_judged_by_its_own_time(town: Observatory) -> None:
    long_ago = datetime(2011, 9, 10, tzinfo=NOW.tzinfo)
    for back in (3, 2, 1):
        lines = town.answers(long_ago - back * DAY, 120)
        town.journal().append(*[replace(one, received_at=NOW) for one in lines])
    found = town.monitor(NOW)
    assert last(found, "drift").window_end == long_ago
    assert answers(found, "drift")[-1] == "no"
    early = town.monitor(NOW, until="2011-09-08T00:00:00+00:00")
    assert last(early, "drift").window_end <= long_ago - 2 * DAY


def test_a_look_back_is_shown_and_does_not_speak_for_today(town: Observatory) -> None:
    for back in (6, 5):
        town.said(NOW - back * DAY, 120, customers=STRANGERS + CUSTOMERS[:5])
    for back in (4, 3, 2, 1):
        town.said(NOW - back * DAY, 120)
    assert answers(town.monitor(), "drift")[-1] == "no"
    before = findings.findings(town.ledgers["reader"], NAME)
    shown = town.monitor(NOW + HOUR / 2, until=(NOW - 4 * DAY).isoformat())
    assert last(shown, "drift").answer == "yes"
    assert findings.findings(town.ledgers["reader"], NAME) == before


def test_the_first_feedback_of_a_known_answer_counts(town: Observatory) -> None:
    lines = town.said(NOW - DAY, 60)
    town.read()
    bought = next(iter(lines[0].decision.items))
    town.journal().append(
        town.feedback(lines[0], [bought]),
        town.feedback(lines[0], ["99999"]),  # twice
        town.feedback(lines[1], [bought], late=9 * DAY),
        replace(town.feedback(lines[2]), prediction_id=town.next_id(NOW)),  # nobody gave that answer
        replace(town.feedback(lines[2]), prediction_id=lines[2].prediction_id[:-3] + "abc"),  # forged
        replace(town.feedback(lines[3]), outcome="what?"),
    )
    town.read()
    town.journal().append(town.feedback(lines[0], ["99999"]), town.feedback(lines[4], ["99999"]))  # once more, later
    found = last(town.monitor(), "drift")
    outcome = found.figures["columns"]["outcome"]
    assert outcome["rows"] == 3
    assert not outcome["decided"]
    assert outcome["mean"] == pytest.approx((1 + outcome_of(lines[1], bought) + 0) / 3)


def outcome_of(line: Any, bought: str) -> float:
    return float(bought in line.decision.items)


def test_rules_mode_is_watched_by_what_the_champion_would_see(town: Observatory) -> None:
    for back in (3, 2, 1):
        town.said(NOW - back * DAY, 60)
    town.guard(moves.fallback)
    assert subjects(town.plan())[0].version == RULES
    for back in (3, 2, 1):
        town.journal().append(*[town.by_rules(one) for one in town.answers(NOW - back * DAY, 60)])
    found = town.monitor()
    assert {one.version for one in found} == {RULES}
    assert answers(found, "drift")[-1] == "no"
    assert "score" not in last(found, "drift").figures["columns"]
    assert answers(found, "corruption") == ["no"]


def test_a_lost_artifact_is_corruption_of_the_snapshot(town: Observatory) -> None:
    town.said(NOW - DAY, 60)
    for path in (town.folder / "artifacts").rglob("*.sealed"):
        path.write_bytes(b"something else")
    found = town.monitor()
    assert (last(found, "corruption").answer, last(found, "corruption").where) == ("yes", "snapshot")
    assert answers(found, "drift") == ["undecided"]


def test_what_is_asked_for_must_be_there(town: Observatory) -> None:
    with pytest.raises(NotFound, match="one of"):
        chosen(town.config, "nothing")
    for wrong in ("yesterday", "2011-09-08"):
        with pytest.raises(UsageError, match="time with a zone"):
            monitor(town.settings, town.config, NAME, until=wrong)
