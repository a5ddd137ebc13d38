"""One request from decoded to journalled: mask, choose, answer within the deadline, write, and only then reply.

Writes the journal; gives what a score beside the answer needs to `serving.pairs`. Called by `serving.rest`.
A model that fails or is late costs its caller nothing but the rules' answer, and the reply says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from checks.assignment import bucket, unit
from errors import InputError, ModelError, NotFound
from models.contract import Decided
from records import Answer, utc_now
from serving import pairs
from serving.answer import RULES, Choice, answer, choose, resolve, rules
from serving.desk import Desk
from serving.house import House, Waiting, unavailable
from serving.turn import LATE
from serving.view import View
from serving.wire import Refusal
from stores.segments import minute_of

INLINE = 1  # requests whose rules cost less than a thread would
FULL_SECONDS = 5  # until a client may look whether the journal's disk has room again
RULES_SECONDS = 10.0  # nothing stands behind the rules: they are waited for beyond the deadline, and not for ever


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller gets for one request."""

    prediction_id: str
    model: str
    version: int
    name: str
    arm: str
    revision: int
    override: str
    decision: Decided
    journalled: bool | msgspec.UnsetType = msgspec.UNSET  # said only when it is false


class Masked(NamedTuple):
    """A request without a raw subject in it."""

    request: Any
    subject: str  # pseudonym of the first subject, or empty
    key: str  # routing key


class Ask(NamedTuple):
    """What the requests of one call have in common."""

    house: House
    desk: Desk
    view: View
    received: datetime
    event: datetime
    begun: float  # monotonic
    dealt: bool  # by the plan; an answer of a version that was asked for is nobody's share


class Given(NamedTuple):
    """A decision, who gave it, and the arm that failed to."""

    decision: Decided
    choice: Choice
    failed: Choice | None


async def predict(
    house: House, desk: Desk, requests: Sequence[Any], event_time: datetime | None = None, version: int | None = None
) -> list[Reply]:
    """Answers the requests, each by its own arm.

    Args:
        event_time: when it happened, if not now.
        version: asks for this version instead of the arm that the plan deals.

    Raises:
        InputError: for a request no model can answer.
        Refusal: 404 or 410 for a version, 503 when there is no plan or the journal cannot be written.
    """
    if desk.view is None:
        raise unavailable(
            f"model {desk.name}", "no release plan yet: the ledger is away", house.limits.retry_after_seconds
        )
    received = utc_now()
    ask = Ask(house, desk, desk.view, received, event_time or received, time.monotonic(), version is None)
    _refuse_size(desk, requests)
    masked = [mask(house, desk, request) for request in requests]
    if version is None:
        choices = [choose(ask.view, one.key, ask.begun, bool(house.forced)) for one in masked]
    else:
        choices = [_explicit(house, ask.view, version)] * len(masked)
    given = await _given(ask, masked, choices)
    lines = [_line(ask, one, result) for one, result in zip(masked, given, strict=True)]
    try:
        places = house.journal.append(*lines)  # nothing is replied before this
    except OSError as error:
        return await _unwritten(ask, masked, error)
    for line, place, one, result in zip(lines, places, masked, given, strict=True):
        waiting = house.recent.add(line.prediction_id, Waiting(place=place))
        if line.salt and not line.override:
            pairs.score_beside(pairs.Live(house, desk, ask.view, line, one.request, waiting))
        if result.failed is not None:
            _count_failed(house, line, result.failed)
    house.metrics.answered(lines, time.monotonic() - ask.begun)
    return [_reply(line, result) for line, result in zip(lines, given, strict=True)]


def mask(house: House, desk: Desk, request: Any) -> Masked:
    """The first thing that happens to a request: from here on there is no raw subject in it."""
    subjects: list[str] = []

    def pseudonym(subject: str) -> str:
        subjects.append(house.vault.pseudonym(subject))
        return subjects[-1]

    clean = desk.model.mask(request, pseudonym)
    return Masked(clean, subjects[0] if subjects else "", desk.model.routing_key(clean))


async def _given(ask: Ask, masked: Sequence[Masked], choices: Sequence[Choice]) -> list[Given]:
    """One call for each arm, all within the same deadline."""
    groups: dict[tuple[str, str], list[int]] = {}
    for at, choice in enumerate(choices):
        groups.setdefault((choice.arm, choice.override), []).append(at)
    calls = [_by(ask, choices[at[0]], [masked[n].request for n in at]) for at in groups.values()]
    if len(calls) == 1:  # the common case needs no tasks
        return await calls[0]
    parts = await asyncio.gather(*calls)
    given = {
        at: one
        for at_all, part in zip(groups.values(), parts, strict=True)
        for at, one in zip(at_all, part, strict=True)
    }
    return [given[at] for at in range(len(masked))]


async def _by(ask: Ask, choice: Choice, requests: list[Any]) -> list[Given]:
    """What this arm says, or the rules when it fails or is late."""
    loaded = choice.loaded
    if loaded is None:
        return [Given(one, choice, None) for one in await _rules(ask, requests)]
    left = ask.desk.config.serving.deadline_seconds - (time.monotonic() - ask.begun)
    result = await ask.house.turns.within(loaded.live, _call(ask, choice, requests), left)
    if isinstance(result, list):
        return [Given(one, choice, None) for one in result]
    if isinstance(result, InputError):
        raise result
    if result is not LATE:
        ask.desk.failed(choice, result.reason)
    instead = Choice(RULES, None, "deadline" if result is LATE else "error")
    return [Given(one, instead, choice) for one in await _rules(ask, requests)]


