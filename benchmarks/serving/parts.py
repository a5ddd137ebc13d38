"""Where the CPU of one answer goes: the real service in this process, asked through ASGI, then each of its parts by itself.

Run where the benchmark's model is found: `python -m benchmarks.serving.parts KEY`, with the home in the environment; prints
facts. CPU of all threads for the whole answer, of the calling thread for a part, which has no other.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import uvloop

from benchmarks import Facts
from benchmarks.serving.race import rows
from benchmarks.serving.site import NAME
from configs import load as loading
from records import utc_now
from serving import predict as answering
from serving.answer import Choice, answer, choose
from serving.rest import App, encode
from serving.runner import Job, Runner
from serving.server import SWITCH_SECONDS
from serving.service import Service
from stores.segments import line_of

ANSWERS, REPEATS, READY_SECONDS = 500, 7, 60.0
NAMED = ("decoding", "predicting", "encoding")


def main(key: str) -> None:
    """The parts of an answer to one row and to a hundred."""
    sys.setswitchinterval(SWITCH_SECONDS)
    settings = loading.settings()
    found = uvloop.run(_measured(Service(settings, loading.load(settings.configs)), key))
    print(json.dumps(found))


def summed(total: float, parts: Facts) -> Facts:
    """Microseconds: the parts, what is none of decoding, predicting and encoding (`rest`), and what no part explains."""
    rest = total - sum(parts[name] for name in NAMED)
    return {**parts, "total": total, "rest": rest, "unexplained": total - sum(parts.values())}


async def _measured(service: Service, key: str) -> Facts:
    app = App(service)
    service.start()
    try:
        deadline = time.monotonic() + READY_SECONDS
        while (not service.ready or service.degraded) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        return {str(count): await _of(service, app, key, count) for count in (1, 100)}
    finally:
        await asyncio.to_thread(service.close)


async def _of(service: Service, app: App, key: str, count: int) -> Facts:
    body = json.dumps({"reader": "somebody", "rows": rows(count)}).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "content-length": str(len(body))}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": f"/{NAME}/predict", "headers": raw}
    statuses: set[int] = set()

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        statuses.add(message.get("status", 200))

    totals = []
    for _ in range(REPEATS):
        begun = time.process_time()
        for _ in range(ANSWERS // count + 1):
            await app(scope, receive, send)
        totals.append((time.process_time() - begun) / (ANSWERS // count + 1) * 1e6)
    assert statuses == {200}, statuses
    return summed(statistics.median(totals), _parts(service, app, body, headers["authorization"]))


def _parts(service: Service, app: App, body: bytes, authorization: str) -> Facts:
    """Each part of `serving.predict.predict` and around it, alone."""
    house, desk = service.house, service.desks[NAME]
    view, now = desk.view, utc_now()
    assert view is not None
    requests, _ = desk.forms.requests(body)
    masked = answering.mask(house, desk, requests[0])
    choice: Choice = choose(view, masked.key, 0.0)
    loaded = choice.loaded
    assert loaded is not None
    ask = answering.Ask(house, desk, view, now, now, time.monotonic(), True)
    given = answering.Given(answer(view, loaded, [masked.request])[0], choice, None)
    line = answering._line(ask, masked, given)
    reply = answering._reply(line, given)
    scored = np.array(requests[0].rows)
    whole = _cost(lambda: answer(view, loaded, [masked.request]))
    return {
        "decoding": _cost(lambda: desk.forms.requests(body)) + _cost(lambda: np.array(requests[0].rows)),
        "predicting": _cost(lambda: loaded.fitted.forest.predict(scored)),
        "encoding": _cost(lambda: encode(reply)) + _cost(lambda: line_of(line)),
        "policy and order": max(0.0, whole - _cost(lambda: loaded.fitted.forest.predict(np.array(requests[0].rows)))),
        "a thread for the model": _hop(loaded.live),
        "key": _cost(lambda: app._checks.allowed(authorization, NAME, "predict")),
        "pseudonym and arm": _cost(lambda: (answering.mask(house, desk, requests[0]), choose(view, masked.key, 0.0))),
        "id and line": _cost(lambda: answering._line(ask, masked, given)),
        "journal": max(0.0, _cost(lambda: house.journal.append(line)) - _cost(lambda: line_of(line))),
        "metrics": _cost(lambda: house.metrics.answered([line], 0.001)),
    }


def _hop(runner: Runner) -> float:
    """CPU of all threads to have nothing done by the model's thread."""

    def once() -> None:
        job = Job(int)
        runner.offer(job)
        if not runner.glance(job):
            job.ended(1.0)

    return _cost(once, time.process_time)


def _cost(do: Callable[[], object], clock: Callable[[], float] = time.thread_time) -> float:
    """Microseconds of a call: the median of some runs of many calls."""
    do()
    begun = time.perf_counter()
    do()
    many = max(3, min(400, int(0.01 / max(time.perf_counter() - begun, 1e-7))))
    found = []
    for _ in range(REPEATS):
        since = clock()
        for _ in range(many):
            do()
        found.append((clock() - since) / many * 1e6)
    return statistics.median(found)


if __name__ == "__main__":
    main(*sys.argv[1:])
