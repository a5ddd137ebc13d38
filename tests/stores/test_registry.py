from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from mlflow import MlflowClient
from mlflow.models import get_model_info

from errors import StackError
from models.contract import Decided
from records import Arm, Artifact, ReleasePlan, Snapshot, Version
from stores.registry import Registry, Training
from tests.ports import free_port

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    subject: str | None = None
    recent: tuple[str, ...] = ()
    k: int
    anything: dict[str, int] | list[int] = []


def training(number: int = 1, content: str = "a" * 64, candidate: str = "") -> Training:
    version = Version(name="data_v3", number=3, content="d" * 64)
    return Training(
        candidate=candidate or f"shop-v{number}-x",
        model="shop",
        name=f"shop-v{number}",
        artifact=Artifact(uri=f"artifacts://aa/{content}", content=content, size_bytes=10),
        snapshots=(Snapshot(table="orders", version=version, delta_version=7, rows=5, batches=("1",), suite="s" * 64),),
        lake_uri="somewhere/lake",
        params={"params.ridge": "500"},
        metrics={"seconds_fit": 1.5},
        tags={"data": "data_v3", "commit": "abc"},
        example=({"k": 3}, {"subject": "made up", "k": 5}),
        card="# shop",
        started_at=NOW,
        ended_at=NOW + timedelta(seconds=3),
    )


def plan(champion: Arm, canary: Arm | None = None, percent: float = 0.0) -> ReleasePlan:
    return ReleasePlan(
        model="shop",
        revision=1,
        mode="model",
        champion=champion,
        canary=canary,
        canary_percent=percent,
        reason="test",
        actor="test",
        created_at=NOW,
    )


def arm(number: int, content: str) -> Arm:
    return Arm(
        number=number,
        name=f"shop-v{number}",
        artifact=Artifact(uri=f"artifacts://aa/{content}", content=content, size_bytes=10),
    )


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh MLflow database takes seconds of migrations; each test copies this one."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    Registry.open(f"sqlite:///{path}")
    return path


