import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guard.test_rollout import promoted
from tests.guard.town import Town


@pytest.fixture(autouse=True)
def looked_at_every_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a read of the counters may take seconds, after which the guard would leave them for a while."""
    monkeypatch.setattr("guard.watch.SLOW_SECONDS", 60.0)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Version 2 is champion, version 1 stands behind it."""
    town = Town(tmp_path_factory.mktemp("grown"))
    promoted(town, 1)
    promoted(town, 2)
    town.close()
    return town


@pytest.fixture
def two(grown: Town, tmp_path: Path) -> Iterator[Town]:
    """A copy of it: quicker than two releases anew."""
    shutil.copytree(grown.folder, tmp_path / "town")
    town = Town(tmp_path / "town", like=grown)
    yield town
    town.close()
