"""The service inside the test's own process: the real one, on a loop in a thread, called through ASGI.

For what needs a model that misbehaves (`hostile`) or a look at the parts; the face towards clients is tested over a
process of its own.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

import pytest

from checks.assignment import choose
from models import contract
from models.contract import Model
from records import Answer, Counter, Feedback
from serving.desk import Desk
from serving.rest import App
from serving.service import Service
from stores.ledger import counters
from stores.segments import Entry, entries, segments
from tests.serving.town import NAME, Town, wait_for

CUSTOMERS = [str(number) for number in range(0, 60, 2)]  # of the town
BOOM, HANG, NAN, SLOW = "boom", "hang", "nan", "slow"  # in a basket: what the hostile model does with it
SLOW_SECONDS = 0.25


class Inside:
    """A started service."""

    def __init__(self, town: Town) -> None:
        self.town, self.key = town, town.key()
        self.service = Service(town.settings, town.config)
        self.app = App(self.service)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.service.start()

    @property
    def desk(self) -> Desk:
        return self.service.desks[NAME]

    def ready(self) -> Inside:
        """Waits until everything the plan names is loaded."""
        wait_for(lambda: self.service.ready and not self.service.degraded, 30)
        return self

    def revision(self, number: int) -> Inside:
        """Waits until this revision answers with all its arms."""
        wait_for(lambda: self.desk.view and self.desk.view.plan.revision == number, 30)
        return self.ready()

    def ask(self, body: Any = None, path: str = "predict", **headers: str) -> Any:
        """The decoded reply; asserts 200."""
        status, reply = self.call(path, {"customer": self.somebody()} if body is None else body, **headers)
        assert status == 200, reply
        return reply

    def somebody(self) -> str:
        """A customer of the champion: whom canary and control take, the keys of the home and the salt decide."""
        view, pseudonym = self.desk.view, self.town.pseudonym
        if view is None:
            return CUSTOMERS[0]
        left = (who for who in CUSTOMERS if choose(view.plan, pseudonym(who)) in {"champion", "rules"})
        return next(left, CUSTOMERS[0])

    def call(self, path: str, body: Any, method: str = "POST", **headers: str) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, reply = self.send(path, data, method, **headers)
        return status, json.loads(reply)

    def send(self, path: str, body: bytes, method: str = "POST", **headers: str) -> tuple[int, bytes]:
        """As `call`, bytes in and out."""
        given = {"authorization": f"Bearer {self.key}", **headers}
        future = asyncio.run_coroutine_threadsafe(self._send(f"/{NAME}/{path}", body, method, given), self.loop)
        return future.result(timeout=30)

    async def _send(self, path: str, body: bytes, method: str, headers: dict[str, str]) -> tuple[int, bytes]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        raw = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
        await self.app({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
        return sent[0]["status"], sent[1]["body"]

    def journal(self) -> list[Entry]:
        folder = self.service.house.journal.folder
        return [entry for segment in segments(folder) for _, entry in entries(segment.path)]

    def answers(self) -> list[Answer]:
        return [entry for entry in self.journal() if isinstance(entry, Answer)]

    def line(self, reply: Any) -> Answer:
        """The line of this reply; scores beside earlier ones may come after it."""
        return next(one for one in self.answers() if one.prediction_id == reply["prediction_id"])

    def feedback(self) -> list[Feedback]:
        return [entry for entry in self.journal() if isinstance(entry, Feedback)]

    def rows(self, salt: str) -> dict[tuple[str, int], Counter]:
        """The ledger's counters of a rollout, summed over buckets, by arm and version."""
        sums: dict[tuple[str, int], Counter] = {}
        names = ("answers", "errors", "late", "matured", "total", "squares", "other_total", "other_squares", "cross")
        for row in counters.totals(self.town.ledgers["reader"], NAME, salt):
            known = sums.get((row.arm, row.version))
            more = {name: getattr(row, name) + (getattr(known, name) if known else 0) for name in names}
            sums[row.arm, row.version] = Counter(
                model=NAME, salt=salt, arm=row.arm, version=row.version, bucket=0, hour=row.hour, **more
            )
        return sums

    def close(self) -> None:
        self.service.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@contextmanager
def inside(town: Town) -> Iterator[Inside]:
    made = Inside(town)
    try:
        yield made
    finally:
        made.close()


def hostile(monkeypatch: pytest.MonkeyPatch, versions: Sequence[int]) -> threading.Event:
    """From now on these versions of `recommendation` obey the words in a basket. Set the event to end all hangs."""
    real = contract.find(NAME)
    module = ModuleType("hostile")
    module.__dict__.update(cast(ModuleType, real).__dict__)
    free = threading.Event()
    fits: dict[int, int] = {}

    def load(files: Any) -> Any:
        fitted = real.load(files)
        fits[id(fitted)] = len(fits) + 1  # they are loaded in the order of the plan: champion, then canary
        return fitted

    def predict(fitted: Any, index: Any, requests: Sequence[Any]) -> Any:
        words = {word for request in requests for word in request.recent}
        if fits[id(fitted)] in versions and HANG in words:
            free.wait(60)
        if fits[id(fitted)] in versions and SLOW in words:
            time.sleep(SLOW_SECONDS)
        if fits[id(fitted)] in versions and BOOM in words:
            raise ZeroDivisionError("boom")
        found = real.predict(fitted, index, requests)
        if fits[id(fitted)] in versions and NAN in words:
            return [type(one)(items=one.items, scores=(float("nan"),) * len(one.items)) for one in found]
        return found

    module.__dict__.update(load=load, predict=predict)
    monkeypatch.setattr(contract, "find", lambda name: cast(Model, module))
    return free
