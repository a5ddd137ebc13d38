"""A ballot whose time is over is closed and told of; one that is still running is left alone."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from checks import plans as moves
from records import utc_now
from stores.ledger import ballots
from tests.checks.traffic import live
from tests.guard.test_loop import raw
from tests.guard.town import Town, ticks
from tests.stores.ledger.world import MODEL, NOON, ROLES, arm, subject


def ask(town: Town, hours: float, base: int = 0, model: str = MODEL) -> ballots.Ballot:
    if not town.secrets:
        town.enrol()
    question = ballots.Question(
        subject=replace(subject(arm(1), base), model=model, verb="enroll" if model == "reviewers" else "promote"),
        page="# Recommendation",
        required_roles=ROLES,
        opened_by="release",
        opened_at=NOON,
        expires_at=utc_now() + timedelta(hours=hours),
    )
    return ballots.open_ballot(town.release, question)


def test_an_expired_ballot_is_closed_once_and_people_are_told(town: Town) -> None:
    asked = ask(town, hours=-1)
    guard = town.guard()
    guard.tick()
    guard.tick()
    closed = ballots.ballot(town.ledgers["reader"], asked.id)
    assert (closed.status, closed.closed_reason) == ("expired", f"no vote in time of {', '.join(sorted(ROLES))}")
    [alert] = town.alerts()
    assert (alert.level, alert.title) == ("warning", "nobody decided the ballot to promote")
    assert alert.body["owner"] == "data-science-lead@example.org"
    assert "privacy_officer" in alert.body["evidence"]["roles without a vote"]


def test_an_open_ballot_and_a_decided_one_are_left_alone(town: Town) -> None:
    asked = ask(town, hours=1)
    town.guard().tick()
    assert ballots.open_for(town.ledgers["reader"], MODEL) == asked
    ballots.close(town.release, asked.id, "refused", "a no", actor="release")
    town.guard(holder="guard-1").tick()
    assert ballots.ballot(town.ledgers["reader"], asked.id) == replace(
        asked, status="refused", closed_at=ballots.ballot(town.release, asked.id).closed_at, closed_reason="a no"
    )
    assert town.alerts() == []


def test_a_ballot_whose_base_has_moved_is_void_and_people_are_told(town: Town) -> None:
    asked = ask(town, hours=1)
    town.operate(moves.freeze)
    guard = town.guard()
    guard.tick()
    guard.tick()
    closed = ballots.ballot(town.ledgers["reader"], asked.id)
    assert closed.status == "void"
    assert "from revision 0 to 1, by operator:ada" in closed.closed_reason
    assert [alert.title for alert in town.alerts()] == ["the ballot to promote is void"]
    assert ask(town, hours=1, base=1).status == "open"


def test_ballots_about_what_is_no_configured_model_expire_too(town: Town) -> None:
    asked = [ask(town, hours=-1, model=model) for model in ("reviewers", "retired")]
    running = ask(town, hours=1)
    town.guard().tick()
    assert {ballots.ballot(town.release, one.id).status for one in asked} == {"expired"}
    assert ballots.ballot(town.release, running.id).status == "open"


def test_a_ballot_that_nobody_can_read_keeps_no_canary(two: Town) -> None:
    """Always armed, also during a ballot."""
    two.begin(3)
    guard = two.guard()
    ticks(guard, two)
    raw(two, "INSERT INTO ballots VALUES ('broken', ?, 'open', NULL, '', 'no json')", MODEL)
    two.count(live("salt-3", "canary", 3, 100, errors=60))
    ticks(guard, two)
    assert two.plan().canary is None
    [told] = [alert for alert in two.alerts() if "ballot" in alert.title]
    assert (told.level, told.title) == ("warning", "the guard cannot watch the ballot of this model")
