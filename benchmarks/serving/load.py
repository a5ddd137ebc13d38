"""Load over loopback by a process of its own: keep-alive connections that each ask again when they were answered, or at a
pace of so many requests a second. Bounded by its seconds.

`python -m benchmarks.serving.load` reads an `Order` as JSON from its standard input and prints a `Record`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import httptools
import msgspec
import uvloop

from errors import StackError

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 10.0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, how often, and for how long. `per_second` 0 is as fast as the answers come."""

    port: int
    path: str
    body: str
    headers: dict[str, str] = {}
    connections: int = 8
    seconds: float = 1.0
    per_second: float = 0.0


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. Latencies in milliseconds, of answers with 200, in the order they ended; `ended` in seconds since the
    first was sent. With a pace, a latency counts from when the request was due."""

    latencies: list[float]
    ended: list[float]
    failed: dict[str, int]  # by status or error
    seconds: float

    @property
    def answered(self) -> int:
        return len(self.latencies)

    def percentile(self, share: float) -> float:
        """Milliseconds that this share of the answers did not exceed. NaN without answers."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


class Client(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, _: Exception | None) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(ConnectionError("closed"))

    def on_message_complete(self) -> None:
        status, self._parser = self._parser.get_status_code(), httptools.HttpResponseParser(self)
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(status)

    def ask(self, request: bytes) -> asyncio.Future[int]:
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)  # type: ignore[attr-defined]  # a socket's
        return self._waiting


class Load:
    """The connections of one order at work."""

    def __init__(self, order: Order) -> None:
        self._order, self._failed = order, dict[str, int]()
        self._latencies: list[float] = []
        self._ended: list[float] = []
        self._taken = 0
        head = {"host": "127.0.0.1", "content-type": "application/json", **order.headers}
        body = order.body.encode()
        lines = [f"{name}: {value}" for name, value in {**head, "content-length": str(len(body))}.items()]
        self._request = "\r\n".join([f"POST {order.path} HTTP/1.1", *lines, "", ""]).encode() + body

    async def run(self) -> Record:
        self._begun = time.perf_counter()
        await asyncio.gather(*(self._connection() for _ in range(self._order.connections)))
        took = time.perf_counter() - self._begun
        return Record(latencies=self._latencies, ended=self._ended, failed=self._failed, seconds=took)

    async def _connection(self) -> None:
        client: Client | None = None
        while (due := await self._due()) is not None:
            try:
                if client is None:
                    _, client = await asyncio.get_running_loop().create_connection(
                        Client, "127.0.0.1", self._order.port
                    )
                status = await asyncio.wait_for(client.ask(self._request), PATIENCE_SECONDS)
            except (OSError, TimeoutError, httptools.HttpParserError) as error:
                self._fail(type(error).__name__)
                client = None
                await asyncio.sleep(0.01)
                continue
            now = time.perf_counter()
            if status == 200:
                self._latencies.append((now - due) * 1000)
                self._ended.append(now - self._begun)
            else:
                self._fail(str(status))

    async def _due(self) -> float | None:
        """When the next request is due, once that is so; None when the time is over."""
        now = time.perf_counter()
        due = now
        if self._order.per_second:
            due = self._begun + self._taken / self._order.per_second
            self._taken += 1
        if due - self._begun >= self._order.seconds:
            return None
        if due > now:
            await asyncio.sleep(due - now)
        return due

    def _fail(self, why: str) -> None:
        self._failed[why] = self._failed.get(why, 0) + 1


def started(order: Order) -> subprocess.Popen[bytes]:
    """A process that carries an order out."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.serving.load"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin
    process.stdin.write(msgspec.json.encode(order))
    process.stdin.close()
    process.stdin = None
    return process


def record(process: subprocess.Popen[bytes]) -> Record:
    """What it recorded, once it is done. Raises StackError when it failed; its error is on the screen."""
    out, _ = process.communicate()
    if process.returncode != 0:
        raise StackError("load", expected="a record", got=f"exit code {process.returncode}")
    return msgspec.json.decode(out, type=Record)


if __name__ == "__main__":
    uvloop.install()
    made = asyncio.run(Load(msgspec.json.decode(sys.stdin.buffer.read(), type=Order)).run())
    sys.stdout.buffer.write(msgspec.json.encode(made))
    sys.stdout.buffer.flush()
