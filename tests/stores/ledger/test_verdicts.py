from datetime import timedelta

import pytest
from msgspec.structs import replace

from errors import NotFound
from records import GuardVerdict
from stores.ledger import verdicts
from tests.stores.ledger.world import MODEL, NOON, World

DROP = GuardVerdict(
    id="v2",
    model=MODEL,
    arm="canary",
    version=2,
    revision=3,
    kpi="drop",
    action="rollback",
    reason="the interval's upper end is below the margin",
    effect=-0.4,
    low=-0.5,
    high=-0.3,
    matured=900,
    needed=None,
    inputs={"counters": [1, 2.5, None]},
    at=NOON,
)


def test_a_verdict_is_kept_with_its_inputs(world: World) -> None:
    guard = world.ledgers["guard"]
    assert verdicts.newest(guard, MODEL) is None
    for _ in range(2):
        verdicts.save(guard, DROP, "guard")
    assert verdicts.verdict(guard, "v2") == DROP
    later = replace(DROP, id="v1", at=NOON + timedelta(seconds=1))
    verdicts.save(guard, later, "guard")
    assert verdicts.verdicts(guard, MODEL) == [DROP, later]
    assert verdicts.verdicts(guard, MODEL, later.at) == [later]
    assert verdicts.newest(guard, MODEL) == later
    with pytest.raises(NotFound):
        verdicts.verdict(guard, "nothing")
