from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from checks import plans as transitions
from errors import NotFound, ReleaseRefused, RevisionConflict, TamperError, UsageError
from records import ReleasePlan, utc_now
from stores.ledger import audit, ballots, evidence, outbox, people, plans, votes
from stores.ledger.engine import Ledger
from stores.vault import Vault
from tasks import board
from tasks.operate import act
from tasks.questions import ENROLMENT, Asked, Board
from tests.stores.ledger.world import MODEL, REVIEWERS
from tests.tasks.release_world import House, approved, promote, vote


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


def plan_of(seats: Board) -> ReleasePlan:
    signed = plans.current(seats.ledger, MODEL)
    assert signed is not None
    return plans.verify(signed, seats.vault.verifier)


def released(house: House, seats: Board, number: int = 1) -> ReleasePlan:
    board.carry_out(seats, approved(house, seats, promote(house.candidate(number), run=f"run-{number}")))
    return plan_of(seats)


def undo(verb: str, run: str) -> Asked:
    return Asked(model=MODEL, verb=verb, detail="looked at and mended", run=run)  # type: ignore[arg-type]  # parametrised


def test_an_approved_ballot_becomes_a_signed_plan_with_its_votes_in_the_arm(house: House, seats: Board) -> None:
    plan = released(house, seats)
    assert plan.revision == 1
    assert plan.canary is not None
    assert plan.canary.approval is not None
    assert {one.role for one in plan.canary.approval.votes} == set(REVIEWERS.values())
    assert plan.rollout is not None
    assert plan.canary.approval.subject.rollout == plan.rollout.digest
    signed = plans.current(seats.ledger, MODEL)
    assert signed is not None
    assert signed.key == "release"
    assert audit.verify(seats.ledger) > 0


def test_the_arm_passes_the_check_of_serving(house: House, seats: Board) -> None:
    from checks.ballots import verify_approval

    canary = released(house, seats).canary
    assert canary is not None
    roles = seats.config.defaults.approval.roles["promote"]
    verify_approval(canary, seats.vault.verifier.verify, model=MODEL, roles=roles)


def test_running_again_from_the_first_line_changes_nothing(house: House, seats: Board) -> None:
    asked = promote(house.candidate(1))
    first = board.ask(seats, asked)
    vote(house, seats, first, "ada")
    assert board.ask(seats, asked).id == first.id
    done = approved_rest(house, seats, asked)
    told = board.carry_out(seats, done)
    again = board.ask(seats, asked)
    assert again.status == "released"
    assert board.carry_out(seats, again)
    assert told
    assert len(plans.history(seats.ledger, MODEL)) == 1


def approved_rest(house: House, seats: Board, asked: Asked) -> ballots.Ballot:
    found = board.ask(seats, asked)
    for name in ("ben", "cleo"):
        vote(house, seats, found, name)
    return board.ask(seats, asked)


def test_a_quorum_reached_before_a_crash_still_yields_the_plan(house: House, seats: Board) -> None:
    asked = promote(house.candidate(1))
    approved(house, seats, asked)  # and here the process dies
    assert plans.current(seats.ledger, MODEL) is None
    with house.board() as later:
        board.carry_out(later, board.ask(later, asked))
        assert plan_of(later).revision == 1


def test_the_page_says_what_is_asked_and_who_voted(house: House, seats: Board) -> None:
    found = board.ask(seats, promote(house.candidate(1)))
    vote(house, seats, found, "ada")
    shown = board.page(seats, found, "the code was another one")
    for said in (
        "recommendation-v1",
        "### Gates",
        "### Privacy",
        "**yes**, ada",
        "still missing",
        "the code was another",
    ):
        assert said in shown, said


def test_a_second_ballot_of_a_model_is_refused_while_one_is_open(house: House, seats: Board) -> None:
    board.ask(seats, promote(house.candidate(1)))
    with pytest.raises(ReleaseRefused, match="no open ballot of this model"):
        board.ask(seats, promote(house.candidate(2), run="run-2"))


