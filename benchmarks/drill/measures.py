"""What one repeat of a fault is measured by, and the limits it is held to. Pure.

All moments are seconds since the fault, from the wall clocks of the ledger's own records (incident, plan, replica states) and
of the client's record, all on one machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
import numpy as np

from benchmarks.client.record import Sent
from benchmarks.reliability.figures import OK
from guard.watch import wrong_arms
from records import ReleasePlan, ReplicaState

MOMENTS = ("detected", "decided", "switched", "restored")
SWITCH_SECONDS = 2.0  # from the plan that is written to the last replica that serves it
END_SECONDS = 300.0  # the five minutes promised for everything


class Reply(msgspec.Struct, frozen=True):
    """What of an answer is looked at; the oracle looks at all of it."""

    revision: int
    arm: str
    version: int
    override: str


class Answered(NamedTuple):
    """An answer and when it was there, in seconds of the wall clock."""

    stream: str
    reply: Reply
    at: float


class Switch(NamedTuple):
    """A change of plan that takes something back: when it was written, and when each replica said that it serves it."""

    written: float
    followed: Mapping[str, float]
    last_old: float | None  # the last answer under an older revision

    @property
    def done(self) -> float | None:
        return max(self.followed.values(), default=None)

    @property
    def seconds(self) -> float | None:
        """How long the slowest replica took, or the last answer under the old revision, whatever was later."""
        ends = [one for one in (self.done, self.last_old) if one is not None]
        return max(0.0, max(ends) - self.written) if self.followed else None


class Limit(NamedTuple):
    """What a fault may cost at most. None: it is not asked for."""

    restored: float | None = None  # seconds since the fault
    switched: float | None = None
    sample: float | None = None  # times the sample that the plan had printed
    lost_seconds: float | None = (
        None  # requests that were due this soon after the fault may be lost with it; None: none may
    )
    switches: bool = True  # False: nothing is to be switched, so nothing is


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """One repeat. Moments are seconds since the fault; None is not known, or did not happen."""

    fault: str
    number: int
    detected: float | None = None
    decided: float | None = None
    switched: float | None = None
    restored: float | None = None
    switch_seconds: tuple[float | None, ...] = ()  # of each change that takes something back
    requests: int = 0
    failed: int = 0
    failed_at: tuple[float, ...] = ()  # when those were due
    failed_switching: int = 0
    wrong: int = 0
    unfed: int = 0  # outcomes that were not taken
    sample: int | None = None  # matured answers when it was decided
    printed: int | None = None  # as the plan had printed
    broken: tuple[str, ...] = ()  # why this repeat says nothing, or a promise that was not kept
    notes: dict[str, Any] = {}
    sitting: int = 1  # which of the drill's
    seconds: float = 0.0  # that all of it took, with bringing the house there and back


def answered(records: Iterable[Sent], wall: Callable[[float], float]) -> list[Answered]:
    """The answers of a client's record, oldest first; one that is no reply is left to who looks for wrong ones."""
    decode, found = msgspec.json.Decoder(Reply).decode, []
    for one in records:
        with suppress(msgspec.DecodeError):
            found += [Answered(one.stream, decode(one.body), wall(one.done))] if one.status == OK else []
    return sorted(found, key=lambda one: one.at)


def switch(plan: ReleasePlan, states: Sequence[ReplicaState], answers: Sequence[Answered], replicas: int) -> Switch:
    """How a plan was followed.

    Args:
        states: what replicas said, in the order it was seen.
        replicas: how many there are; when fewer followed, `followed` is empty.
    """
    written = plan.created_at.timestamp()
    followed: dict[str, float] = {}
    for state in states:
        said = state.at.timestamp()
        if said >= written and state.revision >= plan.revision and not wrong_arms(plan, state):
            followed.setdefault(state.replica, said)
    old = [one.at for one in answers if one.reply.revision < plan.revision and one.at >= written]
    return Switch(written, followed if len(followed) >= replicas else {}, max(old, default=None))