@pytest.fixture
def url(migrated: Path, tmp_path: Path) -> str:
    shutil.copy(migrated, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def registry(url: str) -> Registry:
    return Registry.open(url, wait_seconds=5)


def test_a_run_carries_parameters_metrics_tags_and_our_digest_of_the_data(registry: Registry, url: str) -> None:
    run_id = registry.record(training(), Request, Decided)
    run = MlflowClient(url).get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == 3000
    assert run.data.params == {"params.ridge": "500"}
    assert run.data.metrics == {"seconds_fit": 1.5}
    assert run.data.tags["data"] == "data_v3"
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("orders", "d" * 36)
    assert json.loads(given.dataset.source) == {"path": "somewhere/lake/orders", "delta_table_version": 7}
    assert {tag.key: tag.value for tag in given.tags}["grownet.digest"] == "d" * 64


def test_a_version_has_signature_and_made_up_example_and_no_model(registry: Registry, url: str, tmp_path: Path) -> None:
    run_id = registry.record(training(), Request, Decided)
    (version,) = MlflowClient(url).search_model_versions("name = 'shop'")
    assert version.run_id == run_id
    assert version.tags["commit"] == "abc"
    info = get_model_info(f"models:/shop/{version.version}")
    assert info.flavors["grownet"]["sha256"] == "a" * 64
    columns = {column["name"]: (str(column["type"]), column["required"]) for column in info.signature.inputs.to_dict()}
    assert columns == {
        "subject": ("string", False),
        "recent": ("array", False),
        "k": ("long", True),
        "anything": ("any", False),
    }
    assert info.signature.outputs.input_names() == ["items", "scores", "value", "overruled"]
    files = {path.name: path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()}
    assert set(files) == {"MLmodel", "input_example.json", "card.md"}
    example = json.loads(files["input_example.json"].read_text())
    assert example["data"] == [[None, None, 3, None], ["made up", None, 5, None]]


def test_recording_again_changes_nothing(registry: Registry, url: str) -> None:
    first = registry.record(training(), Request, Decided)
    assert registry.record(training(), Request, Decided) == first
    client = MlflowClient(url)
    assert len(client.search_runs([client.get_experiment_by_name("shop").experiment_id])) == 1
    assert len(client.search_model_versions("name = 'shop'")) == 1


def test_a_verdict_reaches_the_run_and_its_own_version_only(registry: Registry, url: str) -> None:
    first = registry.record(training(), Request, Decided)
    registry.judge("shop", first, {"hit": 0.5}, {"grownet.status": "passed"})
    again = registry.record(training(candidate="shop-v1-again"), Request, Decided)
    registry.judge("shop", again, {}, {"grownet.status": "discarded"})
    client = MlflowClient(url)
    assert client.get_run(first).data.metrics["hit"] == 0.5
    assert client.get_run(again).data.tags["grownet.status"] == "discarded"
    (version,) = client.search_model_versions("name = 'shop'")
    assert version.tags["grownet.status"] == "passed"


def test_a_card_is_put_on_its_version_once_and_whole(registry: Registry, url: str, tmp_path: Path) -> None:
    registry.record(training(), Request, Decided)
    card = "# shop\n" + "a line of the card\n" * 500
    assert registry.describe("shop", {"a" * 64: card, "f" * 64: "of nobody"}) == ("a" * 64,)
    assert registry.describe("shop", {"a" * 64: card}) == ()
    (version,) = MlflowClient(url).search_model_versions("name = 'shop'")
    assert len(version.description) <= 5000
    assert version.description.endswith("*The whole card is card.md among the artifacts of this version.*\n")
    (whole,) = (path for path in (tmp_path / "artifacts").rglob("card.md"))
    assert whole.read_text() == card
    assert registry.describe("nobody", {"a" * 64: card}) == ()


def test_aliases_mirror_the_plan(registry: Registry) -> None:
    registry.record(training(1, "a" * 64), Request, Decided)
    registry.record(training(2, "b" * 64), Request, Decided)
    rules, one, two = Arm(number=0, name="rules"), arm(1, "a" * 64), arm(2, "b" * 64)
    assert registry.mirror(plan(rules)) == {}
    assert registry.mirror(plan(rules, canary=one)) == {"shadow": "1"}
    assert registry.mirror(plan(one, canary=two, percent=5)) == {"champion": "1", "canary": "2"}
    assert registry.mirror(plan(two)) == {"champion": "2"}
    assert registry.mirror(plan(arm(3, "c" * 64), canary=one)) == {"shadow": "1"}


def test_a_plan_of_a_model_mlflow_never_saw_has_no_alias(registry: Registry) -> None:
    assert registry.mirror(plan(Arm(number=0, name="rules"))) == {}


def test_an_mlflow_that_stays_away_is_an_error_with_what_to_do() -> None:
    started = time.monotonic()
    with pytest.raises(StackError, match=r"MLflow at http://127.0.0.1:9, .*grownet doctor"):
        Registry.open("http://somebody:secret@127.0.0.1:9", wait_seconds=1).mirror(plan(Arm(number=0, name="rules")))
    assert time.monotonic() - started < 30  # not the five minutes of the house


def test_a_refusal_is_not_repeated(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(
        "stores.registry.time", SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=waited.append)
    )
    with pytest.raises(StackError, match="no-such-run"):
        registry.judge("shop", "no-such-run", {}, {})
    assert waited == []


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def late_server(migrated: Path, tmp_path: Path, port: int) -> Iterator[None]:
    """An MLflow server that starts two seconds after it is first needed."""
    shutil.copy(migrated, tmp_path / "mlflow.db")
    where = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path / 'mlflow.db'}",
        "--artifacts-destination",
        str(tmp_path / "a"),
    ]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        with (tmp_path / "mlflow.log").open("wb") as output:
            started.append(
                subprocess.Popen([*command, *where], env={**os.environ, **quiet}, stdout=output, stderr=output)
            )

    timer = threading.Timer(2.0, start)
    timer.start()
    yield
    timer.join()
    for process in started:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.slow  # it waits
@pytest.mark.stack
def test_training_waits_for_a_server_that_is_away(late_server: None, port: int) -> None:
    registry = Registry.open(f"http://127.0.0.1:{port}", wait_seconds=120)
    run_id = registry.record(training(), Request, Decided)
    registry.judge("shop", run_id, {"hit": 0.5}, {"grownet.status": "passed"})
    assert registry.mirror(plan(arm(1, "a" * 64))) == {"champion": "1"}
    info = get_model_info("models:/shop/1")
    assert info.flavors["grownet"]["sha256"] == "a" * 64
