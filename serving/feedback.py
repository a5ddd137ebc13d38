"""What happened after an answer: checked, written to the journal, and compared once.

The first feedback counts; a repeat is told so. Only ids that this house minted are taken, by the replica whose journal
has the answer, or had it before it was shipped; and only so much a minute. Called by `serving.rest`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from checks.prediction_ids import PredictionId, genuine, parse
from errors import DataError, InputError, NotFound, TamperError
from records import Answer, Feedback, utc_now
from serving.desk import Desk
from serving.house import House, Waiting, unavailable
from serving.pairs import matured
from serving.wire import Refusal
from stores.lookup import Found, gone, locate

RETRY_SECONDS = 5


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What the sender is told. Late feedback is kept, and not counted."""

    prediction_id: str
    duplicate: bool = False
    late: bool = False
    counted: bool = False


async def take(
    house: House, desk: Desk, key: str, given: tuple[str, Any], event_time: datetime | None = None
) -> Receipt:
    """Takes the outcome of an answer.

    Args:
        key: id of the API key that sent it.
        given: prediction id and outcome.
        event_time: when it happened, if not now.

    Raises:
        InputError: for a malformed id, one of another model, and an outcome before its answer.
        Refusal: 403 for a forged id, 404 for an unknown answer, 421 for another replica's, 429 for more than a minute's
            share, 503 for a full disk, or when an old answer cannot be looked up now.
    """
    identity, outcome = given
    _within(house, desk, house.quota.of_key, key)
    parts = _checked(house, desk, identity)
    waiting = house.recent.get(identity) or await _looked_up(house, identity, parts)
    if waiting.fed:
        return _again(house, desk, identity)
    received = utc_now()
    line = Feedback(
        prediction_id=identity,
        model=desk.name,
        outcome=outcome,
        event_time=event_time or received,
        received_at=received,
        key=key,
    )
    try:
        return _counted(house, desk, waiting, line)
    except FileNotFoundError:  # its segment left the disk since it was remembered
        found = await _from_lake(house, identity)
        waiting.fed = waiting.fed or found.feedback is not None
        waiting.shipped = None if waiting.fed else waiting.shipped or found
        return _again(house, desk, identity) if waiting.fed else _counted(house, desk, waiting, line)


def _within(house: House, desk: Desk, take: Callable[[str, float], None], whose: str) -> None:
    """Takes one of a minute's share. Raises Refusal 429 when it is used up."""
    try:
        take(whose, time.time())
    except Refusal:
        house.metrics.count("feedback", desk.name, "capped")
        raise


def _again(house: House, desk: Desk, identity: str) -> Receipt:
    house.metrics.count("feedback", desk.name, "duplicate")
    return Receipt(prediction_id=identity, duplicate=True)


def _checked(house: House, desk: Desk, identity: str) -> PredictionId:
    try:
        parts = parse(identity)
    except NotFound as error:
        raise InputError("$.prediction_id", expected=error.expected, got=error.got) from None
    if parts.model != desk.name:
        raise InputError("$.prediction_id", expected=f"an answer of {desk.name}", got=f"one of {parts.model}")
    if not genuine(identity, house.vault.feedback_mac_valid):
        house.metrics.count("feedback", desk.name, "forged")
        raise Refusal(403, TamperError("$.prediction_id", expected="an id this service gave out", got="another one"))
    return parts


async def _looked_up(house: House, identity: str, parts: PredictionId) -> Waiting:
    """The answer in the journal: it is older than what is remembered, or of before a restart."""
    if parts.replica != house.replica:
        do = "send feedback to the replica that answered; its name is in the id"
        error = NotFound("$.prediction_id", expected=f"an answer of {house.replica}", got=parts.replica, do=do)
        raise Refusal(421, error)
    folder = house.journal.folder
    async with house.searching:
        located = await asyncio.to_thread(locate, folder, identity)
    if located is not None:
        return house.recent.found(identity, located)
    if not gone(folder, parts.minute):
        raise _unknown()
    found = await _from_lake(house, identity)
    fed = found.feedback is not None
    return house.recent.add(identity, Waiting(place=None, fed=fed, shipped=None if fed else found))


async def _from_lake(house: House, identity: str) -> Found:
    """Raises Refusal 404, 503."""
    try:
        found = await house.shelf.find(identity)
    except DataError as error:
        raise unavailable(error.thing, error.got, RETRY_SECONDS) from error
    if found is None:
        raise _unknown()
    return found


def _unknown() -> Refusal:
    return Refusal(404, NotFound("$.prediction_id", expected="an answer in the journal", got="none"))


def _counted(house: House, desk: Desk, waiting: Waiting, line: Feedback) -> Receipt:
    """Writes the feedback and what it adds to the counters in one line group. Nothing waits in here, so the first
    feedback of an id is the only one that comes this far. Raises FileNotFoundError as `_pair`, and nothing is written."""
    if waiting.fed:  # by somebody who came while this one was looked up
        return _again(house, desk, line.prediction_id)
    answer, other = _pair(house, waiting, line.prediction_id)
    if line.event_time < answer.event_time:
        raise InputError("x-event-time", expected=f"{answer.event_time} or later", got=str(line.event_time))
    late = _is_late(desk, answer, line)
    if answer.subject:  # who has no name is nobody
        _within(house, desk, house.quota.of_subject, f"{line.key} {answer.subject}")
    counter = None if late or waiting.pending else matured(desk.model, answer, other, line.outcome)
    try:
        house.journal.append(line, *([counter] if counter else []))
    except OSError as error:
        raise unavailable("journal", str(error), RETRY_SECONDS, "free the disk of this replica") from error
    waiting.fed, waiting.shipped = True, None  # a whole answer is large, and many are remembered
    if waiting.pending and not late:
        waiting.outcome = line.outcome
    counted = counter is not None or waiting.outcome is not None
    house.metrics.count("feedback", desk.name, "late" if late else "counted" if counted else "kept")
    return Receipt(prediction_id=line.prediction_id, late=late, counted=counted)


def _pair(house: House, waiting: Waiting, identity: str) -> tuple[Answer, Answer | None]:
    """The answer, and the score beside it unless that arm failed. Raises FileNotFoundError when they left this disk."""
    if waiting.shipped is not None:
        answer: Any = waiting.shipped.answer
        other: Any = waiting.shipped.paired
    else:
        assert waiting.place is not None  # without it, it is shipped
        answer = house.journal.entry(waiting.place)
        other = house.journal.entry(waiting.paired) if waiting.paired is not None else None
    if not isinstance(answer, Answer):
        raise TamperError(f"journal line of {identity}", expected="an answer", got=type(answer).__name__)
    return answer, other if isinstance(other, Answer) and other.decision is not None else None


def _is_late(desk: Desk, answer: Answer, line: Feedback) -> bool:
    """After the attribution window, which the running rollout fixes (0: feedback is never too late)."""
    view = desk.view
    rollout = view.plan.rollout if view is not None else None
    window = rollout.gates.attribution_seconds if rollout is not None else 0.0
    return window > 0 and line.event_time - answer.event_time > timedelta(seconds=window)
