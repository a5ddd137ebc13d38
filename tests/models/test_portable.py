"""Every model on disk is trained, measured and asked from files alone, in a process that has neither Prefect nor MLflow.

Evidently and Great Expectations are away as well. One process for all models: each would import the same libraries.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any

import pytest

from models.contract import names
from tests.models.portable import ABSENT

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
GATES = {"champion", "baseline", "bias", "drift", "backtest", "overfitting"}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    command = [sys.executable, "-W", "error", "-m", "tests.models.portable", str(tmp_path_factory.mktemp("portable"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    *models, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert last == {"refused": sorted(ABSENT)}
    return {one["model"]: one for one in models}


def test_what_is_taken_away_is_there_otherwise() -> None:
    assert [name for name in sorted(ABSENT) if find_spec(name) is None] == []


def test_there_are_models() -> None:
    assert names()


@pytest.mark.parametrize("name", names())
def test_a_model_lives_by_files_alone(told: dict[str, dict[str, Any]], name: str) -> None:
    found = told[name]
    assert set(found["gates"]) >= GATES
    assert isfinite(found["metric"])
    assert found["asked"] > 0
    assert found["answered"] > 0
    assert found["same"], "what was dumped and read back answers otherwise"
