import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from errors import RoleRefused, TamperError
from records import utc_now
from stores.ledger import audit, ballots, people, tables, votes
from stores.ledger.ballots import Ballot
from stores.ledger.engine import Ledger
from tasks import board, codes, counting
from tasks.operate import verify_audit
from tasks.questions import Board
from tasks.runs import Typed
from tests.stores.ledger.world import MODEL, REVIEWERS
from tests.tasks.release_world import House, promote, typed, vote


@pytest.fixture(scope="module")
def model_house(tmp_path_factory: pytest.TempPathFactory) -> House:
    made = House(tmp_path_factory.mktemp("model"))
    made.enrol_all()
    return made


@pytest.fixture
def house(model_house: House, tmp_path: Path) -> House:
    return model_house.copy(tmp_path)


@pytest.fixture
def seats(house: House) -> Iterator[Board]:
    with house.board() as opened:
        yield opened


@pytest.fixture
def asked(house: House, seats: Board) -> Ballot:
    return board.ask(seats, promote(house.candidate(1)))


def test_three_yes_approve_and_each_row_is_signed_by_the_release_key(house: House, seats: Board, asked: Ballot) -> None:
    said = [vote(house, seats, asked, name) for name in REVIEWERS]
    assert [one.vote for one in said] == [True, True, True]
    cast = votes.votes(seats.ledger, asked.id)
    assert {one.key for one in cast} == {"release"}
    for one in cast:
        seats.vault.verifier.verify(one.key, one.unsigned(), one.signature)
    assert ballots.ballot(seats.ledger, asked.id).status == "approved"


def test_one_no_refuses(house: House, seats: Board, asked: Ballot) -> None:
    vote(house, seats, asked, "ada")
    assert vote(house, seats, asked, "ben", "no").vote
    assert ballots.ballot(seats.ledger, asked.id).status == "refused"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"reviewer": "mallory"}, "a stranger"),
        ({"reviewer": ""}, "reviewer"),
        ({"code": ""}, "code"),
        ({"code": "000000"}, "the code shown at that moment"),
        ({"code": "12345"}, "the code shown at that moment"),
        ({"decision": ""}, "decision"),
        ({"decision": "maybe"}, "maybe"),
        ({"reason": "  "}, "reason"),
    ],
)
def test_what_is_no_vote(house: House, seats: Board, asked: Ballot, change: dict[str, str], why: str) -> None:
    said = counting.count(seats, asked, typed(house, "ada", utc_now(), **change))
    assert not said.vote
    assert why in said.said
    assert said.wait_seconds > 0
    assert votes.votes(seats.ledger, asked.id) == []
    assert votes.attempts(seats.ledger, asked.id) == 1


def test_an_empty_form_is_no_vote(seats: Board, asked: Ballot) -> None:
    said = counting.count(seats, asked, None)
    assert (said.vote, "an empty form" in said.said) == (False, True)


def test_what_is_no_text_is_no_vote(seats: Board, asked: Ballot) -> None:
    said = counting.count(seats, asked, Typed(values={"reviewer": ["ada"], "code": 123456}, at=utc_now()))
    assert not said.vote


def test_a_code_is_judged_when_the_server_took_it_not_when_it_is_read(
    house: House, seats: Board, asked: Ballot
) -> None:
    then = utc_now() - timedelta(minutes=10)
    assert counting.count(seats, asked, typed(house, "ada", then)).vote
    old = typed(house, "ben", utc_now(), code=house.code("ben", then))
    assert not counting.count(seats, asked, old).vote


@pytest.mark.parametrize(("steps", "counts"), [(-2, False), (-1, True), (1, True), (2, False)])
def test_one_step_of_drift_is_taken(house: House, seats: Board, asked: Ballot, steps: int, counts: bool) -> None:
    at = utc_now()
    said = counting.count(seats, asked, typed(house, "ada", at, code=house.code("ada", at, steps)))
    assert said.vote is counts


