"""A model is trained, released, replaced by a canary that is taken back; its papers follow, and can be made again."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from errors import NotFound, UsageError
from flows import release
from records import Candidate, Evidence, Gate, utc_now
from stores.ledger import evidence
from tasks import card, origin, paperwork, watching
from tests.tasks.conftest import open_school
from tests.tasks.school import NAME, School


def judged(school: School, made: Candidate) -> Evidence:
    found = Evidence(
        candidate=made.id,
        model=NAME,
        artifact=made.artifact.content,
        gates=(Gate(name="champion", outcome="pass", reason="looked at it", figures={}),),
        metrics={"ndcg_at_20": 0.5, "ndcg_at_20 - champion": 0.1},
        intervals={"ndcg_at_20 - champion": (0.05, 0.15)},
        created_at=utc_now(),
    )
    evidence.save_evidence(school.ledgers["flow"], found)
    return found


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[School]:
    """Version 1 serves, version 2 was taken back."""
    made = open_school(tmp_path_factory.mktemp("papers"), migrated)
    first = made.train("the first one")
    made.serve(first, judged(made, first))
    made.configure(params={"ridge": 100.0})
    second = made.train("another ridge")
    made.take_back(second, judged(made, second))
    yield made
    made.close()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_training_leaves_the_first_card_in_mlflow_and_below_home(school: School) -> None:
    (described,) = MlflowClient(school.settings.mlflow_url).search_model_versions(
        f"name = '{NAME}' and version_number = '1'"
    )
    assert "# recommendation-v1" in described.description
    assert "Not measured yet." in described.description
    known = origin.read(school.settings.home, NAME, f"{NAME}-v1", described.tags["grownet.artifact"])
    assert known
    assert known.params["ridge"] == 500
    assert known.tables[0].rows > known.tables[0].learned > 0
    assert not [note for note in known.notes if "configuration" in note]


def test_every_version_has_a_card_that_says_how_it_stands(school: School) -> None:
    papers = paperwork.refresh(school.settings, school.config, NAME)
    standing = [card.markdown.splitlines()[2] for card in papers.cards.values()]
    assert standing == ["**Taken back, rejected for good.**", "**Serves.**"]
    cards = files(school.settings.home / "cards" / NAME)
    assert {f"{NAME}-v{number}.{kind}" for number in (1, 2) for kind in ("html", "json", "md")} <= set(cards)
    assert {"feature_v1.html", "feature_v1.md"} <= set(cards)
    serving = cards[f"{NAME}-v1.md"].decode()
    assert "| privacy officer | yes | ben | looked at it |" in serving
    assert "promoted to 100 %" in serving


def test_the_notes_tell_all_versions_newest_first_with_what_changed(school: School) -> None:
    text = paperwork.refresh(school.settings, school.config, NAME).notes
    assert text == (school.settings.releases / f"{NAME}.md").read_text()
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        f"## {NAME}-v2: taken back, rejected for good",
        f"## {NAME}-v1: serves",
    ]
    assert "| params `ridge` | 500.0 | 100.0 |" in text
    assert "| ndcg\\_at\\_20 - champion | +0.1 [+0.05, +0.15] |" in text
    assert "grownet demo" not in text


def test_made_again_they_are_the_same_and_nothing_is_written(school: School) -> None:
    first = paperwork.refresh(school.settings, school.config, NAME)
    again = paperwork.refresh(school.settings, school.config, NAME)
    assert again.changed == ()
    assert again.notes == first.notes


def test_lost_papers_are_made_again_and_say_what_is_not_of_their_time(school: School) -> None:
    cards = school.settings.home / "cards"
    before, kept = paperwork.refresh(school.settings, school.config, NAME), files(cards)
    shutil.rmtree(cards)
    after = paperwork.refresh(school.settings, school.config, NAME)
    assert after.notes == before.notes
    new, old = (each[f"{NAME}-v1.md"].decode() for each in (files(cards), kept))
    assert "which is not the one it was trained with" in new
    assert "which is not the one it was trained with" not in old
    assert files(cards)[f"{NAME}-v2.json"] == kept[f"{NAME}-v2.json"]  # the newest configuration is its own


def test_mlflow_gets_the_card_when_it_changed(school: School) -> None:
    paperwork.kept_up(school.settings, school.config, NAME, registry=True)
    client = MlflowClient(school.settings.mlflow_url)
    texts = {str(one.version): one.description for one in client.search_model_versions(f"name = '{NAME}'")}
    assert "**Serves.**" in texts["1"]
    assert "**Taken back, rejected for good.**" in texts["2"]


def test_a_card_and_notes_are_asked_for_by_name(school: School, tmp_path: Path) -> None:
    newest = paperwork.card_of(school.settings, school.config, NAME)
    assert newest["name"] == f"{NAME}-v2"
    assert paperwork.card_of(school.settings, school.config, NAME, 1)["markdown"].startswith(f"# {NAME}-v1")
    told = paperwork.notes_of(school.settings, school.config, NAME, tmp_path / "docs")
    assert Path(told["file"]).read_text() == told["markdown"]
    with pytest.raises(NotFound, match=r"recommendation-v9.*one of \['recommendation-v2'"):
        paperwork.card_of(school.settings, school.config, NAME, 9)
    with pytest.raises(NotFound, match="a candidate"):
        paperwork.notes_of(school.settings, school.config, "nobody")


def test_the_flows_that_follow_the_guard_write_them(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = school.settings.releases / f"{NAME}.md"
    for name, value in school.environment.items():
        monkeypatch.setenv(name, value)
    notes.unlink(missing_ok=True)
    release.write_papers.fn(NAME)
    assert notes.exists()
    notes.unlink()
    watching.write_papers.fn([NAME])
    assert notes.exists()


def test_a_version_of_other_tables_has_no_card_made_again(school: School, caplog: pytest.LogCaptureFixture) -> None:
    recipe = school.config.models[NAME].model_copy(update={"tables": {}})
    other = school.config.model_copy(update={"models": {NAME: recipe}})
    kept = school.settings.home / "cards"
    kept.rename(kept.with_name("kept"))
    assert paperwork.refresh(school.settings, other, NAME).cards == {}
    assert "expected ['orders'], got []" in caplog.text
    shutil.rmtree(kept, ignore_errors=True)
    kept.with_name("kept").rename(kept)


def test_papers_that_cannot_be_written_stop_no_flow(school: School, caplog: pytest.LogCaptureFixture) -> None:
    blocked = school.settings.model_copy(update={"releases": Path(school.settings.home) / "ledger.db"})
    (school.settings.releases / f"{NAME}.md").unlink(missing_ok=True)
    with caplog.at_level(logging.WARNING):
        paperwork.kept_up(blocked, school.config, NAME)
    assert "not all up to date" in caplog.text


def test_papers_that_cannot_be_made_stop_no_flow(
    school: School, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card, "JUDGED", {})
    paperwork.kept_up(school.settings, school.config, NAME)
    assert "not all up to date" in caplog.text


def test_a_card_and_notes_are_shown_where_nothing_can_be_written(
    school: School, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    blocked = school.settings.model_copy(update={"releases": tmp_path / "file"})
    assert paperwork.card_of(blocked, school.config, NAME, 1)["markdown"].startswith(f"# {NAME}-v1")
    assert paperwork.notes_of(blocked, school.config, NAME)["markdown"]
    assert "not all up to date" in caplog.text
    with pytest.raises(UsageError, match=r"--write: expected a folder to write into, got .*file"):
        paperwork.notes_of(school.settings, school.config, NAME, tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_facts_that_are_no_utf_8_are_made_again(school: School) -> None:
    kept = school.settings.home / "cards" / NAME / f"{NAME}-v2.json"
    before = kept.read_bytes()
    kept.write_bytes(before.replace(b"ridge", b"rid\xffe"))
    paperwork.refresh(school.settings, school.config, NAME)
    assert kept.read_bytes() == before
