"""Whether what comes in is corrupt: the served snapshot, the journal, or the requests of the newest hours.

Reads the lake table `profiles` and a timeline of it; writes nothing. Called by `tasks.monitor`. What was bad before a
version was brought back is not held against it again, and a finding ends with the newest bad hour: who knew, knew.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import reduce
from typing import Any, NamedTuple

import pandas as pd
from msgspec.structs import replace

from checks import corruption
from checks.profiles import EMPTY, add, anomaly_rate
from checks.shifts import Judged
from configs.schema import MonitorConfig
from stores.lake import Lake
from tasks.eyes import Eye, Eyes
from tasks.profiling import TABLE
from tasks.timeline import Hour, Subject, Timeline

HOUR = timedelta(hours=1)
Span = tuple[datetime, datetime]


class Marks(NamedTuple):
    """What the lines read lately say about themselves."""

    damaged: int  # lines that may have been the model's and do not fit their checksum
    lines: int  # answers and damaged lines, where the damage is
    set_aside: int  # answers whose event time lay ahead of the clock: they are in no window

    def figures(self) -> dict[str, Any]:
        return {**self._asdict(), "damaged_share": self.damaged / self.lines if self.lines else 0.0}


def judged(eyes: Eyes, subject: Subject, line: Timeline, monitor: MonitorConfig, seen: Marks) -> tuple[Judged, Span]:
    """Corruption of the served snapshot, of the journal, or of the request stream, and the hours it is about."""
    eye, hours = eyes.of(subject.model, subject.artifact), line.lately(monitor.min_rows)
    spoilt, kept = sum(one.unreadable for one in hours), sum(one.kept for one in hours)
    bad: Sequence[Hour] = ()
    if eye is None and subject.artifact in eyes.broken:
        said = Judged(answer="yes", reason=eyes.broken[subject.artifact], figures={}, where="snapshot")
    elif _much(seen.damaged, seen.lines, monitor):
        said = Judged(answer="yes", reason=_damage(seen), figures={}, where="journal")
    elif _much(spoilt, kept, monitor):
        why = f"{spoilt / kept:.0%} of the requests cannot be read by the model"
        said = Judged(answer="yes", reason=why, figures={"unreadable": spoilt / kept, "kept": kept}, where="stream")
        bad = [one for one in hours if one.unreadable > monitor.outside_limit * one.kept]
    elif eye is None:
        said = Judged(answer="undecided", reason="what answers has no training reference", figures={})
    else:
        said = _inputs(eye, hours, monitor)
        bad = [one for one in hours if corruption.broken(eye.references, one.profile, monitor)]
    if seen.damaged and said.answer == "no":
        said = replace(said, reason=f"{said.reason}; {_damage(seen)}, too few to be more than chance")
    figures = {**said.figures, **seen.figures()}
    end = line.now if said.where == "snapshot" else _end(bad if said.answer == "yes" else (), hours, line.now)
    return replace(said, figures=figures), (end - timedelta(hours=line.grid.hours), end)


def marks(lake: Lake, subject: Subject, since: datetime) -> Marks:
    """The lines read since a time (wall clock), as far as they concern a model.

    A damaged line does not say whose it is. It concerns the models with answers in its replica's journal; where
    nobody has any, those with answers in another, and all of them when nothing but damage was read.
    """
    if not lake.exists(TABLE):
        return Marks(0, 0, 0)
    columns = ["replica", "model", "answers", "damaged", "aside"]
    rows = lake.read(TABLE, columns=columns, where=[("read_at", ">=", since)])
    own = set(rows.loc[(rows["model"] == subject.model) & (rows["answers"] > 0), "replica"])
    anybody = set(rows.loc[rows["answers"] > 0, "replica"])
    mine = rows["replica"].isin(own)
    if own or not anybody:
        mine |= ~rows["replica"].isin(anybody)
    return _summed(rows[mine & (rows["damaged"] > 0).groupby(rows["replica"]).transform("any")], rows)


def _summed(concerned: pd.DataFrame, rows: pd.DataFrame) -> Marks:
    damaged = int(concerned["damaged"].sum())
    return Marks(damaged, damaged + int(concerned["answers"].sum()), int(rows["aside"].sum()))


def _much(bad: int, whole: int, monitor: MonitorConfig) -> bool:
    """More than chance: too large a share of enough."""
    return (whole >= monitor.min_rows and bad > monitor.outside_limit * whole) or bad >= monitor.min_rows


def _damage(seen: Marks) -> str:
    return f"{seen.damaged} of {seen.lines} lines of the journal do not fit their checksum"


def _inputs(eye: Eye, hours: Sequence[Hour], monitor: MonitorConfig) -> Judged:
    whole = reduce(add, (one.profile for one in hours), EMPTY)
    said = corruption.corrupted(eye.references, whole, monitor)
    return replace(said, figures={**said.figures, "anomaly_rate": anomaly_rate(eye.references, whole)})


def _end(bad: Sequence[Hour], hours: Sequence[Hour], now: datetime) -> datetime:
    """Of the newest bad hour; of the newest with answers when none is bad by itself."""
    newest = [one.start for one in (bad or hours)]
    return max(newest) + HOUR if newest else now
