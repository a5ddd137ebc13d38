"""The ingest flow's tasks: which batches are new, and one batch taken in, with its page as an artifact of the run.

Read settings and configuration themselves, so that runs carry names and no addresses. A source that is away and a
busy ledger are tried again; a batch that is refused is not, it would be refused again.
"""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from configs.load import load, settings
from errors import LedgerUnavailable, SourceError
from records import Snapshot
from stores.ledger.engine import Ledger
from tasks import ingest
from tasks.quality_page import DoorReport, markdown


def passing(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """True for what may be better in a moment."""
    problem = state.result(raise_on_failure=False)
    return isinstance(problem, SourceError | LedgerUnavailable)


step = task(
    cache_policy=NO_CACHE,  # the same address, other content
    persist_result=False,
    retries=3,
    retry_delay_seconds=[2, 10, 30],
    retry_condition_fn=passing,
)


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
    key = re.sub(r"[^a-z0-9]+", "-", f"data {report.table} {report.batch}".lower()).strip("-")
    create_markdown_artifact(markdown(report, page), key=key, description=f"{report.table}/{report.batch}")
