"""Two guards on one ledger: one leads, the other takes over, and the first is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from errors import RevisionConflict
from guard.lease import Leadership
from records import utc_now
from stores.ledger import ballots, leases, verdicts
from tests.guard.test_loop import until
from tests.guard.town import Town
from tests.stores.ledger.test_verdicts import DROP
from tests.stores.ledger.world import MODEL, arm, subject


def soon(ask: Callable[[], int | None]) -> int:
    """The first epoch that is given, asked until then."""
    deadline = time.monotonic() + 60
    pause = threading.Event()
    while (epoch := ask()) is None:
        assert time.monotonic() < deadline
        pause.wait(0.005)
    return epoch


def test_one_leads_and_the_other_takes_over_when_it_gives_back(town: Town) -> None:
    ledger = town.ledgers["guard"]
    one, two = Leadership(ledger, "one", 60), Leadership(ledger, "two", 0.03)
    first = one.keep()
    assert first is not None
    assert two.keep() is None
    assert one.keep() == first
    one.give_back()
    assert soon(two.keep) > first


def test_a_lease_that_ran_out_is_taken_and_its_holder_stops(town: Town) -> None:
    ledger = town.ledgers["guard"]
    one, two = Leadership(ledger, "one", 0.03), Leadership(ledger, "two", 0.03)
    first = one.keep()
    assert first is not None
    second = soon(two.keep)
    assert second > first
    assert leases.renew(ledger, leases.GUARD, second, 60)
    until(lambda: one.keep() is None)  # it asks each third of its lease


def test_a_stand_by_leads_with_its_first_look_after_the_lease_ran_out(town: Town) -> None:
    """However long its own lease would be, of which it used to wait for a third."""
    ledger = town.ledgers["guard"]
    one, two = Leadership(ledger, "one", 600), Leadership(ledger, "two", 600)
    first = one.keep()
    assert first is not None
    assert two.keep() is None
    assert leases.renew(ledger, leases.GUARD, first, 0.0)  # it runs out here and now
    assert two.keep() == first + 1


class Clock:
    """Stands in for `time` in `guard.lease`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("guard.lease.time", made)
    return made


def test_a_leader_whose_clock_was_ahead_is_followed_all_the_same(town: Town, clock: Clock) -> None:
    """By the end it wrote the others would wait for an hour."""
    ledger = town.ledgers["guard"]
    one, two = Leadership(ledger, "one", 10), Leadership(ledger, "two", 10)
    first = one.keep()
    assert first is not None
    assert leases.renew(ledger, leases.GUARD, first, 3600.0)
    assert two.keep() is None
    clock.now += 9.0
    assert two.keep() is None
    clock.now += 2.0
    assert two.keep() == first + 1
    found = leases.held(ledger, leases.GUARD)
    assert found is not None
    assert found[1] < utc_now() + timedelta(seconds=11)
    assert one.keep() is None


def test_a_leader_that_renews_is_left_alone_whatever_its_clock_says(town: Town, clock: Clock) -> None:
    ledger = town.ledgers["guard"]
    one, two = Leadership(ledger, "one", 10), Leadership(ledger, "two", 10)
    first = one.keep()
    assert first is not None
    for ahead in range(6):
        assert leases.renew(ledger, leases.GUARD, first, 3600.0 + ahead)
        assert two.keep() is None
        clock.now += 4.0


def test_a_refused_write_makes_it_ask_at_once(town: Town) -> None:
    ledger = town.ledgers["guard"]
    one = Leadership(ledger, "one", 600)
    first = one.keep()
    assert first is not None
    assert leases.acquire(ledger, leases.GUARD, "one", 600) == first + 1  # its former self comes back
    assert one.keep() == first  # it does not know yet
    one.refused(RevisionConflict("a plan"))
    assert one.keep() == first + 2


def test_only_the_leader_judges(town: Town) -> None:
    town.begin(1)
    town.follow()
    leads, stands_by = town.guard(holder="a"), town.guard(holder="b")
    leads.tick()
    stands_by.tick()
    assert (leads.leads, stands_by.leads) == (True, False)
    assert len(town.verdicts()) == 1


def test_nothing_is_written_under_an_epoch_that_is_over(town: Town) -> None:
    """In the transaction of the write itself: a guard that slept between looking and writing is refused too."""
    town.enrol()
    ledger, asked = town.ledgers["guard"], town.ask(subject(arm(1), 0))
    epoch = leases.acquire(ledger, leases.GUARD, "one", 0.001)
    assert epoch is not None
    newer = soon(lambda: leases.acquire(ledger, leases.GUARD, "two", 60))
    with pytest.raises(RevisionConflict, match=f"epoch {newer}"):
        ballots.close(ledger, asked.id, "expired", "nobody came", actor="guard", epoch=epoch)
    with pytest.raises(RevisionConflict, match=f"epoch {newer}"):
        verdicts.save(ledger, DROP, "guard", epoch)
    assert ballots.open_for(ledger, MODEL) == asked
    assert verdicts.verdicts(ledger, MODEL) == []
    verdicts.save(ledger, DROP, "guard", newer)
    assert ballots.close(ledger, asked.id, "expired", "nobody came", actor="guard", epoch=newer).status == "expired"
    assert verdicts.verdicts(ledger, MODEL) == [DROP]
