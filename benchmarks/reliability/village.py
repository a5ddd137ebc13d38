"""The home scenarios run on: two versions of `recommendation` that answer differently, learned from bundled orders.

`made(folder)` writes it once; each scenario takes a copy. Version 1 is released; version 2 waits to be.
"""

from __future__ import annotations

import functools
import random
import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
from msgspec.structs import replace

from benchmarks import bundled
from benchmarks.stand import Lesson, Stand
from models.contract import Tables
from records import Arm
from stores.vault import Vault

MODEL = "recommendation"
CUSTOMERS = 200  # of the data whose orders are learned from: enough to be real, and made in seconds
BODIES = 400
SUBJECT, TIME = "customer_id", "invoice_date"
SEED = 20111209


class Village(Stand):
    """The stand, with versions that differ."""

    def differing(self, number: int) -> tuple[Arm, dict[str, bytes]]:
        """A candidate that goes by what sells now where version 1 goes by the history; and its model's files."""
        made = self.other(number)
        return self.candidate(number, **made), made["files"]

    def other(self, number: int) -> dict[str, Any]:
        """The parts of such a candidate that differ, as `candidate` takes them; `number` says how strongly it differs."""
        frame, params, policy = self._prepared()
        blend = replace(params.blend, popularity_weight=params.blend.popularity_weight + number, trend_power=0.0)
        fitted = self.model.fit(self._tables(), self.lesson.as_of, replace(params, blend=blend), 0)
        index, requests = self.model.index(frame), self.model.example()
        expected = self.model.decide(self.model.predict(fitted, index, requests), requests, index, policy)
        return {"files": self.model.dump(fitted), "expected": msgspec.json.encode(expected)}

    def spoilt(self, number: int) -> Arm:
        """A candidate that people voted for, whose bytes changed afterwards."""
        arm = self.candidate(number)
        assert arm.artifact is not None
        content = arm.artifact.content
        path = self.folder / "artifacts" / content[:2] / f"{content}.sealed"
        path.write_bytes(b"\0" + path.read_bytes()[1:])
        return arm


def lesson() -> Lesson:
    """The orders of some customers, drawn once."""
    rows = _orders()
    return Lesson(MODEL, functools.partial(_masked, rows), rows[TIME].max().to_pydatetime() + timedelta(microseconds=1))


def bodies() -> list[bytes]:
    """Requests of customers, of baskets, of both; one in ten of a customer nobody knows."""
    rows, draw = _orders(), random.Random(SEED)
    customers, known_codes = sorted(rows[SUBJECT].unique()), codes()
    found: list[bytes] = []
    for at in range(BODIES):
        known = str(draw.choice(customers)) if at % 10 else f"nobody-{at}"
        asked: dict[str, Any] = {"customer": known} if at % 4 else {}
        if at % 2 == 0:
            asked["recent"] = draw.sample(known_codes, draw.randint(1, 5))
        found.append(msgspec.json.encode({**asked, "k": draw.choice((5, 10, 20))}))
    return found


def regulars(days: int) -> list[str]:
    """Who ordered in the last days of the data: the customer of each order, by time."""
    rows = _orders()
    late = rows[rows[TIME] > rows[TIME].max() - timedelta(days=days)].sort_values([TIME, "invoice_no"])
    return [str(one) for one in late.drop_duplicates("invoice_no")[SUBJECT].dropna()]


def codes() -> list[str]:
    """Every product of the data, sorted."""
    return sorted(_orders()["stock_code"].unique())


def made(folder: Path) -> Village:
    """A home in which version 1 was released."""
    village = Village(folder, lesson())
    village.released(1)
    return village


def copied(home: Path, folder: Path, changes: Mapping[str, Mapping[str, Any]]) -> Village:
    """A home of its own, with changes to the configuration."""
    shutil.copytree(home, folder)
    return Village(folder, lesson(), changes)


@functools.cache
def _orders() -> pd.DataFrame:
    rows = bundled(MODEL)["orders"]
    known = sorted(rows[SUBJECT].dropna().unique())
    chosen = random.Random(SEED).sample(known, CUSTOMERS)
    return rows[rows[SUBJECT].isin(chosen)].reset_index(drop=True)


def _masked(rows: pd.DataFrame, vault: Vault) -> Tables:
    masked = rows.copy()
    masked[SUBJECT] = vault.pseudonyms(masked[SUBJECT])
    return {"orders": masked}
