"""Operator verbs: signed by the operator's own key, repeatable, refused with a reason when impossible."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from checks import gates
from checks import plans as transitions
from configs.load import settings
from configs.schema import Settings
from errors import (
    LedgerUnavailable,
    NotFound,
    ReleaseRefused,
    RevisionConflict,
    RoleRefused,
    TamperError,
    UsageError,
    WrongLedger,
)
from grownet import app
from records import ReleasePlan, utc_now
from stores.ledger import plans
from tasks.operate import act, add_operator, opened, verify_audit
from tasks.trace import current_plan, served
from tests.guard.town import Town
from tests.guard.town import settings as town_settings
from tests.stores.ledger.world import MODEL


@pytest.fixture
def house(tmp_path: Path) -> Settings:
    chosen = settings({"GROWNET_HOME": str(tmp_path)})
    add_operator(chosen, "olga")
    return chosen


def test_a_verb_is_signed_by_the_operators_own_key_and_may_be_repeated(house: Settings) -> None:
    plan, words = act(house, "freeze", "recommendation", "olga", "looks odd")
    again, _ = act(house, "freeze", "recommendation", "olga", "looks odd")
    assert plan == again
    assert plan.frozen
    assert plan.actor == "operator:olga"
    assert "looks odd" in words
    with opened(house, "reader") as ledger:
        assert [signed.key for signed in plans.history(ledger, "recommendation")] == ["operator:olga"]


def test_an_impossible_verb_is_refused_with_what_to_do(house: Settings) -> None:
    with pytest.raises(ReleaseRefused, match="previous version"):
        act(house, "rollback", "recommendation", "olga", "try")


def test_strangers_empty_reasons_and_unknown_verbs_are_refused(house: Settings) -> None:
    with pytest.raises(NotFound, match="mallory"):
        act(house, "freeze", "recommendation", "mallory", "why not")
    with pytest.raises(UsageError, match="--reason"):
        act(house, "freeze", "recommendation", "olga", "  ")
    with pytest.raises(UsageError, match="verb"):
        act(house, "unfreeze", "recommendation", "olga", "undoing takes a vote")
    assert current_plan(house, "recommendation")[0].revision == 0


@pytest.mark.parametrize("reason", ["two\nlines", "\x1b[2Jnothing to see", "turned \u202eround", "x" * 2001])
def test_a_reason_is_one_line_that_can_be_seen(house: Settings, reason: str) -> None:
    with pytest.raises(UsageError, match="--reason"):
        act(house, "freeze", "recommendation", "olga", reason)
    assert current_plan(house, "recommendation")[0].revision == 0


@pytest.mark.parametrize("name", ["olga\n", "Olga", "ol/ga", ""])
def test_a_second_operator_whose_name_reads_the_same_is_refused(house: Settings, name: str) -> None:
    with pytest.raises(RoleRefused, match="operator"):
        add_operator(house, name)


def test_a_house_without_a_ledger_says_so(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        act(settings({"GROWNET_HOME": str(tmp_path / "none")}), "freeze", "recommendation", "olga", "x")


def test_a_demo_ledger_is_refused_elsewhere(tmp_path: Path) -> None:
    add_operator(settings({"GROWNET_HOME": str(tmp_path), "GROWNET_DEMO": "true"}), "olga")
    with pytest.raises(WrongLedger):
        current_plan(settings({"GROWNET_HOME": str(tmp_path)}), "recommendation")


def by_hand(house: Settings, change: str) -> None:
    engine = sa.create_engine(house.ledger_url)
    with engine.begin() as connection:
        for (name,) in connection.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
            connection.execute(sa.text(f'DROP TRIGGER "{name}"'))
        assert connection.execute(sa.text(change)).rowcount
    engine.dispose()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE releases SET payload = replace(payload, 'looks odd', 'looks fine')", "plan recommendation revision 1"),
        ("UPDATE releases SET payload = '{garbage'", "plan recommendation revision 1"),
        ("UPDATE releases SET at = at + 1", "plan recommendation revision 1"),
        ("UPDATE releases SET at = 'soon'", "a time in microseconds"),
        ("UPDATE releases SET revision = 2", "plan recommendation revision 1.*got none"),
        ("DELETE FROM releases", "plan recommendation revision 1.*got none"),
        ("DELETE FROM operators", "operator olga.*got none"),
        ("UPDATE operators SET key = 'operator:eve'", "operator olga"),
        ("UPDATE operators SET payload = '{garbage'", "operator olga"),
        ("UPDATE audit SET actor = 'operator:mallory' WHERE sequence = 2", "audit entry 2"),
    ],
)
def test_the_audit_is_intact_until_somebody_changes_a_plan(house: Settings, change: str, named: str) -> None:
    act(house, "freeze", "recommendation", "olga", "looks odd")
    facts = verify_audit(house)
    assert facts["intact"]
    assert (facts["plans"], facts["operators"]) == (1, 1)
    by_hand(house, change)
    with pytest.raises(TamperError, match=named):
        verify_audit(house)


def test_served_tells_the_plan_of_a_moment(house: Settings) -> None:
    before = current_plan(house, "recommendation")[0].created_at
    plan, _ = act(house, "freeze", "recommendation", "olga", "looks odd")
    assert served(house, "recommendation", before)["plan"].revision == 0
    assert served(house, "recommendation", plan.created_at)["plan"].revision == plan.revision


def advanced(town: Town) -> ReleasePlan:
    """A step further, as the guard does it."""
    return plans.change(
        town.ledgers["guard"],
        MODEL,
        lambda plan: transitions.advance(plan, at=utc_now(), actor="guard", reason="passed"),
        signer=town.signer("guard"),
        actor="guard",
    )


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 2 answers, version 1 stands behind it, version 3 is at its first step; olga and otto may act."""
    folder = tmp_path_factory.mktemp("grown")
    town = Town(folder)
    for number in (1, 2):
        plan = town.begin(number)
        while plan.canary is not None:
            plan = advanced(town)
    town.begin(3)
    town.close()
    for name in ("olga", "otto"):
        add_operator(town_settings(folder), name)
    return folder


