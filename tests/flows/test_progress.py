"""The progress flow on a Prefect server of its own: one bar a revision, a page when it says something else, MLflow away or there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import Artifact
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from checks import plans as moves
from errors import NotFound
from flows import progress as flow
from stores.registry import Registry
from tasks.progress import mirror_aliases
from tests.guard.test_rollout import GOOD, traffic
from tests.guard.town import Town
from tests.stores.ledger.world import MODEL

pytestmark = [pytest.mark.stack, pytest.mark.slow]  # a Prefect server of its own


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    made = Town(tmp_path)
    monkeypatch.setenv("GROWNET_HOME", str(tmp_path))
    monkeypatch.setenv("GROWNET_MLFLOW_URL", "http://127.0.0.1:9")
    quick = mirror_aliases.with_options(retries=1, retry_delay_seconds=0)
    monkeypatch.setattr(flow, "mirror_aliases", quick)
    monkeypatch.setattr("tasks.progress.MLFLOW_SECONDS", 0.5)
    monkeypatch.setattr("tasks.progress.QUIET_SECONDS", 0)
    with prefect_test_harness(server_startup_timeout=180):
        monkeypatch.setenv("GROWNET_PREFECT_URL", str(PREFECT_API_URL.value()))
        yield made
    made.close()


def artifacts(kind: str) -> list[Artifact]:
    """Those of the model, oldest first."""
    with get_client(sync_client=True) as client:
        found = [one for one in client.read_artifacts() if one.key == f"{kind}-{MODEL}"]
    return sorted(found, key=lambda one: str(one.created))


def asked(model: str, deployment: UUID) -> UUID:
    """A run that waits in line."""
    with get_client(sync_client=True) as client:
        return client.create_flow_run_from_deployment(deployment, parameters={"model": model}).id


def states(*asked: UUID) -> list[str]:
    with get_client(sync_client=True) as client:
        found = [client.read_flow_run(one).state for one in asked]
    return [str(one.type.value) for one in found if one is not None]


def run() -> list[Any]:
    """The states of one run: those that showed, and the one of MLflow last."""
    found: Any = flow.progress(MODEL, return_state=True).result(raise_on_failure=False)
    return list(found)


def test_a_rollout_is_shown_as_it_is_whatever_events_say(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound, match="one of"):
        flow.progress("nothing")
    town.begin(1)
    guard = town.guard()
    town.follow()
    guard.tick()
    shown, mirrored = run()
    assert (shown.is_completed(), mirrored.is_failed()) == (True, True)
    assert "MLflow" in mirrored.message
    (bar,), (page,) = artifacts("progress"), artifacts("rollout")
    assert bar.data == 0
    assert str(bar.description).startswith("Revision 1: recommendation-v1 at step 1 of 3, in the shadow.")
    assert "| 1 | shadow | 0 s | 200 | **here**" in str(page.data)

    with get_client(sync_client=True) as client:
        line = client.create_deployment(client.create_flow(flow.progress), name="progress")
    same, twin, other = (asked(model, line) for model in (MODEL, MODEL, "demand"))
    assert run()[0].is_completed()  # told twice: nothing is written twice, and who waits in line is taken over
    assert states(same, twin, other) == ["CANCELLED"] * 3  # of the other nothing was ever decided
    assert (artifacts("progress"), artifacts("rollout")) == ([bar], [page])

    town.count(traffic(1, 300, (0.29, 0.3)))
    guard.tick()
    run()  # more is known of the same revision: its bar moves, the page before stays
    (moved,), pages = artifacts("progress"), artifacts("rollout")
    assert (moved.id, len(pages)) == (bar.id, 2)
    assert 0 < float(str(moved.data)) < 50
    assert "| 300 | 300 |" in str(pages[-1].data)

    town.count(traffic(1, 3000, GOOD))
    guard.tick()
    Registry.open(f"sqlite:///{town.folder}/mlflow.db")
    monkeypatch.setenv("GROWNET_MLFLOW_URL", f"sqlite:///{town.folder}/mlflow.db")
    assert town.plan().revision == 2
    shown, mirrored = run()  # an event of the revision before, say
    assert (shown.is_completed(), mirrored.is_completed()) == (True, True)
    assert [str(one.description).partition(":")[0] for one in artifacts("progress")] == ["Revision 1", "Revision 2"]
    assert float(str(artifacts("progress")[-1].data)) >= 50

    town.operate(moves.hold)
    assert all(
        state.is_completed() for state in flow.progress(return_state=True).result()
    )  # by its schedule: all models
    page = artifacts("rollout")[-1]
    assert "release resume" in str(page.data)
    assert "held since revision 3, by operator:ada" in str(page.data)
