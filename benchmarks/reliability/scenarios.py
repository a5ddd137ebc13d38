"""What is done to a running service, one function a scenario. Each says what it may cost; all else breaks a promise.

A scenario starts the service and the client, does its harm, waits until all is well again, and adds promises of its own.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks.reliability import faulty, shadows
from benchmarks.reliability.figures import OK
from benchmarks.reliability.fleet import small_disk, until
from benchmarks.reliability.garbage import hostile, judged
from benchmarks.reliability.harm import (
    BATCH,
    as_before,
    champion,
    count,
    fill,
    misbehaving,
    replaced,
    saturation,
    says,
    shift,
    trips,
)
from benchmarks.reliability.stage import GOOD, HOSTILE, Stage, Stated, replies
from benchmarks.reliability.verdict import within
from checks import plans as moves

SPIKE = 4.0  # times what the service answers at most
DISK_BYTES, SEGMENT_BYTES, RESERVE_BYTES = 8 << 20, 1 << 20, 2 << 20
MAX_AGE_SECONDS = 2  # of a plan that nobody confirms; then it has no canary
MEND_SECONDS = 30.0
SLOW_SECONDS = 0.4  # a call of the slow model: longer than the deadline
LATE_MS = 250.0  # what a reply may take beyond the deadline
NONE: Mapping[str, Any] = {}


class Scenario(NamedTuple):
    """How a scenario is set up.

    Args:
        workers: processes that answer.
        service: changes to `service:` of the configuration.
        model: changes to `model:` of the configuration.
    """

    play: Callable[[Stage], None]
    stated: Stated
    workers: int = 1
    service: Mapping[str, Any] = NONE
    model: Mapping[str, Any] = NONE


def soak(stage: Stage) -> None:
    """Steady traffic on a service of two workers."""
    stage.serve()
    stage.send()
    stage.wait(1.0)
    stage.collect()
    failed = [one for one in stage.records if one.status != OK]
    stage.promise("every request has its answer", not failed, f"{len(failed)} of {len(stage.records)} have none")


def spike(stage: Stage) -> None:
    """Four times as much as it can answer: the surplus is told to come back, and afterwards all is as before."""
    stage.serve()
    most = saturation(stage)
    stage.per_second = most / 4
    stage.send(stage.stream(batch=BATCH, connections=1000))
    stage.wait(0.25)
    with stage.fault(f"{SPIKE:g} times saturation"):
        stage.traffic.rate(GOOD, SPIKE * most)
        stage.wait(0.25)
    stage.traffic.rate(GOOD, most / 4)
    stage.wait(0.5)
    stage.collect()
    during = [one for one in stage.records if stage.windows[0].start <= one.due <= stage.windows[0].end]
    shed = [one for one in during if one.status == 503]
    stage.facts |= {
        "saturation_per_second": most,
        "answers_per_request": BATCH,
        "shed": len(shed),
        "answered_during": sum(one.status == OK for one in during),
    }
    stage.promise("more than it can answer was asked, and shed", bool(shed), f"{len(shed)} of {len(during)} shed")
    stage.promise("it goes on answering meanwhile", len(during) > len(shed), f"{len(during) - len(shed)} answered")
    stage.promise("each 503 names a time to come back", all(one.retry_after for one in shed), "Retry-After")


def kill(stage: Stage) -> None:
    """kill -9 of a worker, twice."""
    stage.serve()
    stage.send()
    stage.wait(0.25)
    took = []
    for _ in range(2):
        before, wall = {one.pid for one in stage.fleet.workers}, time.time()
        with stage.fault("kill -9 of a worker"):
            stage.fleet.workers[0].kill()
            took.append(until(functools.partial(replaced, stage, before, wall), "another worker", MEND_SECONDS))
        stage.wait(0.25)
    stage.wait(0.25)
    stage.collect()
    stage.facts["replaced_seconds"] = [round(one, 2) for one in took]
    stage.promise("a worker that died is replaced and loads the plan", len(took) == 2, f"after {took} s")


def disk(stage: Stage) -> None:
    """The journal's file system is filled to the last byte, again and again, and then freed."""
    folder = stage.village.folder / "journal"
    folder.mkdir(exist_ok=True)
    stage.serve(before=small_disk(folder, DISK_BYTES))
    stage.send()
    stage.wait(0.25)
    filler = stage.fleet.view / "journal" / "filler"
    with stage.fault("the journal's disk is full"):
        end = time.monotonic() + 0.4 * stage.seconds
        while time.monotonic() < end:
            fill(filler)
            time.sleep(0.05)
        degraded = stage.readyz().get("degraded", [])
        filler.unlink()
    stage.wait(0.35)
    stage.collect()
    during = [one for one in stage.records if within(one, stage.windows, 0.0)]
    unwritten = [one for one in during if one.status == 503 or b'"override":"journal"' in one.body]
    stage.facts["not_journalled"] = len(unwritten)
    stage.promise("the disk was full for the service too", bool(unwritten), f"{len(unwritten)} of {len(during)}")
    stage.promise("it says so", any("journal" in reason for reason in degraded), degraded)
    as_before(stage)


