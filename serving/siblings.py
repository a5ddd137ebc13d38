"""The other workers of a set on this machine: feedback for their answers goes to them, and their metrics are fetched.

Each worker answers the same routes on a unix socket, `home/serving/REPLICA.sock` (0600), which only this user can open.
Used by `serving.rest`; a replica that is alone has no siblings, and passes nothing on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric

from checks.prediction_ids import parse
from errors import NotFound
from serving.calls import Call, Sent
from serving.house import unavailable

if TYPE_CHECKING:
    import httpx

FROM = b"x-grownet-sibling"  # a sibling asks: do not ask others in turn
PASSED_ON = (b"authorization", b"x-event-time", b"content-type")
SECONDS = 5.0
METRICS_SECONDS = 1.0
RETRY_SECONDS = 2


def socket_of(home: Path, replica: str) -> Path:
    return home / "serving" / f"{replica}.sock"


def short(path: Path) -> str:
    """A name of this socket's path that fits into the 108 bytes an address may have, however deep the home is.

    The folder is held open for as long as this process lives.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    near = f"/proc/self/fd/{folder}"
    return f"{near}/{path.name}" if Path(near).exists() else str(path)


class Siblings:
    """The others, by name. Used on the loop only."""

    def __init__(self, home: Path, replica: str, others: Sequence[str] = ()) -> None:
        self.replica, self.others = replica, tuple(others)
        self._home = home
        self._clients: dict[str, httpx.AsyncClient] = {}

    def author(self, prediction_id: str, call: Call) -> str:
        """The sibling that gave this answer; empty when it was none, or when a sibling asks."""
        if not self.others or FROM in call.headers:
            return ""
        try:
            replica = parse(prediction_id).replica
        except NotFound:
            return ""
        return replica if replica in self.others else ""

    async def forward(self, replica: str, path: str, call: Call, body: bytes) -> Sent:
        """The sibling's own reply to this call. Raises Refusal 503 while it is away."""
        from httpx import HTTPError  # noqa: PLC0415 - a replica that is alone never needs it

        headers = {name: call.headers[name] for name in PASSED_ON if name in call.headers}
        try:
            reply = await self._client(replica).post(path, content=body, headers={**headers, FROM: b"1"})
        except HTTPError as error:
            what = f"replica {replica}"
            raise unavailable(what, f"{type(error).__name__}: it may be starting again", RETRY_SECONDS) from error
        again = reply.headers.get("retry-after")
        more = ((b"retry-after", again.encode()),) if again else ()
        return Sent(reply.status_code, reply.content, headers=more)

    async def pages(self, call: Call) -> dict[str, bytes]:
        """The metrics of each that answers in time; none when a sibling asks."""
        if FROM in call.headers:
            return {}
        found = await asyncio.gather(*(self._page(replica) for replica in self.others))
        return {replica: page for replica, page in zip(self.others, found, strict=True) if page}

    def up(self, call: Call, answered: Collection[str]) -> Iterator[Metric]:
        """Who of the set answered, as the one that was asked sees it; a sibling asks nobody, so it cannot tell."""
        if FROM in call.headers:
            return
        family = GaugeMetricFamily("grownet_worker_up", "1 when this worker of the set answered.", labels=("worker",))
        for replica in (self.replica, *self.others):
            family.add_metric((replica,), float(replica == self.replica or replica in answered))
        yield family

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def _page(self, replica: str) -> bytes:
        from httpx import HTTPError  # noqa: PLC0415 - as above

        try:
            reply = await self._client(replica).get("/metrics", headers={FROM: b"1"}, timeout=METRICS_SECONDS)
        except HTTPError:
            return b""
        return reply.content if reply.status_code == 200 else b""

    def _client(self, replica: str) -> httpx.AsyncClient:
        import httpx  # noqa: PLC0415 - as above

        if replica not in self._clients:
            way = httpx.AsyncHTTPTransport(uds=short(socket_of(self._home, replica)))
            self._clients[replica] = httpx.AsyncClient(
                transport=way, base_url="http://worker", timeout=SECONDS, trust_env=False
            )
        return self._clients[replica]
