"""The client against small servers of the test: every request it was told to send is in its record, with what became of it."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.client.record import FED, Feedback, Sent, Stream
from benchmarks.client.traffic import Traffic, post
from benchmarks.reliability.fleet import until

ASKED = post("/x", b"{}", {})
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
COME_BACK = b"HTTP/1.1 503 Unavailable\r\nretry-after: 7\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@contextmanager
def served(handle: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """A server that gives each connection to `handle`, in turn."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=handle, args=(client,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def answering(reply: bytes, heard: list[bytes] | None = None) -> Callable[[socket.socket], None]:
    """Gives everybody this reply, and notes the paths that were asked for."""

    def handle(client: socket.socket) -> None:
        with client:
            while data := client.recv(65536):
                asked = re.findall(rb"POST (\S+) ", data)
                if heard is not None:
                    heard.extend(asked)
                client.sendall(reply * len(asked))
                if b"close" in reply:
                    return

    return handle


def sent(folder: Path, address: tuple[str, int], stream: Stream, seconds: float = 0.5) -> list[Sent]:
    """What a client wrote down that sent for so long."""
    traffic = Traffic(folder, address, [stream], seconds)
    until(lambda: traffic.process.poll() is not None, "the client to end by itself", 60)
    return traffic.finish()


def test_it_sends_at_its_rate_and_writes_down_every_reply(tmp_path: Path) -> None:
    with served(answering(ANSWER)) as address:
        found = sent(tmp_path, address, Stream("good", [ASKED, ASKED], 100.0))
    assert [one.due - found[0].due for one in found] == pytest.approx([at / 100 for at in range(51)])
    assert [one.number for one in found] == list(range(len(found)))
    assert {(one.status, one.body, one.error) for one in found} == {(200, b"{}", "")}
    assert [one.payload for one in found[:4]] == [0, 1, 0, 1]
    assert all(one.due <= one.sent <= one.done for one in found)


def test_a_closed_stream_has_as_many_under_way_as_it_may(tmp_path: Path) -> None:
    heard: list[bytes] = []
    with served(answering(ANSWER, heard)) as address:
        traffic = Traffic(tmp_path, address, [Stream("good", [ASKED], 1.0, connections=2, closed=True)], 60.0)
        until(lambda: len(heard) > 60, "more than in a minute at its rate", 50)
        found = traffic.finish()
    assert len(found) > 60
    assert {one.status for one in found} == {200}


def test_a_time_to_come_back_is_kept(tmp_path: Path) -> None:
    with served(answering(COME_BACK)) as address:
        found = sent(tmp_path, address, Stream("good", [ASKED], 50.0))
    assert {(one.status, one.retry_after) for one in found} == {(503, "7")}


def test_no_reply_is_written_down_with_its_reason(tmp_path: Path) -> None:
    def hang_up(client: socket.socket) -> None:
        client.recv(65536)
        client.close()

    with served(hang_up) as address:
        found = sent(tmp_path, address, Stream("good", [ASKED], 50.0))
    assert found
    assert {one.status for one in found} == {0}
    assert {one.error.split(":")[0] for one in found} == {"connection lost"}


def test_nobody_there_is_written_down_too(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # held, so that nobody else listens there meanwhile
        found = sent(tmp_path, closed.getsockname(), Stream("good", [ASKED], 50.0))
    assert found
    assert {one.error.split(":")[0] for one in found} == {"no connection"}


def test_it_does_what_it_is_told(tmp_path: Path) -> None:
    heard: list[bytes] = []
    with served(answering(ANSWER, heard)) as address:
        streams = [Stream("a", [post("/a", b"{}", {})]), Stream("b", [post("/b", b"{}", {})], 200.0)]
        traffic = Traffic(tmp_path, address, streams, 60.0)
        until(lambda: heard.count(b"/b") > 5, "b at the rate it began with", 30)
        traffic.rate("a", 200.0)
        traffic.rate("b", 0.0)
        until(lambda: heard.count(b"/a") > 20, "a, at the rate it was told", 30)
        told, more = heard.count(b"/b"), heard.count(b"/a")
        until(lambda: heard.count(b"/a") > more + 50, "a, going on", 30)
        assert heard.count(b"/b") == told
        found = traffic.finish()
    assert {one.status for one in found} == {200}


def test_what_came_of_an_answer_is_told_once_it_is_there(tmp_path: Path) -> None:
    heard: list[bytes] = []

    def handle(client: socket.socket) -> None:
        with client:
            while data := client.recv(65536):
                heard.append(data)
                body = b'{"prediction_id":"id-%d"}' % len(heard)
                client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    feedback = Feedback("/m/feedback", {"authorization": "Bearer key"}, [b'{"hit":1}', b'{"hit":2}'])
    with served(handle) as address:
        found = sent(tmp_path, address, Stream("good", [ASKED, ASKED], 20.0, connections=1, feedback=feedback))
    asked = [one for one in found if one.stream == "good"]
    told = [one for one in found if one.stream == "good" + FED]
    assert 5 <= len(asked) == len(told)
    bodies = [data.split(b"\r\n\r\n")[1] for data in heard if data.startswith(b"POST /m/feedback")]
    given = {one.payload: one.reply["prediction_id"] for one in asked[:2]}
    assert bodies[0] == b'{"prediction_id":"%b","outcome":{"hit":1}}' % given[0].encode()
    assert bodies[1] == b'{"prediction_id":"%b","outcome":{"hit":2}}' % given[1].encode()


def test_an_answer_that_failed_has_no_outcome(tmp_path: Path) -> None:
    feedback = Feedback("/m/feedback", {}, [b"1"])
    with served(answering(COME_BACK)) as address:
        found = sent(tmp_path, address, Stream("good", [ASKED], 20.0, feedback=feedback))
    assert {one.stream for one in found} == {"good"}