def failed_within(records: Iterable[Sent], start: float, end: float) -> int:
    """Requests without an answer that were under way in [start, end]; monotonic seconds."""
    return sum(one.status != OK and one.due <= end and one.done >= start for one in records)


def exceeded(repeat: Repeat, limit: Limit) -> list[str]:
    """What of a repeat is beyond its limit, in words; empty when nothing is."""
    name = f"{repeat.fault} {repeat.number}"
    found = [f"{name}: {one}" for one in repeat.broken]
    asked = [("restored", limit.restored), ("switched", limit.switched), *((one, END_SECONDS) for one in MOMENTS)]
    for moment, most in asked:
        seconds = getattr(repeat, moment)
        if most is not None and seconds is not None and seconds > most:
            found.append(f"{name}: {moment} after {seconds:.1f} s, the limit is {most:g} s")
    needed = ("switched", "restored") if limit.switches else ("restored",)
    if not repeat.broken:
        found += [f"{name}: never {moment}" for moment in needed if getattr(repeat, moment) is None]
    for seconds in repeat.switch_seconds if limit.switches else ():
        if seconds is None or seconds > SWITCH_SECONDS:
            took = "a replica never followed" if seconds is None else f"the switch took {seconds:.2f} s"
            found.append(f"{name}: {took}, the limit is {SWITCH_SECONDS:g} s")
    found += _failed(name, repeat, limit)
    if limit.switches and repeat.failed_switching:
        found.append(f"{name}: {repeat.failed_switching} requests failed during the switch")
    if repeat.wrong:
        found.append(f"{name}: {repeat.wrong} wrong answers: {repeat.notes.get('wrong')}")
    return found + _sample(name, repeat, limit)


def _failed(name: str, repeat: Repeat, limit: Limit) -> list[str]:
    lost = limit.lost_seconds
    if lost is None:
        count, which = repeat.failed, "none may"
    else:
        count, which = sum(due > lost for due in repeat.failed_at), f"only those due within {lost:g} s may"
    return [f"{name}: {count} of {repeat.requests} requests failed, {which}"] if count else []


def _sample(name: str, repeat: Repeat, limit: Limit) -> list[str]:
    if limit.sample is None or repeat.broken:
        return []
    if repeat.sample is None or repeat.printed is None:
        return [f"{name}: the sample it was decided on is not known"]
    most = limit.sample * repeat.printed
    if repeat.sample <= most:
        return []
    return [
        f"{name}: decided on {repeat.sample} matured answers, {limit.sample:g} times the printed sample is {most:.0f}"
    ]


def summary(repeats: Sequence[Repeat], limit: Limit) -> dict[str, Any]:
    """p50 and the largest of every moment over the repeats of one fault, sums of requests, and what was exceeded."""
    switches = [seconds for one in repeats for seconds in one.switch_seconds if seconds is not None]
    samples = [one.sample for one in repeats if one.sample is not None]
    return {
        "repeats": len(repeats),
        "moments": {moment: _spread([getattr(one, moment) for one in repeats]) for moment in MOMENTS},
        "switch": _spread(switches),
        "limit": {**limit._asdict(), "switch": SWITCH_SECONDS if limit.switches else None, "end": END_SECONDS},
        "requests": sum(one.requests for one in repeats),
        "failed": sum(one.failed for one in repeats),
        "failed_switching": sum(one.failed_switching for one in repeats),
        "wrong": sum(one.wrong for one in repeats),
        "unfed": sum(one.unfed for one in repeats),
        "sample": _spread(samples),
        "printed": next((one.printed for one in repeats if one.printed is not None), None),
        "exceeded": [said for one in repeats for said in exceeded(one, limit)],
        "each": [msgspec.to_builtins(one) for one in repeats],
    }


def _spread(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [one for one in values if one is not None]
    return {"p50": float(np.median(known)), "max": float(max(known)), "times": len(known)} if known else None
