"""The refresh flow on a Prefect server of its own: each model's versions in the run's log, published once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness

from flows.refresh import refresh
from tasks.refresh import Renewal
from tests.serving.market import Market, later
from tests.serving.town import NAME


@pytest.fixture
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Market]:
    made = Market(tmp_path)
    made.released()
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    with prefect_test_harness(server_startup_timeout=180):
        yield made
    made.close()


@pytest.mark.stack
@pytest.mark.slow
def test_the_flow_publishes_once_and_says_what_it_did(market: Market, caplog: pytest.LogCaptureFixture) -> None:
    market.take_in(later(5), "b2")
    for expected in ("published", "unchanged"):
        (state,) = refresh()
        found: list[Renewal] = state.result()
        assert [(one.name, one.result) for one in found] == [(f"{NAME}-v1", expected)]
        assert f"{NAME}-v1 (champion): {expected}" in caplog.text
