"""The ingest flow's tasks: which batches are new, and one batch taken in, with its page as an artifact of the run.

Read settings and configuration themselves, so that runs carry names and no addresses. A source that is away and a
busy ledger are tried again; a batch that is refused is not, it would be refused again.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from prefect import get_run_logger

from configs.load import load, settings
from errors import LedgerUnavailable, SourceError
from records import Snapshot
from stores.ledger.engine import Ledger
from tasks import ingest, steps
from tasks.quality_page import DoorReport, markdown
from tasks.steps import artifact

step = steps.step(SourceError, LedgerUnavailable)


@step
def find_batches(dataset: str, until: str = "") -> list[str]:
    """The batches of the source that are not in the table yet, oldest first."""
    house = settings()
    declared = ingest.declared(load(house.configs), dataset)
    with closing(Ledger.open(house.ledger_url, "flow", demo=house.demo)) as ledger:
        found = ingest.new_batches(ledger, declared, until or None)
    get_run_logger().info("%s: %d new batches %s", dataset, len(found), found)
    return found


@step
def take_batch(dataset: str, batch: str) -> Snapshot:
    """Reads, minimises, masks, checks and appends one batch; the table's snapshot with it."""
    house = settings()
    snapshot = ingest.take_in(house, load(house.configs), dataset, batch, publish=publish)[0]
    get_run_logger().info(
        "%s is now %s: %d rows, Delta version %d",
        snapshot.table,
        snapshot.version.name,
        snapshot.rows,
        snapshot.delta_version,
    )
    return snapshot


def publish(report: DoorReport, page: Path) -> None:
    """The short form of the data-quality page, among the artifacts of the run."""
    artifact(f"data {report.table} {report.batch}", markdown(report, page), f"{report.table}/{report.batch}")
