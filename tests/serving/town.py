"""A small real house for tests of serving: synthetic orders, real candidates of `recommendation`, real ballots and plans.

`Town(home)`; `town.released()` brings version 1 up as champion; `town.begin(town.candidate(2))` starts version 2 beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd

from benchmarks import server
from benchmarks.server import ROOT, wait_for
from benchmarks.stand import SCOPES, Lesson, Stand
from checks.assignment import choose
from stores.vault import Vault
from tests.stores.ledger.world import World

__all__ = ["ALL_SCOPES", "AS_OF", "NAME", "ROOT", "Server", "Town", "orders", "wait_for"]
NAME = "recommendation"
AS_OF = datetime(2026, 11, 1, tzinfo=UTC)
PATIENT = 5.0  # seconds to answer in: a busy machine is no reason for a test to fail
ALL_SCOPES = set(SCOPES)


@lru_cache
def orders() -> pd.DataFrame:
    """30 customers who buy within one of four families of products, every day for a month."""
    draw = np.random.default_rng(7)
    rows: list[tuple[int, int, int, int]] = []
    for day in range(30):
        for customer in range(0, 60, 2):
            family = (customer // 2) % 4
            items = draw.choice(10, size=3, replace=False)
            rows += [
                (500000 + day * 100 + customer, 20000 + family * 1000 + item * 17, customer, day) for item in items
            ]
    frame = pd.DataFrame(rows, columns=["invoice_no", "stock_code", "customer", "day"])
    return pd.DataFrame(
        {
            "invoice_no": frame["invoice_no"].map(str),
            "stock_code": frame["stock_code"].map(str),
            "description": "a thing",
            "quantity": 2,
            "invoice_date": pd.Timestamp(AS_OF) - pd.to_timedelta(31 - frame["day"], unit="D"),
            "unit_price": 1.5,
            "customer_id": frame["customer"].map(str),
            "country": "United Kingdom",
            "batch_id": "all",
        }
    )


def masked(vault: Vault) -> dict[str, pd.DataFrame]:
    """The orders, their customers under the pseudonyms of this vault."""
    frame = orders().copy()
    frame["customer_id"] = vault.pseudonyms(frame["customer_id"])
    return {"orders": frame}


class Town(Stand, World):
    """A home below `folder` with vault, ledger, artifact store and configuration of its own."""

    rollout = Stand.rollout

    def __init__(self, folder: Path, service: Mapping[str, Any] | None = None, deadline: float = PATIENT) -> None:
        super().__init__(folder, Lesson(NAME, masked, AS_OF), _changes(service or {}, deadline))

    def dealt(self, arm: str) -> str:
        """A customer whom the current plan deals this arm: the keys of a home are drawn anew each time, so nobody else knows."""
        plan, pseudonym = self.plan(), self.pseudonym
        return next(who for who in map(str, count(0, 2)) if choose(plan, pseudonym(who)) == arm)

    def configure(self, service: Mapping[str, Any], deadline: float = PATIENT) -> None:
        """The house's own configuration with other limits."""
        self.decide(_changes(service, deadline))


class Server(server.Server):
    """`grownet serve` for a town."""

    def __init__(self, town: Town, *options: str, **environment: str) -> None:
        super().__init__(town, *options, folder=ROOT, **environment)
        self.town = town

    def ready(self) -> Server:
        super().ready()
        return self

    def ask(self, key: str, body: Any = None, path: str = "predict", **headers: str) -> httpx.Response:
        return super().ask(key, {"customer": "4"} if body is None else body, path, **headers)


def _changes(service: Mapping[str, Any], deadline: float) -> dict[str, dict[str, Any]]:
    serving = {"deadline_seconds": deadline}
    return {"defaults.yaml": {"service": {"follow_seconds": 0.05, **service}, "model": {"serving": serving}}}