@pytest.mark.parametrize(
    ("before", "verb"), [("freeze", "unfreeze"), ("fallback", "restore"), ("freeze", "promote"), ("", "promote")]
)
def test_a_dead_ballot_does_not_stand_in_the_way(house: House, seats: Board, before: str, verb: str) -> None:
    if verb == "restore":
        released(house, seats)
        promoted(house, seats)
    asked = promote(house.candidate(2), run="run-dead")
    dead = board.ask(seats, asked)
    if before:
        act(house.settings, before, MODEL, "olga", "something is wrong")
    else:
        house.prove(evidence.candidate(seats.ledger, asked.candidate))
    again = promote(house.candidate(3), run="run-new") if verb == "promote" else undo(verb, "run-undo")
    found = board.ask(seats, again)
    assert (found.status, found.subject.verb) == ("open", verb)
    closed = ballots.ballot(seats.ledger, dead.id)
    assert closed.status == "void"
    assert ("by operator:olga" if before else "the evidence of") in closed.closed_reason
    assert board.ask(seats, asked).id == dead.id  # its own run learns what became of it


def test_a_dead_ballot_of_a_dead_run_is_not_taken_up_again(house: House, seats: Board) -> None:
    candidate = house.candidate(1)
    dead = board.ask(seats, promote(candidate, run="run-dead"))
    act(house.settings, "freeze", MODEL, "olga", "a look first")
    found = board.ask(seats, promote(candidate, run="run-new"))
    assert found.id != dead.id
    assert ballots.ballot(seats.ledger, dead.id).status == "void"


def test_of_two_releases_over_one_base_one_gets_a_clear_conflict(house: House, seats: Board) -> None:
    first = approved(house, seats, promote(house.candidate(1)))
    second = approved_second(house, seats)
    board.carry_out(seats, second)
    with pytest.raises(RevisionConflict, match="from revision 0 to 1, by release"):
        board.carry_out(seats, first)
    assert ballots.ballot(seats.ledger, first.id).status == "void"
    canary = plan_of(seats).canary
    assert canary is not None
    assert canary.number == 2


def approved_second(house: House, seats: Board) -> ballots.Ballot:
    """Approved while another approved one is not yet carried out; the voters' codes of that minute are spent, so theirs are new."""
    from datetime import timedelta

    from checks.ballots import STEP_SECONDS
    from tasks import counting
    from tests.tasks.release_world import typed

    asked = promote(house.candidate(2), run="run-2")
    found = board.ask(seats, asked)
    later = utc_now() + timedelta(seconds=3 * STEP_SECONDS)
    for name in REVIEWERS:
        assert counting.count(seats, found, typed(house, name, later)).vote
    return board.ask(seats, asked)


def test_a_changed_base_voids_the_ballot(house: House, seats: Board) -> None:
    found = board.ask(seats, promote(house.candidate(1)))
    act(house.settings, "freeze", MODEL, "olga", "a look first")
    said = vote(house, seats, found, "ada")
    assert not said.vote
    assert "by operator:olga" in said.said
    assert ballots.ballot(seats.ledger, found.id).status == "void"


def test_an_artifact_with_one_byte_changed_is_not_released(house: House, seats: Board) -> None:
    candidate = house.candidate(1)
    found = approved(house, seats, promote(candidate))
    stored = next(Path(house.settings.artifacts_uri).rglob(f"{candidate.artifact.content}*"))
    data = bytearray(stored.read_bytes())
    data[-1] ^= 1
    stored.write_bytes(bytes(data))
    with pytest.raises(TamperError):
        board.carry_out(seats, found)
    assert ballots.ballot(seats.ledger, found.id).status == "void"
    assert plans.current(seats.ledger, MODEL) is None


