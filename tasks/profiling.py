"""Turns what the journals hold beyond the watermark into profile rows of the lake, one per version and hour.

Reads `home/journal` of all replicas and the artifacts that answered; writes the lake table `profiles`. A stretch of a
segment is appended once, whatever is run again: its key is (replica, segment, generation, offset). Called by `tasks.monitor`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa

from checks.plans import arms as plan_arms
from checks.prediction_ids import parse
from checks.profiles import EMPTY, Parts, Profile, add, by_part
from configs.schema import Config, Settings
from errors import NotFound
from models.contract import Decided, Model
from records import RULES, Answer, Feedback, ReleasePlan
from stores.lake import Lake
from stores.ledger import plans
from stores.ledger.engine import Ledger
from stores.shipped import Shipped
from tasks import reference
from tasks.eyes import ODD, Eye, Eyes, observed
from tasks.reading import Mark, Stretch, earlier, stretches
from tasks.writing import alone

log = logging.getLogger("grownet.monitor")
TABLE = "profiles"
Kind = TypeVar("Kind")
AHEAD = timedelta(hours=1)  # an event time so much later than the clock is set aside: it would move the windows
UTC_TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("replica", pa.string()),
        ("segment", pa.string()),
        ("start", pa.int64()),  # bytes of the segment, [start, end)
        ("end", pa.int64()),
        ("generation", pa.int64()),  # of the segment: only rows of the newest count
        ("ends", pa.string()),  # what was read is known again by these, see `tasks.reading`
        ("model", pa.string()),  # empty in the row that says how far was read
        ("version", pa.int64()),
        ("artifact", pa.string()),  # whose bins were counted into
        ("hour", UTC_TIME),  # of event time
        ("answers", pa.int64()),
        ("aside", pa.int64()),  # answers whose event time lies ahead of the clock
        ("unreadable", pa.int64()),  # requests the model cannot read, and answers without a decision
        ("damaged", pa.int64()),  # lines that do not fit their checksum
        ("unknown", pa.int64()),  # lines that do, of a newer release
        ("newest_event", UTC_TIME),
        ("newest_received", UTC_TIME),
        ("read_at", UTC_TIME),
        ("profile", pa.string()),
    ]
)


class Key(NamedTuple):
    model: str
    version: int
    artifact: str
    hour: datetime


@dataclass
class Group:
    """What one stretch has of a key."""

    answers: list[Answer] = field(default_factory=list)
    failed: list[Answer] = field(default_factory=list)  # by the rules, where this version was asked and failed
    beside: list[Answer] = field(default_factory=list)  # scores of a canary on the champion's requests
    outcomes: list[tuple[Answer, Any]] = field(default_factory=list)
    unreadable: int = 0


def read_journals(settings: Settings, config: Config, ledger: Ledger, eyes: Eyes, now: datetime) -> int:
    """Appends the profiles of everything the journals have beyond the watermark; the number of lines read.

    Raises:
        LedgerUnavailable: when another monitor holds the table.
        DataError: when the lake refuses.
    """
    lake, read = Lake(settings.lake_uri), 0
    shipped = Shipped(lake)
    enabled = {name: plans.current(ledger, name) for name, model in config.models.items() if model.enabled}
    serving = {name: signed.plan for name, signed in enabled.items() if signed is not None}
    root = settings.home / "journal"
    with alone(ledger, f"lake/{TABLE}", seconds=60.0):
        done = watermarks(lake)
        for folder in sorted(path for path in root.glob("*") if path.is_dir()):
            marks = {segment: mark for (replica, segment), mark in done.items() if replica == folder.name}
            for stretch in stretches(folder, marks):
                rows = _rows(stretch, serving, eyes, now, shipped)
                _tell(stretch)
                key = f"{TABLE}:{stretch.replica}:{stretch.segment}:{stretch.mark.generation}:{stretch.start}"
                lake.append(TABLE, pa.Table.from_pylist(rows, schema=SCHEMA), key, 1)
                read += len(stretch.entries)
    eyes.shut()
    return read


def watermarks(lake: Lake) -> dict[tuple[str, str], Mark]:
    """How far each segment was read: (replica, segment) -> its newest mark."""
    if not lake.exists(TABLE):
        return {}
    marks = lake.read(TABLE, columns=["replica", "segment", "generation", "end", "ends"], where=[("model", "=", "")])
    newest = marks.sort_values(["generation", "end"]).drop_duplicates(["replica", "segment"], keep="last")
    return {
        (str(row.replica), str(row.segment)): Mark(int(row.end), int(row.generation), str(row.ends))
        for row in newest.itertuples()
    }


def counted(lake: Lake, model: str) -> pd.DataFrame:
    """The profile rows of a model that count: those of the newest generation of each segment."""
    if not lake.exists(TABLE):
        return SCHEMA.empty_table().to_pandas()
    rows, marks = lake.read(TABLE, where=[("model", "=", model)]), watermarks(lake)
    places = zip(rows["replica"], rows["segment"], strict=True)
    newest = pd.Series([marks[place].generation for place in places], index=rows.index, dtype="int64")
    return rows[rows["generation"] == newest]


def _tell(stretch: Stretch) -> None:
    """Into the log: what is no damage, yet somebody should know."""
    if stretch.unknown:
        log.warning("%d lines of %s are of a newer release", stretch.unknown, stretch.segment)
    if stretch.mark.generation and not stretch.start:
        log.warning("segment %s of %s is not what was read; counted anew", stretch.segment, stretch.replica)


def _rows(
    stretch: Stretch, serving: dict[str, ReleasePlan], eyes: Eyes, now: datetime, shipped: Shipped
) -> list[dict[str, Any]]:
    """The profile rows of a stretch, and the one that says how far it goes."""
    answers, aside = _placed(stretch, serving, now)
    place: dict[str, Any] = {
        "replica": stretch.replica,
        "segment": stretch.segment,
        "start": stretch.start,
        **stretch.mark._asdict(),
    }
    rows = []
    for key, group, seen in _profiled(sorted(_grouped(stretch, answers, serving, shipped).items()), eyes):
        rows.append(
            {
                **place,
                **key._asdict(),
                "answers": len(group.answers),
                "aside": 0,
                "unreadable": group.unreadable,
                "damaged": 0,
                "unknown": 0,
                "newest_event": max((one.event_time for one in group.answers), default=None),
                "newest_received": max((one.received_at for one in (*group.answers, *group.failed)), default=None),
                "read_at": now,
                "profile": seen.to_json().decode(),
            }
        )
    mark = dict.fromkeys(("newest_event", "newest_received")) | {"hour": now, "artifact": "", "profile": ""}
    counts = {"answers": 0, "unreadable": 0, "aside": aside}
    counts |= {"damaged": stretch.damaged, "unknown": stretch.unknown}
    return [*rows, {**place, **mark, **counts, "model": "", "version": RULES, "read_at": now}]


def _placed(stretch: Stretch, serving: dict[str, ReleasePlan], now: datetime) -> tuple[dict[str, Answer], int]:
    """The answers of the stretch by id, and how many are set aside because their time has not come."""
    found, aside = {}, 0
    for entry in stretch.entries:
        if isinstance(entry, Answer) and entry.model in serving and _own(entry.prediction_id, stretch.replica):
            if entry.event_time > min(entry.received_at, now) + AHEAD:
                aside += 1
            else:
                found[entry.prediction_id] = entry
    return found, aside


def _own(prediction_id: str, replica: str) -> bool:
    """False for a line of another replica: its segment came here by mistake, and is counted where it belongs."""
    try:
        return parse(prediction_id).replica == replica
    except NotFound:
        return False


def _grouped(
    stretch: Stretch, answers: dict[str, Answer], serving: dict[str, ReleasePlan], shipped: Shipped
) -> dict[Key, Group]:
    groups: dict[Key, Group] = {}
    for line in answers.values():
        if not line.paired_with:
            groups.setdefault(_key(line, serving), Group()).answers.append(line)
            asked = _asked(line, serving)
            if asked is not None:
                groups.setdefault(asked, Group()).failed.append(line)
        elif line.arm == "canary" and line.decision is not None:
            groups.setdefault(_key(line, serving), Group()).beside.append(line)
    for line, outcome in _outcomes(stretch, answers, serving, shipped):
        groups.setdefault(_key(line, serving), Group()).outcomes.append((line, outcome))
    return groups


def behind_rules(plan: ReleasePlan) -> str:
    """The artifact by whose reference the rules are seen, having none of their own: the champion's, or the one before.

    Empty when the model never had a version.
    """
    return next((arm.artifact.content for arm in (plan.champion, plan.previous) if arm and arm.artifact), "")


def _key(line: Answer, serving: dict[str, ReleasePlan]) -> Key:
    """The rules are seen as what stands behind them."""
    hour = line.event_time.replace(minute=0, second=0, microsecond=0)
    return Key(line.model, line.version, line.artifact or behind_rules(serving[line.model]), hour)


def _asked(line: Answer, serving: dict[str, ReleasePlan]) -> Key | None:
    """The version that was asked and failed, when the rules answered for it: what made it fail is among its inputs."""
    if not line.failed_version:
        return None
    known = {arm.number: arm.artifact.content for arm in plan_arms(serving[line.model]) if arm.artifact}
    artifact = known.get(line.failed_version)
    return _key(line, serving)._replace(version=line.failed_version, artifact=artifact) if artifact else None


def _outcomes(
    stretch: Stretch, answers: dict[str, Answer], serving: dict[str, ReleasePlan], shipped: Shipped
) -> Iterable[tuple[Answer, Any]]:
    """Answers with what came of them. The first feedback counts; one for an answer nobody gave does not."""
    first: dict[str, Feedback] = {}
    for entry in stretch.entries:
        if isinstance(entry, Feedback) and entry.model in serving and _own(entry.prediction_id, stretch.replica):
            first.setdefault(entry.prediction_id, entry)
    before = earlier(stretch, {name: one for name, one in first.items() if name not in answers}, shipped)
    for identity, feedback in first.items():
        line = answers.get(identity) or before.get(identity)
        if line is not None and not line.paired_with and line.model == feedback.model:
            yield line, feedback.outcome


def _profiled(groups: Iterable[tuple[Key, Group]], eyes: Eyes) -> Iterator[tuple[Key, Group, Profile]]:
    """Each group with its profile. All that one eye looks at is counted in one pass; where something odd is among it,
    group by group, so that the others count."""
    for (model, artifact), some in groupby(sorted(groups, key=_eye_of), key=_eye_of):
        keyed, eye = list(some), eyes.of(model, artifact)
        try:
            yield from _with_profiles(keyed, eye)
        except ODD:
            for key, group in keyed:
                try:
                    found = _profiles([group], eye)[0]
                except ODD as error:
                    eyes.fail(model, artifact, error)
                    found = EMPTY
                yield key, group, found


def _eye_of(item: tuple[Key, Group]) -> tuple[str, str]:
    return item[0].model, item[0].artifact


def _with_profiles(keyed: Sequence[tuple[Key, Group]], eye: Eye | None) -> list[tuple[Key, Group, Profile]]:
    found = _profiles([group for _, group in keyed], eye)
    return [(key, group, seen) for (key, group), seen in zip(keyed, found, strict=True)]


def _profiles(groups: Sequence[Group], eye: Eye | None) -> list[Profile]:
    """A profile for each group; what cannot be read is counted in the group."""
    if eye is None:
        return [EMPTY] * len(groups)
    for group in groups:
        group.unreadable = 0
    lines, parts = _laid_out([[*group.answers, *group.failed] for group in groups])
    seen = observed(eye, lines)
    for at in seen.unreadable:
        groups[parts[at]].unreadable += 1
    whole = _by_part(eye, seen.frame, parts[seen.at], len(groups))
    for frame, of in (_said(groups), _came(groups, eye.module)):
        whole = [add(one, more) for one, more in zip(whole, _by_part(eye, frame, of, len(groups)), strict=True)]
    return whole


def _by_part(eye: Eye, frame: pd.DataFrame, parts: Parts, count: int) -> list[Profile]:
    """EMPTY for a part without a row: nobody looked at its columns."""
    if not len(frame):
        return [EMPTY] * count
    rows = np.bincount(parts, minlength=count)
    return [one if rows[at] else EMPTY for at, one in enumerate(by_part(eye.references, frame, parts, count))]


def _laid_out(lists: Sequence[Sequence[Kind]]) -> tuple[list[Kind], Parts]:
    """All items of some lists, and which list each is of."""
    sizes = [len(one) for one in lists]
    return [item for one in lists for item in one], np.repeat(np.arange(len(lists)), sizes)


def _said(groups: Sequence[Group]) -> tuple[pd.DataFrame, Parts]:
    """What the versions answered; the rules have no reference for it."""
    decided = []
    for group in groups:
        lines = [one for one in (*group.answers, *group.beside) if one.version != RULES]
        decided.append(_decisions(lines))
        group.unreadable += len(lines) - len(decided[-1])
    found, parts = _laid_out(decided)
    return reference.said(found), parts


def _came(groups: Sequence[Group], module: Model) -> tuple[pd.DataFrame, Parts]:
    """What came of their answers."""
    found, parts = _laid_out([_kpis(module, group.outcomes) for group in groups])
    return pd.DataFrame({reference.OUTCOME: pd.Series(found, dtype="float64")}), parts


def _decisions(lines: Sequence[Answer]) -> list[Decided]:
    """What was decided; a line without a decision, or with one of another shape, is left out."""
    found = []
    for line in lines:
        try:
            found.append(msgspec.convert(line.decision, Decided))
        except msgspec.ValidationError:
            continue
    return found


def _kpis(module: Model, outcomes: Sequence[tuple[Answer, Any]]) -> list[float]:
    """The KPI of each answer of a model; an outcome that does not fit the model, or a decision that is none, is left out."""
    found = []
    for line, outcome in outcomes:
        if line.version != RULES:
            try:
                known = msgspec.convert(outcome, module.Outcome, strict=True)
                decided = msgspec.convert(line.decision, Decided)
            except msgspec.ValidationError:
                continue
            found.append(module.kpi(decided, known))
    return found
