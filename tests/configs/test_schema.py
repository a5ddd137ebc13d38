"""What configurations refuse: rows of the decision table that cannot be, and columns that contradict themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from configs.load import HERE, load, overlay
from configs.schema import COMBINATIONS, Column, DecisionTable
from errors import ConfigError

ROWS: list[dict[str, Any]] = yaml.safe_load((HERE / "decisions.yaml").read_text(encoding="utf-8"))["rows"]
NAMES = [row["name"] for row in ROWS]


def table(name: str, /, **changes: Any) -> DecisionTable:
    """The table we ship with one row changed."""
    assert name in NAMES
    return DecisionTable.model_validate({"rows": [row | changes if row["name"] == name else row for row in ROWS]})


def does(**changes: list[str]) -> dict[str, list[str]]:
    return {"canary": [], "champion": [], "rules": []} | changes


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("drift", {"does": does(champion=["freeze", "pray"])}, "unfreeze"),
        ("drift", {"when": {"corruption": ["often"], "drift": "any", "kpi": "any"}}, "stream"),
        ("drift", {"when": {"drift": ["yes"], "kpi": "any"}}, "corruption"),
        ("drift", {"when": {"corruption": "no", "drift": "any", "kpi": "any"}}, "any"),
        ("drift", {"does": {"champion": ["freeze"], "rules": []}}, "every role needs its actions"),
        ("drift", {"freezes_for": ""}, "freeze and freezes_for go together"),
        ("ok", {"freezes_for": "drift"}, "freeze and freezes_for go together"),
        ("ok", {"does": does(champion=["freeze", "unfreeze"]), "freezes_for": "drift"}, "in one row"),
        ("drop", {"does": does(rules=["rollback"])}, "rollback is only for a champion"),
        ("drop", {"does": does(champion=["take_back"])}, "take_back is only for a canary"),
        ("drop", {"does": does(canary=["retrain"])}, "retrain is only for a champion"),
        ("drop", {"level": "inconclusive"}, "an inconclusive row does nothing"),
        ("drop", {"name": "ok"}, "a name of its own"),
        ("drop", {"owner": "somebody"}, "owner"),
        ("drop", {"why": "x"}, "Extra inputs"),
        ("drop", {"when": {"corruption": ["stream"], "drift": "any", "kpi": "any"}}, "no combination reaches"),
        ("otherwise", {"when": {"corruption": "any", "drift": ["yes"], "kpi": "any"}}, "must take everything"),
        ("otherwise", {"level": "ok"}, "must take everything"),
    ],
)
def test_a_row_that_cannot_be_meant_is_refused(name: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        table(name, **changes)


def test_every_combination_is_answered_once() -> None:
    rows = table("drift").rows
    assert len(COMBINATIONS) == 72
    for combination in COMBINATIONS:
        assert any(row.when.match(*combination) for row in rows)


def test_an_unquoted_yes_or_no_is_understood() -> None:
    when = {"corruption": [False], "drift": [True], "kpi": [False, "undecided"]}  # what YAML 1.1 makes of [no], [yes]
    assert table("drift", when=when) == table("drift")


def test_the_digest_changes_with_the_table_and_with_nothing_else() -> None:
    assert table("drift").digest == load().decisions.digest
    assert table("drift", level="critical").digest != table("drift").digest


def test_a_table_with_a_mistake_is_named_with_its_file(tmp_path: Path) -> None:
    overlay(HERE, tmp_path, {"decisions.yaml": {"rows": []}})
    with pytest.raises(ConfigError, match=r"decisions\.yaml: rows"):
        load(tmp_path)
    (tmp_path / "decisions.yaml").unlink()
    with pytest.raises(ConfigError, match=r"decisions\.yaml: expected a file"):
        load(tmp_path)


@pytest.mark.parametrize("wrong", [{"type": "int64"}, {"type": "string", "subject": True}])
def test_only_a_text_that_is_no_subject_is_redacted(wrong: dict[str, Any]) -> None:
    assert Column(type="string", redact=True, meaning="a note").redact
    with pytest.raises(ValidationError, match="redact is for texts"):
        Column(redact=True, meaning="a note", **wrong)
