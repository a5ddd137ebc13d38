"""Takes batches in: read, minimise, mask, check at the door, append to Delta, register in the ledger.

Reads a dataset's source. Writes the lake (the table and its `_quarantine`), the ledger, and the data-quality page.
Triggered by the flow `ingest`, `grownet ingest` and the demo. Taking a batch in again changes nothing; a killed run
is run again: what Delta holds and the ledger does not is registered first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from checks.digests import rows_digest
from configs.schema import Config, Dataset, Settings
from errors import BatchConflict, DataError, NotFound, SourceError
from expectations import suites
from records import Snapshot, utc_now
from stores.lake import Lake
from stores.ledger import batches as registered
from stores.ledger.batches import Batch
from stores.ledger.engine import Ledger
from stores.vault import Vault
from tasks import quality_page
from tasks.cut import batch_chunks, batch_ids
from tasks.expect import Judgement, judge
from tasks.minimise import minimise, schema
from tasks.quality_page import DoorReport
from tasks.refusal import alert, mended, refusal
from tasks.snapshots import BATCH, latest_snapshot, recover
from tasks.writing import alone

LONGEST_TEXT = 200  # characters of a cell that quarantine keeps
log = logging.getLogger("grownet.ingest")
Publish = Callable[[DoorReport, Path], None]


@dataclass(frozen=True)
class Door:
    """Everything a batch of one dataset passes through."""

    settings: Settings
    config: Config
    dataset: Dataset
    lake: Lake
    ledger: Ledger
    vault: Vault
    publish: Publish


@dataclass(frozen=True)
class Arrival:
    """A batch as it stands at the door: typed, masked, with its digest."""

    batch: str
    rows: pa.Table
    faults: np.ndarray
    digest: str
    extra: tuple[str, ...]


def take_in(
    settings: Settings,
    config: Config,
    dataset: str,
    batch: str | None = None,
    *,
    until: str | None = None,
    publish: Publish | None = None,
) -> list[Snapshot]:
    """Takes one batch in, or all that are new, oldest first; the snapshot after each.

    Args:
        dataset: a name of configs/datasets.
        batch: one batch id. A batch that is in already gives its snapshot again, if its rows are the same.
        until: without `batch`, the last id to take (ids are compared as text, so "2011-08" is before "2011-09").
        publish: called with the report and its page, also for a batch that is refused.

    Raises:
        BatchRefused: a table-level expectation failed. Nothing of that batch, and no later one, was taken in.
        BatchConflict: the id, or the same rows under another id, was taken in before.
        SourceError, SchemaError: the source is away, or is not what was declared.
    """
    with closing(Ledger.open(settings.ledger_url, "flow", demo=settings.demo)) as ledger:
        door = Door(
            settings=settings,
            config=config,
            dataset=declared(config, dataset),
            lake=Lake(settings.lake_uri),
            ledger=ledger,
            vault=Vault.open(settings.home, "ingest", settings.kms_key_uri),
            publish=publish or (lambda *_: None),
        )
        waiting = [batch] if batch else new_batches(ledger, door.dataset, until)
        return [_take(door, each) for each in waiting]


def new_batches(ledger: Ledger, dataset: Dataset, until: str | None = None) -> list[str]:
    """The batches of the source that the table has not taken in, oldest first. Those that are in are not read again."""
    taken = {known.id for known in registered.batches(ledger, dataset.table)}
    return [each for each in batch_ids(dataset, utc_now()) if each not in taken and (until is None or each <= until)]


def declared(config: Config, dataset: str) -> Dataset:
    """A dataset of configs/datasets. Raises NotFound."""
    if dataset not in config.datasets:
        raise NotFound(f"dataset {dataset!r}", expected=f"one of {sorted(config.datasets)}", got=dataset)
    return config.datasets[dataset]


def newest_snapshot(settings: Settings, table: str) -> Snapshot:
    """The newest snapshot of a table.

    Raises:
        NotFound: when no batch was taken in yet.
    """
    with closing(Ledger.open(settings.ledger_url, "flow", demo=settings.demo, create=False)) as ledger:
        return latest_snapshot(Lake(settings.lake_uri), ledger, table)


def _take(door: Door, batch: str) -> Snapshot:
    try:
        arrival = _arrive(door, batch)
        known = _known(door, arrival)
        if known is None:
            judgement, report = _judge(door, arrival)
            if report.refused:
                raise refusal(report)
            known = _append(door, arrival, judgement, report)
    except SourceError:
        raise  # away is not corrupt: the run fails and is tried again
    except DataError as error:
        alert(door.ledger, door.config, door.dataset, batch, error)
        raise
    snapshot = latest_snapshot(door.lake, door.ledger, door.dataset.table, known)
    mended(door.ledger, door.config, door.dataset, batch)
    log.info("%s/%s is in: %s, %d rows", snapshot.table, batch, snapshot.version.name, snapshot.rows)
    return snapshot


def _arrive(door: Door, batch: str) -> Arrival:
    """Reads a batch; each chunk is minimised and masked before the next is read."""
    dataset = door.dataset
    tables, faults = [schema(dataset).empty_table()], [np.empty(0, dtype=object)]
    extra: tuple[str, ...] = ()
    for chunk in batch_chunks(dataset, batch):
        typed = minimise(chunk, dataset, door.vault.pseudonyms)
        tables.append(typed.rows)
        faults.append(typed.faults)
        extra = chunk.extra
    rows = pa.concat_tables(tables).combine_chunks()
    return Arrival(batch, rows, np.concatenate(faults), rows_digest(rows), extra)


def _known(door: Door, arrival: Arrival) -> Batch | None:
    """The batch as it was taken in before, or None; its rows must be the same, and nobody else's."""
    for known in registered.batches(door.ledger, door.dataset.table):
        if known.id == arrival.batch:
            registered.refuse_other(known, arrival.digest)
            return known
        if known.digest == arrival.digest:
            raise BatchConflict(
                f"batch {arrival.batch!r} of table {known.table!r}",
                expected="rows that were not taken in yet",
                got=f"exactly the rows of batch {known.id!r}",
                do="a file was sent twice under two names: send the right one",
            )
    return None


