"""Scenarios with a candidate in the shadow that misbehaves on every call: what clients get is the champion's, as if it were
not there.

Traffic goes on before the candidate is there, beside it, and after it was taken back; latency is compared within the run.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.client.record import Sent
from benchmarks.reliability import faulty
from benchmarks.reliability.figures import OK, latencies
from benchmarks.reliability.fleet import ROOT, until
from benchmarks.reliability.stage import Promise, Stage, replies
from checks import plans as moves

QUEUE = 16  # scores that may wait
SERVICE: Mapping[str, Any] = {"shadow_queue": QUEUE, "trip_errors": 1_000_000}  # it is never dropped for its errors
MODEL: Mapping[str, Any] = {"serving": {"deadline_seconds": 2.0}}  # a busy machine is no reason for the rules to answer
SPIN_SECONDS = 0.05  # of computing in a call that keeps the interpreter's lock
SLEEP_SECONDS = 12.0  # six deadlines; at ten a replica drops the candidate by itself
LOAD_SECONDS, UNLOAD_SECONDS = 30.0, 0.5
SLACK, SLACK_MS = 4.0, 5.0  # medians of some milliseconds differ by so much on a busy machine, shadow or none
FIRST = {"champion", "control"}  # who answers when all is well


class Span(NamedTuple):
    """When there was no shadow any more to compare with, monotonic seconds: before `begun` and after `gone`; in between it
    misbehaved from `start` to `end`."""

    begun: float
    start: float
    end: float
    gone: float


def raises(stage: Stage) -> None:
    """The shadow raises on every call, and is not dropped for it."""
    found = _beside(stage, raises=True)
    stage.promise("it was asked, and failed", found["failed"] > 0, f"{found['failed']} failed")


def slow(stage: Stage) -> None:
    """Every call of the shadow takes six deadlines: what does not fit into its queue is dropped and counted."""
    found = _beside(stage, sleep_seconds=SLEEP_SECONDS)
    stage.promise("what did not fit was dropped and counted", found["dropped"] > 0, f"{found['dropped']} dropped")


def computes(stage: Stage) -> None:
    """Every call of the shadow computes for 50 ms and lets no other thread run meanwhile, but for what the interpreter takes."""
    found = _beside(stage, spin_seconds=SPIN_SECONDS)
    stage.promise("it was asked, and answered", found["done"] > 0, f"{found['done']} scores")


def _beside(stage: Stage, **fault: Any) -> dict[str, int]:
    """Plays it; what the service counted of scores beside answers while the shadow misbehaved."""
    path = stage.folder / "fault.json"
    folder = faulty.models_folder(stage.folder / "code", ROOT, stage.village.lesson.model)
    arm, files = stage.village.differing(2)
    stage.serve(folder=folder, **{faulty.VARIABLE: str(path)})
    stage.send()
    stage.wait(0.3)
    wall, begun = time.time(), time.monotonic()
    stage.change(lambda: stage.village.begin(arm))
    until(lambda: stage.fleet.loaded(1, wall), "the shadow to be loaded", LOAD_SECONDS)
    before = counted(stage.fleet.http.get("/metrics").text)
    with stage.fault("the shadow misbehaves"):
        faulty.set_fault(path, faulty.Fault(files=faulty.files_digest(files), **fault))
        stage.wait(0.4)
        after = counted(stage.fleet.http.get("/metrics").text)
    faulty.set_fault(path, None)
    stage.change(lambda: stage.village.guard(moves.take_back))
    gone = time.monotonic() + UNLOAD_SECONDS
    stage.wait(0.3)
    window, found = stage.windows[0], {name: after[name] - before[name] for name in after}
    told, facts = judged(stage.collect(), Span(begun, window.start, window.end, gone), found)
    stage.promises += told
    stage.facts |= facts
    return found


def judged(records: Sequence[Sent], span: Span, found: Mapping[str, int]) -> tuple[list[Promise], dict[str, float]]:
    """What must hold, and the figures it rests on.

    Args:
        found: answers that could be scored and what became of the scores, while the shadow misbehaved (as `counted`).
    """
    failed = [one for one in records if one.status != OK]
    answers = [reply for one in records if one.status == OK for reply in replies(one)]
    others = [one["prediction_id"] for one in answers if one["override"] or one["arm"] not in FIRST]
    beside = latencies([one for one in records if span.start <= one.due <= span.end])
    alone = [latencies([one for one in records if one.due < span.begun])]
    alone += [latencies([one for one in records if one.due > span.gone])]
    medians = (
        beside["p50_ms"],
        float(np.max([one["p50_ms"] for one in alone])),
    )  # NaN, which nothing is below, without any
    waiting = found["answers"] - found["done"] - found["failed"] - found["dropped"]
    told = [
        Promise(
            "every request has its answer", bool(answers) and not failed, f"{len(failed)} of {len(records)} have none"
        ),
        Promise("by the champion or its control, and nobody instead", not others, f"{len(others)}: {others[:3]}"),
        Promise("no more wait for it than its queue takes", waiting <= QUEUE + 1, f"{waiting} wait; {dict(found)}"),
        Promise(
            "an answer takes as long as without it",
            medians[0] <= SLACK * medians[1] + SLACK_MS,
            f"median {medians[0]:.1f} ms, {medians[1]:.1f} without it",
        ),
    ]
    facts = {"p50_beside_ms": medians[0], "p50_alone_ms": medians[1], "p99_beside_ms": beside["p99_ms"]}
    facts |= {"p99_alone_ms": float(np.max([one["p99_ms"] for one in alone]))}
    return told, {**facts, **{f"scores_{name}": float(count) for name, count in found.items()}}


def counted(page: str) -> dict[str, int]:
    """Of a page of metrics: answers that can be scored beside, and what became of the scores; all of one moment."""
    found = dict.fromkeys(("answers", "done", "failed", "dropped"), 0)
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == "grownet_answers_total" and labels["arm"] in FIRST and not labels["override"]:
                found["answers"] += int(sample.value)
            elif sample.name == "grownet_beside_total":
                found[labels["result"]] += int(sample.value)
    return found
