"""Reads what a candidate and the champion said to the same requests, with what came of them, from the journals of all replicas.

On this disk and in the lake; reads only. Twice through: first the scores made beside the answers, then these answers and
their feedback. One block or batch of lines is held at a time, and of more than MOST pairs a sample. Called by `tasks.shadow`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from checks.assignment import unit
from checks.prediction_ids import parse
from errors import NotFound
from models.contract import Decided
from records import Answer, Arm, Feedback, ReleasePlan
from stores.segments import SEALED, Segment, entry_of, minute_of, searched
from stores.shipped import ANSWERS, FEEDBACK, Stood
from stores.shipping import FOLDER_ID
from tasks.reading import Journals, once

MOST = 20_000  # pairs: what is held of one is some 10 KB
LETTER_AND_SUM = 11  # bytes of a line before its JSON


class Beside(NamedTuple):
    """A score made beside an answer, and whose: the candidate's, or beside its own answers the champion's."""

    arm: str
    decided: Decided


class Both(NamedTuple):
    """One request that both answered. `outcome` is its first feedback, if that came within the attribution window."""

    live: Answer
    champion: Decided
    candidate: Decided
    outcome: Any | None


@dataclass
class Read:
    """What the journals tell of a shadow."""

    pairs: list[Both]
    sampled: bool = False  # there were more than are compared
    seen: int = 0  # scores beside an answer, failures among them
    failed: int = 0  # the arm raised: there is no score
    late: int = 0  # scores that took longer than the deadline
    unreadable: int = 0  # lines that do not fit their checksum or say no decision
    alone: int = 0  # scores whose answer was not found: not shipped yet, or not on this disk


@dataclass(frozen=True)
class About:
    """The shadow that is asked about."""

    model: str
    salt: str
    champion: Arm
    candidate: Arm
    since: datetime
    window_seconds: float  # attribution; 0: feedback is never too late

    def scored(self, line: Answer) -> bool:
        """Whether a line is a score of the one beside an answer of the other, in this rollout."""
        return bool(line.paired_with) and self._of(line)

    def answered(self, line: Answer, beside: Beside) -> bool:
        """Whether a line is the answer of the other arm."""
        return not line.paired_with and line.arm != beside.arm and self._of(line)

    def _of(self, line: Answer) -> bool:
        arm = {"canary": self.candidate, "champion": self.champion}.get(line.arm)
        if arm is None or (line.model, line.salt) != (self.model, self.salt):
            return False
        return (line.version, line.artifact) == (arm.number, arm.artifact.content if arm.artifact else "")


def about(plan: ReleasePlan) -> About:
    """The shadow of a plan with a canary."""
    assert plan.canary is not None  # the caller chose it for that
    window = plan.rollout.gates.attribution_seconds if plan.rollout else 0.0
    since = plan.rollout_started_at or plan.created_at
    return About(plan.model, plan.salt, plan.champion, plan.canary, since, window)


@dataclass
class Sample:
    """The items whose ids hash lowest: a uniform sample in any order of arrival, and an id that comes again is the same one."""

    most: int
    kept: dict[str, Beside] = field(default_factory=dict)
    _heap: list[tuple[float, str]] = field(default_factory=list)  # the highest hash first

    def offer(self, identity: str, item: Beside) -> None:
        if identity in self.kept:
            return
        rank = (-unit("shadow", identity), identity)
        if len(self.kept) < self.most:
            heapq.heappush(self._heap, rank)
        elif rank > self._heap[0]:
            del self.kept[heapq.heapreplace(self._heap, rank)[1]]
        else:
            return
        self.kept[identity] = item


def read(journals: Journals, asked: About, most: int = MOST) -> Read:
    """The pairs of a shadow, oldest first.

    Raises:
        DataError: when the lake cannot be read.
    """
    found = Read([])
    chosen = _beside(journals, asked, most, found)
    answers, outcomes = _answers(journals, asked, chosen, found)
    found.sampled = len(chosen) == most < found.seen - found.failed
    found.alone = len(chosen) - len(answers)
    for identity, live in sorted(answers.items(), key=lambda one: (one[1].received_at, one[0])):
        own = _decided(live.decision)
        if own is None:
            found.unreadable += 1
            continue
        arm, other = chosen[identity]
        champion, candidate = (own, other) if arm == "canary" else (other, own)
        found.pairs.append(Both(live, champion, candidate, _outcome(live, outcomes.get(identity), asked)))
    return found


def _beside(journals: Journals, asked: About, most: int, found: Read) -> dict[str, Beside]:
    """The scores beside answers, by the id of the answer; counts what there is."""
    sample, text = Sample(most), f'"paired_with":"{asked.model}.'.encode()
    for replica, line in _lines(journals, asked, text, (ANSWERS,)):
        entry = entry_of(line)
        if entry is None:
            found.unreadable += 1
        if not isinstance(entry, Answer) or not asked.scored(entry) or not _own(entry, replica):
            continue
        found.seen += 1
        found.late += entry.override == "deadline"
        decided = _decided(entry.decision)
        if decided is not None:
            sample.offer(entry.paired_with, Beside(entry.arm, decided))
        elif entry.decision is None:
            found.failed += 1
        else:
            found.unreadable += 1
    return sample.kept


def _answers(
    journals: Journals, asked: About, chosen: dict[str, Beside], found: Read
) -> tuple[dict[str, Answer], dict[str, Feedback]]:
    """The answers beside which the chosen scores were made, and the first feedback of each."""
    answers: dict[str, Answer] = {}
    outcomes: dict[str, Feedback] = {}
    head = f'{{"prediction_id":"{asked.model}.'.encode()
    for replica, line in _lines(journals, asked, head, (ANSWERS, FEEDBACK)) if chosen else ():
        if _identity(line) not in chosen:  # most lines: they are not decoded
            continue
        entry = entry_of(line)
        if entry is None:
            found.unreadable += 1
        elif isinstance(entry, Answer):
            if asked.answered(entry, chosen[entry.prediction_id]) and _own(entry, replica):
                answers[entry.prediction_id] = entry
        elif isinstance(entry, Feedback):
            before = outcomes.setdefault(entry.prediction_id, entry)
            if entry.received_at < before.received_at:
                outcomes[entry.prediction_id] = entry
    return answers, outcomes


def _lines(journals: Journals, asked: About, text: bytes, tables: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """The lines since the rollout began that have this text in them, with their replica: those on this disk, then those
    of other segments from the lake."""
    here: set[Stood] = set()
    for folder in journals.folders:
        identity = _folder_id(folder)
        for segment in _since(once(folder), minute_of(asked.since) - 1):
            if _stands(segment):  # one that was cleared since is in the lake
                here.add(Stood(folder.name, identity, segment.number))
                yield from ((folder.name, line) for _, line in searched(segment, text))
    for table in tables:
        for place, line in journals.shipped.lines(table, asked.model, _day_before(asked.since)):
            if place not in here and text in line:
                yield place.replica, line


def _since(known: list[Segment], minute: int) -> list[Segment]:
    """The segments that may hold lines of this minute or later: all but those whose successor was begun before."""
    over = {before.number for before, after in pairwise(known) if after.minute < minute}
    return [one for one in known if one.number not in over]


def _stands(segment: Segment) -> bool:
    return segment.path.exists() or segment.path.with_suffix(SEALED).exists()


def _folder_id(folder: Path) -> str:
    """As the lake has it; empty for a folder of which nothing was shipped."""
    path = folder / FOLDER_ID
    return path.read_text(encoding="ascii") if path.exists() else ""


def _day_before(when: datetime) -> date:
    return (when.astimezone(UTC) - timedelta(days=1)).date()


def _identity(line: bytes) -> str:
    """The prediction id that stands first in the JSON of a line."""
    start = line.find(b':"', LETTER_AND_SUM) + 2
    return line[start : line.find(b'"', start)].decode(errors="replace")


def _own(line: Answer, replica: str) -> bool:
    """False for a line of another replica, whose segment came here by mistake."""
    try:
        return parse(line.paired_with or line.prediction_id).replica == replica
    except NotFound:
        return False


def _decided(given: Any) -> Decided | None:
    """What was decided; None for no decision or one of another shape. A score that was no number stands in JSON as null."""
    if isinstance(given, dict) and isinstance(scores := given.get("scores"), list):
        given = given | {"scores": [nan if one is None else one for one in scores]}
    try:
        return msgspec.convert(given, Decided)
    except msgspec.ValidationError:
        return None


def _outcome(live: Answer, fed: Feedback | None, asked: About) -> Any | None:
    if fed is None or 0 < asked.window_seconds < (fed.event_time - live.event_time).total_seconds():
        return None
    return fed.outcome