def _call(ask: Ask, choice: Choice, requests: list[Any]) -> Callable[[], list[Decided]]:
    """What the arm's thread does. One request is timed; how long a batch takes is for who sends it."""
    view, loaded, desk = ask.view, choice.loaded, ask.desk
    if len(requests) > 1:
        return lambda: answer(view, loaded, requests)

    def call() -> list[Decided]:
        begun = time.monotonic()
        try:
            return answer(view, loaded, requests)
        finally:
            desk.took(choice, time.monotonic() - begun)

    return call


async def _rules(ask: Ask, requests: list[Any]) -> list[Decided]:
    """What the rules say; to a batch in a thread, so that meanwhile the loop answers others.

    Raises:
        Refusal: 503 when too many batches wait for them.
    """
    if len(requests) <= INLINE:
        return rules(ask.view, requests)
    result = await ask.house.turns.within(ask.desk.rules, lambda: rules(ask.view, requests), RULES_SECONDS)
    if isinstance(result, list):
        return result
    if isinstance(result, InputError):
        raise result
    what = f"the rules of {ask.desk.name}"
    if result is LATE:
        raise unavailable(what, "a batch too many", ask.house.limits.retry_after_seconds)
    raise ModelError(what, expected="to answer", got="an error of their own, which is in the log")


def _explicit(house: House, view: View, version: int) -> Choice:
    """Champion or previous by its number; rules mode and the break-glass file win."""
    if house.forced:
        return Choice(RULES, None, "break_glass")
    arms = {name: arm for name in ("champion", "previous") if (arm := view.arm(name)) is not None}
    for name, arm in arms.items():
        if arm.number == version:
            return Choice(RULES, None) if view.plan.mode == RULES else resolve(view, name)
    if version in view.rejected:
        raise Refusal(410, NotFound(f"{view.plan.model} v{version}", got="a version that was rejected for good"))
    known = sorted({arm.number for arm in arms.values()})
    raise Refusal(404, NotFound(f"{view.plan.model} v{version}", expected=f"one of {known}", got=version))


def _refuse_size(desk: Desk, requests: Sequence[Any]) -> None:
    most = desk.config.serving.max_batch_rows
    if not 1 <= len(requests) <= most:
        raise InputError("$.requests", expected=f"1 to {most} requests", got=len(requests))


def _line(ask: Ask, masked: Masked, given: Given) -> Answer:
    plan, choice, failed = ask.view.plan, given.choice, given.failed
    known = choice.loaded or ask.view.behind_rules
    identity = ask.house.new_id(plan, choice, minute_of(ask.received))
    share = ask.house.sampling.share(ask.begun)
    sampled = share >= 1.0 or unit("features", identity) < share
    return Answer(
        prediction_id=identity,
        model=plan.model,
        arm=choice.arm,
        version=choice.version,
        artifact=choice.content,
        revision=plan.revision,
        event_time=ask.event,
        received_at=ask.received,
        subject=masked.subject,
        bucket=bucket(plan.salt, masked.key),
        decision=given.decision,
        override=choice.override,
        overruled=bool(given.decision.overruled),
        latency_us=int((time.monotonic() - ask.begun) * 1e6),
        features=masked.request if sampled else None,
        salt=plan.salt if ask.dealt else "",
        failed_arm=failed.arm if failed else "",
        failed_version=failed.version if failed else 0,
        snapshot=known.features.content if known else "",
    )


async def _unwritten(ask: Ask, masked: Sequence[Masked], error: OSError) -> list[Reply]:
    """What leaves although it cannot be journalled: the rules' answer, under no id, or 503. Never a model's.

    Raises:
        Refusal: 503 where the configuration wants it so.
    """
    ask.house.metrics.count("journal_dropped", ask.desk.name, more=len(masked))
    if ask.house.limits.journal_full == "refuse":
        raise unavailable("journal", str(error), FULL_SECONDS, "free the disk of this replica") from error
    decided = await _rules(ask, [one.request for one in masked])
    given = [Given(one, Choice(RULES, None, "journal"), None) for one in decided]
    lines = [_line(ask, one, result) for one, result in zip(masked, given, strict=True)]
    ask.house.metrics.answered(lines, time.monotonic() - ask.begun)
    replies = [_reply(line, result) for line, result in zip(lines, given, strict=True)]
    return [msgspec.structs.replace(reply, prediction_id="", journalled=False) for reply in replies]


def _count_failed(house: House, line: Answer, failed: Choice) -> None:
    kind = "arm_late" if line.override == "deadline" else "arm_errors"
    house.metrics.count(kind, line.model, failed.arm, str(failed.version))


def _reply(line: Answer, given: Given) -> Reply:
    return Reply(
        prediction_id=line.prediction_id,
        model=line.model,
        version=line.version,
        name=given.choice.name,
        arm=line.arm,
        revision=line.revision,
        override=line.override,
        decision=given.decision,
    )