def ledger(stage: Stage) -> None:
    """The ledger is moved away while a canary runs, and comes back: the canary is dropped when the plan is too old."""
    stage.change(lambda: stage.village.begin(stage.village.differing(2)[0]))
    stage.change(lambda: stage.village.guard(moves.advance))
    stage.serve()
    stage.send()
    stage.wait(0.25)
    there, away = stage.village.folder / "ledger.db", stage.village.folder / "away.db"
    with stage.fault("the ledger is away"):
        there.rename(away)
        time.sleep(max(0.4 * stage.seconds, 2.0 * MAX_AGE_SECONDS))
        said = stage.readyz()
        away.rename(there)
    stage.wait(0.35)
    stage.collect()
    stale = sum(b'"override":"stale"' in one.body for one in stage.records)
    stage.promise("it stays ready and says that the ledger is away", says(said, "ledger"), said)
    stage.promise(
        "the canary is dropped when its plan is too old", stale > 0, f"{stale} answers by the champion instead"
    )
    as_before(stage)


def slow(stage: Stage) -> None:
    """Every call of the champion takes longer than the deadline: the rules answer then, and the previous version once it is
    dropped, until a rollback."""
    stage.village.begin(stage.village.differing(2)[0])
    stage.change(stage.village.finish)
    fault = faulty.Fault(files=champion(stage), sleep_seconds=SLOW_SECONDS)
    misbehaving(stage, fault, lambda: stage.village.guard(moves.rollback))
    window = stage.windows[0]
    begun = [one for one in stage.records if window.start <= one.due <= window.end]
    late = [one for one in begun if b'"override":"deadline"' in one.body]
    deadline = 1e3 * stage.village.config.models[stage.village.lesson.model].serving.deadline_seconds
    p99 = 1e3 * float(np.percentile([one.seconds for one in begun], 99)) if begun else float("nan")
    stage.facts |= {"deadline_ms": deadline, "p99_during_ms": p99}
    stage.promise("the rules answered for the slow model", bool(late), f"{len(late)} of {len(begun)}")
    stage.promise("then the previous version did", count(stage, "tripped") > 0, count(stage, "tripped"))
    stage.promise("within the deadline, nearly", p99 <= deadline + LATE_MS, f"p99 {p99:.0f} ms")
    as_before(stage)


def raises(stage: Stage) -> None:
    """The champion raises: rules for some requests, then it is dropped and the previous version answers, until a rollback."""
    stage.village.begin(stage.village.differing(2)[0])
    stage.change(stage.village.finish)
    misbehaving(stage, faulty.Fault(files=champion(stage), raises=True), lambda: stage.village.guard(moves.rollback))
    stage.promise("the rules answered for it", count(stage, "error") > 0, count(stage, "error"))
    stage.promise("then the previous version did", count(stage, "tripped") > 0, count(stage, "tripped"))
    as_before(stage)


def corrupt(stage: Stage) -> None:
    """A new version whose stored bytes changed after the vote: refused, reported, and the old one goes on."""
    stage.serve()
    stage.send()
    stage.wait(0.25)
    arm = stage.village.spoilt(2)
    with stage.fault("a corrupt version"):
        stage.change(lambda: stage.village.begin(arm))
        until(lambda: trips(stage), "a trip", MEND_SECONDS)
        stage.change(lambda: stage.village.guard(moves.advance))
        stage.wait(0.25)
        stage.change(lambda: stage.village.guard(moves.take_back))
    stage.wait(0.4)
    stage.collect()
    told = [trip.reason for trip in trips(stage)]
    stage.promise("it was refused with the reason", any("bytes" in reason for reason in told), told[:2])
    stage.promise("the old one answered for it", count(stage, "not_loaded") > 0, count(stage, "not_loaded"))
    as_before(stage)


