"""Votes in the ledger: each bad one is refused and leaves nothing behind."""

import sqlite3
from datetime import timedelta

import pytest
from msgspec.structs import replace

from errors import NotFound, ReleaseRefused, RoleRefused, TamperError, VoteRefused
from records import Vote
from stores.ledger import audit, ballots, people, votes
from stores.ledger import tables as t
from stores.vault import Vault
from tests.stores.ledger.world import MODEL, NOON, REVIEWERS, World, arm, by_hand, subject


@pytest.fixture
def asked(world: World) -> ballots.Ballot:
    world.enrol()
    return world.ask(subject(arm(1), 0))


def plain(asked: ballots.Ballot, reviewer: str = "ada") -> Vote:
    return Vote(
        ballot=asked.id,
        subject=asked.subject.digest,
        reviewer=reviewer,
        role=REVIEWERS.get(reviewer, "dev_ops"),
        decision="yes",
        reason="looked",
        cast_at=NOON,
    )


def refused(world: World, vote: Vote, words: str, step: int = 1) -> None:
    before = audit.verify(world.release)
    with pytest.raises(VoteRefused, match=words):
        votes.record_vote(world.release, vote, step, signer=world.signer("release"))
    assert audit.verify(world.release) == before


def test_three_yes_approve(world: World, asked: ballots.Ballot) -> None:
    assert world.cast(asked, "ada").status == "open"
    assert world.cast(asked, "ben").status == "open"
    done = world.cast(asked, "cleo")
    assert done.status == "approved"
    assert done.closed_at is not None
    assert ballots.ballot(world.release, asked.id) == done
    ring = Vault.open(world.folder, "reader").verifier
    cast = votes.votes(world.release, asked.id)
    assert [vote.reviewer for vote in cast] == ["ada", "ben", "cleo"]
    for vote in cast:
        ring.verify(vote.key, vote.unsigned(), vote.signature)
    assert votes.approval(world.release, asked.id).votes == tuple(cast)


def test_one_no_refuses_at_once(world: World, asked: ballots.Ballot) -> None:
    world.cast(asked, "ada")
    done = world.cast(asked, "ben", "no")
    assert done.status == "refused"
    assert "ben (privacy_officer) no: looked at it" in done.closed_reason
    refused(world, plain(asked, "cleo"), "refused")
    with pytest.raises(ReleaseRefused, match="approved"):
        votes.approval(world.release, asked.id)


def test_a_stranger(world: World, asked: ballots.Ballot) -> None:
    refused(world, plain(asked, "mallory"), "a stranger")


def test_a_role_that_is_not_ones_own(world: World, asked: ballots.Ballot) -> None:
    refused(world, replace(plain(asked), role="dev_ops"), "data_science_lead")


def test_a_role_that_is_not_asked(world: World) -> None:
    world.enrol()
    asked = world.ask(subject(arm(1), 0), roles=("dev_ops",))
    refused(world, plain(asked, "ada"), "dev_ops")


@pytest.mark.parametrize("author", ["ada", "Ada Lovelace <ada@example.org>"])
def test_an_author(world: World, author: str) -> None:
    world.enrol()
    sealed = people.reviewer(world.release, "ada")
    people.add_reviewer(world.release, replace(sealed, identities=("ada@example.org",)), "release")
    asked = world.ask(subject(arm(1), 0), barred=(author,))
    refused(world, plain(asked), "an author")
    assert world.cast(asked, "ben").status == "open"


def test_a_second_vote_of_a_person_and_of_a_role(world: World, asked: ballots.Ballot) -> None:
    world.cast(asked, "ada")
    refused(world, replace(plain(asked), decision="no"), "for which ada voted yes", step=50)
    world.enrol({"dan": "data_science_lead"})
    second = replace(plain(asked, "dan"), role="data_science_lead")
    refused(world, second, "for which ada voted yes", step=51)


def test_a_used_code(world: World, asked: ballots.Ballot) -> None:
    world.cast(asked, "ada", step=7)
    world.cast(asked, "ben", step=7)  # another person's code of the same time
    ballots.close(world.release, asked.id, "void", "base changed", actor="release")
    again = world.ask(subject(arm(1), 0))
    refused(world, plain(again), "a used one", step=7)
    assert world.cast(again, "ada", step=8).status == "open"


def test_a_vote_for_another_ballot_or_subject(world: World, asked: ballots.Ballot) -> None:
    ballots.close(world.release, asked.id, "void", "base changed", actor="release")
    second = world.ask(subject(arm(2), 0))
    refused(world, replace(plain(asked), ballot=second.id), "a vote over")
    refused(world, plain(asked), "void")
    with pytest.raises(NotFound, match="nothing"):
        votes.record_vote(world.release, replace(plain(asked), ballot="nothing"), 1, signer=world.signer("release"))


def test_a_vote_at_or_after_the_end(world: World, asked: ballots.Ballot) -> None:
    for late in (0, 1):
        refused(world, replace(plain(asked), cast_at=asked.question.expires_at + timedelta(seconds=late)), "before")


