"""The profile rows of what is judged, by window of event time. Reads the lake; called by `tasks.monitor`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce
from typing import NamedTuple

import pandas as pd

from checks.profiles import EMPTY, Profile, add
from checks.windows import Grid, Heard, event_now
from configs.schema import MonitorConfig
from records import RULES, ReleasePlan
from stores.lake import Lake
from tasks.profiling import counted


class Subject(NamedTuple):
    """What is judged: a version in a plan, by the bins of an artifact."""

    model: str
    version: int
    artifact: str


@dataclass
class Timeline:
    """The profile rows of one subject, by window."""

    grid: Grid
    rows: pd.DataFrame  # sorted by hour
    now: datetime  # of event time
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

    def lately(self, enough: int) -> Profile:
        """The newest whole hours that have `enough` answers together, not more than a window back."""
        back = self.now - timedelta(hours=self.grid.hours)
        rows = self.rows[(self.rows["hour"] >= back) & (self.rows["hour"] <= self.now)].iloc[::-1]
        before = rows["answers"].cumsum() - rows["answers"]
        return total(rows[before < enough])

    def unreadable(self) -> float:
        """Share of the requests of the last window's length that the model cannot read."""
        rows = self.rows[self.rows["hour"] >= self.now - timedelta(hours=self.grid.hours)]
        return float(rows["unreadable"].sum() / max(rows["answers"].sum(), 1))

    def _within(self, number: int) -> pd.DataFrame:
        start, end = self.grid.start(number), self.grid.end(number)
        return self.rows[(self.rows["hour"] >= start) & (self.rows["hour"] < end)]


def subjects(plan: ReleasePlan) -> list[Subject]:
    """What answers now, and the canary beside it. The rules are seen as the champion would see their requests."""
    stands = next((arm.artifact.content for arm in (plan.champion, plan.previous) if arm and arm.artifact), "")
    rules = plan.mode == "rules" or plan.champion.is_rules
    found = [Subject(plan.model, RULES if rules else plan.champion.number, stands)]
    if plan.canary is not None and plan.canary.artifact is not None:
        found.append(Subject(plan.model, plan.canary.number, plan.canary.artifact.content))
    return found


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
