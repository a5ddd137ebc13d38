"""Where a scenario happens: a home, a running service, a client, and the times at which something was done to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks.client.record import Sent, Stream
from benchmarks.client.traffic import Traffic, post
from benchmarks.reliability import village
from benchmarks.reliability.fleet import Fleet, until
from benchmarks.reliability.oracle import Timeline
from benchmarks.reliability.village import Village
from records import ReleasePlan

GOOD, HOSTILE = "good", "hostile"
READY_SECONDS = 60.0
AFTERWARDS_SECONDS = 2.0  # a fault may be felt this long after it ended, unless the scenario says otherwise
CONNECTIONS = 64


class Stated(NamedTuple):
    """What a scenario says it may cost, while its fault lasts and `felt_seconds` after. All else breaks a promise."""

    overrides: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()  # each with Retry-After
    no_reply: bool = False
    felt_seconds: float = AFTERWARDS_SECONDS


class Promise(NamedTuple):
    """Something that must hold, and what was seen."""

    what: str
    held: bool
    got: str


class Window(NamedTuple):
    """A fault: monotonic seconds of its begin and end."""

    what: str
    start: float
    end: float


class Run(NamedTuple):
    """All that is known of a scenario once it is over."""

    records: list[Sent]
    asked: dict[str, list[list[bytes]]]  # by stream and payload: the requests in it
    windows: list[Window]
    timeline: Timeline
    stated: Stated


@dataclass
class Stage:
    """One scenario under way."""

    village: Village
    folder: Path  # for its files
    seconds: float  # it should take
    per_second: float  # requests, when all is well
    options: tuple[str, ...] = ()  # of `grownet serve`
    timeline: Timeline = field(default_factory=Timeline)
    windows: list[Window] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)
    records: list[Sent] = field(default_factory=list)
    asked: dict[str, list[list[bytes]]] = field(default_factory=dict)  # by stream and payload: the requests in it
    facts: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None

    def __post_init__(self) -> None:
        self.key = self.village.key("predict", "read")
        now = time.monotonic()
        self.timeline.add(self.village.plan(), now, now)

    # ---- the service -----------------------------------------------------------------------------

    def serve(self, **given: Any) -> Fleet:
        """Starts the service and waits until all its workers serve the whole plan."""
        began = time.time()
        self.fleet = Fleet(self.village, *self.options, **given)
        until(lambda: self.fleet.loaded(len(self.fleet.workers), began), "a service that is ready", READY_SECONDS)
        return self.fleet

    def end(self) -> int:
        """Ends the service as an operator would; its exit code."""
        if self.exit_code is None:
            self.exit_code = self.fleet.end()
        return self.exit_code

    def close(self) -> None:
        """Whatever still runs is ended."""
        if hasattr(self, "traffic"):
            self.traffic.abandon()
        if hasattr(self, "fleet"):
            self.end()
        self.village.close()

    def change(self, move: Callable[[], ReleasePlan]) -> ReleasePlan:
        """Writes another plan, and notes when."""
        before = time.monotonic()
        plan = move()
        self.timeline.add(plan, before, time.monotonic())
        return plan

    # ---- traffic ---------------------------------------------------------------------------------

    def stream(
        self, name: str = GOOD, *, batch: int = 1, connections: int = CONNECTIONS, closed: bool = False
    ) -> Stream:
        """Requests of the village, each batch of others."""
        bodies = village.bodies()
        groups = [[bodies[(at + n) % len(bodies)] for n in range(batch)] for at in range(len(bodies))]
        self.asked[name] = groups
        wrapped = [group[0] if batch == 1 else b'{"requests":[' + b",".join(group) + b"]}" for group in groups]
        head = {"authorization": f"Bearer {self.key}"}
        payloads = [post(f"/{village.MODEL}/predict", body, head) for body in wrapped]
        return Stream(name, payloads, self.per_second, connections, closed)

    def send(self, *streams: Stream) -> Traffic:
        """Starts the client."""
        given = streams or (self.stream(),)
        self.traffic = Traffic(self.folder, (self.fleet.host, self.fleet.port), given, 4 * self.seconds + 60)
        return self.traffic

    def collect(self) -> list[Sent]:
        """Stops the client and takes its record."""
        self.records += self.traffic.finish()
        return self.records

    # ---- time ------------------------------------------------------------------------------------

    def wait(self, share: float) -> None:
        """A share of the scenario's time."""
        time.sleep(share * self.seconds)

    def fault(self, what: str) -> Fault:
        """`with stage.fault("..."):` notes when it began and ended."""
        return Fault(self, what)

    def promise(self, what: str, held: bool, got: object) -> None:
        self.promises.append(Promise(what, held, str(got)))

    def over(self, stated: Stated) -> Run:
        return Run(self.records, self.asked, self.windows, self.timeline, stated)

    def readyz(self) -> Mapping[str, Any]:
        return self.fleet.facts()


class Fault:
    """The time of a fault."""

    def __init__(self, stage: Stage, what: str) -> None:
        self._stage, self._what, self._start = stage, what, 0.0

    def __enter__(self) -> Fault:
        self._start = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._stage.windows.append(Window(self._what, self._start, time.monotonic()))


def replies(sent: Sent) -> Sequence[Mapping[str, Any]]:
    """The answers in a reply with status 200: of one request, or of a batch."""
    decoded: dict[str, Any] = msgspec.json.decode(sent.body, type=dict[str, Any])
    answers: list[Any] = decoded.get("answers", [decoded])
    return answers