def _judge(door: Door, arrival: Arrival) -> tuple[Judgement, DoorReport]:
    suite, now = suites.find(door.dataset.suite), utc_now()
    judgement = judge(arrival.rows, arrival.faults, suite, now)
    report = quality_page.report(
        door.dataset,
        arrival.batch,
        arrival.digest,
        arrival.rows,
        judgement,
        suite=suite.digest,
        extra=arrival.extra,
        late_seconds=_late_seconds(door, arrival),
        at=now,
    )
    page = quality_page.write(door.settings.home / "pages", report)
    door.publish(report, page)
    log.info("%s/%s at the door: %s (%s)", report.table, report.batch, report.verdict, page)
    return judgement, report


def _late_seconds(door: Door, arrival: Arrival) -> float:
    taken = [known.newest for known in registered.batches(door.ledger, door.dataset.table) if known.newest]
    newest: datetime | None = pc.max(arrival.rows[door.dataset.event_time]).as_py()
    return max(0.0, (max(taken) - newest).total_seconds()) if taken and newest else 0.0


def _append(door: Door, arrival: Arrival, judgement: Judgement, report: DoorReport) -> Batch:
    """Quarantine, then the table, then the ledger: each step finds out whether it was done before."""
    table, aside = door.dataset.table, pa.array(judgement.reasons != "")
    batch = Batch(
        table=table,
        id=arrival.batch,
        digest=arrival.digest,
        rows=report.rows - report.quarantined,
        quarantined=report.quarantined,
        delta_version=-1,  # known after the commit
        suite=report.suite,
        newest=pc.max(arrival.rows.filter(pc.invert(aside))[door.dataset.event_time]).as_py(),
        at=report.at,
    )
    with alone(door.ledger, f"lake/{table}"):
        recover(door.lake, door.ledger, table)
        if (known := _known(door, arrival)) is not None:
            return known  # another process was faster
        if report.quarantined:
            unique = f"quarantine:{arrival.batch}:{arrival.digest}"
            door.lake.append(f"{table}_quarantine", _quarantine(arrival, judgement.reasons), unique, 1)
        rows = _with(arrival.rows.filter(pc.invert(aside)), batch_id=arrival.batch)
        door.lake.append(table, rows, f"batch:{arrival.batch}", 1, {BATCH: batch.to_json().decode()})
        recover(door.lake, door.ledger, table)
    return registered.batch(door.ledger, table, arrival.batch) or batch


def _quarantine(arrival: Arrival, reasons: np.ndarray) -> pa.Table:
    """The failed rows with their place in the batch and the reason; long texts are cut short."""
    places = np.flatnonzero(reasons != "")
    rows = arrival.rows.take(pa.array(places))
    for number, field in enumerate(rows.schema):
        if pa.types.is_string(field.type):
            rows = rows.set_column(number, field, pc.utf8_slice_codeunits(rows[field.name], 0, LONGEST_TEXT))
    rows = _with(rows, batch_id=arrival.batch, digest=arrival.digest)
    rows = rows.append_column("place", pa.array(places, pa.int64()))
    return rows.append_column("reason", pa.array(list(reasons[places]), pa.string()))


def _with(rows: pa.Table, **constants: str) -> pa.Table:
    for name, value in constants.items():
        rows = rows.append_column(name, pa.array([value] * rows.num_rows, pa.string()))
    return rows
