"""The quarterly review as arithmetic: which quarters are open, how each item stands, what of that is news.

Pure: items, answers and a moment in, a checklist out. Read by `tasks.review` and the page. Quarters are calendar quarters in
UTC; a house's first one begins with its review, and so do its days.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Literal, NamedTuple

from configs.schema import Compliance, ReviewItem
from errors import UsageError
from records import ReviewAnswer, ReviewState

NAME = re.compile(r"(2[0-9]{3})-Q([1-4])")  # years that a calendar has, in digits that look like these
Status = Literal["yes", "no", "due", "overdue"]
SETTLED = ("yes", "no")


class Quarter(NamedTuple):
    """[start, end), and the moment after which an item without an answer is overdue."""

    name: str  # "2026-Q4"
    start: datetime
    end: datetime
    due: datetime
    overdue: datetime


class Line(NamedTuple):
    """One item of a quarter's checklist."""

    item: ReviewItem
    status: Status
    answers: tuple[ReviewAnswer, ...]  # all there are, the one that counts last


class Checklist(NamedTuple):
    quarter: Quarter
    lines: tuple[Line, ...]

    def with_status(self, status: Status) -> tuple[str, ...]:
        """The items that stand so, in the order they are asked."""
        return tuple(line.item.id for line in self.lines if line.status == status)


def name_of(at: datetime) -> str:
    """The quarter a moment lies in, such as "2026-Q4"."""
    day = at.astimezone(UTC)
    return f"{day:%Y}-Q{(day.month + 2) // 3}"


def quarter(name: str, first: datetime, config: Compliance) -> Quarter:
    """A quarter by its name.

    Args:
        first: when the review of the house began: nothing could be asked before it.

    Raises:
        UsageError: for a name that is none, and for a quarter before that.
    """
    found = NAME.fullmatch(name)
    if found is None:
        raise UsageError("quarter", expected="a year and a quarter, such as 2026-Q4", got=name)
    year, number = int(found[1]), int(found[2])
    start, end = _first_day(year, number), _first_day(year + number // 4, number % 4 + 1)
    if end <= first:
        raise UsageError("quarter", expected=f"{name_of(first)} or later", got=name, do="the review began then")
    begun = max(start, first)
    due = begun + timedelta(days=config.due_days)
    return Quarter(name, begun, end, due, due + timedelta(days=config.grace_days))


def open_quarters(first: datetime, at: datetime, config: Compliance) -> list[Quarter]:
    """The quarter of `at` and the one before it, which can still be answered late; oldest first."""
    now = quarter(name_of(at), first, config)
    before = name_of(_first_day(*_year_and_number(now.name)) - timedelta(days=1))
    return [now] if name_of(first) == now.name else [quarter(before, first, config), now]


def names(first: datetime, at: datetime) -> list[str]:
    """The quarters from one moment to another, oldest first."""
    found, last = [name_of(first)], name_of(at)
    while found[-1] < last:
        year, number = _year_and_number(found[-1])
        found.append(name_of(_first_day(year + number // 4, number % 4 + 1)))
    return found


def is_asked(item: ReviewItem, quarter: Quarter) -> bool:
    """False for an item that came after the quarter."""
    return item.since is None or _midnight(item.since) < quarter.end


def checklist(quarter: Quarter, config: Compliance, answers: Sequence[ReviewAnswer], at: datetime) -> Checklist:
    """How each item of a quarter stands at a moment; items that were not asked for yet are left out.

    Args:
        answers: those given in this quarter's name, in any order.
    """
    lines = []
    for item in (one for one in config.items if is_asked(one, quarter)):
        own = sorted((one for one in answers if one.item == item.id), key=lambda one: one.number)
        status: Status = own[-1].answer if own else "overdue" if at >= _overdue(item, quarter) else "due"
        lines.append(Line(item, status, tuple(own)))
    return Checklist(quarter, tuple(lines))


def state_of(found: Checklist, before: ReviewState | None, at: datetime) -> ReviewState | None:
    """What is wrong now when that is another than `before`; None when nothing changed."""
    overdue, refused = found.with_status("overdue"), found.with_status("no")
    known = (before.overdue, before.refused) if before is not None else ((), ())
    if (overdue, refused) == known:
        return None
    number = before.number + 1 if before is not None else 1
    return ReviewState(quarter=found.quarter.name, number=number, overdue=overdue, refused=refused, at=at)


def is_worse(now: ReviewState, before: ReviewState | None) -> bool:
    """Whether something is wrong that was not: fewer problems are no news while some are left."""
    known = (set(before.overdue), set(before.refused)) if before is not None else (set[str](), set[str]())
    return bool(set(now.overdue) - known[0] or set(now.refused) - known[1])


def is_over(now: ReviewState) -> bool:
    return not now.overdue and not now.refused


def _overdue(item: ReviewItem, quarter: Quarter) -> datetime:
    """The days of an item that came within the quarter count from then."""
    late = _midnight(item.since) - quarter.start if item.since is not None else timedelta(0)
    return quarter.overdue + max(late, timedelta(0))


def _year_and_number(name: str) -> tuple[int, int]:
    return int(name[:4]), int(name[-1])


def _first_day(year: int, number: int) -> datetime:
    return datetime(year, 3 * number - 2, 1, tzinfo=UTC)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
