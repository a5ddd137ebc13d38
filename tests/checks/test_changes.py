"""Each step of a release plan is told in words, under the version whose story it belongs to."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from checks.changes import change
from checks.plans import initial
from records import ReleasePlan
from tests.stores.ledger.world import MODEL, NOON, ROLLOUT, arm

ONE, TWO = arm(1), arm(2)
RULES = initial(MODEL, NOON)
FIRST = replace(RULES, mode="model", canary=ONE, rollout=ROLLOUT)
SERVES = replace(FIRST, champion=ONE, canary=None, previous=RULES.champion, control=RULES.champion, control_percent=2.0)
SECOND = replace(SERVES, canary=TWO)
REJECTED = (TWO.artifact.content if TWO.artifact else "",)


@pytest.mark.parametrize(
    ("before", "changes", "about", "what"),
    [
        (RULES, {"mode": "model", "canary": ONE}, 1, "rollout starts, in the shadow"),
        (RULES, {"mode": "model", "canary": ONE, "canary_percent": 5.0}, 1, "rollout starts, 5 % of the answers"),
        (FIRST, {"canary_percent": 25.0}, 1, "moves on, 25 % of the answers"),
        (FIRST, {"champion": ONE, "canary": None}, 1, "promoted to 100 %"),
        (
            SECOND,
            {"champion": TWO, "canary": None, "control": ONE},
            2,
            "promoted to 100 %; recommendation-v1 keeps 2 %",
        ),
        (SECOND, {"canary": None, "rejected": REJECTED}, 2, "taken back, rejected for good"),
        (
            SECOND,
            {"canary": None, "mode": "rules"},
            2,
            "taken back with the champion, not rejected, falls back to the rules",
        ),
        (SERVES, {"champion": RULES.champion, "previous": None}, 1, "rolled back to rules"),
        (SERVES, {"mode": "rules"}, 1, "falls back to the rules"),
        (replace(SERVES, mode="rules"), {"mode": "model"}, 1, "answers again"),
        (SERVES, {"frozen": True, "frozen_for": "drift"}, 1, "frozen for drift"),
        (SERVES, {"frozen": True, "hold": True}, 1, "frozen, held"),
        (replace(SERVES, frozen=True, hold=True), {"frozen": False, "hold": False}, 1, "freeze lifted, hold ended"),
        (RULES, {"frozen": True}, 0, "frozen"),
        (SERVES, {"revision": 9}, 1, "written again"),
    ],
)
def test_a_change_in_words(before: ReleasePlan, changes: dict[str, Any], about: int, what: str) -> None:
    told = change(before, replace(before, **changes))
    assert (told.about.number, told.what) == (about, what)
