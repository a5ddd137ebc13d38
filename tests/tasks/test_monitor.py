"""The monitor on a real journal, lake and ledger: what it says of quiet days, shifts, broken inputs, gaps and clocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from stores.ledger import findings
from tests.serving.town import NAME
from tests.tasks.observatory import NOW, Observatory

DAY = timedelta(days=1)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Observatory]:
    made = Observatory(tmp_path)
    made.watched()
    yield made
    made.close()


def test_quiet_days_are_said_to_be_quiet(town: Observatory) -> None:
    for back in (3, 2, 1):
        town.said(NOW - back * DAY, 120)
    import time

    b = time.time()
    found = town.monitor()
    print(time.time() - b)
    for one in found:
        print(one.kind, one.answer, one.reason, one.window_start, one.window_end)
    assert findings.newest(town.ledgers["reader"], NAME)
