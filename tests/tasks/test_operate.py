"""Operator verbs: signed by the operator's own key, repeatable, refused with a reason when impossible."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from configs.load import settings
from configs.schema import Settings
from errors import LedgerUnavailable, NotFound, ReleaseRefused, TamperError, UsageError, WrongLedger
from stores.ledger import plans
from tasks.operate import act, add_operator, opened, verify_audit
from tasks.trace import current_plan, served


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