def test_newer_evidence_or_a_discard_after_the_quorum_voids_the_ballot(house: House, seats: Board) -> None:
    candidate = house.candidate(1)
    found = approved(house, seats, promote(candidate))
    ledger = Ledger.open(house.settings.ledger_url, "flow")
    evidence.discard(ledger, candidate.id, "a mistake in the data")
    ledger.close()
    with pytest.raises(RevisionConflict, match="a mistake in the data"):
        board.carry_out(seats, found)


@pytest.mark.parametrize("why", ["no evidence", "failed", "discarded", "other model", "unknown"])
def test_who_cannot_be_released_is_refused_before_anybody_is_asked(house: House, seats: Board, why: str) -> None:
    candidate = house.candidate(1, passed=why != "failed")
    asked = promote(candidate)
    if why == "no evidence":
        ledger = Ledger.open(house.settings.ledger_url, "flow")
        bare = replace(candidate, id="bare")
        evidence.save_candidate(ledger, bare)
        ledger.close()
        asked = promote(bare)
    elif why == "discarded":
        ledger = Ledger.open(house.settings.ledger_url, "flow")
        evidence.discard(ledger, candidate.id, "superseded")
        ledger.close()
    elif why == "other model":
        asked = replace(asked, model="churn")
    elif why == "unknown":
        asked = replace(asked, candidate="nobody")
    with pytest.raises((ReleaseRefused, NotFound)):
        board.ask(seats, asked)
    assert ballots.ballots(seats.ledger) == []


def test_a_canary_that_was_taken_back_is_not_asked_about_again(house: House, seats: Board) -> None:
    released(house, seats)
    act(house.settings, "rollback", MODEL, "olga", "it burns")
    failed = evidence.candidates(seats.ledger, MODEL)[-1]
    twin = replace(failed, id="the-same-bytes", number=9)
    ledger = Ledger.open(house.settings.ledger_url, "flow")
    evidence.save_candidate(ledger, twin)
    ledger.close()
    house.prove(twin)
    for number, candidate in enumerate((failed, twin)):
        with pytest.raises(ReleaseRefused, match="not rejected"):
            board.ask(seats, promote(candidate, run=f"run-again-{number}"))
    assert ballots.open_for(seats.ledger, MODEL) is None


def test_a_frozen_model_is_released_by_a_ballot_that_names_the_freeze(house: House, seats: Board) -> None:
    act(house.settings, "freeze", MODEL, "olga", "a drift to look at")
    asked = promote(house.candidate(1))
    assert "is frozen" in board.page(seats, board.ask(seats, asked), "")
    board.carry_out(seats, approved(house, seats, asked))
    canary = plan_of(seats).canary
    assert canary is not None
    assert canary.approval is not None
    assert canary.approval.subject.names_freeze


@pytest.mark.parametrize(
    ("before", "verb"), [("freeze", "unfreeze"), ("hold", "resume"), ("fallback", "restore"), ("", "advance")]
)
def test_undoing_takes_a_vote(house: House, seats: Board, before: str, verb: str) -> None:
    plan = released(house, seats)
    if verb == "restore":
        plan = promoted(house, seats)
    if before:
        plan = act(house.settings, before, MODEL, "olga", "to be undone")[0]
    asked = undo(verb, "run-undo")
    found = board.ask(seats, asked)
    assert set(found.question.required_roles) == {"data_science_lead", "dev_ops"}
    from datetime import timedelta

    from tasks import counting
    from tests.tasks.release_world import typed

    for name in ("ada", "cleo"):
        assert counting.count(seats, found, typed(house, name, utc_now() + timedelta(seconds=90))).vote
    board.carry_out(seats, board.ask(seats, asked))
    after = plan_of(seats)
    assert after.revision == plan.revision + 1
    assert (after.frozen, after.hold, after.mode) == (False, False, "model")
    assert after.step == plan.step + (verb == "advance")


def promoted(house: House, seats: Board) -> ReleasePlan:
    signer = Vault.open(house.settings.home, "guard").signer
    ledger = Ledger.open(house.settings.ledger_url, "guard")
    plan = plan_of(seats)
    while plan.canary is not None:
        plan = plans.change(
            ledger,
            MODEL,
            lambda now: transitions.advance(now, at=utc_now(), actor="guard", reason="passed"),
            signer=signer,
            actor="guard",
        )
    ledger.close()
    return plan


