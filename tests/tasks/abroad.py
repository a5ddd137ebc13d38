"""A town whose customers live at home and abroad, with a version trained before the newest orders: what a bias audit looks at.

`Abroad(folder)`; `serve()` releases version 1; `take_in(shop(odd=True))` plants a gap in the newest rows, `say(...)` journals
answers with outcomes that hit or miss; `audit(at)` is one run at a clock of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml

from checks import plans as moves
from configs import load as loading
from records import Answer, BiasAudit, OutboxEvent, digest_of, utc_now
from stores.lake import Lake
from stores.ledger import batches, outbox
from stores.ledger.batches import Batch
from stores.vault import Vault
from tasks import bias_page
from tasks.bias import audit
from tests.serving.town import AS_OF, NAME, orders
from tests.tasks.observatory import CUSTOMERS, NOW, Observatory

DAY = timedelta(days=1)
TRAINED = AS_OF - timedelta(days=10)
HOME, ABROAD = CUSTOMERS[:15], CUSTOMERS[15:]


def shop(odd: bool = False) -> pd.DataFrame:
    """The town's orders, half of the customers French. In the last days all buy what is new to them: products of another
    family, or, where `odd`, the French what hardly anybody ever bought."""
    frame = orders().copy()
    abroad, when = frame["customer_id"].isin(ABROAD), frame["invoice_date"]
    rare = "77" + frame["stock_code"].str[2:]
    first, late = when < when.min() + DAY, when >= pd.Timestamp(AS_OF - timedelta(days=6))
    others = 20000 + (frame["stock_code"].astype(int) - 19000) % 4000
    codes = frame["stock_code"].mask(late, others.astype(str)).mask((first & ~abroad) | (late & abroad & odd), rare)
    return frame.assign(country=frame["country"].mask(abroad, "France"), stock_code=codes)


class Abroad(Observatory):
    """Version 1 serves, trained ten days before the newest orders, which are in the lake."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.recipe(chosen=[])

    def recipe(self, **given: Any) -> None:
        path = self.configs / f"{NAME}.yaml"
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
        recipe["gates"] |= {"bias_max_gap": 0.5, "bias_min_rows": 10, "bootstrap_samples": 100}
        recipe["audit"] = given
        path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        self.config = loading.load(self.configs)

    def _tables(self) -> dict[str, pd.DataFrame]:
        return {"orders": self.masked(shop())}

    def masked(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(customer_id=Vault.open(self.folder, "ingest").pseudonyms(frame["customer_id"]))

    def serve(self) -> None:
        self.begin(self.candidate(1, trained_until=TRAINED))
        while self.plan().canary is not None:
            self.guard(moves.advance)

    def take_in(self, frame: pd.DataFrame) -> None:
        rows = pa.Table.from_pandas(self.masked(frame), preserve_index=False)
        version = Lake(self.settings.lake_uri).append("orders", rows, "batch:all", 1)
        newest = frame["invoice_date"].max().to_pydatetime()
        new = Batch(
            table="orders", id="all", digest=digest_of(len(frame)), rows=len(frame), quarantined=0,
            delta_version=version, suite="0" * 64, newest=newest, at=utc_now(),
        )  # fmt: skip
        batches.register(self.ledgers["flow"], new)

    def say(
        self, customers: Sequence[str], hit: bool | None, start: datetime = NOW - DAY, count: int = 40
    ) -> list[Answer]:
        """A day's answers to these customers, who bought what they were shown, something else, or never said."""
        lines = self.answers(start, count, customers=customers)
        self.journal().append(*lines)
        if hit is not None:
            bought = [line.decision.items[:1] if hit else ("1",) for line in lines]
            self.journal().append(*(self.feedback(line, codes) for line, codes in zip(lines, bought, strict=True)))
        return lines

    def audit(self, at: datetime = NOW) -> dict[str, BiasAudit]:
        return {one.source: one for one in audit(self.settings, self.config, NAME, at, self.page)}

    def page(self, found: Sequence[BiasAudit], earlier: Sequence[BiasAudit]) -> Path:
        return bias_page.write(self.folder, self.config, found, earlier)

    def told(self) -> list[OutboxEvent]:
        return [one for one in outbox.pending(self.ledgers["reader"], 50, NOW + 99 * DAY) if "segment" in one.title]
