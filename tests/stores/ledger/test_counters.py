import threading
from datetime import timedelta

from msgspec.structs import replace

from records import Counter, ReplicaState, Trip
from stores.ledger import counters
from stores.ledger.engine import Ledger
from tests.stores.ledger.world import MODEL, NOON, World

ROW = Counter(
    model=MODEL,
    salt="s1",
    arm="canary",
    version=2,
    bucket=7,
    hour=NOON,
    answers=3,
    errors=1,
    late=1,
    matured=2,
    total=1.5,
    squares=2.5,
    other_total=1.0,
    other_squares=1.0,
    cross=0.5,
)


def test_rows_add_up(world: World) -> None:
    serving = world.ledgers["serving"]
    counters.add(serving, [ROW, ROW])
    counters.add(serving, [replace(ROW, answers=1, total=0.5)])
    counters.add(serving, [])
    (row,) = counters.totals(world.ledgers["guard"], MODEL, "s1")
    assert (row.answers, row.errors, row.matured, row.total, row.cross) == (7, 3, 6, 3.5, 1.5)
    assert isinstance(row.answers, int)
    assert row.hour == NOON


def test_totals_keep_arms_versions_and_buckets_apart(world: World) -> None:
    serving = world.ledgers["serving"]
    others = [replace(ROW, arm="champion"), replace(ROW, version=3), replace(ROW, bucket=8)]
    later = replace(ROW, hour=NOON + timedelta(hours=1))
    counters.add(serving, [ROW, later, *others, replace(ROW, salt="s0"), replace(ROW, model="demand")])
    found = counters.totals(serving, MODEL, "s1")
    assert {(row.arm, row.version, row.bucket, row.answers) for row in found} == {
        ("canary", 2, 7, 6),
        ("champion", 2, 7, 3),
        ("canary", 3, 7, 3),
        ("canary", 2, 8, 3),
    }
    assert len(counters.totals(serving, MODEL, "s1", by_hour=True)) == 5
    assert counters.totals(serving, MODEL, "never") == []


def test_replicas_count_at_once_and_nothing_is_lost(world: World) -> None:
    def run() -> None:
        ledger = Ledger.open(world.url, "serving")
        for _ in range(10):
            counters.add(ledger, [ROW])
        ledger.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert counters.totals(world.release, MODEL, "s1")[0].answers == 120


def test_the_watermark_moves_with_the_counters(world: World) -> None:
    serving = world.ledgers["serving"]
    assert counters.watermark(serving, "replica-1") == ""
    counters.add(serving, [ROW], source="replica-1", position="segment-1:100")
    counters.add(serving, [], source="replica-1", position="segment-2:0")
    assert counters.watermark(serving, "replica-1") == "segment-2:0"
    assert counters.watermark(serving, "replica-2") == ""


def test_trips(world: World) -> None:
    serving = world.ledgers["serving"]
    trip = Trip(
        id="t1", model=MODEL, replica="r1", revision=3, arm="canary", artifact="a", reason="5 errors in 10 s", at=NOON
    )
    for _ in range(2):
        counters.add_trip(serving, trip)
    later = replace(trip, id="t0", at=NOON + timedelta(seconds=1))
    counters.add_trip(serving, later)
    guard = world.ledgers["guard"]
    assert counters.trips(guard, MODEL) == [trip, later]
    assert counters.trips(guard, MODEL, NOON + timedelta(seconds=1)) == [later]
    assert counters.trips(guard, "demand") == []


def test_a_replica_says_what_it_serves_now(world: World) -> None:
    serving = world.ledgers["serving"]
    state = ReplicaState(replica="r1", model=MODEL, revision=1, loaded={"champion": "rules"}, at=NOON)
    counters.report_replica(serving, state)
    newer = replace(state, revision=2, at=NOON + timedelta(seconds=1))
    counters.report_replica(serving, newer)
    counters.report_replica(serving, replace(state, replica="r0"))
    found = counters.replicas(world.ledgers["guard"], MODEL)
    assert [(one.replica, one.revision) for one in found] == [("r0", 1), ("r1", 2)]
    assert counters.replicas(world.ledgers["guard"], MODEL, NOON + timedelta(seconds=1)) == [newer]
