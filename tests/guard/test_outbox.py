"""The outbox against real endpoints on loopback: at least once, each channel on its own, kept while one is down."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec import to_builtins
from msgspec.structs import replace

from configs.load import load
from configs.schema import Settings
from guard.outbox import Courier, Delivery, channels
from records import AlertBody, OutboxEvent, utc_now
from stack.endpoints import Mailbox, endpoints
from stores import notify
from stores.ledger import outbox, tables
from stores.ledger.engine import Ledger
from tests.guard.town import settings

ALERTS = load().defaults.alerts
BODY = AlertBody(what="it fell", evidence={"matured": 7}, done="taken back", owner="sre", next="explain", link="show")
STOP = threading.Event()  # never set


def alert(number: int = 1, **changes: Any) -> OutboxEvent:
    made = OutboxEvent(
        id=f"alert-{number}",
        kind="alert",
        level="critical",
        model="recommendation",
        name="grownet.alert.critical",
        title=f"something {number}",
        body=to_builtins(BODY),
        at=utc_now() - timedelta(seconds=60) + timedelta(seconds=number),
    )
    return replace(made, **changes)


CHANGED = alert(9, kind="event", level="ok", name="grownet.release.changed", body={"after": "v2 answers"})


@dataclass
class Prefect:
    """Something that takes events as Prefect's API does; `status` is what it answers."""

    url: str = ""
    status: int = 204
    got: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def prefect_api(state: Prefect) -> Iterator[Prefect]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if state.status == 204:
                state.got.extend(body)
            self.send_response(state.status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/api"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Post:
    """A ledger with an outbox, and the three endpoints."""

    ledger: Ledger
    box: Mailbox
    prefect: Prefect
    settings: Settings

    def courier(self, **changes: Any) -> Courier:
        return Courier(self.ledger, self.settings.model_copy(update=changes), ALERTS, lambda: True)

    def queue(self, *events: OutboxEvent) -> None:
        outbox.add(self.ledger, events, "guard")

    def waiting(self) -> list[str]:
        """Everything undelivered, due or not."""
        return [event.id for event in outbox.pending(self.ledger, 100, utc_now() + timedelta(days=1))]


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", "guard")
    with endpoints() as box, prefect_api(Prefect()) as prefect:
        urls = {"slack_url": box.slack_url, "smtp_url": box.smtp_url, "prefect_url": prefect.url}
        yield Post(ledger, box, prefect, settings(tmp_path, **urls))
    ledger.close()


def test_an_alert_reaches_every_channel_of_its_route_once(post: Post) -> None:
    post.queue(alert(1), alert(2, level="warning"))
    courier = post.courier()
    assert courier.deliver(STOP) == 2
    assert courier.deliver(STOP) == 0
    assert [payload["text"] for payload in post.box.slack] == [
        "CRITICAL recommendation: something 1",
        "WARNING recommendation: something 2",
    ]
    assert [(mail[0], mail[1]) for mail in post.box.mails] == [
        ("[grownet] CRITICAL recommendation: something 1", ("sre@example.org",))
    ]
    assert [event["payload"]["event_id"] for event in post.prefect.got] == ["alert-1", "alert-2"]
    assert post.waiting() == []


def test_an_event_that_is_no_alert_goes_to_prefect_only(post: Post) -> None:
    post.queue(CHANGED)
    assert post.courier().deliver(STOP) == 1
    assert (post.box.slack, post.box.mails) == ([], [])
    [event] = post.prefect.got
    assert event["event"] == "grownet.release.changed"
    assert event["payload"]["after"] == "v2 answers"


def test_a_dead_prefect_stops_neither_slack_nor_mail_and_gets_it_later_alone(post: Post) -> None:
    post.queue(alert(1), alert(2))
    post.prefect.status = 503
    courier = post.courier()
    assert courier.deliver(STOP) == 0
    assert (len(post.box.slack), len(post.box.mails)) == (2, 2)
    assert post.waiting() == ["alert-1", "alert-2"]
    assert courier.deliver(STOP) == 0  # not before its time
    post.prefect.status = 204
    deliver_until_empty(post, courier)
    assert sorted(event["payload"]["event_id"] for event in post.prefect.got) == ["alert-1", "alert-2"]
    assert (len(post.box.slack), len(post.box.mails)) == (2, 2)  # each channel was acknowledged on its own


def test_a_dead_slack_and_a_dead_mail_server_do_not_stop_prefect(post: Post) -> None:
    post.queue(alert(1))
    broken = post.courier(slack_url="http://127.0.0.1:9/services/secret", smtp_url="smtp://127.0.0.1:9")
    assert broken.deliver(STOP) == 0
    assert len(post.prefect.got) == 1
    assert outbox.channels(post.ledger, "alert-1") == {"prefect"}
    deliver_until_empty(post, post.courier())  # a guard that was started with the right addresses
    assert (len(post.box.slack), len(post.box.mails), len(post.prefect.got)) == (1, 1, 1)


def test_a_guard_that_dies_between_sending_and_noting_sends_again_under_the_same_id(post: Post) -> None:
    post.queue(alert(1))
    for send in channels(alert(1), post.settings, ALERTS).values():
        send(alert(1))  # sent, and killed before the ledger knew
    assert post.courier().deliver(STOP) == 1
    assert [event["id"] for event in post.prefect.got] == [post.prefect.got[0]["id"]] * 2
    assert len(post.box.slack) == 2


def test_a_channel_without_an_address_is_no_channel(post: Post) -> None:
    post.queue(alert(1))
    assert post.courier(slack_url="", smtp_url="").deliver(STOP) == 1
    assert (post.box.slack, post.box.mails) == ([], [])


def test_a_wrong_mail_address_in_the_settings_keeps_the_alert_and_does_not_end_the_courier(post: Post) -> None:
    post.queue(alert(1))
    assert post.courier(smtp_url="http://nonsense").deliver(STOP) == 0
    assert len(post.box.slack) == 1
    assert post.waiting() == ["alert-1"]


def test_an_emergency_reaches_everybody_named(post: Post) -> None:
    post.queue(alert(1, level="emergency", name="grownet.alert.emergency"))
    post.courier().deliver(STOP)
    assert {mail[1] for mail in post.box.mails} == {("sre@example.org",), ("platform@example.org",)}


def test_a_channel_that_fails_is_not_tried_for_every_event_of_a_pass(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    post.queue(*(alert(number) for number in range(1, 6)))
    post.prefect.status = 500
    asked: list[str] = []
    courier = post.courier()
    with caplog.at_level("INFO", logger="grownet.guard"):
        courier.deliver(STOP)
        asked = [record.getMessage() for record in caplog.records]
    assert len(post.box.slack) == 5
    assert len([line for line in asked if "prefect does not take messages" in line]) == 1


def test_who_does_not_lead_delivers_nothing(post: Post) -> None:
    post.queue(alert(1))
    stop = threading.Event()
    courier = Courier(post.ledger, post.settings, ALERTS, lambda: False)
    thread = threading.Thread(target=courier.run, args=(stop, 0.001))
    thread.start()
    stop.wait(0.1)
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert post.box.slack == []
    assert post.waiting() == ["alert-1"]


def deliver_until_empty(post: Post, courier: Courier) -> None:
    """Delivers until the first wait (a second) is over and nothing is left."""
    deadline = utc_now() + timedelta(seconds=60)
    pause = threading.Event()
    while post.waiting():
        assert utc_now() < deadline
        courier.deliver(STOP)
        pause.wait(0.05)


@pytest.mark.parametrize(
    ("payload", "said"),
    [("no json", "no event"), ("{}", "no event"), (alert(8).to_json().decode(), "another event: alert-8")],
)
def test_a_row_nobody_can_read_is_set_aside_and_told_once(
    post: Post, payload: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite3.connect(post.settings.home / "ledger.db") as connection:
        for number in range(60):  # more than one pass takes
            connection.execute(
                "INSERT INTO outbox (id, at, payload, failures, last_failure, not_before) VALUES (?, 0, ?, 0, '', 0)",
                (f"bad-{number}", payload),
            )
    connection.close()
    post.queue(alert(1))
    courier = post.courier()
    assert [courier.deliver(STOP), courier.deliver(STOP)] == [0, 1]
    assert [told["text"] for told in post.box.slack] == ["CRITICAL recommendation: something 1"]
    courier.deliver(STOP)
    assert len([line for line in caplog.messages if "bad-7 set aside" in line]) == 1
    with post.ledger.read() as reading:
        noted = reading.execute(sa.select(tables.outbox.c.last_failure).where(tables.outbox.c.id == "bad-7")).scalar()
    assert said in str(noted)


def test_an_event_the_courier_dies_over_does_not_stop_the_others(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    real, deadly = notify.slack, alert(1).id

    def slack(url: str, event: OutboxEvent) -> None:
        if event.id == deadly:
            raise ZeroDivisionError("a library")
        real(url, event)

    monkeypatch.setattr(notify, "slack", slack)
    post.queue(alert(1), alert(2))
    stop = threading.Event()
    delivery = Delivery(post.courier(), stop, 0.01)
    told: list[str] = []
    deadline = utc_now() + timedelta(seconds=60)
    while post.waiting() != ["alert-1"] or len(told) < 1:
        assert utc_now() < deadline
        told += [reason] if (reason := delivery.keep()) else []
        STOP.wait(0.01)
    deadly = ""
    while post.waiting():
        assert utc_now() < deadline
        told += [reason] if (reason := delivery.keep()) else []
        STOP.wait(0.01)
    stop.set()
    delivery.close()
    assert told == ["ZeroDivisionError: a library"]