@pytest.fixture
def running(grown: Path, tmp_path: Path) -> Settings:
    shutil.copytree(grown, tmp_path / "town")
    return town_settings(tmp_path / "town")


def now(settings: Settings) -> ReleasePlan:
    return current_plan(settings, MODEL)[0]


@pytest.mark.parametrize("verb", ["freeze", "hold", "rollback", "fallback"])
def test_each_verb_twice_is_done_once(running: Settings, verb: str) -> None:
    before = now(running).revision
    plan, said = act(running, verb, MODEL, "olga", "it burns")
    again, said_again = act(running, verb, MODEL, "olga", "it burns")
    assert (plan.revision, again) == (before + 1, plan)
    assert said_again == f"Nothing was changed: it is so already. {said}"
    assert now(running).champion.number == 2


def test_a_second_rollback_takes_its_revision(running: Settings) -> None:
    taken = act(running, "rollback", MODEL, "olga", "it burns")[0]
    assert (taken.canary, taken.champion.number) == (None, 2)
    with pytest.raises(RevisionConflict, match=rf"revision {taken.revision}, written by operator:olga .*it burns"):
        act(running, "rollback", MODEL, "otto", "it burns")
    with pytest.raises(RevisionConflict, match=f"--revision {taken.revision}"):
        act(running, "rollback", MODEL, "olga", "it still burns")
    back = act(running, "rollback", MODEL, "otto", "it burns", taken.revision)[0]
    assert (back.champion.number, back.previous) == (1, None)
    assert act(running, "rollback", MODEL, "otto", "it burns", taken.revision)[0] == back
    with pytest.raises(RevisionConflict, match="release fallback"):
        act(running, "rollback", MODEL, "olga", "it burns")
    with pytest.raises(ReleaseRefused, match="a previous version"):
        act(running, "rollback", MODEL, "olga", "it burns", back.revision)