def test_a_code_counts_once_also_on_another_ballot(house: House, seats: Board, asked: Ballot) -> None:
    at = utc_now()
    assert counting.count(seats, asked, typed(house, "ada", at)).vote
    board.void(seats, asked, "a new one is wanted")
    other = board.ask(seats, promote(house.candidate(2), run="run-2"))
    same = house.code("ada", at)  # also where the next code is shown a moment later
    said = counting.count(seats, other, typed(house, "ada", at + timedelta(milliseconds=1), code=same))
    assert (said.vote, "a used one" in said.said) == (False, True)


def test_authors_cannot_vote_by_name_or_by_address(house: House, seats: Board) -> None:
    by_address = house.candidate(1, authors=("Countess <ada@example.org>",))
    found = board.ask(seats, promote(by_address))
    said = vote(house, seats, found, "ada")
    assert (said.vote, "an author" in said.said) == (False, True)
    board.void(seats, found, "a new one is wanted")
    by_name = board.ask(seats, promote(house.candidate(2, authors=("ben <other@example.org>",)), run="run-2"))
    assert "an author" in vote(house, seats, by_name, "ben").said


def test_a_second_person_of_a_role_is_refused(house: House, seats: Board, asked: Ballot) -> None:
    from stores.vault import totp_secret

    house.secrets["adam"] = totp_secret()
    sealed = seats.vault.seal_code("adam", house.secrets["adam"])
    new = people.Reviewer(name="adam", role=REVIEWERS["ada"], secret=sealed, enrolled_by="ballot x", at=utc_now())
    people.add_reviewer(seats.ledger, new, "release")
    assert vote(house, seats, asked, "ada").vote
    said = vote(house, seats, asked, "adam")
    assert (said.vote, "for which ada voted" in said.said) == (False, True)


def test_a_sealed_secret_that_cannot_be_opened_is_no_vote(
    house: House, seats: Board, asked: Ballot, caplog: pytest.LogCaptureFixture
) -> None:
    known = people.reviewer(seats.ledger, "ada")
    people.add_reviewer(seats.ledger, replace(known, secret="AAAA"), "release")
    said = vote(house, seats, asked, "ada")
    assert not said.vote
    assert "the enrolment of ada cannot be trusted" in said.said
    assert asked.id in caplog.text
    assert votes.attempts(seats.ledger, asked.id, "ada") == 1


def test_a_reviewer_whose_row_was_changed_has_no_vote(house: House, seats: Board, asked: Ballot) -> None:
    forged = replace(people.reviewer(seats.ledger, "ada"), identities=("nobody@example.org",)).to_json().decode()
    raw = sqlite3.connect(house.settings.home / "ledger.db")
    with raw:
        raw.execute("UPDATE reviewers SET payload = ? WHERE name = 'ada'", (forged,))
    raw.close()
    said = vote(house, seats, asked, "ada")
    assert (said.vote, "audit log" in said.said) == (False, True)
    with pytest.raises(TamperError, match="reviewer ada"):
        verify_audit(house.settings)


def test_the_wait_stays_bounded_however_often_somebody_tries(house: House, seats: Board, asked: Ballot) -> None:
    with seats.ledger.write("release") as transaction:
        rows = [{"ballot": asked.id, "reviewer": "", "reason": "empty", "at": utc_now()}] * 1100
        transaction.execute(sa.insert(tables.attempts), rows)
    assert counting.count(seats, asked, None).wait_seconds == codes.LONGEST_WAIT_SECONDS


def test_attempts_are_limited_and_backed_off(house: House, seats: Board, asked: Ballot) -> None:
    limit = asked.question.max_attempts
    waits = [
        counting.count(seats, asked, typed(house, "ada", utc_now(), code="000000")).wait_seconds for _ in range(limit)
    ]
    assert waits == [pytest.approx(0.01 * 2**n) for n in range(limit)]
    said = vote(house, seats, asked, "ada")  # now with the right code
    assert (said.vote, "at most" in said.said) == (False, True)
    assert vote(house, seats, asked, "ben").vote  # nobody else is locked out


