"""What of Prefect's API starting a run needs, on loopback and with a memory: one run a key, and the state a test gives it.

The real server is in tests/flows; here only what is sent to it is looked at.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class PrefectApi:
    """`runs` by id: key, parameters and state of each run that was started."""

    def __init__(self) -> None:
        self.url = ""
        self.runs: dict[str, dict[str, Any]] = {}

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Any:
        if path.startswith("/api/deployments/name/"):
            return {"id": path.removeprefix("/api/deployments/name/").split("/")[0]}
        if path.endswith("/create_flow_run"):
            key = body["idempotency_key"]
            found = next((run for run, known in self.runs.items() if known["key"] == key), f"run-{len(self.runs) + 1}")
            self.runs.setdefault(found, {"key": key, "parameters": body["parameters"], "state": "SCHEDULED"})
            return {"id": found}
        if path == "/api/flow_runs/filter":
            wanted = body["flow_runs"]["idempotency_key"]["any_"]
            return [{"id": run, **self._state(run)} for run, known in self.runs.items() if known["key"] in wanted]
        assert (method, path.startswith("/api/flow_runs/")) == ("GET", True)
        return self._state(path.rpartition("/")[2])

    def _state(self, run: str) -> dict[str, Any]:
        return {"state": {"type": self.runs[run]["state"]}}


@contextmanager
def prefect_api() -> Iterator[PrefectApi]:
    """Answers until the block ends."""
    api = PrefectApi()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            data = json.dumps(api.answer(self.command, self.path, json.loads(body or b"{}"))).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer  # noqa: N815 - the base class's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_port}/api"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
