"""The guard moves the shadow of a split model on when it has scored enough, and then waits for answers of its own."""

from __future__ import annotations

from checks.tallies import UNSEEN
from stores.ledger import verdicts
from tests.checks.traffic import live, split
from tests.guard.town import Town
from tests.stores.ledger.world import MODEL


def test_a_shadow_without_outcomes_moves_on_and_no_further(town: Town) -> None:
    town.begin(1)
    guard = town.guard()
    town.follow()
    guard.tick()
    salt = town.plan().salt
    town.count([*live(salt, "canary", 1, 300), *live(salt, UNSEEN, 1, 300), *split(salt, "champion", 0, 300, 0.3)])
    guard.tick()
    assert town.plan().canary_percent == 50
    assert [one.inputs["state"] for one in verdicts.verdicts(town.ledgers["reader"], MODEL)][-1] == "scored"
    town.follow()
    guard.tick()
    town.count([*live(salt, "canary", 1, 300), *split(salt, "champion", 0, 3000, 0.3, seed=2)])
    guard.tick()
    assert town.plan().canary_percent == 50  # nothing of its own has an outcome
