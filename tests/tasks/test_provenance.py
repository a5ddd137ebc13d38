from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from checks.ballots import is_author
from errors import StackError
from tasks.provenance import PIPELINE, authors, commit, pipeline_digest

ADA, BO = "Ada <ada@example.org>", "Bo <bo@example.org>"


def git(folder: Path, *arguments: str, author: str = ADA) -> None:
    name, email = author.rstrip(">").split(" <")
    who = ["-c", f"user.name={name}", "-c", f"user.email={email}", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "code"
    for room in PIPELINE:
        (root / room).mkdir(parents=True)
        (root / room / "code.py").write_text(f"# {room}\n")
    (root / "records.py").write_text("# records\n")
    (root / "requirements.lock").write_text("numpy==2\n")
    (root / "configs" / "shop.yaml").write_text("seed: 1\n")
    return root


@pytest.fixture
def repository(tree: Path) -> Path:
    git(tree, "init", "-q")
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "first")
    (tree / "configs" / "shop.yaml").write_text("seed: 2\n")
    git(tree, "commit", "-qam", "configuration", author=BO)
    (tree / "records.py").write_text("# records 2\n")
    git(tree, "commit", "-qam", "code\n\nCo-authored-by: Cy <cy@example.org>")
    return tree


def test_authors_are_those_of_the_commit_and_of_the_configuration(repository: Path) -> None:
    found = authors(repository / "configs" / "shop.yaml", repository)
    assert found == (ADA, BO, "Cy <cy@example.org>")
    assert is_author(["bo@example.org"], found)


def test_a_clean_commit_is_its_hash_and_a_changed_tree_says_so(repository: Path) -> None:
    clean = commit(repository)
    assert len(clean) == 40
    (repository / "models" / "code.py").write_text("# changed\n")
    assert commit(repository) == f"{clean}+dirty"


def test_whoever_is_at_the_keyboard_wrote_what_is_not_committed(repository: Path) -> None:
    git(repository, "config", "user.name", "Di")
    git(repository, "config", "user.email", "di@example.org")
    (repository / "configs" / "shop.yaml").write_text("seed: 3\n")
    assert authors(repository / "configs" / "shop.yaml", repository) == (
        ADA,
        "Cy <cy@example.org>",
        "Di <di@example.org>",
    )


def test_outside_git_all_is_unknown(tree: Path) -> None:
    assert commit(tree) == "unknown"
    assert authors(tree / "configs" / "shop.yaml", tree) == ("unknown",)


def test_a_copy_in_somebody_elses_repository_is_unknown(tree: Path) -> None:
    (tree.parent / ".gitignore").write_text("code\n")
    git(tree.parent, "init", "-q")
    git(tree.parent, "add", ".gitignore")
    git(tree.parent, "commit", "-qm", "theirs")
    assert commit(tree) == "unknown"
    assert authors(tree / "configs" / "shop.yaml", tree) == ("unknown",)


def test_without_git_training_still_works(repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("git") is None
    assert commit(repository) == "unknown"
    assert authors(repository / "configs" / "shop.yaml", repository) == ("unknown",)


@pytest.mark.parametrize("changed", ["flows/code.py", "models/code.py", "requirements.lock"])
def test_the_pipeline_is_another_when_its_code_or_its_locked_dependencies_change(tree: Path, changed: str) -> None:
    before = pipeline_digest(tree)
    (tree / changed).write_text("# other\n")
    assert pipeline_digest(tree) != before


def test_the_pipeline_is_the_same_for_a_copy_elsewhere_and_another_configuration(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "copy")
    (tmp_path / "copy" / "configs" / "shop.yaml").write_text("seed: 9\n")
    assert pipeline_digest(tmp_path / "copy") == pipeline_digest(tree)


def test_no_tree_is_no_version(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"requirements\.lock"):
        pipeline_digest(tmp_path)
