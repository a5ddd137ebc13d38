"""The id of an answer, which says by itself where the answer is written and which arm gave it.

    recommendation.canary.v3.r17.29843521.replica-1.9f3a01c2-1f.<32 hex of HMAC>

Minted by serving; read by serving (feedback) and by trace. The HMAC keeps others from inventing feedback.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from errors import NotFound
from records import Record

MAC_HEX = 32  # 16 bytes
REPLICA = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")
_ID = re.compile(
    r"^(?P<model>[a-z][a-z0-9_]{0,62})\.(?P<arm>[a-z]+)\.v(?P<version>\d{1,9})\.r(?P<revision>\d{1,12})"
    r"\.(?P<minute>\d{1,9})\.(?P<replica>[A-Za-z0-9][A-Za-z0-9_.-]{0,62})\.(?P<serial>[0-9a-f]{8}-[0-9a-f]{1,16})"
    rf"\.(?P<mac>[0-9a-f]{{{MAC_HEX}}})\Z",
    re.ASCII,
)


class PredictionId(Record, frozen=True, kw_only=True):
    """What an id says. `minute` counts from the epoch (when the request was received), `serial` is unique per replica."""

    model: str
    arm: str
    version: int
    revision: int
    minute: int
    replica: str
    serial: str
    mac: str


def mint(front: str, minute: int, back: str, mac: Callable[[bytes], bytes]) -> str:
    """The text of an id from its parts: `front` is MODEL.ARM.vN.rN, `back` is REPLICA.SERIAL; `mac` gives 16 bytes."""
    body = f"{front}.{minute}.{back}"
    return f"{body}.{mac(body.encode()).hex()}"


def parse(text: str) -> PredictionId:
    """The parts of an id; says nothing about its HMAC.

    Raises:
        NotFound: for anything that is no id of ours.
    """
    found = _ID.match(text)
    if found is None:
        raise NotFound("prediction id", expected="MODEL.ARM.vN.rN.MINUTE.REPLICA.SERIAL.HMAC", got=repr(text[:200]))
    parts: dict[str, Any] = found.groupdict()
    return PredictionId(**parts | {name: int(parts[name]) for name in ("version", "revision", "minute")})


def genuine(text: str, valid: Callable[[bytes, bytes], bool]) -> bool:
    """True when the HMAC at the end of a parsed id is ours; `valid` compares (data, mac) in constant time."""
    body, _, mac = text.rpartition(".")
    return valid(body.encode(), bytes.fromhex(mac))
