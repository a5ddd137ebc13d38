"""The KPI of champion and of what answers beside it, against what was known when its release began: did both fall?

Reads the ledger's counters of this rollout and of those before it; writes nothing. Called by `tasks.monitor`. The level is
that of the version that was there before (the control, or the champion while a canary runs), by whole weeks of event time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from checks import level as levels
from checks import tallies
from checks.assignment import BUCKETS
from checks.level import Fall, Floats, Level, Sums
from checks.shifts import Judged
from checks.windows import Grid
from configs.schema import ModelConfig, MonitorConfig
from records import Counter, ReleasePlan
from stores.ledger import counters, findings, plans
from stores.ledger.engine import Ledger
from tasks.kpi import Span
from tasks.timeline import Timeline

WEEK_HOURS = 7 * 24
LOOK_BACK = timedelta(days=30)  # wall clock: a fall that people knew of when they restored was found so lately


class Pair(NamedTuple):
    """Whose KPI the rows of a rollout hold."""

    old: int
    new: int


class Week(NamedTuple):
    """Windows [start, end) by number: a week of them, or one that is longer."""

    start: int
    end: int


def judged(
    ledger: Ledger, plan: ReleasePlan, config: ModelConfig, line: Timeline, compared: Judged
) -> tuple[Judged, Span]:
    """Whether champion and the version beside it both fell, over the newest week whose labels are due.

    Args:
        compared: what is said of the champion against its control, by `tasks.kpi`.
    """
    week = newest(plan, line)
    above = compared.figures.get("high")
    said = _judged(ledger, plan, config.monitor, line, week, worse=above is not None and above < 0)
    return said, (line.grid.start(week.start), line.grid.start(week.end))


def _judged(
    ledger: Ledger, plan: ReleasePlan, monitor: MonitorConfig, line: Timeline, week: Week, *, worse: bool
) -> Judged:
    who = tallies.sides(plan)
    if who is None or plan.rollout is None:
        return _undecided("nothing answers beside the champion")
    if not monitor.level_weeks:
        return _undecided("monitor.level_weeks is 0: no level is kept")
    if week.start < _known_until(ledger, plan, line):
        return _undecided("people restored it knowing of a fall; a week since then is not over")
    story = Story(ledger, plan, line.grid, monitor)
    known = story.level(who.control.number, week)
    if known is None:
        return _undecided(f"the KPI of {who.control.name} is not known from {levels.MIN_BLOCKS} weeks")
    gates, name = plan.rollout.gates, who.control.name
    champion, other = (who.arm, who.control) if who.role == "champion" else (who.control, who.arm)
    doubt = levels.doubt_of(gates.alpha, _size(line.grid))
    fell = story.fall(known, champion.number, week, doubt, whole=True)
    beside = story.fall(known, other.number, week, gates.alpha, whole=False)
    said = levels.both(fell, beside, gates.margin_fail, worse=worse)
    reason = (
        f"{gates.kpi} of {champion.name} {_words(fell)}, of {other.name} {_words(beside)}, beside what {name} had in "
        f"{known.blocks} weeks"
    )
    figures = {
        "champion": _figures(fell),
        "beside": _figures(beside),
        "weeks": known.blocks,
        "spread": known.spread,
        "doubt": doubt,
        "margin_fail": gates.margin_fail,
    }
    return Judged(answer=said.answer, reason=reason, figures=figures)


def newest(plan: ReleasePlan, line: Timeline) -> Week:
    """The last whole week of windows that are over, the attribution window of their last answer included."""
    window = plan.rollout.gates.attribution_seconds if plan.rollout is not None else 0.0
    end = line.grid.number(line.now - timedelta(seconds=window))
    return Week(end - _size(line.grid), end)


class Story:
    """What was counted of a model by window: in this rollout, and in those before it."""

    def __init__(self, ledger: Ledger, plan: ReleasePlan, grid: Grid, monitor: MonitorConfig) -> None:
        self._ledger, self._plan, self._grid, self._monitor = ledger, plan, grid, monitor
        self._pairs = _pairs(signed.plan for signed in plans.history(ledger, plan.model))
        self._rows = {salt: counters.by_hour(ledger, plan.model, salt) for salt in self._pairs}

    def level(self, version: int, week: Week) -> Level | None:
        """What a version had in the newest weeks before this rollout; and, where these are too few, in the first weeks of it
        that were over when the one in question began. None when it is not known from enough of them."""
        mine = [self._grid.number(row.hour) for row in self._rows.get(self._plan.salt, ())]
        if not mine:
            return None
        sums, begun, size = self._by_window(version), min(mine), _size(self._grid)
        before = range(begun - size, min(sums, default=begun) - size, -size)
        after = range(begun, week.start - size + 1, size)
        found = [block for start in (*before, *after) if (block := self._block(sums, start)) is not None]
        kept = found[: self._monitor.level_weeks]
        known = Sums(np.array([one.totals for one in kept]), np.array([one.answers for one in kept]))
        return levels.level(known) if kept else None

    def fall(self, known: Level, version: int, week: Week, doubt: float, *, whole: bool) -> Fall:
        """A version's week against a level; with `whole` it must have answered in every window of it."""
        block = self._block(self._by_window(version), week.start)
        if block is None or (whole and not block.answers.all()):
            return levels.NOTHING
        return levels.fall(known, block, levels.noise_of(*self._by_bucket(version, week)), doubt)

    def _block(self, sums: Mapping[int, tuple[float, float]], start: int) -> Sums | None:
        """The week from a window on, each window at its place in a calendar week; None with too few answers."""
        size = _size(self._grid)
        found = np.zeros((2, size))
        for number in range(start, start + size):
            found[:, number % size] = sums.get(number, (0.0, 0.0))
        return Sums(found[0], found[1]) if found[1].sum() >= self._monitor.min_rows else None

    def _by_window(self, version: int) -> dict[int, tuple[float, float]]:
        sums: dict[int, tuple[float, float]] = {}
        for salt, pair in self._pairs.items():
            for row, total in _of_version(self._rows[salt], pair, version):
                kpi, answers = sums.get(number := self._grid.number(row.hour), (0.0, 0.0))
                sums[number] = kpi + total, answers + row.matured
        return sums

    def _by_bucket(self, version: int, week: Week) -> tuple[Floats, Floats]:
        """KPI and answers of a week by bucket of subjects, which are the same under every salt."""
        sums = np.zeros((2, BUCKETS))
        start, end = self._grid.start(week.start), self._grid.start(week.end)
        for salt, pair in self._pairs.items():
            if any(start <= row.hour < end for row in self._rows[salt]):
                rows = counters.totals(self._ledger, self._plan.model, salt, by_hour=True)
                for row, total in _of_version([row for row in rows if start <= row.hour < end], pair, version):
                    sums[:, row.bucket] += total, row.matured
        return sums[0], sums[1]