def test_whoever_was_locked_out_by_a_stranger_votes_after_the_window(house: House, seats: Board, asked: Ballot) -> None:
    before = utc_now()
    for second in range(asked.question.max_attempts + 3):
        counting.count(seats, asked, typed(house, "ada", before + timedelta(seconds=second), code="000000"))
    window = timedelta(seconds=asked.question.lock_seconds)
    assert not counting.count(seats, asked, typed(house, "ada", before + window / 2)).vote
    assert counting.count(seats, asked, typed(house, "ada", before + window + timedelta(seconds=10))).vote


def test_a_submission_counted_twice_is_one_vote(house: House, seats: Board, asked: Ballot) -> None:
    form, wrong = typed(house, "ada", utc_now()), typed(house, "ben", utc_now(), code="000000")
    assert [counting.count(seats, asked, form).vote for _ in range(2)] == [True, True]
    assert [counting.count(seats, asked, wrong).vote for _ in range(2)] == [False, False]
    assert len(votes.votes(seats.ledger, asked.id)) == 1
    assert votes.attempts(seats.ledger, asked.id) == 1


def test_a_vote_after_the_end_is_none(tmp_path: Path) -> None:
    house = House(tmp_path, expires_seconds=0.0)
    house.enrol_all()
    with house.board() as seats:
        asked = board.ask(seats, promote(house.candidate(1)))
        said = vote(house, seats, asked, "ada")
        assert (said.vote, "a vote before" in said.said) == (False, True)
        assert board.lapse(seats, asked, utc_now()).status == "expired"


def test_newer_evidence_voids_the_ballot(house: House, seats: Board) -> None:
    candidate = house.candidate(1)
    found = board.ask(seats, promote(candidate))
    house.prove(candidate)
    said = vote(house, seats, found, "ada")
    assert (said.vote, "evidence" in said.said) == (False, True)
    assert ballots.ballot(seats.ledger, found.id).status == "void"


def test_the_typed_code_is_nowhere_in_the_ledger(house: House, seats: Board, asked: Ballot) -> None:
    """One of them may stand in a digest or a time by chance (some ninety of a million do); not one of each person."""
    right = [typed(house, name, utc_now()) for name in REVIEWERS]
    wrong = [typed(house, name, utc_now(), code="no code, and long enough") for name in REVIEWERS]
    for one in (*wrong, *right):
        counting.count(seats, asked, one)
    assert len(votes.votes(seats.ledger, asked.id)) == len(right) == 3
    seats.ledger.close()
    written = b"".join(path.read_bytes() for path in house.settings.home.glob("ledger.db*"))
    assert asked.id.encode() in written
    assert not all(form.values["code"].encode() in written for form in right)
    assert b"long enough" not in written


def test_only_the_release_role_counts(house: House, seats: Board, asked: Ballot) -> None:
    ledger = Ledger.open(house.settings.ledger_url, "flow")
    with pytest.raises(RoleRefused):
        votes.record_invalid(ledger, asked.id, "ada", "no role")
    ledger.close()


def test_said_of_finds_the_newest_of_a_reviewer(house: House, seats: Board, asked: Ballot) -> None:
    start = utc_now()
    assert counting.said_of(seats.ledger, asked.id, "ada", start, None) is None
    counting.count(seats, asked, typed(house, "ada", utc_now(), code="000000"))
    first = counting.said_of(seats.ledger, asked.id, "ada", start, None)
    assert first is not None
    assert not first.vote
    vote(house, seats, asked, "ada")
    second = counting.said_of(seats.ledger, asked.id, "ada", start, None)
    assert second is not None
    assert second.vote
    assert counting.said_of(seats.ledger, asked.id, "ada", utc_now(), None) is None
    assert [entry.action for entry in audit.entries(seats.ledger, asked.id)] == [
        "ballot.opened",
        "vote.invalid",
        "vote",
    ]
    assert asked.model == MODEL
