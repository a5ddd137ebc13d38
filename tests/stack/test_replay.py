"""The replay: real orders as requests and feedback, seen from the client."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stack.backstage import until
from stack.replay import SEASON_START, Order, Traffic, orders

FIRST = datetime(2011, 9, 1, 7, 25, tzinfo=UTC)


@pytest.fixture
def service() -> Iterator[tuple[str, list[tuple[str, dict[str, Any], str]]]]:
    """A service that recommends A and B, fails for the customer "bad", and knows no model "nowhere"."""
    got: list[tuple[str, dict[str, Any], str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            got.append((self.path, body, str(self.headers["x-event-time"])))
            status = 503 if body.get("customer") == "bad" else 404 if self.path.startswith("/nowhere") else 200
            decision = {"items": ["A", "B"]}
            reply = {"prediction_id": "id", "arm": "champion", "version": 1, "revision": 3, "override": ""}
            data = json.dumps({**reply, "decision": decision}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()


def order(customer: str, *codes: str) -> Order:
    return Order(customer=customer, at=FIRST, codes=codes)


def test_orders_are_invoices_of_known_customers_in_order_of_time(tmp_path: Path) -> None:
    times = pd.to_datetime(
        ["2011-09-02 10:00", "2011-09-01 08:25", "2011-09-01 08:25", "2011-09-01 09:00", "2011-08-01 09:00"]
    )
    frame = pd.DataFrame(
        {
            "invoice_no": ["2", "1", "1", "C3", "0"],
            "stock_code": ["X", "A", "A", "B", "Z"],
            "quantity": [1, 2, 1, -1, 1],
            "invoice_date": times.astype("datetime64[ms]"),
            "customer_id": pd.array([8, 7, 7, 7, 7], dtype="Int32"),
        }
    )
    frame.to_parquet(tmp_path / "o.parquet")
    found = orders(tmp_path / "o.parquet", SEASON_START)
    assert found == [
        Order(customer="7", at=FIRST, codes=("A",)),
        Order(customer="8", at=datetime(2011, 9, 2, 9, 0, tzinfo=UTC), codes=("X",)),
    ]


def test_each_order_is_asked_and_reported_and_failures_are_kept(service: tuple[str, list[Any]]) -> None:
    url, got = service
    stream = [order("1", "a"), order("bad", "a"), order("2", "z")]
    traffic = Traffic(url, "recommendation", "key", iter(stream), pace=1000)
    traffic.start()
    until(lambda: traffic.done or None, "traffic", 60)
    assert sorted((item.status, item.hit) for item in traffic.sent) == [(200, 0.0), (200, 1.0), (503, 0.0)]
    assert len(traffic.failed) == 1
    feedback = [body for path, body, _ in got if path.endswith("/feedback")]
    assert {"prediction_id": "id", "outcome": {"purchased": ["a"]}} in feedback
    assert {when for _, _, when in got} == {FIRST.isoformat()}


def test_a_service_that_is_away_is_a_failure_not_a_crash() -> None:
    traffic = Traffic("http://127.0.0.1:9", "recommendation", "key", iter([order("1", "a")]), pace=1000)
    traffic.start()
    until(lambda: traffic.done or None, "traffic", 60)
    assert [item.status for item in traffic.sent] == [0]


def test_traffic_can_be_paused_and_stopped(service: tuple[str, list[Any]]) -> None:
    traffic = Traffic(service[0], "recommendation", "key", (order(str(n), "a") for n in range(10_000)), pace=0)
    traffic.start()
    assert traffic.sent == []
    traffic.pace = 500
    until(lambda: len(traffic.sent) > 5 or None, "answers", 60)
    traffic.stop()
    assert traffic.done
    assert len(traffic.sent) < 10_000


def test_at_the_end_of_the_stream_it_waits_for_the_last_orders(
    service: tuple[str, list[tuple[str, dict[str, Any], str]]],
) -> None:
    url, _ = service
    traffic = Traffic(url, "recommendation", "key", iter([order("1", "A")]), pace=1000.0, more=True)
    traffic.start()
    until(lambda: traffic.waiting or None, "the end of the stream", 60)
    assert not traffic.done
    traffic.then([order("2", "B"), order("3", "Z")])
    until(lambda: traffic.done or None, "the last orders", 60)
    assert [item.hit for item in traffic.sent if item.status == 200] in ([1.0, 1.0, 0.0], [1.0, 0.0, 1.0])


def test_outcomes_can_be_kept_and_told_when_all_was_asked(service: tuple[str, list[Any]]) -> None:
    url, got = service
    stream = [order("1", "a"), order("bad", "a"), *(order(str(number), "z") for number in range(2, 20))]
    traffic = Traffic(url, "recommendation", "key", iter(stream), pace=1000, late=True)
    traffic.start()
    until(lambda: traffic.asked or None, "the requests", 60)
    assert not traffic.done
    assert not [path for path, _, _ in got if path.endswith("/feedback")]
    assert len(traffic.sent) == 20
    traffic.tell()
    until(lambda: traffic.done or None, "the outcomes", 60)
    feedback = [body for path, body, _ in got if path.endswith("/feedback")]
    assert len(feedback) == 19
    assert {"prediction_id": "id", "outcome": {"purchased": ["a"]}} in feedback
    assert len(traffic.failed) == 1


def test_an_outcome_that_is_not_taken_is_a_failure(service: tuple[str, list[Any]]) -> None:
    traffic = Traffic(service[0], "recommendation", "key", iter([order("1", "a")]), pace=1000, late=True)
    traffic.start()
    until(lambda: traffic.asked or None, "the requests", 60)
    assert traffic.failed == []
    traffic.model = "nowhere"
    traffic.tell()
    until(lambda: traffic.done or None, "the outcomes", 60)
    assert len(traffic.failed) == 1


def test_outcomes_that_are_owed_do_not_keep_it_from_stopping(service: tuple[str, list[Any]]) -> None:
    traffic = Traffic(service[0], "recommendation", "key", iter([order("1", "a")]), pace=1000, late=True)
    traffic.start()
    until(lambda: traffic.asked or None, "the requests", 60)
    traffic.stop()
    assert traffic.done
