"""The drift that the demo plants: the autumn comes a second time, and every customer has another one's number.

Pure, from the bundled orders: real rows stay as they are, the planted ones follow after the last of them. It is what a
careless move to another customer system does; what a model learned of a customer is now held against somebody else.
Used by the demo, for the batches that are ingested and for the traffic alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from stack.replay import SEASON_START, Order

AGAIN = datetime(2011, 12, 15, tzinfo=UTC)  # 15 weeks later: weekdays stay weekdays
DENSE = AGAIN + timedelta(days=56)
SEED = 11


def export(orders: Path, to: Path) -> Path:
    """Writes the bundled orders and, after them, the second autumn, in the source's own columns."""
    frame = pd.read_parquet(orders)
    pd.concat([frame, second_autumn(frame)], ignore_index=True).to_parquet(to, index=False)
    return to


def second_autumn(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows from 2011-09-01 on, 15 weeks later, with other customer numbers and invoice numbers of their own."""
    start = SEASON_START.replace(tzinfo=None)
    autumn = frame[frame["invoice_date"] >= start].copy()
    autumn["invoice_date"] += AGAIN - SEASON_START
    autumn["invoice_no"] = autumn["invoice_no"].replace(r"^(C?)5", r"\g<1>7", regex=True)  # never a real one
    numbers = reissued(frame[frame["invoice_date"] < start])
    autumn["customer_id"] = autumn["customer_id"].map(numbers).fillna(autumn["customer_id"])
    return autumn.astype(frame.dtypes.to_dict())


def thinned(orders: Sequence[Order]) -> list[Order]:
    """The traffic to the end: every second order, to save the reader's time, and all of the last weeks."""
    early = [order for order in orders if order.at < DENSE]
    return [*early[::2], *(order for order in orders if order.at >= DENSE)]


def reissued(before: pd.DataFrame) -> dict[float, float]:
    """Each known customer's new number: one that another customer had; drawn with a fixed seed."""
    known = np.sort(before["customer_id"].dropna().unique())
    return dict(zip(known.tolist(), np.random.default_rng(SEED).permutation(known).tolist(), strict=True))
