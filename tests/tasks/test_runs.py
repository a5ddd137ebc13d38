"""The HTTP side of Prefect, against a server that speaks as Prefect was seen to; the real one is in tests/flows."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from configs.load import settings
from configs.schema import Settings
from errors import NotFound, StackError
from tasks import runs

Reply = tuple[int, Any]


class Server:
    """Replies in turn, the last one for ever; keeps what was asked."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.asked: list[tuple[str, str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                outer.asked.append((self.command, self.path, json.loads(body) if body else None))
                code, value = outer.replies.pop(0) if len(outer.replies) > 1 else outer.replies[0]
                data = b"" if value is None else json.dumps(value).encode()
                self.send_response(code)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the base class's names

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Stay silent."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.settings: Settings = settings({"GROWNET_PREFECT_URL": f"http://127.0.0.1:{self.http.server_port}/api"})


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def test_a_busy_server_is_asked_again(server: Server) -> None:
    server.replies = [(503, None), (503, None), (200, {"id": "d"}), (201, {"id": "run"})]
    assert runs.start_deployment(server.settings, runs.RELEASE, {"model": "m"}, key="once") == "run"
    method, path, body = server.asked[-1]
    assert (method, path) == ("POST", "/api/deployments/d/create_flow_run")
    assert body == {"parameters": {"model": "m"}, "idempotency_key": "once"}


def test_each_start_without_a_key_is_a_run_of_its_own_also_when_asked_again(server: Server) -> None:
    server.replies = [(200, {"id": "d"}), (503, None), (201, {"id": "run"})]
    runs.start_deployment(server.settings, runs.RELEASE, {})
    keys = [body["idempotency_key"] for _, _, body in server.asked if body]
    assert len(keys) == 2
    assert keys[0] == keys[1] != ""


def test_what_is_not_there_is_named(server: Server) -> None:
    server.replies = [(404, {"detail": "no"})]
    with pytest.raises(NotFound, match="release/release"):
        runs.start_deployment(server.settings, runs.RELEASE, {})


def test_a_refusal_of_the_server_is_told(server: Server) -> None:
    server.replies = [(422, {"detail": "parameters"})]
    with pytest.raises(StackError, match="422"):
        runs.waiting(server.settings, "m")


def test_a_server_that_is_away_is_told_soon(server: Server) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(StackError, match="grownet up"):
        runs.waiting(server.settings, "m")


def test_a_refused_submission_comes_with_http_200(server: Server) -> None:
    server.replies = [(200, {"status": "REJECT", "state": None, "details": {"reason": "Reason: no"}})]
    said = runs.answer(server.settings, "run", {"code": "1"})
    assert (said.accepted, said.reason, said.at) == (False, "Reason: no", None)


def test_the_run_that_waits_is_the_one_of_this_model(server: Server) -> None:
    server.replies = [(200, [{"id": "a", "parameters": {"model": "x"}}, {"id": "b", "parameters": {"model": "m"}}])]
    assert runs.waiting(server.settings, "m") == "b"
    assert runs.waiting(server.settings, "none") is None


@pytest.mark.parametrize(("reply", "lives"), [((200, "PAUSED"), True), ((200, "CRASHED"), False), ((404, ""), False)])
def test_which_runs_live(server: Server, reply: tuple[int, str], lives: bool) -> None:
    server.replies = [(reply[0], {"state": {"type": reply[1]}})]
    assert runs.alive(server.settings, "run") is lives


def test_what_was_typed_is_found_under_its_key_and_forgotten(server: Server) -> None:
    value = json.dumps({"reviewer": "ada"})
    at = "2026-11-21T12:00:00.123456Z"
    found = [
        {"key": "suspended-vote-1-schema", "value": "{}", "created": at},
        {"key": "suspended-vote-1-response", "value": value, "created": at},
    ]
    server.replies = [(200, found)]
    typed = runs.typed(server.settings, "run", "vote-1")
    assert typed is not None
    assert typed.values == {"reviewer": "ada"}
    assert typed.at.isoformat() == "2026-11-21T12:00:00.123456+00:00"
    assert runs.typed(server.settings, "run", "vote-2") is None
    server.replies = [(200, found), (204, None)]
    runs.forget(server.settings, "run")
    assert [path for method, path, _ in server.asked if method == "DELETE"] == [
        "/api/flow_runs/run/input/suspended-vote-1-response"
    ]


def test_the_newest_page_of_a_key(server: Server) -> None:
    server.replies = [(200, [{"id": "a"}])]
    assert runs.page_url(server.settings, "ballot-1") == f"{server.settings.prefect_ui_url}/artifacts/artifact/a"
    server.replies = [(200, [])]
    assert runs.page_url(server.settings, "ballot-1") == ""
