"""What the progress flow shows of a release, read from a real ledger; the flow itself runs in tests/flows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from checks import plans as moves
from errors import NotFound
from records import utc_now
from stores.ledger import plans
from tasks import progress, progress_page
from tasks.progress import Seen, asked_for, look, models_to_show
from tests.guard.town import Town, settings
from tests.stores.ledger.world import MODEL, arm, subject
from tests.tasks.test_runs import Server, server

__all__ = ["server"]  # a fixture


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """Version 1 is at its first step."""
    made = Town(tmp_path)
    made.begin(1)
    yield made
    made.close()


def seen(town: Town) -> Seen:
    return look(settings(town.folder), MODEL)


def page(town: Town) -> str:
    one = seen(town)
    return progress_page.markdown(one.found, one.history, one.waiting)


def words(town: Town) -> str:
    one = seen(town)
    return progress_page.line(one.found, one.waiting)


def test_a_rollout_that_just_began(town: Town) -> None:
    shown = page(town)
    assert shown.startswith(f"# {MODEL}: recommendation-v1 at step 1 of 3, in the shadow")
    assert "**Who must act:** the guard: it has not judged this step yet" in shown
    assert "how much cannot be said yet; the step asks for 200 matured answers at least" in shown
    assert "| 2 | 50 % | 0 s | 500 |  |" in shown
    assert "| champion | rules | 100 % |" in shown
    assert "Evidence" not in shown
    assert words(town).startswith("Revision 1: recommendation-v1 at step 1 of 3, in the shadow. Still needed: how much")


def test_who_stopped_it_and_whom_a_ballot_waits_for(town: Town) -> None:
    plan = town.operate(moves.hold)
    town.ask(subject(arm(1), plan.revision, "resume"))
    shown = page(town)
    assert (
        "`grownet release resume` lets the rollout go on (by vote); the reviewers: the ballot to resume is open"
        in shown
    )
    assert "- held since revision 2, by operator:ada at " in shown
    assert "a test" in shown


def test_in_rules_mode_nobody_else_answers(town: Town) -> None:
    for _ in (2, 3):
        advanced(town)
    assert "| champion | recommendation-v1 | 98 % |" in page(town)
    assert "recommendation-v1 answers, no rollout runs, compared with rules" in words(town)
    assert seen(town).found.percent == 100
    town.operate(moves.fallback)
    shown = page(town)
    assert "| champion | recommendation-v1 | 0 % |" in shown
    assert "| rules | | 100 % |" in shown
    assert "- in rules mode since revision 4, by operator:ada" in shown


def advanced(town: Town) -> None:
    plans.change(
        town.ledgers["guard"],
        MODEL,
        lambda plan: moves.advance(plan, at=utc_now(), actor="guard", reason="passed"),
        signer=town.signer("guard"),
        actor="guard",
    )


def test_a_plan_that_changes_meanwhile_is_shown_again(town: Town) -> None:
    shown: list[int] = []

    def show() -> int:
        shown.append(town.plan().revision)
        if len(shown) == 1:
            town.operate(moves.hold)  # after this look, before it is written
        return shown[-1]

    assert progress._until_current(settings(town.folder), MODEL, show) == 2
    assert shown == [1, 2]


def test_only_models_of_which_something_was_decided_are_shown(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROWNET_HOME", str(town.folder))
    assert models_to_show.fn({""}, "") == models_to_show.fn({MODEL}, MODEL) == [MODEL]
    assert models_to_show.fn({"demand"}, "demand") == []
    assert models_to_show.fn({MODEL, "<script>"}, MODEL) == [MODEL]  # somebody else's run in line
    with pytest.raises(NotFound, match="one of"):
        models_to_show.fn({"nothing"}, "nothing")


@pytest.fixture
def line(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Prefect, for a run that looks at the line all the time."""
    monkeypatch.setenv("GROWNET_PREFECT_URL", server.settings.prefect_url)
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0)
    monkeypatch.setattr(progress, "QUIET_SECONDS", 100)
    return server


def waiting(**models: str) -> tuple[int, Any]:
    return 200, [{"id": run, "parameters": {"model": model}, "auto_scheduled": False} for run, model in models.items()]


def cancelled(server: Server) -> list[str]:
    return [path.split("/")[3] for _, path, _ in server.asked if path.endswith("/set_state")]


def test_a_run_takes_over_those_behind_it_and_lets_none_go_before_it_was_shown(
    line: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.replies = [waiting(one=MODEL), (201, {}), waiting(two="demand", three=MODEL), (201, {}), (201, {}), waiting()]
    rounds = asked_for(MODEL)
    assert next(rounds) == {MODEL}
    assert cancelled(line) == []  # killed here, the other would begin
    assert next(rounds) == {"demand", MODEL}
    assert cancelled(line) == ["one"]
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0)
    assert list(rounds) == []
    assert cancelled(line) == ["one", "two", "three"]


@pytest.mark.parametrize("replies", [[(500, {})], [waiting(one=MODEL), (500, {})]])
def test_a_line_that_cannot_be_looked_at_or_cleared_ends_no_run(
    line: Server, monkeypatch: pytest.MonkeyPatch, replies: list[tuple[int, Any]]
) -> None:
    line.replies = replies
    rounds = asked_for(MODEL)
    assert next(rounds) == {MODEL}
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0)
    assert list(rounds) == []


def test_a_run_by_the_schedule_looks_once_and_no_run_stays_for_ever(
    line: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.replies = [waiting(one=MODEL)]
    assert list(asked_for("")) == [{"", MODEL}]
    monkeypatch.setattr(progress, "LONGEST_SECONDS", 0)
    assert list(asked_for(MODEL)) == [{MODEL}]
