"""Rulings and verdicts of a real guard, derived again: the same, or exactly what was changed in the file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from configs.load import load
from errors import NotFound
from grownet import app
from records import Ruling
from tasks.replay import describe, replay
from tasks.trace import describe as described
from tasks.trace import overview
from tests.checks.traffic import pairs
from tests.guard.test_rollout import promoted
from tests.guard.town import Town, settings
from tests.stores.ledger.world import MODEL

CONFIG = load()


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Version 1 answered; drift and a drop against its control, the rules, sent it back."""
    made = Town(tmp_path_factory.mktemp("replayed"))
    promoted(made, 1)
    made.count(pairs("salt-1", 0, 4000, (0.3, 0.15), arm="control"))
    made.find(corruption="no", drift="yes", kpi="undecided")
    made.follow()
    made.guard().tick()
    yield made
    made.close()


def acted(town: Town) -> Ruling:
    return next(ruling for ruling in town.rulings() if ruling.row == "drift_and_drop")


def test_every_ruling_of_the_guard_is_derived_again(town: Town) -> None:
    chosen = settings(town.folder)
    assert len(town.rulings()) >= 2
    for ruling in town.rulings():
        facts = replay(chosen, CONFIG, ruling.id)
        assert (facts["same"], facts["differs"]) == (True, {})
        assert facts["table_now"]
    facts = replay(chosen, CONFIG, acted(town).id)
    assert facts["actions"] == ["rollback", "freeze", "retrain", "incident"]
    assert describe(facts).endswith("  same")


def test_every_verdict_is_derived_in_part_and_says_in_which(town: Town) -> None:
    assert town.verdicts()
    for verdict in town.verdicts():
        facts = replay(settings(town.folder), CONFIG, verdict.id)
        assert facts["same"]
        assert "not the interval itself" in facts["derived"]


def changed(town: Town, tmp_path: Path, table: str, old: str, new: str) -> Path:
    """A copy of the ledger in which somebody rewrote rows, past the triggers."""
    copy = tmp_path / "ledger.db"
    with sqlite3.connect(town.folder / "ledger.db") as source, sqlite3.connect(copy) as target:
        source.backup(target)
        target.execute(f"DROP TRIGGER {table}_update")
        sql = f"UPDATE {table} SET payload = replace(payload, ?, ?) WHERE instr(payload, ?)"
        rows = target.execute(sql, (old, new, old)).rowcount
    source.close()
    target.close()
    assert rows
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"row":"drift_and_drop"', '"row":"drop"', "row"),
        ('"actions":["rollback","freeze","retrain"', '"actions":["rollback","freeze"', "actions"),
        ('"state":"kpi_drop"', '"state":"watching"', "kpi"),
        ('"max_per_quarter":3', '"max_per_quarter":0', "actions"),
        ('"canary":["take_back","freeze","incident"]', '"canary":["freeze"]', "table"),
        ('"role":"champion","silent"', '"role":"nobody","silent"', "inputs"),
    ],
)
def test_whatever_was_changed_in_a_ruling_shows(town: Town, tmp_path: Path, old: str, new: str, named: str) -> None:
    house = settings(changed(town, tmp_path, "rulings", old, new))
    facts = replay(house, CONFIG, acted(town).id)
    assert not facts["same"]
    assert named in facts["differs"]
    assert f"DIFFERS {named}" in describe(facts)


def test_a_finding_that_was_changed_afterwards_shows(town: Town, tmp_path: Path) -> None:
    house = settings(changed(town, tmp_path, "findings", '"psi":0.3', '"psi":0.03'))
    facts = replay(house, CONFIG, acted(town).id)
    assert "finding drift-1-1" in facts["differs"]


def test_a_verdict_that_was_changed_shows(town: Town, tmp_path: Path) -> None:
    [verdict] = [one for one in town.verdicts() if one.kpi == "drop"]
    house = settings(changed(town, tmp_path, "verdicts", '"kpi":"drop"', '"kpi":"pass"'))
    assert replay(house, CONFIG, verdict.id)["differs"]["kpi"] == {"stored": "pass", "derived": "drop"}


def test_an_unknown_id_is_refused(town: Town) -> None:
    with pytest.raises(NotFound, match="a ruling or a verdict"):
        replay(settings(town.folder), CONFIG, "ruling-0")


def test_the_command_prints_and_its_exit_code_means_something(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ruling = acted(town)
    monkeypatch.setenv("GROWNET_HOME", str(town.folder))
    good = CliRunner().invoke(app, ["replay", ruling.id, "--json"])
    assert (good.exit_code, json.loads(good.stdout)["same"]) == (0, True)
    assert "drift yes, kpi yes -> drift_and_drop (critical)" in CliRunner().invoke(app, ["replay", ruling.id]).stdout
    monkeypatch.setenv("GROWNET_HOME", str(changed(town, tmp_path, "rulings", '"drift":"yes"', '"drift":"no"')))
    bad = CliRunner().invoke(app, ["replay", ruling.id])
    assert bad.exit_code == 1
    assert "DIFFERS drift: stored 'no', derived 'yes'" in bad.stdout


def test_the_overview_shows_ruling_freeze_and_incident(town: Town) -> None:
    [item] = [one for one in overview(settings(town.folder), CONFIG) if one["model"] == MODEL]
    assert item["frozen"].startswith("for drift")
    assert item["rulings"][-1]["id"] == town.rulings()[-1].id
    text = described([item])
    assert f"ruling {town.rulings()[-1].id}" in text
    assert "  frozen for drift" in text
    assert "incident incident-" in text
