"""What follows when a batch is not taken in: an error that says why, an audit entry, one alert to the owner, and for
each model that reads the table a finding, which stands until a batch of the table is taken in.

Writes the ledger's audit log, outbox and findings; the guard delivers, and acts by the decision table. Called by
`tasks.ingest`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from checks import alerts
from configs.schema import Config, Dataset
from errors import BatchRefused, DataError
from records import RULES, AlertBody, Answered, Finding, Level, OutboxEvent, digest_of, utc_now
from stores.ledger import findings, outbox
from stores.ledger.engine import Ledger
from tasks.quality_page import DoorReport
from tasks.snapshots import ACTOR

LEVEL: Level = "emergency"  # of a corrupt batch, by the decision table
STANDS = timedelta(days=30)  # a refusal that nobody mended


def refusal(report: DoorReport) -> BatchRefused:
    """The error of a batch that failed a table-level expectation."""
    return BatchRefused(
        f"batch {report.batch!r} of table {report.table!r}",
        expected="every table-level expectation to hold",
        got=" | ".join(report.refused),
        do=f"Nothing of it was stored; mend the source and run the batch again ({report.owner})",
    )


def alert(ledger: Ledger, config: Config, dataset: Dataset, batch: str, error: DataError) -> None:
    """Tells each model's readers of the table once for each batch and reason; each attempt is in the audit log, and
    renews the finding."""
    readers = _readers(config, dataset)
    now = utc_now()
    with ledger.write(ACTOR) as transaction:
        facts = {"batch": batch, "error": type(error).__name__, "reason": str(error)}
        transaction.audit("batch refused", dataset.table, facts, now)
        outbox.queue(transaction, [_event(dataset, batch, error, model, now) for model in readers])
        for model in readers:
            findings.store(transaction, _finding(dataset, batch, model, "yes", str(error), now))


def mended(ledger: Ledger, config: Config, dataset: Dataset, batch: str) -> None:
    """Says of each model for which a batch of this table was refused that one is in now; else writes nothing."""
    now = utc_now()
    stood = {name: _standing(ledger, dataset, name) for name in _readers(config, dataset)}
    found = [
        _finding(dataset, batch, model, "no", f"batch {batch} of {dataset.table} was taken in", now)
        for model, refused in stood.items()
        if refused
    ]
    if found:
        findings.save(ledger, found, ACTOR)


def _readers(config: Config, dataset: Dataset) -> list[str]:
    return [name for name, model in config.models.items() if dataset.name in model.tables.values()]


def _standing(ledger: Ledger, dataset: Dataset, model: str) -> bool:
    """Whether the newest finding about a batch of this table is that it was refused."""
    told = [one for one in findings.findings(ledger, model, utc_now() - STANDS) if one.kind == "batch"]
    mine = [one for one in told if one.figures["table"] == dataset.table]
    return bool(mine) and mine[-1].answer == "yes"


def _finding(dataset: Dataset, batch: str, model: str, answer: Answered, reason: str, now: datetime) -> Finding:  # noqa: PLR0917 - the parts of a finding
    return Finding(
        id=f"finding-{digest_of([dataset.name, batch, model, answer, now])[:24]}",
        model=model,
        kind="batch",
        answer=answer,
        where="batch",
        version=RULES,
        window_start=now,
        window_end=now,
        reason=reason,
        figures={"dataset": dataset.name, "table": dataset.table, "batch": batch},
        found_at=now,
        expires_at=now + STANDS,
    )


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
    return alerts.alert(
        key=[dataset.name, batch, str(error), model],
        level=LEVEL,
        model=model,
        title=f"{dataset.table}/{batch} refused at the door",
        body=body,
        at=now,
    )
