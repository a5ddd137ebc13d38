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

from checks.operating import VERBS, Stop
from configs.load import load
from configs.schema import Cadence
from flows import operate
from guard import news
from models.contract import names
from records import OutboxEvent
from stack.programs import POOL
from stores import notify
from tasks.auditing import Part
from tests.guard.town import Town
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
    requested = news.retraining(ruling())
    assert started_by("lifecycle", requested) == requested.body


def test_a_changed_plan_is_shown_by_a_run_that_is_told_of_the_model_only(tmp_path: Path) -> None:
    town = Town(tmp_path)
    plan = town.begin(1)
    (changed,) = town.events()
    town.close()
    assert started_by("progress", changed) == {"model": plan.model}
    (schedule,) = schedules("progress")
    minutes, *rest = schedule["cron"].split()
    assert (minutes.count(","), rest) == (1, ["*"] * 4)


def started_by(name: str, told: OutboxEvent) -> dict[str, Any]:
    """The parameters that a deployment's one trigger gives its flow for an event."""
    ((_, trigger),) = [found for found in triggers() if found[0] == name]
    assert trigger["type"] == "event"
    assert "enabled" not in trigger  # on, also in a demo
    event = notify.prefect_event(told)
    assert fnmatch(event["resource"]["prefect.resource.id"], trigger["match"]["prefect.resource.id"])
    assert [event["event"]] == trigger["expect"]
    assert set(trigger["parameters"]) <= parameters(name)
    taken = {key: re.fullmatch(r"\{\{ event\.payload\.(\w+) \}\}", text) for key, text in trigger["parameters"].items()}
    return {key: event["payload"][found[1]] for key, found in taken.items() if found}


def test_operators_wait_for_nobody_and_choose_among_the_verbs() -> None:
    (each,) = [one for one in DEPLOYMENTS if one["name"] == "operate"]
    assert "concurrency_limit" not in each
    assert set(get_args(Stop)) == set(VERBS)
    asked = inspect.signature(operate.operate.fn).parameters
    assert (asked["verb"].annotation, {"model", "operator", "reason"} <= set(asked)) == ("Stop", True)
