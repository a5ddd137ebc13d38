"""Judges what is served: windows of profiles against the training reference, and the KPI against its control.

Reads the lake table `profiles` (see `tasks.profiling`), the ledger's plan and counters; writes findings to the ledger
and pages below `home/pages/monitor`. The guard alone acts on findings. Started hourly by the flow `monitor`, or by
`grownet monitor`; every run catches up with what came since the last one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from typing import Any, Literal

from msgspec.structs import replace

from checks import shifts
from checks.profiles import EMPTY, References, add
from checks.shifts import Judged
from configs.load import recipe_of
from configs.schema import Config, Settings
from errors import UsageError
from records import Finding, digest_of, utc_now
from stores.lake import Lake
from stores.ledger import findings, plans
from stores.ledger.engine import Ledger
from tasks import kpi, level
from tasks.corrupt import judged as looked
from tasks.corrupt import marks
from tasks.eyes import Eyes
from tasks.operate import opened
from tasks.profiling import read_journals
from tasks.timeline import Subject, Timeline, newest_window, restored, subjects, timeline

ACTOR = "monitor"
CATCH_UP = 400  # windows judged in one run, at most
LOOK_BACK = timedelta(days=30)  # wall clock: findings older than this do not say what was judged


@dataclass(frozen=True)
class Watch:
    """One run of the monitor."""

    settings: Settings
    config: Config
    ledger: Ledger
    eyes: Eyes
    now: datetime
    until: datetime | None = None  # event time to stop at; None for all there is


@contextmanager
def watching(settings: Settings, config: Config, until: str = "") -> Iterator[Watch]:
    """A run's seat. Raises UsageError for an `until` that is no time with a zone."""
    with opened(settings, "flow") as ledger:
        yield Watch(settings, config, ledger, Eyes(settings), utc_now(), _moment(until))


def monitor(settings: Settings, config: Config, model: str = "", until: str = "") -> list[Finding]:
    """Reads the journals, judges one model or all that are enabled, writes the findings and returns them."""
    with watching(settings, config, until) as watch:
        read_journals(settings, config, watch.ledger, watch.eyes, watch.now)
        return [one for name in chosen(config, model) for one in judged(watch, name)]


def chosen(config: Config, model: str) -> list[str]:
    """The model, or all that are enabled. Raises NotFound for one that is not there, UsageError for one switched off."""
    return [recipe_of(config, model).name] if model else list(config.enabled)


def judged(watch: Watch, model: str) -> list[Finding]:
    """The findings about what serves a model, oldest first; none while nothing serves.

    They are written to the ledger, but for those that `until` makes of windows older than what is known: they are shown
    and returned, and the guard, to whom the newest finding is how things stand, does not hear of them.
    """
    signed = plans.current(watch.ledger, model)
    if signed is None:
        return []
    config, found = watch.config, list[Finding]()
    for subject in subjects(signed.plan):
        monitor = config.models[model].monitor
        line = timeline(Lake(watch.settings.lake_uri), subject, monitor, watch.now, watch.until)
        line.again = restored(watch.ledger, subject)
        found += [*drift(watch, subject, line), corrupt(watch, subject, line)]
        if subject.version == subjects(signed.plan)[0].version:
            said, span = kpi.judged(watch.ledger, signed.plan, config.models[model], line)
            found.append(_finding(watch, subject, "kpi", said, span))
            said, span = level.judged(watch.ledger, signed.plan, config.models[model], line, said)
            found.append(_finding(watch, subject, "level", said, span))
    ordered = [replace(one, found_at=one.found_at + timedelta(microseconds=at)) for at, one in enumerate(found)]
    findings.save(watch.ledger, _current(watch, model, ordered), ACTOR)
    return ordered


def _current(watch: Watch, model: str, found: list[Finding]) -> list[Finding]:
    """Those whose window is not older than the newest that is known of their kind and version."""
    if watch.until is None:
        return found
    known: dict[tuple[str, int], datetime] = {}
    for one in findings.findings(watch.ledger, model, watch.now - LOOK_BACK):
        key = one.kind, one.version
        known[key] = max(one.window_end, known.get(key, one.window_end))
    return [one for one in found if one.window_end >= known.get((one.kind, one.version), one.window_end)]


