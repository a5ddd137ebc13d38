from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.town import Server, Town


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which version 1 was released, made once and copied by each test that changes it."""
    home = tmp_path_factory.mktemp("built")
    town = Town(home)
    town.released()
    town.close()
    return home


@pytest.fixture
def town(built: Path, tmp_path: Path) -> Iterator[Town]:
    """A home of one's own with version 1 as champion and the rules as control."""
    home = tmp_path / "home"
    shutil.copytree(built, home)
    town = Town(home)
    yield town
    town.close()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Town]:
    """A home in which nothing was released."""
    town = Town(tmp_path / "home")
    yield town
    town.close()


@pytest.fixture(scope="module")
def server(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running service that tests of one file share; they do not change its plan."""
    home = tmp_path_factory.mktemp("shared") / "home"
    shutil.copytree(built, home)
    town = Town(home, {"max_body_bytes": 20_000})
    running = Server(town).ready()
    yield running
    assert running.stop() == 0, running.lines
    town.close()
