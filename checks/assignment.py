"""Which arm answers a request: pure functions of the release plan and the request's routing key.

Arms are nested (who is in the 5 % stays in the 25 %) because one stable hash per key is compared with growing shares.
The salt is new for each rollout, so the same people are not the first to meet every canary.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from records import ArmName, ReleasePlan

BUCKETS = 200  # the unit of variance: subjects are grouped by hash, see design section 8


def unit(salt: str, key: str) -> float:
    """A number in [0, 1) that depends on salt and key alone, uniform over keys."""
    return (int.from_bytes(_hash(salt, key)[:8], "big") >> 11) / 2.0**53  # 53 bits: all a float can hold


def bucket(salt: str, key: str) -> int:
    """The key's bucket, 0..199. Taken from other bits than `unit`, so every arm has subjects in every bucket."""
    return int.from_bytes(_hash(salt, key)[8:], "big") % BUCKETS


def choose(plan: ReleasePlan, key: str) -> ArmName | Literal["rules"]:
    """The arm that answers this routing key: the canary from below, the control from above, else the champion.

    "rules" only in rules mode; a champion that is the rules is still the champion.
    """
    if plan.mode == "rules":
        return "rules"
    place = unit(plan.salt, key) * 100.0
    if plan.canary is not None and place < plan.canary_percent:
        return "canary"
    if plan.control is not None and place >= 100.0 - plan.control_percent:
        return "control"
    return "champion"


def _hash(salt: str, key: str) -> bytes:
    joined = f"{salt}\0{key}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(joined, digest_size=16).digest()
