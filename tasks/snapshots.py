"""From batches to versions of a table: what the log of the lake and the ledger say together.

Reads the lake's log; writes batches and data versions to the ledger. Called by ingestion before and after an append.
"""

from __future__ import annotations

import msgspec

from errors import NotFound
from records import Snapshot, digest_of
from stores.lake import Lake
from stores.ledger import batches as registered
from stores.ledger.batches import Batch
from stores.ledger.engine import Ledger
from stores.ledger.versions import version_for

ACTOR = "ingest"
BATCH = "grownet_batch"  # key of a commit's metadata: the batch as the ledger will have it


def latest_snapshot(lake: Lake, ledger: Ledger, table: str, until: Batch | None = None) -> Snapshot:
    """The snapshot after the newest registered batch, or after the batch `until`.

    Raises:
        NotFound: when no batch was taken in yet.
    """
    known = sorted(registered.batches(ledger, table), key=lambda batch: batch.delta_version)
    held = [batch for batch in known if until is None or batch.delta_version <= until.delta_version]
    if not held:
        raise NotFound(f"snapshot of table {table!r}", expected="a batch taken in", got="none", do="run ingest first")
    last = held[-1]
    content = digest_of([[batch.id, batch.digest] for batch in held])
    return Snapshot(
        table=table,
        version=version_for(ledger, "data", table, content, ACTOR),
        delta_version=last.delta_version,
        rows=lake.rows(table, last.delta_version),
        batches=tuple(batch.id for batch in held),
        suite=last.suite,
        newest=max((batch.newest for batch in held if batch.newest), default=None),
    )


def recover(lake: Lake, ledger: Ledger, table: str) -> None:
    """Registers batches that a commit of the table holds and the ledger does not: their run was killed in between."""
    if not lake.exists(table):
        return
    last = max((batch.delta_version for batch in registered.batches(ledger, table)), default=-1)
    for commit in lake.commits(table, after=last):
        if BATCH in commit.metadata:
            said = Batch.from_json(commit.metadata[BATCH])
            known = registered.register(ledger, msgspec.structs.replace(said, delta_version=commit.version), ACTOR)
            latest_snapshot(lake, ledger, table, known)  # numbers the data version
