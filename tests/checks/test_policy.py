"""The decision table over all combinations and roles, against design section 9 written out here once more."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from checks.facts import Facts, Judged, Limits, Standing, about, clean_windows, silent_kinds
from checks.policy import derived_again, evaluate, facts_of, retrain_refused, row_of, rule, taken_back
from configs.load import load
from configs.schema import ROLES, Action, Corruption
from records import RULES, Answered, Finding, Role, Ruling
from tests.stores.ledger.world import MODEL, NOON

TABLE = load().decisions
ANSWERS: tuple[Answered, ...] = get_args(Answered)
COMBINATIONS: list[tuple[Corruption, Answered, Answered]] = list(product(get_args(Corruption), ANSWERS, ANSWERS))
Expected = tuple[str, set[Action]]


def designed(role: Role, corruption: Corruption, drift: Answered, kpi: Answered) -> Expected:
    """Design section 9, in prose order: level and what is done by itself. A canary is taken back where a champion is
    rolled back; the rules have nothing to go back to and nothing to retrain."""
    back: dict[Role, set[Action]] = {"canary": {"take_back"}, "champion": {"rollback"}, "rules": set()}
    if corruption in {"stream", "journal", "snapshot"}:
        return "emergency", {"freeze", "fallback", "incident"}
    if corruption == "batch":
        return "emergency", {"freeze"}
    if kpi == "yes" and drift == "yes" and corruption == "no":
        cure: set[Action] = {"retrain"} if role == "champion" else set()
        return "critical", {"freeze", "incident"} | back[role] | cure
    if kpi == "yes":  # decision 084: also while nobody can say whether something is corrupt
        return "critical", {"incident"} | back[role]
    if drift == "yes" and corruption == "no":
        return "warning", {"freeze"}
    if (corruption, drift, kpi) == ("no", "no", "no"):
        return "ok", set() if role == "canary" else {"unfreeze"}
    return "inconclusive", set()


def test_there_are_as_many_combinations_as_there_should_be() -> None:
    assert len(COMBINATIONS) == 6 * 3 * 3
    assert set(ROLES) == {"canary", "champion", "rules"}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("corruption", "drift", "kpi"), COMBINATIONS)
def test_the_table_says_what_was_designed(role: Role, corruption: Corruption, drift: Answered, kpi: Answered) -> None:
    found = evaluate(TABLE, role, corruption, drift, kpi)
    assert (found.level, set(found.actions)) == designed(role, corruption, drift, kpi)
    assert found.asked


@pytest.mark.parametrize(("corruption", "drift", "kpi"), COMBINATIONS)
def test_drift_alone_never_retrains_and_a_retraining_is_never_silent(
    corruption: Corruption, drift: Answered, kpi: Answered
) -> None:
    for role in ROLES:
        found = evaluate(TABLE, role, corruption, drift, kpi)
        if "retrain" in found.actions:
            assert (corruption, drift, kpi) == ("no", "yes", "yes")
            assert "incident" in found.actions
