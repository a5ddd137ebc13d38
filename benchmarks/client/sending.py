"""The client: sends at a given rate and writes down what became of every request. A process of its own.

`python -m benchmarks.client.sending SPEC OUT` reads a `record.Spec`, writes a list of `record.Sent` (MessagePack) at
the end, and `ready` to stdout when it begins. Open loop: a request is due at its time, whether or not those before it were answered. Commands come on stdin:
`rate STREAM PER_SECOND`, `stop`; a closed stdin stops it too, and so do the limits of the specification. A stream with feedback says of each answer what
came of it, from the same client.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple, cast

import httptools
import msgspec
import uvloop

from benchmarks.client.record import FED, Feedback, Sent, Spec, Stream
from benchmarks.client.traffic import post

TICK_SECONDS = 0.001
LOOK_SECONDS = 0.05  # how often timeouts are looked for
READY = "ready\n"
LEAST_STATUS = OK = 200  # below it a reply is not the last one
PREDICTION_ID = re.compile(rb'"prediction_id":"([^"]+)"')


class Job(NamedTuple):
    number: int
    payload: int
    due: float
    feedback: bytes = b""  # the whole request, when it is one about an answer


class Result(NamedTuple):
    """A reply, or why there is none."""

    status: int = 0
    error: str = ""
    retry_after: str = ""
    body: bytes = b""


class Connection(asyncio.Protocol):
    """One connection of a sender; has at most one request under way."""

    def __init__(self, sender: Sender) -> None:
        self._sender, self._parser = sender, httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._body, self._retry_after = bytearray(), ""
        self.job: Job | None = None
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, job: Job) -> None:
        self.job, self.sent = job, time.monotonic()
        if self._transport is None or self._transport.is_closing():
            self.end("closed before it was sent")
        else:
            self._transport.write(job.feedback or self._sender.stream.payloads[job.payload])

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.end(f"no HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(f"connection lost: {exc or 'closed'}")

    def on_message_begin(self) -> None:
        self._body, self._retry_after = bytearray(), ""

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self._retry_after = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.job is None or status < LEAST_STATUS:
            return
        job, self.job = self.job, None
        self._sender.settle(job, self.sent, Result(status, "", self._retry_after, bytes(self._body)))
        if self._sender.stream.fresh or not self._parser.should_keep_alive():
            self.end("")
        else:
            self._sender.free(self)

    def end(self, error: str) -> None:
        """Closes it; a request under way has no reply."""
        self._sender.gone(self)
        if self._transport is not None:
            self._transport.abort() if error else self._transport.close()
        if self.job is not None:
            job, self.job = self.job, None
            self._sender.settle(job, self.sent, Result(error=error))


class Sender:
    """The requests of one stream."""

    def __init__(self, client: Client, stream: Stream) -> None:
        self.stream, self._client = stream, client
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._opening = 0
        self._waiting: deque[Job] = deque()
        self._rate, self._next = stream.rate, time.monotonic()
        self._count = 0

    def rate(self, per_second: float) -> None:
        self._rate, self._next = per_second, time.monotonic()

    def tick(self, now: float) -> None:
        """Sends what is due."""
        if self.stream.closed:
            under_way = len(self._open) - len(self._idle) + self._opening + len(self._waiting)
            for _ in range(self.stream.connections - under_way if self._rate > 0 else 0):
                self._offer(now)
        elif self._rate > 0:
            while self._next <= now:
                self._offer(self._next)
                self._next += 1.0 / self._rate

    def look(self, now: float, timeout: float) -> None:
        """Gives up what took too long."""
        for one in [one for one in self._open if one.job is not None and now - one.sent > timeout]:
            one.end(f"no reply within {timeout:g} s")

    def drop(self) -> None:
        """Gives up what was never sent, and closes what is idle."""
        while self._waiting:
            self.settle(self._waiting.popleft(), 0.0, Result(error="never sent: no connection was free"))
        for one in list(self._idle):
            one.end("")

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._opening or len(self._open) > len(self._idle))

    def free(self, connection: Connection) -> None:
        self._idle.append(connection)
        if self.stream.closed and self._rate > 0 and not self._waiting:
            self._offer(time.monotonic())
        self._serve()

    def gone(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._serve()

    def settle(self, job: Job, sent: float, result: Result) -> None:
        """Writes down what became of a request."""
        done = time.monotonic()
        name = self.stream.name + FED if job.feedback else self.stream.name
        row = (job.number, name, job.payload, job.due, sent or done, done, *result)
        self._client.records.append(Sent(*row))
        if result.status == OK and not job.feedback and self.stream.feedback is not None:
            self._report(self.stream.feedback, job, result.body)

    def _report(self, feedback: Feedback, job: Job, reply: bytes) -> None:
        """Queues what became of an answer; sent with the next connection that is free, this one soonest."""
        found, number = PREDICTION_ID.search(reply), self._client.number()
        if found is None or number < 0:
            return
        body = b'{"prediction_id":"%b","outcome":%b}' % (found[1], feedback.outcomes[job.payload])
        told = post(feedback.path, body, feedback.headers)
        self._waiting.append(Job(number, job.payload, time.monotonic(), told))

    def _offer(self, due: float) -> None:
        number = self._client.number()
        if number >= 0:
            self._waiting.append(Job(number, self._count % len(self.stream.payloads), due))
            self._count += 1
            self._serve()

    def _serve(self) -> None:
        while self._waiting and self._idle:
            self._idle.pop().send(self._waiting.popleft())
        room = self.stream.connections - len(self._open) - self._opening
        for _ in range(min(room, len(self._waiting) - self._opening)):
            self._opening += 1
            self._client.keep(asyncio.ensure_future(self._connect()))

    async def _connect(self) -> None:
        spec, loop = self._client.spec, asyncio.get_running_loop()
        began = time.monotonic()
        try:
            _, made = await asyncio.wait_for(
                loop.create_connection(lambda: Connection(self), spec.host, spec.port), spec.timeout_seconds
            )
        except (OSError, TimeoutError) as error:
            self._opening -= 1
            if self._waiting:  # the request that this connection was opened for
                self.settle(self._waiting.popleft(), began, Result(error=f"no connection: {error or 'timeout'}"))
            return
        self._opening -= 1
        self._open.add(made)
        self.free(made)


class Client:
    """All streams of a specification."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.records: list[Sent] = []
        self._given, self._stopped = 0, False
        self._tasks: set[asyncio.Future[None]] = set()
        self._commands, self._looked = b"", 0.0
        self._senders = {stream.name: Sender(self, stream) for stream in spec.streams}

    def number(self) -> int:
        """The next request's number; -1 when there were enough."""
        self._given += 1
        return self._given - 1 if self._given <= self.spec.most_requests else -1

    def keep(self, task: asyncio.Future[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self) -> None:
        """Sends until told to stop, then waits for what is under way."""
        os.set_blocking(sys.stdin.fileno(), False)
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._listen)
        sys.stdout.write(READY)
        sys.stdout.flush()
        for sender in self._senders.values():
            sender.rate(sender.stream.rate)  # from now on, however long the start took
        end = time.monotonic() + self.spec.most_seconds
        while not self._stopped and time.monotonic() < end:
            self._look()
            for sender in self._senders.values():
                sender.tick(time.monotonic())
            await asyncio.sleep(TICK_SECONDS)
        for sender in self._senders.values():
            if not self._stopped and not sender.stream.closed:
                sender.tick(end)  # what was due in time, however late a busy machine looks
            sender.rate(0.0)
        end = time.monotonic() + self.spec.timeout_seconds
        while any(sender.busy for sender in self._senders.values()) and time.monotonic() < end:
            self._look()
            await asyncio.sleep(TICK_SECONDS)
        for sender in self._senders.values():
            sender.drop()

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked > LOOK_SECONDS:
            self._looked = now
            for sender in self._senders.values():
                sender.look(now, self.spec.timeout_seconds)

    def _listen(self) -> None:
        try:
            given = os.read(sys.stdin.fileno(), 4096)
        except BlockingIOError:  # uvloop may call a reader when there is nothing to read
            return
        *whole, self._commands = (self._commands + given).split(b"\n")
        for line in whole:
            word, *rest = line.decode().split()
            if word == "rate":
                self._senders[rest[0]].rate(float(rest[1]))
            else:
                self._stopped = True
        if not given:
            self._stopped = True
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())


def main(spec: Path, out: Path) -> None:
    """Runs a specification and writes the record."""
    client = Client(msgspec.msgpack.decode(spec.read_bytes(), type=Spec))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(client.run())
    out.write_bytes(msgspec.msgpack.encode(client.records))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
