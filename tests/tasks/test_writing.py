import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from errors import LedgerUnavailable
from stores.ledger.engine import Ledger
from stores.ledger.leases import acquire
from tasks.writing import alone


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", "flow")
    yield opened
    opened.close()


def test_one_writer_at_a_time(ledger: Ledger) -> None:
    inside: list[int] = []
    most: list[int] = []

    def write(number: int) -> None:
        with alone(ledger, "lake/orders"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.02)  # long enough for another one to come in, if it could
            inside.remove(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1] * 4


def test_it_is_given_back_also_after_an_error(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), alone(ledger, "lake/orders"):
        raise ZeroDivisionError
    with alone(ledger, "lake/orders", seconds=0.1):
        pass


def test_the_lease_of_a_dead_writer_expires(ledger: Ledger) -> None:
    assert acquire(ledger, "lake/orders", "the dead", 0.3) is not None
    with alone(ledger, "lake/orders", seconds=30.0):
        pass


def test_waiting_ends(ledger: Ledger) -> None:
    assert acquire(ledger, "lake/orders", "somebody who hangs", 60.0) is not None
    with pytest.raises(LedgerUnavailable, match="lake/orders"), alone(ledger, "lake/orders", seconds=0.2):
        pytest.fail("the lease was given twice")
