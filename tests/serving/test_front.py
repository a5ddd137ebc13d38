"""How one replica leaves: not ready first, then no new connections, the open ones end with a reply, the journal is sealed."""

from __future__ import annotations

import signal
from contextlib import suppress

import httpx
import pytest

from stores.segments import segments
from tests.serving.town import NAME, Server, Town, wait_for

pytestmark = pytest.mark.stack
HELD, ANEW = httpx.Limits(max_keepalive_connections=1), httpx.Limits(max_keepalive_connections=0)


def test_a_replica_that_leaves_is_not_ready_first_and_loses_no_request(town: Town) -> None:
    town.configure({"drain_lag_seconds": 3.0, "drain_idle_seconds": 10.0})
    server, key = Server(town).ready(), town.key()
    try:
        head = {"authorization": f"Bearer {key}"}
        wait_for(lambda: server.ask(key).status_code == 200)
        idle, probe = (httpx.Client(base_url=server.url, timeout=10, limits=limits) for limits in (HELD, ANEW))
        assert idle.get("/healthz").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: probe.get("/readyz").status_code == 503)
        late = probe.post(f"/{NAME}/predict", json={}, headers=head)  # a new connection in the lag
        assert late.status_code == 200
        assert "connection" not in late.headers

        def refused() -> bool:
            with suppress(httpx.ConnectError):
                probe.get("/readyz")
                return False
            return True

        wait_for(refused)
        final = idle.post(f"/{NAME}/predict", json={}, headers=head)  # on the connection that was open all the time
        assert (final.status_code, final.headers["connection"]) == (200, "close")
        assert server.stop() == 0
        assert "Traceback" not in server.lines
        assert [one.path.suffix for one in segments(town.folder / "journal" / "replica-1")] == [".log"]
    finally:
        idle.close()
        probe.close()
        server.stop(signal.SIGKILL)
