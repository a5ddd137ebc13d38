"""An operator proves in a form who she is: judged when the server took the code, once, limited; then her own key signs."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from errors import CodeRefused, NotFound, ReleaseRefused, RevisionConflict, UsageError
from records import ReleasePlan, utc_now
from stores.ledger import audit, people, plans, votes
from tasks import board, codes
from tasks.operate import act, add_operator, give_code, opened, verify_audit
from tasks.operator_codes import Asked, Proof, carry_out, prepare, prove
from tasks.runs import Typed
from tests.stores.ledger.world import MODEL
from tests.tasks.release_world import House, approved, promote

WHY = "clicks | fell\n# at noon"


@pytest.fixture(scope="module")
def model_house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Version 1 is on its way over the rules."""
    made = House(tmp_path_factory.mktemp("model"))
    made.operator("otto")
    made.enrol_all()
    with made.board() as seats:
        board.carry_out(seats, approved(made, seats, promote(made.candidate(1))))
    return made


@pytest.fixture
def house(model_house: House, tmp_path: Path) -> House:
    return model_house.copy(tmp_path)


def asked(verb: str = "freeze", operator: str = "olga", **changes: object) -> Asked:
    base = Asked(model=MODEL, verb=verb, operator=operator, reason=WHY, run=f"run-{verb}-{operator}")
    return replace(base, **changes)


def typed(house: House, at: datetime, operator: str = "olga", code: str = "") -> Typed:
    return Typed(values={"code": code or house.code(f"operator:{operator}", at)}, at=at)


def proved(house: House, about: Asked, submitted: Typed | None) -> Proof:
    return prove(house.settings, house.config, about, submitted)


def plan_of(house: House) -> ReleasePlan:
    with opened(house.settings, "reader") as ledger:
        signed = plans.current(ledger, MODEL)
    assert signed is not None
    return signed.plan


def test_the_form_shows_what_would_be_done_and_by_whom(house: House) -> None:
    shown = prepare(house.settings, house.config, asked("rollback"), "it was | another one")
    assert shown.revision == plan_of(house).revision
    assert "## Take back recommendation?" in shown.page
    now, then = shown.page.index("**Now:**"), shown.page.index("**Then:**")
    assert now < shown.page.index("Canary recommendation-v1") < then
    assert f"revision {shown.revision + 1}" in shown.page[then:]
    assert "1 artifact(s) rejected for good" in shown.page[then:]
    assert "By operator:olga" in shown.page[then:]
    assert "clicks \\| fell" in shown.page  # and the rest of the reason is on the same line, no heading
    assert "**The last code did not count:** it was \\| another one" in shown.page
    assert plan_of(house).canary is not None


def test_a_right_code_lets_the_operators_own_key_sign(house: House) -> None:
    about = asked()
    shown = prepare(house.settings, house.config, about, "")
    assert proved(house, about, typed(house, utc_now())) == Proof(right=True)
    words = carry_out(house.settings, about, shown.revision)
    assert "The plan is frozen." in words
    with opened(house.settings, "reader") as ledger:
        signed = plans.history(ledger, MODEL)[-1]
        entry = audit.entries(ledger, "olga")[-1]
    assert (signed.key, signed.plan.actor) == ("operator:olga", "operator:olga")
    assert signed.plan.reason == "freeze: clicks | fell # at noon"
    assert (entry.action, entry.actor, entry.detail["run"]) == ("operator.proved", "operator:olga", about.run)
    assert verify_audit(house.settings)["intact"]
    assert prepare(house.settings, house.config, about, "").done.startswith("Nothing is to be done.")


@pytest.mark.parametrize("code", ["000000", "12345", "", "not a code"])
def test_another_code_does_nothing_and_is_kept(house: House, code: str) -> None:
    submitted = typed(house, utc_now(), code=code) if code else None
    found = proved(house, asked(), submitted)
    assert (found.right, found.locked) == (False, False)
    assert "the code shown at that moment" in found.said
    assert found.wait_seconds > 0
    with opened(house.settings, "reader") as ledger:
        assert audit.entries(ledger, "olga")[-1].action == "operator.unproved"
        assert votes.attempts(ledger, "run run-freeze-olga", "operator:olga") == 1
    files = [path.read_bytes() for path in house.settings.home.glob("ledger.db*")]
    assert files
    assert not code or not any(f'"{code}"'.encode() in data for data in files)


def test_a_code_counts_once_and_as_of_when_the_server_took_it(house: House) -> None:
    form = typed(house, utc_now() - timedelta(seconds=45))
    assert proved(house, asked(), form).right
    again = proved(house, asked("hold"), form)
    assert (again.right, "a used one" in again.said) == (False, True)
    late = typed(house, utc_now(), code=house.code("operator:olga", utc_now(), steps=-4))
    assert not proved(house, asked("hold"), late).right


def test_a_code_typed_into_a_run_that_died_does_nothing_when_the_run_is_retried(house: House) -> None:
    found = proved(house, asked(), typed(house, utc_now() - timedelta(minutes=3)))
    assert (found.right, found.locked) == (False, False)
    assert "180 s before" in found.said
    assert proved(house, asked(), typed(house, utc_now())).right


