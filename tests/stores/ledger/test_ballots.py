"""Ballots: one open per model, asked once per request, ended once."""

import sqlite3
import threading
from datetime import timedelta

import pytest
from msgspec.structs import replace

from errors import NotFound, ReleaseRefused, TamperError
from stores.ledger import audit, ballots
from stores.ledger.engine import Ledger
from tests.stores.ledger.world import MODEL, NOON, ROLES, ROLLOUT, World, arm, by_hand, subject

QUESTION = ballots.Question(
    subject=subject(arm(1), 0),
    rollout=ROLLOUT,
    page="# Page",
    required_roles=ROLES,
    opened_by="release",
    opened_at=NOON,
    expires_at=NOON + timedelta(hours=1),
)


def test_the_subject_carries_the_ballots_id(world: World) -> None:
    asked = ballots.open_ballot(world.release, QUESTION)
    assert asked.subject == replace(QUESTION.subject, ballot=asked.id)
    assert ballots.ballot(world.release, asked.id) == asked == ballots.open_for(world.release, MODEL)
    assert ballots.open_for(world.release, "demand") is None
    assert ballots.ballots(world.release) == [asked]


def test_one_open_ballot_per_model(world: World) -> None:
    first = ballots.open_ballot(world.release, QUESTION)
    with pytest.raises(ReleaseRefused, match=f"ballot {first.id}, opened by release at 2026-11-21 12:00 UTC"):
        ballots.open_ballot(world.release, QUESTION)
    other = replace(QUESTION, subject=replace(QUESTION.subject, model="demand"))
    assert ballots.open_ballot(world.release, other).status == "open"
    ballots.close(world.release, first.id, "refused", "no", actor="release")
    assert ballots.open_ballot(world.release, QUESTION).id != first.id


def test_the_database_itself_holds_one_open_ballot(world: World) -> None:
    ballots.open_ballot(world.release, QUESTION)
    raw = sqlite3.connect(world.folder / "ledger.db")
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        raw.execute(f"INSERT INTO ballots VALUES ('x', '{MODEL}', 'open', NULL, '', '{{}}')")
    raw.close()


def test_an_expired_ballot_gives_way(world: World) -> None:
    first = ballots.open_ballot(world.release, QUESTION)
    later = replace(QUESTION, opened_at=QUESTION.expires_at, expires_at=NOON + timedelta(hours=2))
    assert ballots.open_ballot(world.release, later).status == "open"
    assert ballots.ballot(world.release, first.id).status == "expired"


def test_the_same_request_gets_the_same_ballot_whatever_became_of_it(world: World) -> None:
    first = ballots.open_ballot(world.release, QUESTION, "run-1")
    later = replace(QUESTION, opened_at=NOON + timedelta(minutes=5))
    assert ballots.open_ballot(world.release, later, "run-1") == first
    closed = ballots.close(world.release, first.id, "void", "changed", actor="release")
    assert ballots.open_ballot(world.release, QUESTION, "run-1") == closed
    assert ballots.open_ballot(world.release, QUESTION, "run-2").id != first.id


def test_a_ballot_ends_once(world: World) -> None:
    asked = ballots.open_ballot(world.release, QUESTION)
    closed = ballots.close(world.release, asked.id, "expired", "nobody came", actor="release", at=NOON)
    assert (closed.status, closed.closed_at, closed.closed_reason) == ("expired", NOON, "nobody came")
    assert ballots.close(world.release, asked.id, "expired", "again", actor="release") == closed
    for status in ("approved", "refused", "void", "released"):
        with pytest.raises(ReleaseRefused, match="expired"):
            ballots.close(world.release, asked.id, status, "no", actor="release")
    assert [entry.action for entry in audit.entries(world.release, asked.id)] == ["ballot.opened", "ballot.expired"]


@pytest.mark.parametrize(
    "change",
    ["UPDATE ballots SET payload = '{}'", "UPDATE ballots SET status = 'approved'", "DELETE FROM ballots"],
)
def test_a_closed_ballot_is_never_rewritten(world: World, change: str) -> None:
    asked = ballots.open_ballot(world.release, QUESTION)
    ballots.close(world.release, asked.id, "refused", "no", actor="release")
    raw = sqlite3.connect(world.folder / "ledger.db")
    with pytest.raises(sqlite3.IntegrityError, match="ballot"):
        raw.execute(change)
    raw.close()


def test_an_unknown_ballot(world: World) -> None:
    with pytest.raises(NotFound, match="nothing"):
        ballots.ballot(world.release, "nothing")


def test_of_two_ballots_opened_at_once_one_is_refused(world: World) -> None:
    barrier = threading.Barrier(2)
    seen: list[str] = []

    def run() -> None:
        ledger = Ledger.open(world.url, "release")
        barrier.wait(timeout=120)
        try:
            seen.append(ballots.open_ballot(ledger, QUESTION).status)
        except ReleaseRefused:
            seen.append("refused")
        finally:
            ledger.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert sorted(seen) == ["open", "refused"]


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM ballots",
        "UPDATE ballots SET payload = replace(payload, '# Page', '# Pages')",
        "UPDATE ballots SET payload = '{garbage'",
        "UPDATE ballots SET status = 'approved'",
        "UPDATE ballots SET closed_reason = 'all agreed'",
        "UPDATE ballots SET model = 'demand'",
    ],
)
@pytest.mark.parametrize("ended", [False, True])
def test_a_ballot_that_was_changed_or_is_gone_is_found(world: World, change: str, ended: bool) -> None:
    asked = ballots.open_ballot(world.release, QUESTION)
    if ended:
        ballots.close(world.release, asked.id, "refused", "no", actor="release")
    assert ballots.verify(world.ledgers["reader"]) == 1
    by_hand(world, change)
    with pytest.raises(TamperError, match=f"ballot {asked.id}"):
        ballots.verify(world.ledgers["reader"])


def test_a_ballot_that_was_approved_may_end_after(world: World) -> None:
    asked = ballots.open_ballot(world.release, QUESTION)
    ballots.close(world.release, asked.id, "approved", "so", actor="release")
    ballots.close(world.release, asked.id, "void", "changed", actor="release")
    assert ballots.verify(world.ledgers["reader"]) == 1
