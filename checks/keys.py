"""Which signing key may act for what: the one table both sides of a signature consult.

A key id is "guard", "release", "refresh" or "operator:NAME"; the part before the colon is its kind.
Read by `stores.vault` (the public ring), by `checks.plans` and by `checks.ballots`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Act = Literal["plan", "vote", "review", "incident", "snapshot"]
KEY_ID = re.compile(r"^(guard|release|refresh|operator:[a-z][a-z0-9_.-]{0,62})\Z")
MAY_SIGN: Mapping[str, frozenset[Act]] = {
    "release": frozenset({"plan", "vote"}),
    "guard": frozenset({"plan"}),
    "refresh": frozenset({"snapshot"}),
    "operator": frozenset({"plan", "review", "incident"}),
}


def key_kind(key: str) -> str:
    """The kind of a key id ("release", "guard", "refresh", "operator"), or "" for something that is no key id of ours."""
    return key.partition(":")[0] if KEY_ID.match(key) else ""


def may_sign(key: str, act: Act) -> bool:
    """True when a key of this id may sign this. Only the release key signs votes, only people answer reviews and explain incidents."""
    return act in MAY_SIGN.get(key_kind(key), frozenset())