def change(stage: Stage) -> None:
    """A release under load, to 100 % and back: version 2 is loaded, takes half, takes all, and is rolled back."""
    stage.serve()
    stage.send()
    stage.wait(0.3)
    arm = stage.village.differing(2)[0]
    with stage.fault("four changes of the plan"):
        wall = time.time()
        stage.change(lambda: stage.village.begin(arm))
        until(
            lambda: stage.fleet.loaded(1, wall), "the new version to be loaded", MEND_SECONDS
        )  # as the guard reads back
        for move in (moves.advance, moves.advance, moves.rollback):
            stage.wait(0.1)
            stage.change(functools.partial(stage.village.guard, move))
    stage.wait(0.3)
    stage.collect()
    stage.facts |= shift(stage)
    versions = {reply["version"] for one in stage.records if one.status == OK for reply in replies(one)}
    stage.promise("both versions answered", versions >= {1, 2}, sorted(versions))


def drain(stage: Stage) -> None:
    """SIGTERM under load: what was begun is finished, and nothing is written that nobody hears of."""
    stage.serve()
    stage.send()
    stage.wait(0.5)
    with stage.fault("SIGTERM"):
        began = time.monotonic()
        code = stage.end()
        took = time.monotonic() - began
        stage.wait(0.1)
    stage.collect()
    stage.facts["drained_seconds"] = round(took, 2)
    stage.promise("it leaves with 0", code == 0, code)
    stage.promise("within its grace", took < 20, f"{took:.1f} s")
    stage.promise("no trace is in its log", "Traceback" not in stage.fleet.lines, "see the log")


def garbage(stage: Stage) -> None:
    """Bodies, headers and framing that are wrong in every way we know, beside good requests."""
    stage.serve()
    streams = hostile(stage.key, stage.per_second)
    stage.send(stage.stream(), streams)
    with stage.fault("garbage"):
        stage.wait(1.0)
    stage.collect()
    bad = [one for one in stage.records if one.stream == HOSTILE]
    broken = judged(bad)
    stage.facts["hostile_requests"] = len(bad)
    stage.promise("garbage gets its 4xx or a closed connection, never a 200 or 500", not broken, broken[:3] or len(bad))
    stage.promise("no trace is in its log", "Traceback" not in stage.fleet.lines, "see the log")


FALLBACKS = frozenset({"error", "tripped"})
SHED = frozenset({503})
SCENARIOS: dict[str, Scenario] = {
    "soak": Scenario(soak, Stated(), workers=2),
    "spike": Scenario(spike, Stated(statuses=SHED), service={"max_concurrency": 32}),
    "kill": Scenario(kill, Stated(frozenset({"not_loaded"}), SHED, no_reply=True), workers=2),
    "disk": Scenario(
        disk,
        Stated(frozenset({"journal"}), SHED),
        service={"segment_bytes": SEGMENT_BYTES, "journal_reserve_bytes": RESERVE_BYTES},
    ),
    "ledger": Scenario(ledger, Stated(frozenset({"stale"})), service={"max_age_seconds": MAX_AGE_SECONDS}),
    "slow": Scenario(slow, Stated(frozenset({"deadline", "tripped"}))),
    "raises": Scenario(raises, Stated(FALLBACKS)),
    "corrupt": Scenario(corrupt, Stated(frozenset({"not_loaded"}))),
    "change": Scenario(change, Stated()),
    "drain": Scenario(drain, Stated(statuses=SHED, no_reply=True)),
    "garbage": Scenario(garbage, Stated()),
    "shadow_computes": Scenario(shadows.computes, Stated(), service=shadows.SERVICE, model=shadows.MODEL),
    "shadow_raises": Scenario(shadows.raises, Stated(), service=shadows.SERVICE, model=shadows.MODEL),
    "shadow_slow": Scenario(shadows.slow, Stated(), service=shadows.SERVICE, model=shadows.MODEL),
}