def test_attempts_are_counted_and_limited(world: World, asked: ballots.Ballot) -> None:
    for number in range(1, 6):
        assert votes.record_invalid(world.release, asked.id, "ada", "wrong code", NOON) == number
    refused(world, plain(asked), "at most 5 attempts")
    assert votes.attempts(world.release, asked.id) == 5
    assert votes.attempts(world.release, asked.id, "ben") == 0
    assert world.cast(asked, "ben").status == "open"
    assert [entry.action for entry in audit.entries(world.release, asked.id)].count("vote.invalid") == 5


def test_a_lock_ends_and_is_not_prolonged_while_it_holds(world: World, asked: ballots.Ballot) -> None:
    for number in range(5):
        votes.record_invalid(world.release, asked.id, "ada", "wrong code", NOON + timedelta(seconds=number))
    for minute in range(1, 30):  # somebody goes on
        votes.record_invalid(world.release, asked.id, "ada", "locked", NOON + timedelta(minutes=minute))
    assert votes.attempts(world.release, asked.id, "ada") == 5
    assert [entry.action for entry in audit.entries(world.release, asked.id)].count("vote.invalid") == 34
    refused(world, replace(plain(asked), cast_at=NOON + timedelta(minutes=29)), "at most 5 attempts in 30 minutes")
    later = replace(plain(asked), cast_at=NOON + timedelta(minutes=31))
    assert votes.record_vote(world.release, later, 1, signer=world.signer("release")).status == "open"


def test_another_ballot_gives_no_more_guesses(world: World, asked: ballots.Ballot) -> None:
    other = world.ask(subject(arm(1, "demand"), 0, model="demand"))
    for number in range(5):
        votes.record_invalid(world.release, (asked, other)[number % 2].id, "ada", "wrong code", NOON)
    refused(world, plain(asked), "at most 5 attempts")
    with pytest.raises(VoteRefused, match="at most 5 attempts"):
        votes.refuse_locked(world.release, other, "ada", NOON)
    votes.refuse_locked(world.release, other, "ben", NOON)


def test_what_a_stranger_typed_is_cut(world: World, asked: ballots.Ballot) -> None:
    assert votes.record_invalid(world.release, asked.id, "x" * 10_000, "a stranger", NOON) == 1
    assert votes.attempts(world.release, asked.id, "x" * 10_000) == 1
    assert len(audit.entries(world.release, asked.id)[-1].detail["reviewer"]) == 64


def test_only_the_release_flow_takes_votes(world: World, asked: ballots.Ballot) -> None:
    for role in ("flow", "guard", "operator", "serving"):
        with pytest.raises(RoleRefused):
            votes.record_vote(world.ledgers[role], plain(asked), 1, signer=world.signer("release"))
    with pytest.raises(VoteRefused, match="the release key"):
        votes.record_vote(world.release, plain(asked), 1, signer=world.signer("operator:eve"))
    assert votes.votes(world.release, asked.id) == []


def test_a_vote_row_that_somebody_slipped_in_decides_nothing(world: World, asked: ballots.Ballot) -> None:
    eve = world.signer("operator:eve")
    raw = sqlite3.connect(world.folder / "ledger.db")
    for name in ("ada", "ben"):
        forged = replace(plain(asked, name), key="operator:eve", signature=eve.sign(plain(asked, name).unsigned()))
        row = (asked.id, name, REVIEWERS[name], forged.to_json().decode())
        raw.execute("INSERT INTO votes (ballot, reviewer, role, payload) VALUES (?, ?, ?, ?)", row)
    raw.commit()
    raw.close()
    refused(world, plain(asked, "cleo"), "the release key")
    assert ballots.ballot(world.release, asked.id).status == "open"


def test_ballots_of_two_models_do_not_meet(world: World, asked: ballots.Ballot) -> None:
    other = world.ask(subject(arm(1, "demand"), 0, model="demand"))
    world.cast(asked, "ada")
    assert votes.votes(world.release, other.id) == []
    assert ballots.open_for(world.release, MODEL) == ballots.ballot(world.release, asked.id)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("DELETE FROM votes", "vote .*/ada"),
        ("""UPDATE votes SET payload = replace(payload, '"yes"', '"no"')""", "vote .*/ada"),
        ("UPDATE votes SET payload = '{garbage'", "vote .*/ada"),
        ("UPDATE votes SET reviewer = 'eve'", "vote .*/ada"),
        ("UPDATE votes SET role = 'dev_ops'", "vote .*/ada"),
    ],
)
def test_a_vote_that_was_changed_or_is_gone_is_found(
    world: World, asked: ballots.Ballot, change: str, named: str
) -> None:
    world.cast(asked, "ada")
    ring = world.signer("release").ring
    assert votes.verify(world.ledgers["reader"], ring) == 1
    by_hand(world, change)
    with pytest.raises(TamperError, match=named):
        votes.verify(world.ledgers["reader"], ring)


def test_a_vote_that_its_key_did_not_sign_is_found_though_the_log_tells_of_it(
    world: World, asked: ballots.Ballot
) -> None:
    forged = replace(plain(asked), key="release", signature="00")
    with world.release.write("eve") as transaction:
        row = {"ballot": asked.id, "reviewer": "ada", "role": forged.role, "payload": forged.to_json().decode()}
        transaction.execute(t.votes.insert().values(**row))
        transaction.audit("vote", asked.id, {"reviewer": "ada", "digest": forged.digest})
    with pytest.raises(TamperError, match="vote of ada"):
        votes.verify(world.ledgers["reader"], world.signer("release").ring)
