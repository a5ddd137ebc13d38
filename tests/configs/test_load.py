"""Configuration: refused for anything unknown, with every problem of every file at once."""

import shutil
from pathlib import Path

import pytest

from configs.load import HERE, config_digest, load, overlay, settings
from errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "configs"
    shutil.copytree(HERE, target, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    return target


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path.name}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_configuration_we_ship_is_accepted() -> None:
    config = load()
    assert config.models
    assert config.datasets
    for model in config.models.values():
        assert len(set(model.owners)) >= 2


def test_all_problems_of_all_files_are_reported_at_once(folder: Path) -> None:
    edit(folder / "defaults.yaml", "tick_seconds: 0.5", "tick_seconds: soon\n  tock_seconds: 1")
    edit(folder / "recommendation.yaml", "kpi:", "kip: x\nkpi:")
    with pytest.raises(ConfigError) as caught:
        load(folder)
    problems = "\n".join(caught.value.problems)
    assert "defaults.yaml: guard.tick_seconds" in problems
    assert "defaults.yaml: guard.tock_seconds" in problems
    assert "recommendation.yaml: kip" in problems


def test_a_key_given_twice_is_refused(folder: Path) -> None:
    edit(folder / "defaults.yaml", "owners:", "owners: {}\nowners:")
    with pytest.raises(ConfigError, match="given twice"):
        load(folder)


def test_a_model_on_an_undeclared_dataset_is_refused(folder: Path) -> None:
    edit(folder / "recommendation.yaml", "online_retail", "offline_retail")
    with pytest.raises(ConfigError, match="offline_retail"):
        load(folder)


def test_a_model_with_one_owner_is_refused(folder: Path) -> None:
    path = folder / "recommendation.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("owners:"))
    rest = [line for line in lines[start + 1 :] if not line.startswith(" ")]
    path.write_text("\n".join([*lines[:start], "owners: [ada@example.org, ada@example.org]", *rest]), encoding="utf-8")
    with pytest.raises(ConfigError, match="two different owners"):
        load(folder)


def test_text_that_is_no_yaml_is_named(folder: Path) -> None:
    (folder / "recommendation.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"recommendation\.yaml: not readable as YAML"):
        load(folder)


def test_a_file_name_and_a_name_inside_must_agree(folder: Path) -> None:
    with (folder / "recommendation.yaml").open("a", encoding="utf-8") as file:
        file.write("\nname: other\n")
    with pytest.raises(ConfigError, match=r"recommendation\.yaml: name"):
        load(folder)


def test_settings_refuse_an_unknown_variable() -> None:
    with pytest.raises(ConfigError, match="GROWNET_HOEM"):
        settings({"GROWNET_HOEM": "/x"})


def test_settings_report_a_wrong_type_by_its_variable() -> None:
    with pytest.raises(ConfigError, match="GROWNET_THREADS"):
        settings({"GROWNET_THREADS": "many"})


def test_settings_derive_what_is_not_given(tmp_path: Path) -> None:
    chosen = settings({"GROWNET_HOME": str(tmp_path), "GROWNET_PREFECT_URL": "http://127.0.0.1:1234/api"})
    assert chosen.ledger_url == f"sqlite:///{tmp_path}/ledger.db"
    assert chosen.prefect_ui_url == "http://127.0.0.1:1234"


def test_release_notes_go_below_home_or_where_people_keep_them(tmp_path: Path) -> None:
    assert settings({"GROWNET_HOME": str(tmp_path)}).releases == tmp_path / "releases"
    assert settings({"GROWNET_RELEASES": "docs/releases"}).releases == Path("docs/releases").resolve()


def test_the_digest_changes_with_a_decision_and_with_nothing_else(folder: Path) -> None:
    before = config_digest(load(folder), "recommendation")
    assert config_digest(load(folder), "recommendation") == before
    edit(folder / "defaults.yaml", "margin_fail: 0.05", "margin_fail: 0.06")
    assert config_digest(load(folder), "recommendation") != before


def test_an_overlay_differs_in_what_was_asked_and_in_nothing_else(tmp_path: Path) -> None:
    overlay(HERE, tmp_path, {"recommendation.yaml": {"kpi": "other", "split": {"holdout_days": 7}}})
    mine, house = load(tmp_path).models["recommendation"], load().models["recommendation"]
    assert (mine.kpi, mine.split.holdout_days) == ("other", 7)
    assert mine.split.outcome_days == house.split.outcome_days
    assert mine.model_copy(update={"kpi": house.kpi, "split": house.split}) == house
