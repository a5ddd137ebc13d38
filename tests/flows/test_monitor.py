"""The monitor flow on a Prefect server of its own: findings in the ledger, the page among the run's artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from errors import NotFound
from flows.monitor import monitor
from stores.ledger import findings
from tests.serving.town import NAME
from tests.tasks.observatory import Observatory

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Observatory]:
    made = Observatory(tmp_path)
    made.watched()
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    yield made
    made.close()


@pytest.mark.stack
def test_the_flow_judges_and_shows_its_page(server: None, town: Observatory) -> None:
    for back in (3, 2, 1):
        town.said(TODAY - timedelta(days=back), 120)
    states = monitor(report=True)
    assert all(state.is_completed() for state in states)
    newest = {one.kind: one for one in findings.newest(town.ledgers["reader"], NAME)}
    assert newest["drift"].answer == "no"
    with get_client(sync_client=True) as client:
        shown = {str(one.key): str(one.data) for one in client.read_artifacts()}
    page = town.folder / newest["drift"].report
    assert str(page) in shown[f"monitor-{NAME}-v1"]
    text = page.read_text(encoding="utf-8")
    assert "Drift: no" in text
    assert "Not deciding. Made from a sample" in text
    assert page.with_name(page.stem + "-evidently.html").stat().st_size > 100_000


@pytest.mark.stack
def test_a_model_that_is_not_there_fails_the_run(server: None, town: Observatory) -> None:
    with pytest.raises(NotFound, match="one of"):
        monitor(model="nothing")
