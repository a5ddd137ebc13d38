"""A replica opens desks for the models that are switched on; who asks for another is told why it does not answer."""

from __future__ import annotations

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
