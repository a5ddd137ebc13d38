"""What an alert is made of. Its id follows from what it is about, so that raising it again writes nothing.

Pure. Used by whoever writes the outbox: the guard, and tasks that tell people of what they found.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import to_builtins

from records import AlertBody, Level, OutboxEvent, digest_of

HOUSE = "grownet"  # stands for a model in what is about none


def alert(*, key: list[Any], level: Level, model: str, title: str, body: AlertBody, at: datetime) -> OutboxEvent:
    """An alert whose id follows from `key`: raising it again writes nothing."""
    return OutboxEvent(
        id=f"alert-{digest_of(key)[:24]}",
        kind="alert",
        level=level,
        model=model,
        name=f"grownet.alert.{level}",
        title=title,
        body=to_builtins(body),
        at=at,
    )
