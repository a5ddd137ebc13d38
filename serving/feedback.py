"""What happened after an answer: checked, written to the journal, and compared once.

The first feedback counts; a repeat is told so. Only ids that this house minted are taken, by the replica whose journal
has the answer. Called by `serving.rest`.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import msgspec

from checks.prediction_ids import PredictionId, genuine, parse
from errors import InputError, NotFound, TamperError
from records import Answer, Counter, Feedback, utc_now
from serving.desk import Desk
from serving.house import House, Waiting, unavailable
from serving.pairs import matured
from serving.wire import Refusal
from stores.lookup import locate


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
        Refusal: 403 for a forged id, 404 for an unknown answer, 421 for another replica's, 503 for a full disk.
    """
    identity, outcome = given
    parts = _checked(house, desk, identity)
    waiting = house.recent.get(identity) or await _looked_up(house, identity, parts)
    if waiting.fed:
        house.metrics.count("feedback", desk.name, "duplicate")
        return Receipt(prediction_id=identity, duplicate=True)
    received = utc_now()
    line = Feedback(
        prediction_id=identity,
        model=desk.name,
        outcome=outcome,
        event_time=event_time or received,
        received_at=received,
        key=key,
    )
    return _counted(house, desk, waiting, line)


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
    located = await asyncio.to_thread(locate, house.journal.folder, identity)
    if located is None:
        raise Refusal(404, NotFound("$.prediction_id", expected="an answer in the journal", got="none"))
    return house.recent.found(identity, located)


def _counted(house: House, desk: Desk, waiting: Waiting, line: Feedback) -> Receipt:
    """Writes the feedback and what it adds to the counters in one line group. Nothing waits in here, so the first
    feedback of an id is the only one that comes this far."""
    answer = house.journal.entry(waiting.place)
    if not isinstance(answer, Answer):
        raise TamperError(f"journal line of {line.prediction_id}", expected="an answer", got=type(answer).__name__)
    if line.event_time < answer.event_time:
        raise InputError("x-event-time", expected=f"{answer.event_time} or later", got=str(line.event_time))
    late = _is_late(desk, answer, line)
    counter = None if late or waiting.pending else _compared(house, desk, waiting, answer, line.outcome)
    try:
        house.journal.append(line, *([counter] if counter else []))
    except OSError as error:
        raise unavailable("journal", str(error), 5, "free the disk of this replica") from error
    waiting.fed = True
    if waiting.pending and not late:
        waiting.outcome = line.outcome
    counted = counter is not None or waiting.outcome is not None
    house.metrics.count("feedback", desk.name, "late" if late else "counted" if counted else "kept")
    return Receipt(prediction_id=line.prediction_id, late=late, counted=counted)


def _compared(house: House, desk: Desk, waiting: Waiting, answer: Answer, outcome: Any) -> Counter | None:
    other = house.journal.entry(waiting.paired) if waiting.paired is not None else None
    if isinstance(other, Answer) and other.decision is None:
        other = None  # the other arm failed
    return matured(desk.model, answer, other if isinstance(other, Answer) else None, outcome)


def _is_late(desk: Desk, answer: Answer, line: Feedback) -> bool:
    """After the attribution window, which the running rollout fixes (0: feedback is never too late)."""
    view = desk.view
    rollout = view.plan.rollout if view is not None else None
    window = rollout.gates.attribution_seconds if rollout is not None else 0.0
    return window > 0 and line.event_time - answer.event_time > timedelta(seconds=window)
