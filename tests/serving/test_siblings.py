"""Whose answer it was, and sockets in a deep home. What goes over them is tested in test_workers."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from serving.calls import Call
from serving.siblings import FROM, Siblings, short
from serving.wire import Refusal

MAC = "0" * 32


def call(**headers: str) -> Call:
    async def receive() -> dict[str, Any]:
        return {}

    return Call(receive, {key.replace("_", "-").encode(): value.encode() for key, value in headers.items()}, "m", None)


def identity(replica: str) -> str:
    return f"m.champion.v1.r3.29843521.{replica}.9f3a01c2-1f.{MAC}"


def test_only_a_siblings_answer_is_a_siblings(tmp_path: Path) -> None:
    alone, member = Siblings(tmp_path, "a-1"), Siblings(tmp_path, "a-1", ["a-2", "a-3"])
    assert member.author(identity("a-2"), call()) == "a-2"
    assert [member.author(identity(other), call()) for other in ("a-1", "b-1", "../a-2")] == ["", "", ""]
    assert member.author("no id", call()) == ""
    asked = Call(call().receive, {FROM: b"1"}, "m", None)
    assert member.author(identity("a-2"), asked) == ""  # one that was passed on is not passed on again
    assert alone.author(identity("a-2"), call()) == ""


def test_a_sibling_that_is_away_is_told_to_be(tmp_path: Path) -> None:
    (tmp_path / "serving").mkdir()

    async def ask() -> None:
        member = Siblings(tmp_path, "a-1", ["a-2"])
        with pytest.raises(Refusal) as caught:
            await member.forward("a-2", "/m/feedback", call(authorization="Bearer x"), b"{}")
        assert caught.value.status == 503
        assert (b"retry-after", b"2") in caught.value.headers
        assert await member.pages(call()) == {}
        [told] = member.up(call(), [])
        assert {sample.labels["worker"]: sample.value for sample in told.samples} == {"a-1": 1.0, "a-2": 0.0}
        asked_by_one = Call(call().receive, {FROM: b"1"}, "m", None)
        assert list(member.up(asked_by_one, [])) == []  # it asked nobody: it must not say that nobody is there
        await member.close()

    asyncio.run(ask())


def test_a_home_may_be_deep(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 8)
    deep.mkdir(parents=True)
    path = deep / "replica-1.sock"
    assert len(str(path)) > 108
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(short(path))
        listener.listen()
        client.connect(short(path))
    assert path.is_socket()