@pytest.mark.parametrize("verb", ["unfreeze", "resume", "restore", "advance"])
def test_there_must_be_something_to_undo(house: House, seats: Board, verb: str) -> None:
    if verb == "restore":
        released(house, seats)
    with pytest.raises(ReleaseRefused):
        board.ask(seats, undo(verb, "run-undo"))


def test_enrolling_by_vote(house: House, seats: Board) -> None:
    new = people.Reviewer(
        name="dora",
        role="privacy_officer",
        secret=seats.vault.seal_code("dora", "JBSWY3DPEHPK3PXP"),
        identities=("dora@example.org",),
        enrolled_by="operator:olga",
        at=utc_now(),
    )
    asked = Asked(model=ENROLMENT, verb="enroll", detail=new.to_json().decode(), run="run-1")
    found = board.ask(seats, asked)
    assert "dora" in board.page(seats, found, "")
    for name in ("ben", "cleo"):
        assert vote(house, seats, found, name).vote
    assert "dora" not in {one.name for one in people.reviewers(seats.ledger)}
    board.carry_out(seats, board.ask(seats, asked))
    assert people.reviewer(seats.ledger, "dora").enrolled_by == f"ballot {found.id}"
    assert board.carry_out(seats, board.ask(seats, asked))  # again: nothing changes
    with pytest.raises(UsageError):
        board.ask(seats, replace(asked, detail="{}", run="run-2"))


def enrolment(seats: Board, **changes: object) -> Asked:
    new = people.Reviewer(
        name="dora",
        role="privacy_officer",
        secret=seats.vault.seal_code("dora", "JBSWY3DPEHPK3PXP"),
        identities=("dora@example.org",),
        enrolled_by="operator:olga",
        at=utc_now(),
    )
    return Asked(model=ENROLMENT, verb="enroll", detail=replace(new, **changes).to_json().decode(), run="run-1")


def test_nobody_is_enrolled_on_a_status_word(seats: Board) -> None:
    found = board.ask(seats, enrolment(seats))
    ballots.close(seats.ledger, found.id, "approved", "said who?", actor="release")
    with pytest.raises(TamperError, match="votes that approve it"):
        board.carry_out(seats, ballots.ballot(seats.ledger, found.id))
    assert "dora" not in {one.name for one in people.reviewers(seats.ledger)}
    assert ballots.ballot(seats.ledger, found.id).status == "void"


@pytest.mark.parametrize(
    "changes", [{"role": "janitor"}, {"name": "d" * 65}, {"identities": ()}, {"identities": ("Ada@example.org",)}]
)
def test_who_cannot_be_enrolled_is_not_voted_on(seats: Board, changes: dict[str, object]) -> None:
    with pytest.raises((UsageError, ReleaseRefused)):
        board.ask(seats, enrolment(seats, **changes))
    assert ballots.ballots(seats.ledger, ENROLMENT) == []


def test_a_ballot_is_announced_once(house: House, seats: Board) -> None:
    asked = promote(house.candidate(1))
    for _ in range(2):
        board.ask(seats, asked)
    told = [event for event in outbox.pending(seats.ledger, 10) if event.name == "grownet.ballot.opened"]
    assert len(told) == 1
    assert told[0].body["link"].endswith("run-1")


def test_a_ballot_that_nobody_decides_lapses(tmp_path: Path) -> None:
    house = House(tmp_path, expires_seconds=0.0)
    house.enrol_all()
    with house.board() as seats:
        found = board.lapse(seats, board.ask(seats, promote(house.candidate(1))), utc_now())
        assert found.status == "expired"
        assert "data_science_lead" in found.closed_reason
        assert votes.votes(seats.ledger, found.id) == []
        with pytest.raises(ReleaseRefused):
            votes.approval(seats.ledger, found.id)