def drift(watch: Watch, subject: Subject, line: Timeline) -> list[Finding]:
    """One finding for each window from the last one that was judged, which may have been open then."""
    config, eye = watch.config.models[subject.model], watch.eyes.of(subject.model, subject.artifact)
    newest = newest_window(line, config.monitor.min_rows)
    if eye is None:
        why = watch.eyes.broken.get(subject.artifact) or "what answers has no training reference"
        return [
            _finding(watch, subject, "drift", Judged(answer="undecided", reason=why, figures={}), _span(line, newest))
        ]
    first = line.first if line.first is not None else newest
    found = []
    for number in _due(watch, subject, line, first, newest):
        known = range(max(first, number - config.monitor.windows + 1), number + 1)
        said = shifts.drifted(eye.references, [line.window(one) for one in known], config.monitor)
        figures = {**said.figures, "answers": line.answers(number), "shown": _shown(eye.references, line, number)}
        found.append(_finding(watch, subject, "drift", replace(said, figures=figures), _span(line, number)))
    return found


def _due(watch: Watch, subject: Subject, line: Timeline, first: int, newest: int) -> range:
    told = findings.findings(watch.ledger, subject.model, watch.now - LOOK_BACK)
    ends = [one.window_end for one in told if one.kind == "drift" and one.version == subject.version]
    start = line.grid.number(max(ends)) - 1 if ends else first
    return range(max(min(start, newest), first if first <= newest else newest, newest - CATCH_UP), newest + 1)


def _shown(references: References, line: Timeline, number: int) -> dict[str, Any]:
    """The other windows this one is compared with, for people to see."""
    window, week = line.window(number), 7 * 24 // line.grid.hours
    rolling = reduce(add, (line.window(number - back) for back in range(1, 5)), EMPTY)
    others = {"previous": line.window(number - 1), "rolling": rolling}
    if week > 1:
        others["same_weekday"] = line.window(number - week)
    return {name: shifts.beside(references, window, other) for name, other in others.items()}


def corrupt(watch: Watch, subject: Subject, line: Timeline) -> Finding:
    """Corruption of the served snapshot, of the journal, or of the request stream in the newest hours."""
    monitor = watch.config.models[subject.model].monitor
    since = watch.now - timedelta(seconds=monitor.finding_seconds)
    seen = marks(Lake(watch.settings.lake_uri), subject, max(since, line.again) if line.again else since)
    said, span = looked(watch.eyes, subject, line, monitor, seen)
    return _finding(watch, subject, "corruption", said, span)


def _finding(
    watch: Watch,
    subject: Subject,
    kind: Literal["corruption", "drift", "kpi", "level"],
    said: Judged,
    span: tuple[datetime, datetime],
) -> Finding:
    config = watch.config.models[subject.model].monitor
    key = [subject, kind, said.answer, span, watch.now]
    return Finding(
        id=f"finding-{digest_of(key)[:24]}",
        model=subject.model,
        kind=kind,
        answer=said.answer,
        where=said.where,
        version=subject.version,
        window_start=span[0],
        window_end=span[1],
        reason=said.reason,
        figures=said.figures,
        report=page_of(subject, kind, span[0]),
        found_at=watch.now,
        expires_at=watch.now + timedelta(seconds=config.finding_seconds),
    )


def page_of(subject: Subject, kind: str, start: datetime) -> str:
    """Where the page about a window is, below home."""
    if kind != "drift":
        return ""
    return f"pages/monitor/{subject.model}/v{subject.version}-{start:%Y%m%dT%H}.html"


def _span(line: Timeline, number: int) -> tuple[datetime, datetime]:
    return line.grid.start(number), line.grid.end(number)


def _moment(until: str) -> datetime | None:
    if not until:
        return None
    try:
        moment = datetime.fromisoformat(until)
    except ValueError:
        moment = datetime.min  # noqa: DTZ901 - refused below, like any time without a zone
    if moment.tzinfo is None:
        raise UsageError("until", expected="a time with a zone, such as 2011-10-01T00:00:00Z", got=until)
    return moment


def newest_of(found: Sequence[Finding], kind: str) -> Finding | None:
    """The last finding of a kind."""
    return next((one for one in reversed(found) if one.kind == kind), None)
