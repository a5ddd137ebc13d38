"""A shop with a source folder of its own: what the ingestion tests send through the door."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from configs.load import load, settings
from configs.schema import Config, Dataset, Settings
from records import Snapshot
from stores.lake import Lake
from stores.ledger import batches
from stores.ledger.batches import Batch
from stores.ledger.engine import Ledger

NAME = "online_retail"
LINES = 200


def orders(batch: str = "2011-08", lines: int = LINES) -> pd.DataFrame:
    """Order lines as a source would send them, all fine: four lines an invoice, times without a zone."""
    number = pd.Series(range(lines))
    return pd.DataFrame(
        {
            "invoice_no": (500_000 + int(batch[-2:]) * 1000 + number // 4).astype(str),
            "stock_code": (10_000 + number % 50).astype(str),
            "description": "JAR " + number.astype(str),
            "quantity": 1 + number % 6,
            "invoice_date": [f"{batch}-{1 + n % 28:02d} {8 + n % 10:02d}:{n % 60:02d}:00" for n in number],
            "unit_price": 1.25 + number % 4,
            "customer_id": 17_000 + number // 8,
            "country": "United Kingdom",
        }
    )


class Shop:
    """Files in `folder`, one a batch; a home of its own below it."""

    def __init__(self, folder: Path, source: dict[str, Any] | None = None, **changes: Any) -> None:
        self.folder = folder
        self.settings: Settings = settings({"GROWNET_HOME": str(folder / "home")})
        given = {"format": "csv", "uri": f"{folder}/{{batch}}.csv"} if source is None else source
        bundled = load().datasets[NAME].model_dump()
        self.dataset = Dataset.model_validate({**bundled, "source": given, **changes})
        self.config: Config = load().model_copy(update={"datasets": {NAME: self.dataset}})

    def send(self, batch: str, rows: pd.DataFrame) -> Path:
        path = self.folder / f"{batch}.csv"
        rows.to_csv(path, index=False)
        return path

    def take(self, batch: str | None = None, until: str | None = None, **more: Any) -> list[Snapshot]:
        from tasks.ingest import take_in

        return take_in(self.settings, self.config, NAME, batch, until=until, **more)

    def newest(self) -> Snapshot:
        from tasks.ingest import newest_snapshot

        return newest_snapshot(self.settings, "orders")

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_uri)

    def ledger(self) -> Ledger:
        return Ledger.open(self.settings.ledger_url, "flow")

    def registered(self) -> list[Batch]:
        ledger = self.ledger()
        try:
            return batches.batches(ledger, "orders")
        finally:
            ledger.close()


def take_and_die(folder: str, batch: str, table: str, when: str) -> None:
    """Run in a process of its own: takes a batch in and is killed beside the append to `table` ("before", "after")."""
    from tasks import ingest
    from tasks.writing import alone

    append = Lake.append

    def killed(self: Lake, name: str, *arguments: Any) -> int:
        if name == table and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        version = append(self, name, *arguments)
        if name == table:
            os.kill(os.getpid(), signal.SIGKILL)
        return version

    setattr(Lake, "append", killed)  # noqa: B010 - where the power goes off
    setattr(ingest, "alone", functools.partial(alone, seconds=0.5))  # noqa: B010 - the dead hold no lease for long
    Shop(Path(folder)).take(batch)


def take_together(folder: str, batch: str, barrier: Any, told: Any) -> None:
    """Run in a process of its own: takes a batch in at the same time as others do."""
    from tasks.ingest import take_in

    shop = Shop(Path(folder))
    barrier.wait(60)
    snapshots: Sequence[Snapshot] = take_in(shop.settings, shop.config, NAME, batch)
    told.put(snapshots[0].to_json())
