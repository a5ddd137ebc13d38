"""The harness's end of the client process: starts it, tells it rates, takes its record."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from benchmarks.client.record import Sent, Spec, Stream
from errors import StackError

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 10.0  # a client that waits longer than this has no answer
MOST_REQUESTS = 200_000
SPARE_SECONDS = 60.0


class Traffic:
    """A running client; it sends from the moment this is made.

    Raises:
        StackError: when it does not start.
    """

    def __init__(self, folder: Path, address: tuple[str, int], streams: Sequence[Stream], most_seconds: float) -> None:
        self._most_seconds = most_seconds
        self._out = folder / f"record-{time.monotonic_ns()}.msgpack"
        spec = Spec(*address, list(streams), most_seconds, MOST_REQUESTS, TIMEOUT_SECONDS)
        path = self._out.with_suffix(".spec")
        path.write_bytes(msgspec.msgpack.encode(spec))
        command = [sys.executable, "-m", "benchmarks.client.sending", str(path), str(self._out)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        if self.process.stdout is None or not self.process.stdout.readline():
            raise StackError("client", expected="to start", got=f"exit code {self.process.wait()}")

    def rate(self, stream: str, per_second: float) -> None:
        """From now on a stream sends at this rate; 0 stops it. A closed stream sends while its rate is above 0."""
        self._tell(f"rate {stream} {per_second}")

    def ended(self) -> list[Sent]:
        """What it wrote down by the end of its time. Raises as `finish`."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(self._most_seconds + TIMEOUT_SECONDS + SPARE_SECONDS)
        return self.finish()

    def finish(self) -> list[Sent]:
        """Stops it and waits for what is under way.

        Raises:
            StackError: when the client failed: without its record nothing can be said.
        """
        with suppress(BrokenPipeError, StackError):  # it may have ended by itself
            self._tell("stop")
        try:
            code = self.process.wait(TIMEOUT_SECONDS + SPARE_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        self.abandon()
        if code != 0 or not self._out.exists():
            raise StackError("client", expected="a record", got=f"exit code {code}")
        found = msgspec.msgpack.decode(self._out.read_bytes(), type=list[Sent])
        return sorted(found, key=lambda one: one.number)

    def abandon(self) -> None:
        """Ends it without a record."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def _tell(self, line: str) -> None:
        if self.process.stdin is None or self.process.poll() is not None:
            raise StackError("client", expected="to run", got=f"exit code {self.process.returncode}")
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()


def post(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A whole HTTP/1.1 POST."""
    lines = [f"POST {path} HTTP/1.1", "host: localhost", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()] + [f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body
