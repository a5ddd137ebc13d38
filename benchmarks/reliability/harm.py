"""What scenarios do to a service and look for in the client's record; shared by `benchmarks.reliability.scenarios`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.reliability import faulty
from benchmarks.reliability.figures import OK, latencies
from benchmarks.reliability.fleet import ROOT
from benchmarks.reliability.stage import GOOD, Stage, replies
from records import ReleasePlan, Trip
from stores.ledger import counters

BATCH = 40  # requests in one call of the spike: so the client is not what is slow
BLOCK = 4096
USUAL = 0.8  # of the last answers: the rest may be late on a busy machine


def saturation(stage: Stage) -> float:
    """Calls a second when as many as fit are always under way."""
    name = "saturation"
    stage.send(stage.stream(name, batch=BATCH, connections=16, closed=True))
    began = time.monotonic()
    time.sleep(max(1.0, 0.1 * stage.seconds))
    seconds = time.monotonic() - began
    return sum(one.stream == name and one.status == OK for one in stage.collect()) / seconds


def replaced(stage: Stage, before: set[int], wall: float) -> bool:
    workers = {one.pid for one in stage.fleet.workers}
    return len(workers) == len(before) and workers != before and stage.fleet.loaded(len(before), wall)


def fill(path: Path) -> None:
    """Takes what is left of a file system."""
    with path.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * BLOCK)


def misbehaving(stage: Stage, fault: faulty.Fault, mend: Callable[[], ReleasePlan] | None = None) -> None:
    """Traffic on a service whose model begins to misbehave, is mended (or taken out by `mend`), and what follows."""
    path = stage.folder / "fault.json"
    folder = faulty.models_folder(stage.folder / "code", ROOT, stage.village.lesson.model)
    stage.serve(folder=folder, **{faulty.VARIABLE: str(path)})
    stage.send()
    stage.wait(0.25)
    with stage.fault("the model misbehaves"):
        faulty.set_fault(path, fault)
        stage.wait(0.35)
        if mend is None:
            faulty.set_fault(path, None)
        else:
            stage.change(mend)
    stage.wait(0.4)
    stage.collect()


def champion(stage: Stage) -> str:
    """What names the champion's model files."""
    arm = stage.village.plan().champion
    assert arm.artifact is not None
    return faulty.files_digest(stage.village.artifacts.bundle(arm.artifact.content).model)


def trips(stage: Stage) -> list[Trip]:
    return counters.trips(stage.village.ledgers["reader"], stage.village.lesson.model)


def count(stage: Stage, override: str) -> int:
    return sum(f'"override":"{override}"'.encode() in one.body for one in stage.records)


def says(facts: Mapping[str, Any], what: str) -> bool:
    return bool(facts.get("ready")) and any(what in reason for reason in facts.get("degraded", []))


def as_before(stage: Stage) -> None:
    """The last tenth of the record is answered by the plan again."""
    good = [one for one in stage.records if one.stream == GOOD]
    last = good[-len(good) // 10 :]
    usual = sum(one.status == OK and b'"override":""' in one.body for one in last)
    stage.promise("afterwards all is as before", usual >= USUAL * len(last) > 0, f"{usual} of the last {len(last)}")


def shift(stage: Stage) -> dict[str, float]:
    """The p99 during the fault against that before it, and how long an old revision answered on; ms and s."""
    window = stage.windows[0]
    good = [one for one in stage.records if one.status == OK]
    before = latencies([one for one in good if one.done < window.start])["p99_ms"]
    during = latencies([one for one in good if window.start <= one.due <= window.end])["p99_ms"]
    old = [
        one.done - later.after
        for earlier, later in pairwise(stage.timeline.changes)
        for one in good
        if one.sent > later.after and any(reply["revision"] <= earlier.plan.revision for reply in replies(one))
    ]
    return {"p99_before_ms": before, "p99_during_ms": during, "old_revision_seconds": max([0.0, *old])}