def test_whoever_names_a_revision_that_is_over_is_told_what_changed(running: Settings) -> None:
    seen = now(running).revision
    frozen = act(running, "freeze", MODEL, "olga", "looks odd")[0]
    with pytest.raises(RevisionConflict, match=rf"revision {seen}, got revision {frozen.revision}.*operator:olga"):
        act(running, "fallback", MODEL, "otto", "it burns", seen)
    assert act(running, "freeze", MODEL, "otto", "me too", seen)[0] == frozen  # what was wanted is so


@pytest.mark.parametrize("verb", ["rollback", "fallback", "freeze", "hold"])
def test_of_two_operators_at_once_one_writes_and_both_know(running: Settings, verb: str) -> None:
    before, start = now(running).revision, threading.Barrier(2)

    def at_once(name: str) -> str:
        start.wait(60)
        try:
            return act(running, verb, MODEL, name, f"{name} saw it")[1]
        except RevisionConflict as told:
            return f"told: {told}"

    with ThreadPoolExecutor(2) as pool:
        said = dict(zip(("olga", "otto"), pool.map(at_once, ("olga", "otto")), strict=True))
    plan = now(running)
    assert (plan.revision, plan.champion.number) == (before + 1, 2)
    winner = plan.actor.removeprefix("operator:")
    (other,) = {"olga", "otto"} - {winner}
    assert f"{winner} saw it" in said[other]
    assert said[other].startswith("told:" if verb == "rollback" else "Nothing was changed")
    assert f"{winner} saw it" in said[winner]
    assert verify_audit(running)["intact"]


def test_a_rollback_given_twice_at_once_is_done_once_and_neither_is_told_of_a_conflict(running: Settings) -> None:
    before, start = now(running).revision, threading.Barrier(2)

    def at_once(_: int) -> str:
        start.wait(60)
        return act(running, "rollback", MODEL, "olga", "it burns")[1]

    with ThreadPoolExecutor(2) as pool:
        said = sorted(pool.map(at_once, range(2)), key=len)
    assert said[1] == f"Nothing was changed: it is so already. {said[0]}"
    assert (now(running).revision, now(running).champion.number) == (before + 1, 2)


@pytest.mark.parametrize(
    ("verb", "why"), [("hold", "a running one"), ("fallback", "released"), ("rollback", "previous")]
)
def test_before_any_release_there_is_nothing_to_stop(house: Settings, verb: str, why: str) -> None:
    with pytest.raises(ReleaseRefused, match=why):
        act(house, verb, MODEL, "olga", "it burns")
    assert now(house).revision == 0


def test_a_failed_hash_comes_back_neither_by_a_ballot_nor_through_the_gates(running: Settings) -> None:
    failed = now(running).canary
    assert failed is not None
    assert failed.artifact is not None
    plan = act(running, "rollback", MODEL, "olga", "it burns")[0]
    assert plan.rejected == (failed.artifact.content,)
    assert gates.new(failed.artifact.content, "", plan.rejected).outcome == "fail"
    town = Town(running.home, like=None)
    try:
        with pytest.raises(ReleaseRefused, match="not rejected"):  # although everybody says yes again
            town.begin(3)
    finally:
        town.close()
    for verb in ("fallback", "freeze"):
        assert act(running, verb, MODEL, "olga", "more")[0].rejected == plan.rejected


def test_a_name_with_a_slip_in_it_stops_nothing(running: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROWNET_HOME", str(running.home))
    given = ["release", "freeze", "recomendation", "--reason", "it burns", "--as", "olga"]
    result = CliRunner().invoke(app, given)
    assert isinstance(result.exception, NotFound)
    assert "recommendation" in str(result.exception)
    with opened(running, "reader") as ledger:
        assert plans.models(ledger) == [MODEL]
    given[2] = MODEL
    assert CliRunner().invoke(app, [*given, "--revision", "1"]).exit_code != 0
    assert CliRunner().invoke(app, given).exit_code == 0
    assert now(running).frozen
