"""Not too many at once, and nobody for ever."""

import asyncio
from typing import Any

import pytest

from serving.limits import Places
from serving.wire import Refusal
from tests.serving.inside import Inside, inside
from tests.serving.town import NAME, Town


def test_a_place_is_given_back_whatever_happens_in_it() -> None:
    shed: list[str] = []
    places = Places(2, 7, lambda: shed.append("one"))
    with places, places:
        with pytest.raises(Refusal) as caught, places:
            pass
        assert (caught.value.status, caught.value.headers) == (503, ((b"retry-after", b"7"),))
    with pytest.raises(ZeroDivisionError), places:
        raise ZeroDivisionError
    assert (places.taken, shed) == (0, ["one"])


def test_a_client_that_sends_too_slowly_is_let_go(town: Town) -> None:
    town.configure({"body_seconds": 0.2})

    async def slowly(service: Inside, sent: list[Any]) -> None:
        service.app._checks.patience.look()

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(60)
            return {}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"authorization", f"Bearer {service.key}".encode())]
        await service.app(
            {"type": "http", "method": "POST", "path": f"/{NAME}/predict", "headers": headers}, receive, send
        )

    with inside(town) as service:
        service.ready()
        sent: list[Any] = []
        asyncio.run_coroutine_threadsafe(slowly(service, sent), service.loop).result(
            timeout=50
        )  # of the minute that it would take
        assert sent[0]["status"] == 408
        assert service.ask()["model"] == NAME
