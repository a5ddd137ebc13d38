"""prefect.yaml: one deployment per flow, none per model, each with the pipeline's version, no secret and no path in it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow

from configs.load import load
from models.contract import names
from stack.programs import POOL

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load(TEXT)["deployments"]
FLOWS = sorted(path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__")


def test_every_flow_has_one_deployment_of_its_name() -> None:
    assert FLOWS
    assert sorted(each["name"] for each in DEPLOYMENTS) == FLOWS


@pytest.mark.parametrize("name", FLOWS)
def test_a_deployment_points_at_its_flow(name: str) -> None:
    each = next(one for one in DEPLOYMENTS if one["name"] == name)
    module, function = each["entrypoint"].rsplit(".", 1)
    found = getattr(importlib.import_module(module), function)
    assert isinstance(found, Flow)
    assert found.name == name
    assert found.description
    assert each["version"] == "{{ $PIPELINE_VERSION }}"
    assert each["work_pool"]["name"] == POOL


def test_votes_stand_in_line() -> None:
    release = next(one for one in DEPLOYMENTS if one["name"] == "release")
    assert release["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_nothing_in_it_names_a_model_a_secret_or_a_path() -> None:
    for word in [*names(), "GROWNET_", "password", str(ROOT), "directory:"]:
        assert word not in TEXT, word


def test_each_schedule_names_a_known_dataset() -> None:
    config = load(ROOT / "configs")
    schedules = [schedule for each in DEPLOYMENTS for schedule in each.get("schedules", [])]
    assert schedules
    for schedule in schedules:
        assert schedule["parameters"]["dataset"] in config.datasets
