"""The review's calendar and checklist: quarters that begin and end, a house's first one, late answers, what is news."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from checks.reviews import Checklist, checklist, is_over, is_worse, name_of, names, open_quarters, quarter, state_of
from configs.load import load
from configs.schema import Compliance
from errors import UsageError
from records import Decision, ReviewAnswer, ReviewState

ITEM = load().compliance.items[0].model_dump()
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def review(**items: dict[str, Any]) -> Compliance:
    made = [{**ITEM, "id": name, "check": None, **changes} for name, changes in (items or {"a": {}, "b": {}}).items()]
    return Compliance(period="quarter", due_days=60, grace_days=14, items=tuple(made))  # type: ignore[arg-type]  # pydantic converts


def said(item: str, answer: Decision = "yes", number: int = 1) -> ReviewAnswer:
    return ReviewAnswer(
        quarter="2026-Q4", item=item, number=number, answer=answer, reason="looked", question="?", role="dev_ops",
        at=day("2026-11-01"), key="operator:ada",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("at", "name"),
    [
        ("2026-01-01", "2026-Q1"),
        ("2026-03-31T23:59:59", "2026-Q1"),
        ("2026-04-01", "2026-Q2"),
        ("2026-12-31", "2026-Q4"),
    ],
)
def test_a_quarter_is_one_of_the_calendar_in_utc(at: str, name: str) -> None:
    assert name_of(day(at)) == name
    assert name_of(datetime.fromisoformat("2027-01-01T00:30:00+01:00")) == "2026-Q4"


def test_a_quarter_has_its_days() -> None:
    found = quarter("2026-Q4", LONG_AGO, review())
    assert (found.start, found.end) == (day("2026-10-01"), day("2027-01-01"))
    assert (found.due, found.overdue) == (day("2026-11-30"), day("2026-12-14"))


def test_the_first_quarter_of_a_house_begins_with_it() -> None:
    first = day("2026-12-28T09:00:00")
    found = quarter("2026-Q4", first, review())
    assert (found.start, found.due) == (first, first + timedelta(days=60))
    assert found.end < found.due  # it can still be answered in the next quarter, and is not overdue before
    assert [one.name for one in open_quarters(first, day("2026-12-30"), review())] == ["2026-Q4"]
    assert [one.name for one in open_quarters(first, day("2027-02-01"), review())] == ["2026-Q4", "2027-Q1"]
    assert [one.name for one in open_quarters(first, day("2027-05-01"), review())] == ["2027-Q1", "2027-Q2"]


@pytest.mark.parametrize(
    "name", ["2026-Q5", "Q4", "2026-q4", "", "26-Q4", "0000-Q1", "9999-Q4", "２０２６-Q4", "2026-Q4\n"]
)
def test_what_is_no_quarter_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="such as 2026-Q4"):
        quarter(name, LONG_AGO, review())


def test_a_quarter_before_the_house_is_refused() -> None:
    with pytest.raises(UsageError, match="2026-Q4 or later"):
        quarter("2026-Q3", day("2026-11-01"), review())


def stands(at: str, *answers: ReviewAnswer, config: Compliance | None = None) -> Checklist:
    chosen = config or review()
    return checklist(quarter("2026-Q4", LONG_AGO, chosen), chosen, answers, day(at))


def test_an_item_is_due_then_overdue_until_it_is_answered() -> None:
    assert [line.status for line in stands("2026-12-13").lines] == ["due", "due"]
    assert [line.status for line in stands("2026-12-14").lines] == ["overdue", "overdue"]
    assert [line.status for line in stands("2027-03-01", said("a"), said("b", "no")).lines] == ["yes", "no"]


def test_the_last_answer_counts_and_all_are_kept() -> None:
    (line, _) = stands("2026-11-02", said("a", "yes", 2), said("a", "no", 1)).lines
    assert (line.status, [one.answer for one in line.answers]) == ("yes", ["no", "yes"])


def test_an_item_is_not_asked_for_quarters_before_it() -> None:
    later = review(a={}, b={"since": date(2027, 1, 1)}, c={"since": date(2026, 12, 31)})
    assert [line.item.id for line in stands("2026-11-02", config=later).lines] == ["a", "c"]


def test_the_days_of_an_item_that_came_within_the_quarter_count_from_then() -> None:
    later = review(a={}, b={"since": date(2026, 12, 20)})
    assert [line.status for line in stands("2026-12-20", config=later).lines] == ["overdue", "due"]
    assert [line.status for line in stands("2027-03-03", config=later).lines] == ["overdue", "due"]
    assert [line.status for line in stands("2027-03-04", config=later).lines] == ["overdue", "overdue"]


def test_quarters_are_counted_over_the_years() -> None:
    assert names(day("2026-08-01"), day("2027-04-01")) == ["2026-Q3", "2026-Q4", "2027-Q1", "2027-Q2"]
    assert names(day("2026-08-01"), day("2026-08-01")) == ["2026-Q3"]


def test_an_answer_to_an_item_that_is_gone_counts_for_nothing() -> None:
    assert stands("2026-11-02", said("gone", "no")).with_status("no") == ()


def test_what_is_wrong_is_written_when_it_becomes_another() -> None:
    at = day("2026-12-14")
    assert state_of(stands("2026-12-13"), None, at) is None
    first = state_of(stands("2026-12-14"), None, at)
    assert first is not None
    assert (first.number, first.overdue, first.refused) == (1, ("a", "b"), ())
    assert state_of(stands("2026-12-15"), first, at) is None
    second = state_of(stands("2026-12-15", said("a")), first, at)
    assert second is not None
    assert (second.number, second.overdue) == (2, ("b",))


def test_fewer_problems_are_no_news_until_none_is_left() -> None:
    def state(overdue: str, refused: str = "") -> ReviewState:
        return ReviewState(quarter="2026-Q4", number=1, overdue=tuple(overdue), refused=tuple(refused), at=LONG_AGO)

    assert is_worse(state("a"), None)
    assert is_worse(state("ab"), state("a"))
    assert not is_worse(state("a"), state("ab"))
    assert is_worse(state("", "a"), state("a"))  # overdue, and now a no
    assert not is_worse(state(""), state("a"))
    assert is_over(state(""))
    assert not is_over(replace(state(""), refused=("a",)))
