"""prefect.yaml: one deployment per flow, none per model, each with the pipeline's version, no secret and no path in it."""

from __future__ import annotations

import importlib
import inspect
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from prefect import Flow

from configs.load import load
from configs.schema import Cadence
from guard import news
from models.contract import names
from stack.programs import POOL
from stores import notify
from tasks.auditing import Part
from tests.stores.ledger.world import ruling

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


def schedules(name: str) -> list[dict[str, Any]]:
    return [found for each in DEPLOYMENTS if name in {"", each["name"]} for found in each.get("schedules", [])]


def triggers() -> list[tuple[str, dict[str, Any]]]:
    return [(each["name"], found) for each in DEPLOYMENTS for found in each.get("triggers", [])]


def parameters(name: str) -> set[str]:
    """Of the flow that a deployment starts."""
    module = importlib.import_module(f"flows.{name}")
    return set(inspect.signature(getattr(module, name).fn).parameters)


def test_each_schedule_names_a_known_dataset() -> None:
    config = load(ROOT / "configs")
    assert schedules("ingest")
    for schedule in schedules("ingest"):
        assert schedule["parameters"]["dataset"] in config.datasets


def test_each_cadence_a_model_can_have_is_scheduled_once() -> None:
    cadences = set(get_args(Cadence.model_fields["every"].annotation)) - {"never"}
    assert len(cadences) == 3
    assert sorted(one["parameters"]["cadence"] for one in schedules("lifecycle")) == sorted(cadences)


@pytest.mark.parametrize("name", ["monitor", "refresh"])
def test_every_model_is_watched_and_refreshed_each_hour(name: str) -> None:
    (hourly,) = schedules(name)
    minute, *rest = hourly["cron"].split()
    assert (minute.isdigit(), rest) == (True, ["*"] * 4)
    assert "parameters" not in hourly


def test_bias_is_audited_weekly_and_the_review_looked_at_daily() -> None:
    crons = {one["parameters"]["part"]: one["cron"].split() for one in schedules("audit")}
    assert set(crons) == {"bias", "review"} < set(get_args(Part))
    assert all(minute.isdigit() and hour.isdigit() for minute, hour, *_ in crons.values())
    assert crons["bias"][2:] == ["*", "*", "1"]
    assert crons["review"][2:] == ["*", "*", "*"]


def test_a_demo_has_no_schedule_and_every_parameter_is_one_of_its_flow() -> None:
    assert schedules("")
    assert {one["active"] for one in schedules("")} == {"{{ $SCHEDULED }}"}
    for each in DEPLOYMENTS:
        for schedule in schedules(each["name"]):
            assert set(schedule.get("parameters", {})) <= parameters(each["name"])


def test_retraining_is_asked_for_by_an_event_that_carries_what_the_flow_wants() -> None:
    ((name, trigger),) = triggers()
    assert (name, trigger["type"], trigger["expect"]) == ("lifecycle", "event", ["grownet.retrain.requested"])
    assert "enabled" not in trigger  # on, also in a demo
    requested = news.retraining(ruling())
    event = notify.prefect_event(requested)
    assert fnmatch(event["resource"]["prefect.resource.id"], trigger["match"]["prefect.resource.id"])
    assert event["event"] in trigger["expect"]
    assert set(trigger["parameters"]) <= parameters("lifecycle")
    taken = {key: re.fullmatch(r"\{\{ event\.payload\.(\w+) \}\}", text) for key, text in trigger["parameters"].items()}
    assert {key: event["payload"][found[1]] for key, found in taken.items() if found} == requested.body
