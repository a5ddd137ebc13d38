"""The ingest flow on a Prefect server of its own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.testing.utilities import prefect_test_harness

from configs.load import HERE
from errors import BatchRefused, LedgerUnavailable, SourceError
from flows.ingest import ingest
from tasks.door import take_batch
from tests.tasks.shop import NAME, Shop, orders


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop whose configuration stands on disk, as a run finds it."""
    shop = Shop(tmp_path)
    shutil.copytree(HERE, tmp_path / "configs", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    declared = tmp_path / "configs" / "datasets" / f"{NAME}.yaml"
    changed = yaml.safe_load(declared.read_text())
    changed["source"] = {"format": "csv", "uri": f"{tmp_path}/{{batch}}.csv"}
    declared.write_text(yaml.safe_dump(changed))
    monkeypatch.setenv("GROWNET_HOME", str(shop.settings.home))
    monkeypatch.setenv("GROWNET_CONFIGS", str(tmp_path / "configs"))
    return shop


def artifacts() -> dict[str, str]:
    with get_client(sync_client=True) as client:
        found = client.read_artifacts()
    return {str(artifact.key): str(artifact.data) for artifact in found if artifact.key}


@pytest.mark.stack
@pytest.mark.slow  # a Prefect server of its own
def test_the_flow_takes_new_batches_in_and_shows_their_pages(server: None, shop: Shop) -> None:
    for month in ("2011-06", "2011-07"):
        shop.send(month, orders(month))
    snapshots = ingest(NAME, until="2011-06") + ingest(NAME)
    assert [snapshot.batches[-1] for snapshot in snapshots] == ["2011-06", "2011-07"]
    assert ingest(NAME) == []
    assert ingest(NAME, "2011-07") == snapshots[1:]
    shown = artifacts()
    assert "let in: 200 rows" in shown["data-orders-2011-07"]
    assert str(shop.settings.home / "pages" / "data" / "orders" / "2011-06.html") in shown["data-orders-2011-06"]


@pytest.mark.stack
@pytest.mark.slow  # a Prefect server of its own
def test_a_refused_batch_fails_the_run_at_once_and_shows_why(server: None, shop: Shop) -> None:
    shop.send("2011-08", orders().assign(unit_price=250.0))
    with pytest.raises(BatchRefused, match="price_level"):
        ingest(NAME)
    assert "**price_level" in artifacts()["data-orders-2011-08"]
    with get_client(sync_client=True) as client:
        runs = [run for run in client.read_task_runs() if run.name == "take 2011-08 in"]
    assert [run.run_count for run in runs] == [1]


@pytest.mark.parametrize(
    ("problem", "again"),
    [(SourceError("away"), True), (LedgerUnavailable("locked"), True), (BatchRefused("corrupt"), False)],
)
def test_only_what_may_pass_is_tried_again(problem: Exception, again: bool) -> None:
    failed: State[object] = State(type=StateType.FAILED, data=problem)
    assert take_batch.retry_condition_fn is not None
    assert take_batch.retry_condition_fn(take_batch, None, failed) == again  # type: ignore[arg-type]  # no run is looked at
