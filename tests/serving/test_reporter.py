"""Telling the ledger: late rather than never, once, and never in anybody's way."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from errors import LedgerUnavailable
from records import ReplicaState, Trip
from serving.counting import Tally
from serving.metrics import Metrics
from serving.reporter import Link, Reporter
from stores.ledger import counters
from stores.ledger.engine import Ledger
from tests.serving.town import wait_for
from tests.stores.ledger.world import MODEL, NOON


def trip(number: int) -> Trip:
    return Trip(
        id=f"{number:04d}", model=MODEL, replica="one", revision=1, arm="canary", artifact="a", reason="r", at=NOON
    )


def state(revision: int) -> ReplicaState:
    return ReplicaState(replica="one", model=MODEL, revision=revision, loaded={}, at=NOON)


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Link]:
    made = Link(f"sqlite:///{tmp_path}/ledger.db", demo=False)
    yield made
    made.close()


def test_a_link_makes_nothing(tmp_path: Path, link: Link) -> None:
    with pytest.raises(LedgerUnavailable):
        link.ledger()
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_told_is_told_later_and_once(tmp_path: Path, link: Link) -> None:
    reporter = Reporter(link, tmp_path / "journal" / "one", Tally(), Metrics())
    for number in range(3):
        reporter.trip(trip(number))
        reporter.state(state(number))
    reporter._tell()
    reader = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", "operator")
    reporter._tell()
    reporter._tell()
    assert [one.id for one in counters.trips(reader, MODEL)] == ["0000", "0001", "0002"]
    assert [one.revision for one in counters.replicas(reader, MODEL)] == [2]
    reporter.close()
    assert counters.replicas(reader, MODEL) == []  # it said that it leaves: nobody waits for it, nobody misses it
    reader.close()


def test_a_trip_that_the_ledger_did_not_take_any_more_is_told_when_it_is_back(tmp_path: Path, link: Link) -> None:
    """It was there a moment ago, and the connection is open."""
    file, away = tmp_path / "ledger.db", tmp_path / "away.db"
    reader = Ledger.open(f"sqlite:///{file}", "serving")
    reporter = Reporter(link, tmp_path / "journal" / "one", Tally(), Metrics())
    reporter.trip(trip(1))
    reporter._tell()
    file.rename(away)
    reporter.trip(trip(2))
    reporter.trip(trip(3))
    reporter._tell()
    away.rename(file)
    reporter._tell()
    assert [one.id for one in counters.trips(reader, MODEL)] == ["0001", "0002", "0003"]
    reporter.close()
    reader.close()


def test_what_nobody_can_read_ends_no_telling(tmp_path: Path, link: Link, caplog: pytest.LogCaptureFixture) -> None:
    """Trips and states go out whatever is wrong with the counters."""
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", "serving")
    counters.add(ledger, [], source="one", position="no place")
    reporter = Reporter(link, tmp_path / "journal" / "one", Tally(), Metrics())

    def told() -> tuple[int, list[int]]:
        return len(counters.trips(ledger, MODEL)), [one.revision for one in counters.replicas(ledger, MODEL)]

    reporter.thread.start()
    try:
        for number in range(2):
            reporter.trip(trip(number))
            reporter.state(state(number))
            wait_for(partial(lambda expected: told() == expected, (number + 1, [number])))
        wait_for(lambda: "not told: ValueError" in caplog.text)
        assert reporter.thread.is_alive()
    finally:
        reporter.close()
        ledger.close()


def test_what_waits_is_bounded(tmp_path: Path, link: Link) -> None:
    reporter = Reporter(link, tmp_path / "journal" / "one", Tally(), Metrics())
    for number in range(1500):
        reporter.trip(trip(number))
    assert len(reporter._trips) == 1000
    assert reporter._trips[-1].id == "1499"
