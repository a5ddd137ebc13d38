"""A town whose orders lie in a real lake, so that the features of what serves can be refreshed: `market.refresh()`.

`market.take_in(later(5), "b2")` brings the orders of the next five days; the first batch is in from the start.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from benchmarks.stand import Lesson
from models.contract import Tables
from records import Arm, Refreshed, Snapshot, digest_of, utc_now
from stores.lake import Lake
from stores.ledger import batches, snapshots
from stores.ledger.batches import Batch
from stores.vault import Vault
from tasks.refresh import Renewal, refresh
from tasks.snapshots import latest_snapshot
from tasks.trial import INSTANT
from tests.serving.town import NAME, PATIENT, Town, orders

NEWCOMER = "1001"  # a customer of the later orders only


def later(days: int) -> pd.DataFrame:
    """Orders of the days after the town's: everybody goes on, and a newcomer buys the first thing of each day."""
    known = orders()
    first = known[known["invoice_date"] < known["invoice_date"].min() + timedelta(days=days)]
    shift = known["invoice_date"].max() - known["invoice_date"].min() + timedelta(days=1)
    new = first.drop_duplicates("invoice_date").assign(customer_id=NEWCOMER)
    new = new.assign(invoice_no=(pd.RangeIndex(len(new)) + 900_000).astype(str))
    both = pd.concat([first, new], ignore_index=True)
    return both.assign(
        invoice_no=(both["invoice_no"].astype(int) + 100_000).astype(str), invoice_date=both["invoice_date"] + shift
    )


class Market(Town):
    """A town; what it trains and what it refreshes come from its lake."""

    def __init__(self, folder: Path, **limits: Any) -> None:
        super().__init__(folder)
        if limits:
            self.limit(**limits)
        if not Lake(self.settings.lake_uri).exists("orders"):
            self.take_in(orders(), "b1")
        newest = orders()["invoice_date"].max().to_pydatetime()
        self.lesson = Lesson(NAME, self._from_lake, newest + INSTANT)

    def limit(self, **limits: Any) -> None:
        """Other limits of refreshing."""
        model = {"refresh": limits, "serving": {"deadline_seconds": PATIENT}}
        self.decide({"defaults.yaml": {"service": {"follow_seconds": 0.05}, "model": model}})

    def take_in(self, frame: pd.DataFrame, batch: str) -> None:
        """A batch as ingestion leaves it: masked rows in the lake, registered in the ledger."""
        masked = frame.assign(customer_id=Vault.open(self.folder, "ingest").pseudonyms(frame["customer_id"]))
        rows = pa.Table.from_pandas(masked.assign(batch_id=batch), preserve_index=False)
        version = Lake(self.settings.lake_uri).append("orders", rows, f"batch:{batch}", 1)
        batches.register(
            self.ledgers["flow"],
            Batch(
                table="orders", id=batch, digest=digest_of([batch, len(frame)]), rows=len(frame), quarantined=0,
                delta_version=version, suite="0" * 64, newest=frame["invoice_date"].max().to_pydatetime(), at=utc_now(),
            ),
        )  # fmt: skip

    def refresh(self) -> list[Renewal]:
        return refresh(self.settings, self.config, NAME)

    def newest(self, arm: Arm) -> Refreshed:
        assert arm.artifact is not None
        return snapshots.newest(self.ledgers["reader"], [arm.artifact.content])[arm.artifact.content]

    def _snapshot(self) -> Snapshot:
        return latest_snapshot(Lake(self.settings.lake_uri), self.ledgers["flow"], "orders", self._first())

    def _from_lake(self, vault: Vault) -> Tables:
        return {"orders": Lake(self.settings.lake_uri).read("orders", version=self._first().delta_version)}

    def _first(self) -> Batch:
        """The batch that every candidate learns from, whatever came later."""
        return next(one for one in batches.batches(self.ledgers["flow"], "orders") if one.id == "b1")


def copied(built: Path, home: Path) -> Market:
    shutil.copytree(built, home)
    return Market(home)
