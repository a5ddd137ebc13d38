"""Is every answer that a client has in its hands in the journal, once, as it was said? Reads the journals of all replicas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks.reliability.oracle import same
from models.contract import Decided
from records import Answer
from stores.segments import entries, segments

FACTS = ("model", "version", "arm", "revision", "override")


class Kept(NamedTuple):
    """What a comparison of replies and journal found."""

    entries: int  # answers in the journal
    acknowledged: int  # answers that a client has
    broken: list[str]  # what is missing, there twice, or other than what was replied

    @property
    def unacknowledged(self) -> int:
        """Answers written whose reply no client got."""
        return self.entries - self.acknowledged


def answers(journals: Path) -> list[Answer]:
    """Every answer below `home/journal`, the scores made beside them left out.

    Raises:
        TamperError: for a bad line with a good one after it.
    """
    found = [entry for folder in sorted(journals.iterdir()) if folder.is_dir() for entry in _of(folder)]
    return [entry for entry in found if not entry.paired_with]


def compare(written: Iterable[Answer], replies: Iterable[Mapping[str, Any]]) -> Kept:
    """Each reply against the journal. A reply that says it was not journalled (override `journal`) must not be there."""
    lines = list(written)
    times = Counter(line.prediction_id for line in lines)
    by_id = {line.prediction_id: line for line in lines}
    said = Counter[str]()
    broken: list[str] = []
    for reply in replies:
        identity = reply["prediction_id"]
        said[identity] += 1
        if reply["override"] == "journal":
            said[identity] -= 1
        elif identity not in by_id:
            broken.append(f"{identity}: acknowledged, and not in the journal")
        elif times[identity] > 1:
            broken.append(f"{identity}: {times[identity]} times in the journal")
        else:
            broken += _differences(reply, by_id[identity])
    broken += [f"{identity}: two replies" for identity, count in said.items() if count > 1]
    return Kept(len(times), sum(1 for count in said.values() if count > 0), broken)


def _of(folder: Path) -> list[Answer]:
    return [entry for one in segments(folder) for _, entry in entries(one.path) if isinstance(entry, Answer)]


def _differences(reply: Mapping[str, Any], line: Answer) -> list[str]:
    other = {name: (reply[name], getattr(line, name)) for name in FACTS if reply[name] != getattr(line, name)}
    if not same(msgspec.convert(reply["decision"], Decided), msgspec.convert(line.decision, Decided)):
        other["decision"] = (reply["decision"], line.decision)
    return [f"{line.prediction_id}: {name}: replied {a}, written {b}" for name, (a, b) in other.items()]
