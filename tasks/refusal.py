"""What follows when a batch is not taken in: an error that says why, an audit entry, one alert to the owner.

Writes the ledger's audit log and outbox; the guard delivers. Called by `tasks.ingest`.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from configs.schema import Config, Dataset
from errors import BatchRefused, DataError
from records import AlertBody, Level, OutboxEvent, digest_of, utc_now
from stores.ledger import outbox
from stores.ledger.engine import Ledger
from tasks.quality_page import DoorReport
from tasks.snapshots import ACTOR

LEVEL: Level = "emergency"  # of a corrupt batch, by the decision table


def refusal(report: DoorReport) -> BatchRefused:
    """The error of a batch that failed a table-level expectation."""
    return BatchRefused(
        f"batch {report.batch!r} of table {report.table!r}",
        expected="every table-level expectation to hold",
        got=" | ".join(report.refused),
        do=f"Nothing of it was stored; mend the source and run the batch again ({report.owner})",
    )


def alert(ledger: Ledger, config: Config, dataset: Dataset, batch: str, error: DataError) -> None:
    """Tells each model's readers of the table once for each batch and reason; each attempt is in the audit log."""
    readers = [name for name, model in config.models.items() if dataset.name in model.tables.values()]
    now = utc_now()
    with ledger.write(ACTOR) as transaction:
        facts = {"batch": batch, "error": type(error).__name__, "reason": str(error)}
        transaction.audit("batch refused", dataset.table, facts, now)
        outbox.queue(transaction, [_event(dataset, batch, error, model, now) for model in readers])


def _event(dataset: Dataset, batch: str, error: DataError, model: str, now: datetime) -> OutboxEvent:
    page = f"pages/data/{dataset.table}/{batch}.html"  # below the home; only a judged batch has one
    body = AlertBody(
        what=f"Batch {batch} of {dataset.table} was not taken in. {error}",
        evidence={"dataset": dataset.name, "batch": batch, "error": type(error).__name__},
        done="nothing of the batch was stored; the newest snapshot, and what serves, are as before",
        owner=dataset.owner,
        next=error.do or "mend the source and run the batch again",
        link=page if isinstance(error, BatchRefused) else f"grownet ingest {dataset.name} --batch {batch}",
    )
    return OutboxEvent(
        id=f"alert-{digest_of([dataset.name, batch, str(error), model])[:24]}",
        kind="alert",
        level=LEVEL,
        model=model,
        name=f"grownet.alert.{LEVEL}",
        title=f"{dataset.table}/{batch} refused at the door",
        body=msgspec.to_builtins(body),
        at=now,
    )
