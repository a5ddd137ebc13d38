"""Takes new batches of a dataset in, oldest first: read, minimise, mask, check at the door, append, register.

Reads the source declared in configs/datasets. Writes the lake, the ledger and the data-quality pages.
Triggered by its schedule, by a new batch, or by hand (`grownet ingest DATASET`). Taking a batch in again changes
nothing, so a crashed run is simply run again. It stops at the first batch that is refused.
"""

from __future__ import annotations

from prefect import flow

from records import Snapshot
from tasks.door import find_batches, take_batch


@flow(name="ingest", flow_run_name="ingest-{dataset}", description=__doc__, persist_result=False)
def ingest(dataset: str, batch: str = "", until: str = "") -> list[Snapshot]:
    """Takes in `batch`, or every new one up to `until`.

    Args:
        dataset: a name of configs/datasets.
        batch: one batch id, such as 2011-08; all new ones when empty.
        until: the last batch id to take when `batch` is empty.
    """
    waiting = [batch] if batch else find_batches(dataset, until)
    return [take_batch.with_options(task_run_name=f"take {each} in")(dataset, each) for each in waiting]
