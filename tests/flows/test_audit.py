"""The audit flow on a Prefect server of its own: audits and answers in the ledger, both pages among the run's artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from checks.reviews import name_of
from flows.audit import audit
from records import utc_now
from stores.ledger import bias, reviews
from tests.serving.town import NAME
from tests.tasks.abroad import ABROAD, HOME, Abroad, shop


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Abroad]:
    made = Abroad(tmp_path)
    made.serve()
    made.take_in(shop(odd=True))
    for customers, hit in ((HOME, True), (ABROAD, False)):
        made.say(customers, hit, utc_now() - timedelta(hours=30))
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    yield made
    made.close()


@pytest.mark.slow  # a Prefect server of its own; test_monitor keeps the promise in the fast run
@pytest.mark.stack
def test_the_flow_audits_and_reviews_and_shows_both(server: None, town: Abroad) -> None:
    states = audit()
    assert all(state.is_completed() for state in states)
    ledger = town.ledgers["reader"]
    found = {one.source: one.answer for one in bias.newest(ledger, NAME)}
    assert found == {"history": "yes", "live": "yes"}
    quarter = name_of(utc_now())
    answers = {one.item: one.answer for one in reviews.written(ledger, quarter)}
    assert answers["audit_chain"] == answers["two_owners"] == answers["approvals"] == "yes"
    with get_client(sync_client=True) as client:
        shown = {str(one.key): str(one.data) for one in client.read_artifacts()}
    assert "country: abroad" in shown[f"bias-{NAME}"]
    assert "Does the audit log verify" in shown[f"review-{quarter.lower()}"]
    pages = sorted(path.name for path in (town.folder / "pages" / "audit").rglob("*.html"))
    assert len(pages) == 2
    assert f"review-{quarter}.html" in pages
    assert len(bias.audits(ledger, NAME)) == 2
    (reviewed,) = audit(part="review")  # the daily run audits no model
    assert reviewed.is_completed()
    assert len(bias.audits(ledger, NAME)) == 2
