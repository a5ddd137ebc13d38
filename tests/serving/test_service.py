"""A replica opens desks for the models that are switched on; who asks for another is told why it does not answer."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from serving.calls import Message
from serving.rest import App
from serving.service import Service
from tests.serving.inside import inside
from tests.serving.town import NAME, Town


def test_a_model_that_is_switched_off_is_not_served_and_says_so(town: Town) -> None:
    off = town.config.models[NAME].model_copy(update={"enabled": False})
    town.config = town.config.model_copy(update={"models": {NAME: off}})
    with inside(town) as replica:
        assert replica.service.desks == {}
        assert replica.service.ready  # it waits for nothing
        status, reply = replica.call("predict", {"customer": "4"})
    assert status == 404
    assert "switched off" in str(reply)
    assert f"enabled: true in configs/{NAME}.yaml" in str(reply)


def test_a_protocol_that_does_not_end_well_leaves_no_service_open(town: Town) -> None:
    class Stuck:
        async def start(self) -> None: ...

        async def stop(self) -> None:
            raise OSError("will not end")

    async def lived() -> None:
        words = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive() -> Message:
            return {"type": next(words)}

        async def send(_: Message) -> None: ...

        await app({"type": "lifespan"}, receive, send)

    service = Service(town.settings, town.config)
    app = App(service)
    app.faces.append(cast(Any, Stuck()))
    with pytest.raises(OSError, match="will not end"):
        asyncio.run(lived())
    assert not any(thread.is_alive() for thread in (*service.local.threads, service.local.thread))
