"""A reply's head and body leave together, and nothing is held back for long."""

import asyncio
from typing import Any, cast

import uvloop

from serving.connections import Together

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Wire:
    """What a transport was told."""

    def __init__(self) -> None:
        self.told: list[bytes] = []
        self.closed_after = -1

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def close(self) -> None:
        self.closed_after = len(self.told)

    def is_closing(self) -> bool:
        return self.closed_after >= 0


def after(do: Any) -> Wire:
    """What was told once the turn is over in which something was written."""
    wire = Wire()

    async def turn() -> None:
        do(Together(cast(asyncio.Transport, wire)))
        await asyncio.sleep(0)

    uvloop.run(turn())
    return wire


def written(*parts: bytes) -> list[bytes]:
    return after(lambda together: [together.write(part) for part in parts]).told


def test_head_and_body_are_one_write() -> None:
    assert written(HEAD, b"{}") == [HEAD + b"{}"]
    assert written(HEAD, b"{}", HEAD, b"[]") == [HEAD + b"{}", HEAD + b"[]"]


def test_a_head_without_a_body_leaves_at_the_end_of_the_turn() -> None:
    assert written(HEAD) == [HEAD]
    assert written(b"HTTP/1.1 100 Continue\r\n\r\n", HEAD, b"{}") == [b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD, b"{}"]


def test_what_is_no_head_is_not_held() -> None:
    assert written(b"5\r\nhello\r\n\r\n", b"0\r\n\r\n") == [b"5\r\nhello\r\n\r\n", b"0\r\n\r\n"]


def test_a_connection_that_is_closed_says_first_what_it_held() -> None:
    def reply(together: Together) -> None:
        together.write(HEAD)
        together.close()
        assert together.is_closing()

    wire = after(reply)
    assert wire.told == [HEAD]
    assert wire.closed_after == 1
