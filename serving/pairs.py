"""Scores the same request with the other arm, off the path, and compares the two once the outcome is known.

Bounded: what does not fit is dropped and counted. Never raises: a failing arm here is data for the guard. Writes the
journal (the second score, and one counter per compared pair); called by `serving.predict` and `serving.feedback`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from checks.tallies import UNSEEN
from models.contract import Decided, Model
from records import Answer, Counter, utc_now
from serving.answer import Choice, answer, opponent
from serving.desk import Desk
from serving.house import House, Waiting
from serving.runner import Failure, Job
from serving.view import View
from stores.segments import Place, minute_of

log = logging.getLogger(__name__)
JUDGED = ("canary", "control")  # a pair is counted in the row of this arm


class Live(NamedTuple):
    """The answer that left, and where it came from."""

    house: House
    desk: Desk
    view: View
    line: Answer
    request: Any
    waiting: Waiting


def score_beside(live: Live) -> None:
    """Queues the other arm's score of this request, if there is another arm."""
    view, desk = live.view, live.desk
    rival = opponent(view, live.line.arm)
    if rival is None:
        return
    loop = asyncio.get_running_loop()

    def work() -> tuple[Decided, float]:
        begun = time.monotonic()
        scored = answer(view, rival.loaded, [live.request])[0]
        took = time.monotonic() - begun
        desk.took(rival, took)
        return scored, took

    def done(result: Any) -> None:
        place = _written(live, rival, result)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_arrived, live, rival, result, place)

    live.waiting.pending = True
    runner = rival.loaded.beside if rival.loaded else desk.beside
    if not runner.offer(Job(work, done)):
        live.waiting.pending = False
        live.house.metrics.count("beside", desk.name, "dropped")


def matured(model: Model, live: Answer, other: Answer | None, outcome: Any) -> Counter | None:
    """What an outcome adds to the counters.

    A pair is counted in the row of the arm under judgement, with the champion's value beside it. Without a pair the
    answer counts for its own arm, except for an arm that is judged in pairs: half a pair would say that the champion
    had nothing. Where the outcome depends on the answer (split) there is no pair: what came of the champion's answer is
    not what would have come of the shadow's.
    """
    if other is not None and model.JUDGE == "paired":
        judged, champion = (live, other) if live.arm in JUDGED else (other, live)
        own, rival = _kpi(model, judged, outcome), _kpi(model, champion, outcome)
        return _counter(live, judged.arm, judged.version, own, rival)
    if model.JUDGE == "paired" and live.arm in JUDGED:
        return None
    return _counter(live, live.arm, live.version, _kpi(model, live, outcome))


def _counter(live: Answer, arm: str, version: int, own: float, rival: float = 0.0) -> Counter:
    return Counter(
        model=live.model,
        salt=live.salt,
        arm=arm,
        version=version,
        bucket=live.bucket,
        hour=hour_of(live.event_time),
        matured=1,
        total=own,
        squares=own * own,
        other_total=rival,
        other_squares=rival * rival,
        cross=own * rival,
    )


def hour_of(when: datetime) -> datetime:
    return when.replace(minute=0, second=0, microsecond=0)


def _kpi(model: Model, line: Answer, outcome: Any) -> float:
    return model.kpi(msgspec.convert(line.decision, Decided), outcome)


def _written(live: Live, rival: Choice, result: Any) -> Place | None:
    """In the runner's thread: the second score and its work as lines of the journal; None when they could not be."""
    line, house = live.line, live.house
    known = rival.loaded or live.view.behind_rules
    scored = isinstance(result, tuple)
    late = scored and result[1] > live.desk.config.serving.deadline_seconds
    other = Answer(
        prediction_id=house.new_id(live.view.plan, rival, minute_of(utc_now())),
        model=line.model,
        arm=rival.arm,
        version=rival.version,
        artifact=rival.content,
        revision=line.revision,
        event_time=line.event_time,
        received_at=utc_now(),
        subject=line.subject,
        bucket=line.bucket,
        decision=result[0] if scored else None,
        override="deadline" if late else "" if scored else "error",
        overruled=scored and bool(result[0].overruled),
        latency_us=int(result[1] * 1e6) if scored else 0,
        paired_with=line.prediction_id,
        salt=line.salt,
        snapshot=known.features.content if known else "",
    )
    try:
        places = house.journal.append(other, *_work(live, rival, failed=not scored, late=late))
    except OSError as error:
        log.error("score beside %s not written: %s", line.prediction_id, error)
        return None
    return places[0] if scored else None


def _work(live: Live, rival: Choice, *, failed: bool, late: bool) -> list[Counter]:
    """A shadow's work counts for the arm itself, since it has no other; beside live traffic it has a row of its own,
    so that shares of live answers can be compared. A score that can have no outcome is counted as such, too."""
    own = rival.arm == "canary" and live.view.plan.canary_percent == 0
    line = live.line
    row = Counter(
        model=line.model,
        salt=line.salt,
        arm=rival.arm if own else "shadow",
        version=rival.version,
        bucket=line.bucket,
        hour=hour_of(line.event_time),
        answers=1,
        errors=int(failed),
        late=int(late),
    )
    unseen = own and not failed and live.view.model.JUDGE == "split"
    return [row, msgspec.structs.replace(row, arm=UNSEEN, late=0)] if unseen else [row]


def _arrived(live: Live, rival: Choice, result: Any, place: Place | None) -> None:
    """On the loop: the pair is complete, or never will be. Feedback that came first is counted now."""
    house, desk = live.house, live.desk
    live.waiting.pending, live.waiting.paired = False, place
    house.metrics.count("beside", desk.name, "failed" if place is None else "done")
    if isinstance(result, Failure):
        desk.failed(rival, result.reason)
    outcome, live.waiting.outcome = live.waiting.outcome, None
    if outcome is None:
        return
    other = house.journal.entry(place) if place is not None else None
    counter = matured(desk.model, live.line, other if isinstance(other, Answer) else None, outcome)
    if counter is not None:
        with suppress(OSError):  # a lost pair is a smaller sample, not a wrong one
            house.journal.append(counter)