def test_somebody_elses_code_is_another_one(house: House) -> None:
    other = typed(house, utc_now(), "otto")
    assert not proved(house, asked(), other).right
    assert proved(house, asked(operator="otto"), other).right


def test_attempts_are_limited_and_lock_the_form_not_the_command_line(house: House) -> None:
    limit = house.config.defaults.approval.max_attempts
    found = [proved(house, asked(), typed(house, utc_now(), code="000000")) for _ in range(limit)]
    assert [one.locked for one in found] == [False] * (limit - 1) + [True]
    assert not proved(house, asked(), typed(house, utc_now())).right  # now with the right code
    with pytest.raises(CodeRefused, match="at most"):
        prepare(house.settings, house.config, asked(), "")
    assert prepare(house.settings, house.config, asked(operator="otto"), "").page
    assert act(house.settings, "freeze", MODEL, "olga", "it burns")[0].frozen


def test_guesses_that_are_judged_at_the_same_time_are_no_more_guesses(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, judge = typed(house, utc_now()), codes.step_of

    def late(*given: Any) -> int:
        """Judges when the runs beside have used the attempts up."""
        monkeypatch.setattr(codes, "step_of", judge)
        for number in range(house.config.defaults.approval.max_attempts):
            proved(house, asked(run=f"beside-{number}"), typed(house, utc_now(), code="000000"))
        return judge(*given)

    monkeypatch.setattr(codes, "step_of", late)
    found = proved(house, asked(), right)
    assert (found.right, found.locked) == (False, True)
    assert "at most" in found.said


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"operator": "mallory"}, NotFound, "operators add"),
        ({"model": "recomendation"}, NotFound, "one of"),
        ({"reason": " \n "}, UsageError, "why"),
        ({"verb": "unfreeze"}, UsageError, "verb"),
        ({"verb": "freeze", "revision": 77}, RevisionConflict, "revision 77"),
    ],
)
def test_what_cannot_be_done_is_said_before_anybody_types(
    house: House, changes: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        prepare(house.settings, house.config, asked(**changes), "")  # type: ignore[arg-type]  # parametrised


def test_what_is_so_already_is_no_conflict_with_an_older_look(house: House) -> None:
    seen = plan_of(house).revision
    act(house.settings, "freeze", MODEL, "otto", "it burns")
    assert prepare(house.settings, house.config, asked("freeze", revision=seen), "").done
    with pytest.raises(RevisionConflict, match="it burns"):
        prepare(house.settings, house.config, asked("hold", revision=seen), "")


def test_a_verb_that_is_impossible_is_refused_before_anybody_types(house: House) -> None:
    act(house.settings, "rollback", MODEL, "olga", "another one")
    with pytest.raises(RevisionConflict, match="rollback: another one"):
        prepare(house.settings, house.config, asked("rollback", "otto"), "")
    with pytest.raises(ReleaseRefused, match="a running one"):
        prepare(house.settings, house.config, asked("hold"), "")


def test_an_operator_of_before_is_told_how_to_get_a_secret(house: House) -> None:
    with opened(house.settings, "operator") as ledger:
        old = people.Operator(name="ines", key="operator:ines", added_by="operator:ines", at=utc_now())
        people.add_operator(ledger, old, "operator:ines")
    with pytest.raises(UsageError, match="grownet operators code ines"):
        prepare(house.settings, house.config, asked(operator="ines"), "")
    assert "operators code ines" in add_operator(house.settings, "ines")["text"]
    house.secrets["operator:ines"] = give_code(house.settings, "ines")["secret"]
    assert proved(house, asked(operator="ines"), typed(house, utc_now(), "ines")).right


def test_a_new_secret_ends_the_old_one(house: House) -> None:
    old = house.secrets["operator:olga"]
    facts = give_code(house.settings, "olga")
    assert facts["uri"].startswith("otpauth://totp/grownet:operator")
    assert facts["secret"] in facts["text"]
    assert not proved(house, asked(), typed(house, utc_now())).right
    house.secrets["operator:olga"] = facts["secret"]
    assert facts["secret"] != old
    assert proved(house, asked(), typed(house, utc_now())).right
    with pytest.raises(NotFound, match="operators add"):
        give_code(house.settings, "mallory")


def test_of_two_who_saw_the_same_form_one_wins_and_the_other_is_told(house: House) -> None:
    first, second = asked("rollback"), asked("rollback", "otto")
    seen = [prepare(house.settings, house.config, one, "").revision for one in (first, second)]
    carry_out(house.settings, first, seen[0])
    after = plan_of(house)
    with pytest.raises(RevisionConflict, match=r"operator:olga .*clicks"):
        carry_out(house.settings, second, seen[1])
    assert plan_of(house) == after
    assert "Nothing was changed" in carry_out(house.settings, first, seen[0])
    other = asked("freeze", "otto")  # a state: whatever was done meanwhile
    assert "frozen" in carry_out(house.settings, other, seen[1])
