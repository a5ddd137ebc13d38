"""Windows of event time on a fixed grid, and where on it the stream is now. Pure; read by the monitor flow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

ORIGIN = datetime(1970, 1, 5, tzinfo=UTC)  # a Monday, so that windows of a week are calendar weeks


@dataclass(frozen=True)
class Grid:
    """Window number i is [ORIGIN + i * hours, ORIGIN + (i + 1) * hours), whatever traffic there was."""

    hours: int

    def number(self, moment: datetime) -> int:
        return (moment - ORIGIN) // timedelta(hours=self.hours)

    def start(self, number: int) -> datetime:
        return ORIGIN + timedelta(hours=self.hours) * number

    def end(self, number: int) -> datetime:
        return self.start(number + 1)


class Heard(NamedTuple):
    """Some answers received together."""

    received: datetime
    event: datetime
    answers: int


def event_now(heard: Iterable[Heard], now: datetime, enough: int) -> datetime | None:
    """The event time it is, by the newest `enough` answers received; None without any.

    Each says how far event time lies behind the wall clock: nothing in live traffic, years in a replay. Their median
    counts, so that one answer out of time does not move the windows; and time goes on while nothing is received.
    """
    latest: list[tuple[datetime, int]] = []
    total = 0
    for one in sorted(heard, reverse=True):
        if total >= enough:
            break
        latest.append((one.event + (now - one.received), one.answers))
        total += one.answers
    passed = 0
    for moment, answers in sorted(latest):
        passed += answers
        if 2 * passed >= total:
            return moment
    return None