def _size(grid: Grid) -> int:
    """Windows of a week; one where a window is no part of a week."""
    return WEEK_HOURS // grid.hours if WEEK_HOURS % grid.hours == 0 else 1


def _pairs(history: Iterable[ReleasePlan]) -> dict[str, Pair]:
    return {plan.salt: Pair(plan.champion.number, plan.canary.number) for plan in history if plan.canary is not None}


def _of_version(rows: Sequence[Counter], pair: Pair, version: int) -> Iterator[tuple[Counter, float]]:
    """The rows that hold a version's KPI, and its sum in each. In pairs the canary's row has the old version beside it, the
    control's the new one; other rows of a paired model are answers without a pair."""
    paired = tallies.are_paired(rows)
    beside = {"canary": (pair.new, pair.old), "control": (pair.old, pair.new)}
    for row in rows:
        if not row.matured:
            continue
        if not paired:
            if row.version == version and row.arm in {"champion", *beside}:
                yield row, row.total
        elif row.arm in beside and version in beside[row.arm]:
            yield row, row.total if beside[row.arm][0] == version else row.other_total


def _known_until(ledger: Ledger, plan: ReleasePlan, line: Timeline) -> int:
    """The window up to which people knew of a fall when they let the version answer again."""
    if line.again is None:
        return -(10**9)
    told = findings.findings(ledger, plan.model, line.again - LOOK_BACK)
    ends = [
        one.window_end
        for one in told
        if (one.kind, one.answer, one.version) == ("level", "yes", plan.champion.number) and one.found_at < line.again
    ]
    return line.grid.number(max(ends)) if ends else -(10**9)


def _undecided(reason: str) -> Judged:
    return Judged(answer="undecided", reason=reason, figures={})


def _words(one: Fall) -> str:
    if one.change is None:
        return "is not known for the week"
    return f"{one.change:+.1%} ({one.low:+.1%} to {one.high:+.1%}) on {one.answers} answers"


def _figures(one: Fall) -> dict[str, Any]:
    return {name: value if value is None or isfinite(value) else None for name, value in one._asdict().items()}
