"""Replays real orders as traffic: each order asks for a slate, then reports what was bought.

Event time is the order's own time and only it is compressed; the clock of leases, codes and incidents runs on.
Used by the demo; needs an API key with the scopes predict, feedback and replay.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

WORKERS = 6


@dataclass(frozen=True)
class Order:
    """One invoice of a known customer."""

    customer: str
    at: datetime
    codes: tuple[str, ...]


@dataclass
class Sent:
    """One request as the client saw it; `wall` in seconds since the epoch."""

    wall: float
    event: datetime
    status: int
    seconds: float
    arm: str = ""
    version: int = -1
    revision: int = -1
    override: str = ""
    prediction_id: str = ""
    hit: float = 0.0


def orders(parquet: Path, start: datetime) -> list[Order]:
    """Invoices of known customers at or after `start` (UTC), oldest first; cancellations are no orders."""
    frame = pd.read_parquet(parquet)
    frame["invoice_date"] = frame["invoice_date"].dt.tz_localize("Europe/London").dt.tz_convert("UTC")
    real = (
        (frame["invoice_date"] >= start)
        & frame["customer_id"].notna()
        & (frame["quantity"] > 0)
        & ~frame["invoice_no"].str.startswith("C")
    )
    grouped = frame[real].groupby("invoice_no", sort=False)
    first = grouped.agg(at=("invoice_date", "min"), customer=("customer_id", "first"), codes=("stock_code", tuple))
    return [
        Order(customer=str(int(row.customer)), at=row.at.to_pydatetime(), codes=tuple(dict.fromkeys(row.codes)))
        for row in first.sort_values("at").itertuples()
    ]


@dataclass
class Traffic:
    """Sends orders to a service from a thread of its own, at `pace` requests a second (0 = pause), until stopped or out of orders."""

    url: str
    model: str
    key: str
    stream: Iterator[Order]
    pace: float = 0.0
    more: bool = False  # orders will follow: at the end of the stream it waits for them
    waiting: bool = False  # for that
    late: bool = False  # outcomes are kept until `tell`
    sent: list[Sent] = field(default_factory=list)
    owed: list[tuple[Order, Sent]] = field(default_factory=list)  # orders whose outcome is not told yet
    asked: bool = False  # everything was, and outcomes may still be owed
    _told: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="traffic", daemon=True)
        self._thread.start()

    def then(self, orders: Sequence[Order]) -> None:
        """The last orders to go on with, once those before are sent."""
        self.stream, self.waiting, self.more = iter(orders), False, False

    def tell(self) -> None:
        """Reports the outcomes that were kept, once everything was asked; it is `done` when the last of them is told."""
        self._told.set()

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=10)

    @property
    def failed(self) -> list[Sent]:
        return [item for item in self.sent if item.status != httpx.codes.OK]

    @property
    def done(self) -> bool:
        return self._thread is not None and not self._thread.is_alive()

    def overrides(self) -> Counter[str]:
        return Counter(item.override for item in self.sent if item.override)

    async def _run(self) -> None:
        limits = httpx.Limits(max_connections=WORKERS)
        headers = {"authorization": f"Bearer {self.key}"}
        queue: asyncio.Queue[Order | None] = asyncio.Queue(maxsize=WORKERS)
        async with httpx.AsyncClient(base_url=self.url, headers=headers, limits=limits, timeout=10) as client:
            workers = [asyncio.create_task(self._work(client, queue)) for _ in range(WORKERS)]
            await self._feed(queue)
            for _ in workers:
                await queue.put(None)
            await asyncio.gather(*workers)
            self.asked = True
            await self._settle(client)

    async def _feed(self, queue: asyncio.Queue[Order | None]) -> None:
        due = time.monotonic()
        while (order := await self._next()) is not None:
            while self.pace <= 0 and not self._stop.is_set():
                await asyncio.sleep(0.05)
                due = time.monotonic()
            if self._stop.is_set():
                return
            await queue.put(order)
            due = max(due + 1 / self.pace, time.monotonic() - 0.5) if self.pace > 0 else time.monotonic()
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _settle(self, client: httpx.AsyncClient) -> None:
        """Outcomes that were kept, a few at a time, in the order in which they were asked for."""
        while self.owed and not self._told.is_set() and not self._stop.is_set():
            await asyncio.sleep(0.05)
        for at in range(0, len(self.owed), WORKERS):
            if self._stop.is_set():
                return
            await asyncio.gather(*(self._bought(client, *one) for one in self.owed[at : at + WORKERS]))

    async def _next(self) -> Order | None:
        """The next order, waited for while more is to come; None at the end."""
        while (order := next(self.stream, None)) is None and self.more and not self._stop.is_set():
            self.waiting = True
            await asyncio.sleep(0.05)
        return order

    async def _work(self, client: httpx.AsyncClient, queue: asyncio.Queue[Order | None]) -> None:
        while (order := await queue.get()) is not None:
            self.sent.append(await self._one(client, order))

    async def _one(self, client: httpx.AsyncClient, order: Order) -> Sent:
        when = {"x-event-time": order.at.isoformat()}
        start = time.perf_counter()
        try:
            reply = await client.post(
                f"/{self.model}/predict", json={"customer": order.customer, "recent": [], "k": 10}, headers=when
            )
        except httpx.HTTPError:
            return Sent(wall=time.time(), event=order.at, status=0, seconds=time.perf_counter() - start)
        seconds = time.perf_counter() - start
        if reply.status_code != httpx.codes.OK:
            return Sent(wall=time.time(), event=order.at, status=reply.status_code, seconds=seconds)
        return await self._report(client, order, reply.json(), seconds)

    async def _report(self, client: httpx.AsyncClient, order: Order, answer: dict[str, Any], seconds: float) -> Sent:
        slate = {str(code).upper() for code in answer["decision"]["items"]}
        sent = Sent(
            wall=time.time(),
            event=order.at,
            status=httpx.codes.OK.value,
            seconds=seconds,
            arm=answer["arm"],
            version=answer["version"],
            revision=answer["revision"],
            override=answer["override"],
            prediction_id=answer["prediction_id"],
            hit=float(bool(slate & {code.upper() for code in order.codes})),
        )
        if self.late:
            self.owed.append((order, sent))
        else:
            await self._bought(client, order, sent)
        return sent

    async def _bought(self, client: httpx.AsyncClient, order: Order, sent: Sent) -> None:
        """Reports the outcome; `sent` gets the status."""
        feedback = {"prediction_id": sent.prediction_id, "outcome": {"purchased": list(order.codes)[:500]}}
        try:
            reply = await client.post(
                f"/{self.model}/feedback", json=feedback, headers={"x-event-time": order.at.isoformat()}
            )
            sent.status = reply.status_code
        except httpx.HTTPError:
            sent.status = 0


SEASON_START = datetime(2011, 9, 1, tzinfo=UTC)  # the replay begins where the training data of the demo ends
