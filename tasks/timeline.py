"""The profile rows of what is judged, by window of event time. Reads the lake and the plans; called by `tasks.monitor`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce
from typing import NamedTuple

import pandas as pd

from checks.facts import role_of
from checks.profiles import EMPTY, Profile, add
from checks.windows import Grid, Heard, event_now
from configs.schema import MonitorConfig
from records import RULES, ReleasePlan
from stores.lake import Lake
from stores.ledger import plans
from stores.ledger.engine import Ledger
from tasks.profiling import behind_rules, counted


class Subject(NamedTuple):
    """What is judged: a version in a plan, by the bins of an artifact."""

    model: str
    version: int
    artifact: str


class Hour(NamedTuple):
    """What was asked of a subject in one hour of event time."""

    start: datetime
    profile: Profile
    unreadable: int  # requests

    @property
    def kept(self) -> int:
        """Requests that the journal has, not only their answers."""
        return self.profile.rows + self.unreadable


@dataclass
class Timeline:
    """The profile rows of one subject, by window."""

    grid: Grid
    rows: pd.DataFrame  # sorted by hour
    now: datetime  # of event time
    again: datetime | None = None  # wall clock: when it was brought back, and answers again
    _sums: dict[int, Profile] = field(default_factory=dict)

    @property
    def first(self) -> int | None:
        return self.grid.number(self.rows["hour"].iloc[0].to_pydatetime()) if len(self.rows) else None

    def answers(self, number: int) -> int:
        return int(self._within(number)["answers"].sum())

    def window(self, number: int) -> Profile:
        if number not in self._sums:
            self._sums[number] = total(self._within(number))
        return self._sums[number]

    def lately(self, enough: int) -> list[Hour]:
        """The newest hours that have `enough` readable requests together, newest first, not more than a window back.

        Those that were over before the subject was brought back are left out: whoever brought it back knew of them.
        """
        rows = self.rows[
            (self.rows["hour"] >= self.now - timedelta(hours=self.grid.hours)) & (self.rows["hour"] <= self.now)
        ]
        if self.again is not None:
            rows = rows[rows["newest_received"] >= self.again]
        found: list[Hour] = []
        for start, here in sorted(rows.groupby("hour"), reverse=True, key=lambda one: one[0]):
            if sum(one.profile.rows for one in found) >= enough:
                break
            found.append(Hour(start.to_pydatetime(), total(here), int(here["unreadable"].sum())))
        return [one for one in found if one.kept]

    def _within(self, number: int) -> pd.DataFrame:
        start, end = self.grid.start(number), self.grid.end(number)
        return self.rows[(self.rows["hour"] >= start) & (self.rows["hour"] < end)]


def subjects(plan: ReleasePlan) -> list[Subject]:
    """What answers now, and the canary beside it. The rules are seen as the champion would see their requests."""
    number = RULES if role_of(plan) == "rules" else plan.champion.number
    found = [Subject(plan.model, number, behind_rules(plan))]
    if plan.canary is not None and plan.canary.artifact is not None:
        found.append(Subject(plan.model, plan.canary.number, plan.canary.artifact.content))
    return found


def restored(ledger: Ledger, subject: Subject) -> datetime | None:
    """When (wall clock) a version began to answer again after it had been taken back; None when it never was.

    The rules are nobody's to bring back: None for them.
    """
    answered, answering, again = False, False, None
    for release in plans.releases(ledger, subject.model) if subject.version != RULES else ():
        before, answering = answering, any(one.version == subject.version for one in subjects(release.signed.plan))
        if answering and not before and answered:
            again = release.at
        answered = answered or answering
    return again


def timeline(lake: Lake, subject: Subject, monitor: MonitorConfig, clock: datetime, until: datetime | None) -> Timeline:
    """The subject's profile rows up to now; where "now" is by all answers of the model.

    Args:
        clock: the wall clock.
        until: event time to stop at, if not now.
    """
    rows = counted(lake, subject.model)
    if until is not None:
        rows = rows[rows["hour"] < until]
    told = rows[rows["answers"] > 0]
    heard = [
        Heard(received.to_pydatetime(), event.to_pydatetime(), int(answers))
        for received, event, answers in zip(told["newest_received"], told["newest_event"], told["answers"], strict=True)
    ]
    now = until or event_now(heard, clock, monitor.min_rows) or clock
    own = rows[(rows["version"] == subject.version) & (rows["artifact"] == subject.artifact)]
    return Timeline(Grid(monitor.window_hours), own.sort_values(["hour", "read_at"]).reset_index(drop=True), now)


def total(rows: pd.DataFrame) -> Profile:
    """The sum of some rows; one that nobody could look at adds nothing."""
    return reduce(add, (Profile.from_json(text) for text in rows["profile"]), EMPTY)


def newest_window(line: Timeline, enough: int) -> int:
    """The window that is open now if it has answers enough to be judged, else the one before."""
    current = line.grid.number(line.now)
    return current if line.answers(current) >= enough else current - 1
