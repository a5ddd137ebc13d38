"""Counters as serving writes them, for tests: seeded traffic of one rollout, a row for each bucket."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from checks.assignment import BUCKETS
from records import Counter

HOUR = datetime(2011, 9, 1, 10, tzinfo=UTC)  # event time: years before the clock


def pairs(
    salt: str, version: int, matured: int, rates: tuple[float, float], *, arm: str = "canary", seed: int = 1
) -> list[Counter]:
    """Paired rows of the canary (or the control): `rates` are its hit rate and the champion's on the same requests."""
    rng = np.random.default_rng(seed)
    bucket = rng.integers(0, BUCKETS, matured)
    luck = rng.random(matured)  # one luck for both arms: they mostly agree
    own, other = (luck < rates[0]).astype(float), (luck < rates[1]).astype(float)
    return [
        row(
            salt,
            arm,
            version,
            place,
            matured=int(here.sum()),
            total=float(own[here].sum()),
            squares=float(own[here].sum()),
            other_total=float(other[here].sum()),
            other_squares=float(other[here].sum()),
            cross=float((own[here] * other[here]).sum()),
        )
        for place in range(BUCKETS)
        if (here := bucket == place).any()
    ]


def live(salt: str, arm: str, version: int, answers: int, *, errors: int = 0, late: int = 0) -> list[Counter]:
    """Rows of answers given, spread over the buckets as evenly as it goes; the bad ones come first."""
    return [
        row(
            salt,
            arm,
            version,
            place,
            answers=_share(answers, place),
            errors=_share(errors, place),
            late=_share(late, place),
        )
        for place in range(BUCKETS)
        if _share(answers, place)
    ]


def split(
    salt: str, arm: str, version: int, matured: int, rate: float, *, hour: datetime = HOUR, seed: int = 1
) -> list[Counter]:
    """Rows of an arm of a split model."""
    rng = np.random.default_rng(seed)
    bucket, hit = rng.integers(0, BUCKETS, matured), (rng.random(matured) < rate).astype(float)
    made = [(place, bucket == place) for place in range(BUCKETS)]
    return [
        row(
            salt,
            arm,
            version,
            place,
            answers=int(here.sum()),
            matured=int(here.sum()),
            total=float(hit[here].sum()),
            hour=hour,
        )
        for place, here in made
        if here.any()
    ]


def row(salt: str, arm: str, version: int, bucket: int, hour: datetime = HOUR, **sums: float) -> Counter:
    return Counter(model="recommendation", salt=salt, arm=arm, version=version, bucket=bucket, hour=hour, **sums)  # type: ignore[arg-type]  # counts are whole numbers


def _share(total: int, place: int) -> int:
    return total // BUCKETS + (1 if place < total % BUCKETS else 0)
