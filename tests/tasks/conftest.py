from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from models.contract import Model
from tests.tasks import toy as toy_module
from tests.tasks.observatory import Observatory
from tests.tasks.school import School, orders


@pytest.fixture(scope="session")
def toy() -> Model:
    """The toy model's module; it stands beside the tests and not in models/, where it would be picked up."""
    return cast(Model, toy_module)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh MLflow database takes seconds of migrations; each school copies this one."""
    from stores.registry import Registry

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    Registry.open(f"sqlite:///{path}")
    return path


@pytest.fixture
def school(tmp_path: Path, migrated: Path) -> Iterator[School]:
    """Half a year of orders taken in, nothing trained."""
    made = open_school(tmp_path / "home", migrated)
    yield made
    made.close()


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[School]:
    """As `school`, shared by the tests of a module that change nothing the others look at."""
    made = open_school(tmp_path_factory.mktemp("school"), migrated)
    yield made
    made.close()


def open_school(folder: Path, migrated: Path) -> School:
    (folder / "mlflow").mkdir(parents=True)
    shutil.copy(migrated, folder / "mlflow" / "mlflow.db")
    made = School(folder, f"sqlite:///{folder}/mlflow/mlflow.db")
    made.take_in(orders(), "all")
    return made


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with version 1 at 100 %; each test has a copy."""
    folder = tmp_path_factory.mktemp("observatory") / "home"
    made = Observatory(folder)
    made.watched()
    made.close()
    return folder


@pytest.fixture
def town(built: Path, tmp_path: Path) -> Iterator[Observatory]:
    shutil.copytree(built, tmp_path / "home")
    made = Observatory(tmp_path / "home")
    made.prepare()
    yield made
    made.close()
