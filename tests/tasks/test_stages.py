from __future__ import annotations

import pytest

from errors import NotFound, UsageError
from records import GuardVerdict
from stores.ledger import verdicts
from tasks.stages import accept
from tests.stores.ledger.world import NOON
from tests.tasks.school import NAME, School


@pytest.fixture(autouse=True)
def at_home(taught: School, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage reads its settings from the environment, as in a worker."""
    for name, value in taught.environment.items():
        monkeypatch.setenv(name, value)


def verdict(about: str) -> GuardVerdict:
    return GuardVerdict(
        id=f"verdict-{about}",
        model=about,
        arm="champion",
        version=1,
        revision=3,
        kpi="drop",
        action="rollback",
        reason="worse",
        effect=-0.1,
        low=-0.2,
        high=-0.06,
        matured=900,
        needed=0,
        inputs={},
        at=NOON,
    )


def test_an_order_with_a_reason_is_accepted() -> None:
    assert accept.fn(NAME, " monthly ", "", "") == "monthly"


def test_the_verdict_that_asked_for_it_is_named_in_the_reason(taught: School) -> None:
    verdicts.save(taught.ledgers["guard"], verdict(NAME), "guard")
    assert accept.fn(NAME, "drift and a drop", f"verdict-{NAME}", "") == f"drift and a drop (verdict verdict-{NAME})"


@pytest.mark.parametrize("reason", ["", " \n"])
def test_no_retraining_is_silent(reason: str) -> None:
    with pytest.raises(UsageError, match="why this training is asked for"):
        accept.fn(NAME, reason, "", "")


def test_a_segment_is_refused_rather_than_ignored() -> None:
    with pytest.raises(UsageError, match="trained for everybody, got abroad"):
        accept.fn(NAME, "monthly", "", "abroad")


def test_unknown_models_and_verdicts_and_verdicts_about_others_are_refused(taught: School) -> None:
    with pytest.raises(NotFound, match="model 'nothing'"):
        accept.fn("nothing", "monthly", "", "")
    with pytest.raises(NotFound, match="verdict 'v9'"):
        accept.fn(NAME, "monthly", "v9", "")
    verdicts.save(taught.ledgers["guard"], verdict("spam"), "guard")
    with pytest.raises(UsageError, match="about recommendation, got one about spam"):
        accept.fn(NAME, "monthly", "verdict-spam", "")
