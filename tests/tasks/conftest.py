from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import cast

import pytest

from models.contract import Model


@pytest.fixture(scope="session")
def toy() -> Model:
    """The toy model's module; it stands beside the tests and not in models/, where it would be picked up."""
    spec = importlib.util.spec_from_file_location("toy", Path(__file__).with_name("toy.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast(Model, module)
