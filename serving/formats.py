"""What the body of a request may be, and a reply: JSON, or for batches an Arrow stream. Used by `serving.rest`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from errors import UsageError
from serving import arrow
from serving.calls import Sent
from serving.desk import Desk
from serving.predict import Reply
from serving.wire import Refusal

BIG = 32_768  # bytes of a stream, about a millisecond of decoding: beyond that in a thread, so that the loop answers others
MANY = 100  # replies, likewise
# what is read as JSON: also what curl and a browser's fetch say of a text they were given
JSON_KINDS = frozenset(
    {None, b"", b"application/json", b"text/json", b"text/plain", b"application/x-www-form-urlencoded"}
)


def is_json(kind: bytes | None) -> bool:
    """Whether a body of this content type is read as JSON."""
    if kind in JSON_KINDS:
        return True
    bare = _bare(kind or b"")
    return bare in JSON_KINDS or (bare.startswith(b"application/") and bare.endswith(b"+json"))


def refuse_other(kind: bytes | None) -> None:
    """For routes that read JSON only. Raises Refusal 415."""
    if not is_json(kind):
        raise _unknown(kind, "application/json")


async def requests(kind: bytes | None, desk: Desk, body: bytes) -> tuple[list[Any], bool]:
    """The requests in a body, and whether they are a batch.

    Raises:
        InputError: naming the field.
        Refusal: 415 for another content type.
    """
    if is_json(kind):
        return desk.forms.requests(body)
    if _bare(kind or b"") != arrow.KIND:
        raise _unknown(kind, f"application/json or {arrow.KIND.decode()}")
    given = (body, desk.model.Request, desk.config.serving.max_batch_rows)
    found = await asyncio.to_thread(arrow.requests, *given) if len(body) > BIG else arrow.requests(*given)
    return found, True


async def sent(replies: Sequence[Reply]) -> Sent:
    """The replies as an Arrow stream."""
    body = await asyncio.to_thread(arrow.answers, replies) if len(replies) > MANY else arrow.answers(replies)
    return Sent(200, body, arrow.KIND)


def _bare(kind: bytes) -> bytes:
    """Without parameters, such as a charset."""
    return kind.partition(b";")[0].strip().lower()


def _unknown(kind: bytes | None, expected: str) -> Refusal:
    return Refusal(415, UsageError("content-type", expected=expected, got=(kind or b"").decode("latin-1")[:64]))
