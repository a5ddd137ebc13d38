"""To add a model takes two files: `aisle` is put beside the others in a copy of the code, and nothing else changes.

It passes the contract test unaided and goes through the deployments as they are: features, training, gates (the real
service loads it in one of them), ballot, votes, and a canary.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EIGHTH = Path(__file__).resolve().parent / "eighth"
ROOMS = (
    "checks",
    "configs",
    "expectations",
    "flows",
    "models",
    "serving",
    "guard",
    "stack",
    "stores",
    "tasks",
    "tests",
)
FILES = ("errors.py", "records.py", "grownet.py", "prefect.yaml", "pyproject.toml", "requirements.lock")

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code with the eighth model in it."""
    tree = tmp_path_factory.mktemp("house")
    for room in ROOMS:
        shutil.copytree(ROOT / room, tree / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, tree / name)
    (tree / "data").symlink_to(ROOT / "data")
    assert not (tree / "models" / "aisle.py").exists()
    shutil.copy(EIGHTH / "aisle.py", tree / "models" / "aisle.py")
    shutil.copy(EIGHTH / "aisle.yaml", tree / "configs" / "aisle.yaml")
    return tree


def run(tree: Path, *command: str) -> str:
    """What a Python of the copy prints."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("GROWNET_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tree,
        env={**own, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


def test_it_passes_the_contract_unaided(copy: Path) -> None:
    said = run(copy, "pytest", "-q", "-p", "no:cacheprovider", "tests/models/test_contract.py", "-k", "aisle")
    passed = next(line for line in said.splitlines() if " passed" in line)
    assert "skipped" not in passed
    assert int(passed.split(" passed")[0].split()[-1]) >= 20


def test_it_goes_from_orders_to_a_canary(copy: Path, tmp_path: Path) -> None:
    found = json.loads(run(copy, "tests.flows.eighth.drive", "aisle", str(tmp_path / "home")).splitlines()[-1])
    assert set(found["gates"].values()) == {"pass"}
    assert {"champion", "baseline", "bias", "drift", "backtest", "service", "latency", "size"} <= set(found["gates"])
    assert found["plan"]["canary"] == "aisle-v1"
    assert found["plan"]["champion"] == "rules"
    assert (found["live"]["arm"], found["live"]["version"]) == ("champion", 1)
    assert found["live"]["decision"]["items"]
    assert found["watched"] == "COMPLETED"
    assert found["rules"]["arm"] == "rules"
