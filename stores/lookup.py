"""Looks answers up in the segments that stand on this disk: by prediction id, or by when they were received.

Reads `home/journal`; used by feedback, `grownet trace` and `grownet served`. What left the disk is read by `stores.shipped`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from checks.prediction_ids import parse
from errors import NotFound
from records import Answer, Feedback, Record
from stores.segments import Entry, Place, Segment, changed, entries_of, entry_of, here, minute_of, searched, segments

SLACK_MINUTES = 1  # an answer received at the end of a minute may be written in the next


class Found(Record, frozen=True, kw_only=True):
    """All that the journal knows of one answer."""

    answer: Answer
    paired: Answer | None = None
    feedback: Feedback | None = None


class Located(NamedTuple):
    """As `Found`, but only where the lines stand."""

    answer: Place
    paired: Place | None
    fed: bool


def read(root: Path, prediction_id: str) -> Found:
    """What the journals below `root` (`home/journal`) know of one answer.

    Raises:
        NotFound: for no id of ours, and when no journal here has it.
        TamperError: when one of its lines was changed.
    """
    folder = root / parse(prediction_id).replica
    found = joined(entry for _, entry in _about(folder, prediction_id)).get(prediction_id)
    if found is None:
        do = "look on the machine of that replica, or in what was shipped"
        raise NotFound(f"answer {prediction_id}", expected=f"its line in {folder}", got="none", do=do)
    return found


def about(folder: Path, prediction_id: str) -> list[Entry]:
    """The answer, the score beside it and the feedback, as far as they stand in a replica's folder."""
    return [entry for _, entry in _about(folder, prediction_id)]


def joined(entries: Iterable[Entry]) -> dict[str, Found]:
    """Answers by prediction id, each with the score made beside it and its first feedback."""
    answers: dict[str, Answer] = {}
    beside: dict[str, Answer] = {}
    feedback: dict[str, Feedback] = {}
    for entry in entries:
        if isinstance(entry, Answer) and entry.paired_with:
            beside[entry.paired_with] = entry
        elif isinstance(entry, Answer):
            answers[entry.prediction_id] = entry
        elif isinstance(entry, Feedback):
            feedback.setdefault(entry.prediction_id, entry)
    return {
        identity: Found(answer=answer, paired=beside.get(identity), feedback=feedback.get(identity))
        for identity, answer in answers.items()
    }


def locate(folder: Path, prediction_id: str) -> Located | None:
    """Where the answer and the score made beside it stand in a replica's folder, and whether feedback came; None
    when the answer is not there."""
    places = {_role(entry, prediction_id): place for place, entry in _about(folder, prediction_id)}
    if "answer" not in places:
        return None
    return Located(answer=places["answer"], paired=places.get("paired"), fed="feedback" in places)


def gone(folder: Path, minute: int) -> bool:
    """Whether an answer of this minute may have stood in a segment that left this disk, or on a disk before this one:
    where segments are missing, the one before was begun by then, and the one behind not before the minute after."""
    known = [Segment(0, 0, folder), *segments(folder)]
    return any(
        before.minute <= minute + SLACK_MINUTES and one.minute >= minute - SLACK_MINUTES
        for before, one in pairwise(known)
        if not before.number or one.number > before.number + 1
    )


def answers(root: Path, model: str, start: datetime, end: datetime) -> Iterator[Answer]:
    """What was replied for a model with `received_at` in [start, end), by all replicas whose journal is here."""
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        for segment in _since(folder, minute_of(start)):
            if segment.minute > minute_of(end) + SLACK_MINUTES and not _ahead(segment):
                break
            for _, entry in entries_of(segment.path, here(segment)):
                if not isinstance(entry, Answer) or entry.model != model or entry.paired_with:
                    continue
                if start <= entry.received_at < end:
                    yield entry


def _ahead(segment: Segment) -> bool:
    """Whether a segment is named after a time that the clock came back from: names never fall."""
    try:
        return segment.path.stat().st_mtime < segment.minute * 60
    except FileNotFoundError:  # sealed or cleared at this moment
        return True


def _about(folder: Path, prediction_id: str) -> Iterator[tuple[Place, Entry]]:
    """Every line about one answer, in their order, and its place."""
    for segment in _since(folder, parse(prediction_id).minute):
        for offset, line in searched(segment, prediction_id.encode()):
            entry = entry_of(line)
            if entry is None:
                raise changed(segment.path, offset)
            if _role(entry, prediction_id):
                yield Place(segment.number, offset, len(line)), entry


def _role(entry: Entry, prediction_id: str) -> str:
    if isinstance(entry, Answer):
        if entry.prediction_id == prediction_id:
            return "answer"
        return "paired" if entry.paired_with == prediction_id else ""
    return "feedback" if isinstance(entry, Feedback) and entry.prediction_id == prediction_id else ""


def _since(folder: Path, minute: int) -> list[Segment]:
    """The segments that can hold lines of this minute or later: all but those whose successor had begun before."""
    known = segments(folder)
    return [one for n, one in enumerate(known) if n + 1 == len(known) or known[n + 1].minute >= minute]
