"""What a drill asks of the service, and what it says came of the answers: outcomes fixed for each request before the drill.

The worse version differs from version 1 in its slates, so an outcome can be one that both hit, one that only version 1
hits, or one that neither does. How often each is drawn is known; the KPI of both versions follows from it. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from typing import Any

import msgspec

from benchmarks.client.record import Feedback, Stream
from benchmarks.client.traffic import post
from benchmarks.reliability.village import MODEL, SEED, codes, regulars
from errors import StackError

DAYS = 84  # of orders, as the monitor's reference has: so that good traffic looks like it
PAYLOADS = 1000
GOOD, STEADY, DRIFTED, FALLEN, SURGE = "good", "steady", "drifted", "fallen", "surge"
NOTHING = "99999Z"  # a product of no catalogue
BASKET = 8  # products sent with a drifted request, half of them in no catalogue
CONNECTIONS = 64
NEXT = timedelta(hours=1)  # what changes begins with an hour of event time, as windows do


@dataclass(frozen=True)
class Mix:
    """How often an outcome is hit by both versions, and by version 1 alone; by neither otherwise."""

    both: float
    first: float

    @property
    def rates(self) -> tuple[float, float]:
        """KPI of version 1 and of the worse one."""
        return self.both + self.first, self.both

    @property
    def agreement(self) -> float:
        """Correlation of the two versions' hits on the same request."""
        one, other = self.rates
        return (self.both - one * other) / sqrt(one * (1 - one) * other * (1 - other))


SAME, WORSE = Mix(both=0.5, first=0.0), Mix(both=0.4, first=0.1)


@dataclass(frozen=True)
class Kind:
    """A stream: its requests and how its outcomes are drawn; None sends no feedback."""

    bodies: Sequence[bytes]
    mix: Mix | None
    later: timedelta = timedelta()  # event time after that of the others


def kinds() -> dict[str, Kind]:
    """The streams there are, by name."""
    known, drifted = _known(), _drifted()
    return {
        GOOD: Kind(known, WORSE),
        STEADY: Kind(known, SAME),
        DRIFTED: Kind(drifted, SAME, NEXT),
        FALLEN: Kind(drifted, WORSE, NEXT),
        SURGE: Kind([_body(customer=f"nobody-{at}") for at in range(PAYLOADS)], None, NEXT),
    }


def outcomes(slates: Sequence[tuple[Sequence[str], Sequence[str]]], mix: Mix) -> list[bytes]:
    """An outcome (JSON) for each pair of slates, of version 1 and of the worse one.

    Raises:
        StackError: when the slates do not differ enough for the mix.
    """
    draw = random.Random(SEED)
    apart = [at for at, (first, other) in enumerate(slates) if set(first) - set(other)]
    alone = set(draw.sample(apart, min(len(apart), round(mix.first * len(slates)))))
    rest = [at for at in range(len(slates)) if at not in alone and slates[at][0] and slates[at][1]]
    both = set(draw.sample(rest, min(len(rest), round(mix.both * len(slates)))))
    if (len(alone), len(both)) != (round(mix.first * len(slates)), round(mix.both * len(slates))):
        raise StackError("outcomes of a drill", expected=f"{mix} of {len(slates)}", got=f"{len(alone)}, {len(both)}")
    return [_outcome(pair, at in both, at in alone) for at, pair in enumerate(slates)]


def stream(
    name: str, kind: Kind, told: Sequence[bytes] | None, *, key: str, moment: datetime, per_second: float
) -> Stream:
    """The requests of a kind with their outcomes, as of one moment of event time."""
    head = {"authorization": f"Bearer {key}"}
    dated = {**head, "x-event-time": (moment + kind.later).isoformat()}
    payloads = [post(f"/{MODEL}/predict", body, dated) for body in kind.bodies]
    feedback = Feedback(f"/{MODEL}/feedback", head, list(told)) if told is not None else None
    return Stream(name, payloads, per_second, CONNECTIONS, feedback=feedback)


def _outcome(slates: tuple[Sequence[str], Sequence[str]], both: bool, alone: bool) -> bytes:
    first, other = slates
    bought = [first[0], other[0]] if both else [NOTHING]
    if alone:
        bought = [next(item for item in first if item not in set(other))]
    return msgspec.json.encode({"purchased": bought})


def _known() -> list[bytes]:
    """Requests as the orders of the last days would have asked them."""
    draw, customers = random.Random(SEED), regulars(DAYS)
    return [_body(customer=draw.choice(customers)) for _ in range(PAYLOADS)]


def _drifted() -> list[bytes]:
    """The same customers with baskets nobody sent before."""
    draw, customers, products = random.Random(SEED), regulars(DAYS), codes()
    strange = [f"new-{at}" for at in range(100)]
    return [
        _body(
            customer=draw.choice(customers),
            recent=draw.sample(products, BASKET // 2) + draw.sample(strange, BASKET // 2),
            k=20,
        )
        for _ in range(PAYLOADS)
    ]


def _body(**asked: Any) -> bytes:
    return msgspec.json.encode(asked)
