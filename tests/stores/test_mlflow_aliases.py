"""Aliases over REST, against MLflow's own server in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from werkzeug.serving import make_server

from checks.aliases import aliases
from records import Arm, ReleasePlan
from stores.mlflow_aliases import set_aliases
from stores.registry import Registry
from tests.stores.test_registry import arm, plan

RULES, ONE, TWO, UNSEEN = Arm(number=0, name="rules"), arm(1, "a" * 64), arm(2, "b" * 64), arm(3, "c" * 64)
Application = Callable[[WSGIEnvironment, StartResponse], Any]


class Served:
    """A WSGI application on loopback, and what was written through it."""

    def __init__(self, application: Application) -> None:
        self.writes: list[str] = []

        def counted(environ: WSGIEnvironment, start: StartResponse) -> Any:
            if environ["REQUEST_METHOD"] != "GET":
                self.writes.append(environ["REQUEST_METHOD"])
            return application(environ, start)

        self._server = make_server("127.0.0.1", 0, counted)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """MLflow with two versions of one model, the bytes of the first one twice."""
    from mlflow.server import app, handlers

    url = f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"
    client = Registry.open(url)._client
    client.create_registered_model("shop")
    for content in ("a", "b", "a"):
        client.create_model_version("shop", "s3://nowhere/x", tags={"grownet.artifact": content * 64})
    handlers.initialize_backend_stores(url, url, "s3://nowhere")
    made = Served(app)
    yield made
    made.close()


def says(status: str, body: bytes = b"") -> Application:
    def application(_: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        start(status, [("content-length", str(len(body)))])
        return [body]

    return application


def follow(server: Served, found: ReleasePlan) -> dict[str, str] | None:
    return set_aliases(server.url, found.model, aliases(found))


def test_aliases_follow_the_plan_and_are_written_only_where_they_are_others(server: Served) -> None:
    assert follow(server, plan(RULES)) == {}
    assert server.writes == []
    assert follow(server, plan(RULES, canary=ONE)) == {"shadow": "1"}
    assert follow(server, plan(RULES, canary=ONE)) == {"shadow": "1"}
    assert server.writes == ["POST"]
    assert follow(server, plan(ONE, canary=TWO, percent=5)) == {"champion": "1", "canary": "2"}
    assert server.writes == ["POST", "POST", "POST", "DELETE"]
    assert follow(server, plan(TWO)) == {"champion": "2"}
    assert follow(server, plan(UNSEEN, canary=ONE)) == {"shadow": "1"}


def test_a_model_that_mlflow_never_saw_has_no_alias(server: Served) -> None:
    assert set_aliases(server.url, "nobody", {"champion": "a" * 64}) == {}


@pytest.mark.parametrize("status", ["401 Unauthorized", "404 Not Found", "500 Internal Server Error", "200 OK"])
def test_what_answers_otherwise_is_left_to_the_registry(status: str) -> None:
    other = Served(says(status, b"<html>another page</html>"))
    try:
        assert set_aliases(other.url, "shop", {"champion": "a" * 64}) is None
    finally:
        other.close()


def test_a_database_and_a_server_that_is_away_are_left_to_the_registry() -> None:
    assert set_aliases("sqlite:///mlflow.db", "shop", {}) is None
    assert set_aliases("http://127.0.0.1:9", "shop", {}) is None
