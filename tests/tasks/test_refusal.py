from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from configs.load import load
from errors import SchemaError
from records import AlertBody, utc_now
from stores.ledger import audit, findings, outbox
from stores.ledger.engine import Ledger
from tasks.refusal import alert, mended
from tests.tasks.shop import NAME

CONFIG = load()
DATASET = CONFIG.datasets[NAME]
ERROR = SchemaError("columns", expected="8", got="7", do="mend the source")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", "flow")
    yield opened
    opened.close()


def test_one_alert_for_each_model_however_often_it_is_tried(ledger: Ledger) -> None:
    for _ in range(2):
        alert(ledger, CONFIG, DATASET, "2011-08", ERROR)
    readers = sorted(name for name, model in CONFIG.models.items() if NAME in model.tables.values())
    events = outbox.pending(ledger, 10)
    assert readers
    assert sorted(event.model for event in events) == readers
    body = msgspec.convert(events[0].body, AlertBody)
    assert (body.owner, body.next) == (DATASET.owner, "mend the source")
    assert "as before" in body.done
    assert len([entry for entry in audit.entries(ledger, "orders") if entry.action == "batch refused"]) == 2


def test_another_reason_or_batch_is_another_alert(ledger: Ledger) -> None:
    alert(ledger, CONFIG, DATASET, "2011-08", ERROR)
    alert(ledger, CONFIG, DATASET, "2011-09", ERROR)
    alert(ledger, CONFIG, DATASET, "2011-09", SchemaError("columns", got="6"))
    readers = [name for name, model in CONFIG.models.items() if NAME in model.tables.values()]
    assert len(outbox.pending(ledger, 10)) == 3 * len(readers)


def test_without_a_reader_it_is_still_in_the_audit_log(ledger: Ledger) -> None:
    alert(ledger, CONFIG.model_copy(update={"models": {}}), DATASET, "2011-08", ERROR)
    assert outbox.pending(ledger, 10) == []
    assert audit.verify(ledger) == 1


def test_a_refused_batch_is_a_finding_until_one_of_the_table_is_in(ledger: Ledger) -> None:
    mended(ledger, CONFIG, DATASET, "2011-07")
    readers = [name for name, model in CONFIG.models.items() if NAME in model.tables.values()]
    assert not any(findings.newest(ledger, name) for name in readers)
    alert(ledger, CONFIG, DATASET, "2011-08", ERROR)
    for name in readers:
        (found,) = findings.newest(ledger, name)
        assert (found.kind, found.answer, found.where) == ("batch", "yes", "batch")
        assert found.expires_at - utc_now() > timedelta(days=29)
        assert "expected 8" in found.reason
    elsewhere = DATASET.model_copy(update={"table": "visits"})
    mended(ledger, CONFIG, elsewhere, "2011-08")
    assert findings.newest(ledger, readers[0])[0].answer == "yes"
    for _ in range(2):
        mended(ledger, CONFIG, DATASET, "2011-08")
    for name in readers:
        assert [one.answer for one in findings.findings(ledger, name)] == ["yes", "no"]
