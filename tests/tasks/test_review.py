"""The quarterly review on a real home: quarters pass by a clock of ours, people answer with their keys, alerts come once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml
from msgspec.structs import replace
from typer.testing import CliRunner

from checks.reviews import Checklist, name_of
from configs.load import load
from errors import GrownetError, LedgerUnavailable, NotFound, RevisionConflict, RoleRefused, TamperError, UsageError
from grownet import app
from records import OutboxEvent, utc_now
from stores.ledger import outbox, reviews
from stores.ledger.engine import Ledger
from tasks import proofs, review, review_page
from tasks.operate import add_operator, verify_audit
from tasks.review import Given, answer, checklists, look
from tests.tasks.release_world import House

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
ITEMS = [
    {"id": "chain", "question": "Is the log whole?", "why": "proof", "role": "dev_ops", "owner": "deploy",
     "evidence": "grownet audit verify", "check": "audit_chain"},
    {"id": "restored", "question": "Was it restored?", "why": "backups", "role": "dev_ops", "owner": "deploy",
     "evidence": "a drill"},
    {"id": "purpose", "question": "Is the purpose the same?", "why": "privacy", "role": "privacy_officer", "owner": "data",
     "evidence": "configs/datasets"},
]  # fmt: skip


@pytest.fixture(scope="module")
def model_house(tmp_path_factory: pytest.TempPathFactory) -> House:
    made = House(tmp_path_factory.mktemp("model"))
    path = made.settings.configs / "compliance.yaml"
    path.write_text(yaml.safe_dump({"period": "quarter", "due_days": 60, "grace_days": 14, "items": ITEMS}))
    made.config = load(made.settings.configs)
    made.enrol("ben", "privacy_officer")
    made.enrol("cleo", "dev_ops")
    for name in ("ben", "cleo"):
        add_operator(made.settings, name)
    return made


@pytest.fixture
def house(model_house: House, tmp_path: Path) -> House:
    return model_house.copy(tmp_path)


def began(house: House) -> datetime:
    with_ledger = Ledger.open(house.settings.ledger_url, "reader")
    try:
        found = reviews.first_entry(with_ledger)
    finally:
        with_ledger.close()
    assert found is not None
    return found


def told(house: House, quarter: str = "") -> list[OutboxEvent]:
    ledger = Ledger.open(house.settings.ledger_url, "reader")
    try:
        return [
            one
            for one in outbox.pending(ledger, 50, utc_now() + 400 * DAY)
            if f"compliance review {quarter}" in one.title
        ]
    finally:
        ledger.close()


def says(house: House, item: str, decision: str, who: str, at: datetime, quarter: str = "") -> Checklist:
    given = Given(item, "yes" if decision == "yes" else "no", f"{decision} it is", who, quarter)
    return answer(house.settings, house.config, given, at)


def statuses(found: Checklist) -> dict[str, str]:
    return {line.item.id: line.status for line in found.lines}


def test_a_quarter_that_nobody_answers_is_told_once_and_its_end_too(house: House) -> None:
    first = began(house)
    due, late = first + 61 * DAY, first + 75 * DAY
    (start,) = look(house.settings, house.config, first + MINUTE)
    assert statuses(start) == {"chain": "yes", "restored": "due", "purpose": "due"}
    own = start.quarter.name
    assert look(house.settings, house.config, due)[0].quarter.name == own
    assert told(house, own) == []
    for back in (0, 1, 2):  # a day, the next, and the next
        found = look(house.settings, house.config, late + back * DAY)[0]
    assert statuses(found) == {"chain": "yes", "restored": "overdue", "purpose": "overdue"}
    (warned,) = told(house, own)
    assert (warned.level, warned.model) == ("warning", "grownet")
    assert warned.title == f"compliance review {own}: not as it should be"
    assert warned.body["what"].endswith("2 overdue: restored, purpose.")
    assert set(warned.body["evidence"]) == {"restored", "purpose"}
    owners = house.config.defaults.owners
    assert set(warned.body["owner"].split(", ")) == {owners.deploy, owners.data}
    assert "grownet audit answer" in warned.body["next"]
    says(house, "restored", "yes", "cleo", late + 3 * DAY, own)
    assert len(told(house, own)) == 1  # one less is no news
    says(house, "purpose", "yes", "ben", late + 4 * DAY, own)
    assert [one.level for one in told(house, own)] == ["warning", "ok"]
    assert verify_audit(house.settings)["review_answers"] >= 3


def test_quarters_follow_one_another_without_sleeping(house: House) -> None:
    first = began(house)
    names = []
    for ahead in range(0, 400, 30):
        names += [one.quarter.name for one in look(house.settings, house.config, first + ahead * DAY)]
    assert len(set(names)) >= 5
    closed = sorted(set(names))[0]
    with pytest.raises(UsageError, match="one that is open"):
        says(house, "restored", "yes", "cleo", first + 399 * DAY, closed)
    (shown,) = checklists(house.settings, house.config, first + 399 * DAY, closed)
    assert statuses(shown)["restored"] == "overdue"


def test_a_no_is_told_until_it_is_answered_yes(house: House) -> None:
    at = began(house) + MINUTE
    says(house, "restored", "no", "cleo", at)
    (warned,) = told(house)
    assert warned.body["evidence"] == {"restored": "no (operator:cleo): no it is"}
    look(house.settings, house.config, at + MINUTE)
    assert len(told(house)) == 1
    found = says(house, "restored", "yes", "cleo", at + 2 * MINUTE)
    assert [one.answer for one in found.lines[1].answers] == ["no", "yes"]
    assert [one.level for one in told(house)] == ["warning", "ok"]
    says(house, "restored", "no", "cleo", at + 3 * MINUTE)  # again, and told again
    assert [one.level for one in told(house)] == ["warning", "ok", "warning"]


def test_a_check_that_says_no_is_told_and_so_is_its_mending(house: House) -> None:
    import sqlite3

    at = began(house) + MINUTE
    look(house.settings, house.config, at)
    kept = house.settings.home / "kept.db"
    path = house.settings.home / "ledger.db"
    raw = sqlite3.connect(path)
    triggers = raw.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    raw.execute("DROP TRIGGER audit_update")
    raw.execute("UPDATE audit SET actor = 'operator:eve' WHERE sequence = 1")
    raw.commit()
    shutil.copy(path, kept)
    (found,) = look(house.settings, house.config, at + MINUTE)
    assert statuses(found)["chain"] == "no"
    assert "audit entry 1" in told(house)[0].body["evidence"]["chain"]
    assert (
        len(look(house.settings, house.config, at + 2 * MINUTE)[0].lines[0].answers) == 2
    )  # the same again: not written
    raw.execute("UPDATE audit SET actor = 'operator:olga' WHERE sequence = 1")
    raw.executescript(next(sql for name, sql in triggers if name == "audit_update"))
    raw.close()
    (mended,) = look(house.settings, house.config, at + 3 * MINUTE)
    assert statuses(mended)["chain"] == "yes"
    assert [one.level for one in told(house)] == ["warning", "ok"]


def test_a_check_that_fails_says_no_and_silences_no_other(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: proofs.House) -> proofs.Proof:
        raise json.JSONDecodeError("no JSON", "{x\n", 0)

    def away(_: proofs.House) -> proofs.Proof:
        raise LedgerUnavailable("ledger", got="locked")

    monkeypatch.setattr(proofs, "CHECKS", {**proofs.CHECKS, "audit_chain": fails})
    (found,) = look(house.settings, house.config, began(house) + MINUTE)
    assert statuses(found)["chain"] == "no"
    (warned,) = told(house)
    assert "the check failed: JSONDecodeError: no JSON" in warned.body["evidence"]["chain"]
    monkeypatch.setattr(proofs, "CHECKS", {**proofs.CHECKS, "audit_chain": away})
    with pytest.raises(LedgerUnavailable):  # worth another try, and no answer
        look(house.settings, house.config, began(house) + 2 * MINUTE)


def test_a_review_whose_rows_cannot_be_read_is_told_once(house: House) -> None:
    import sqlite3

    at = began(house) + MINUTE
    look(house.settings, house.config, at)
    raw = sqlite3.connect(house.settings.home / "ledger.db")
    for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        raw.execute(f'DROP TRIGGER "{name}"')
    raw.execute("UPDATE review_answers SET payload = '{garbage'")
    raw.commit()
    raw.close()
    for again in (1, 2):
        with pytest.raises(TamperError, match="JSON is malformed"):
            look(house.settings, house.config, at + again * MINUTE)
    ledger = Ledger.open(house.settings.ledger_url, "reader")
    (warned,) = outbox.pending(ledger, 50, utc_now() + DAY)
    ledger.close()
    assert warned.title == "compliance review: it cannot be read"


def test_what_a_check_said_no_to_in_a_quarter_can_be_mended_in_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = proofs.CHECKS["audit_chain"]
    first = began(house)
    monkeypatch.setattr(proofs, "CHECKS", {"audit_chain": lambda _: proofs.Proof(False, "not yet")})
    own = look(house.settings, house.config, first)[0].quarter
    late = own.end + DAY
    assert [statuses(one)["chain"] for one in look(house.settings, house.config, late)] == ["no", "no"]
    monkeypatch.setattr(proofs, "CHECKS", {"audit_chain": good})
    assert [statuses(one)["chain"] for one in look(house.settings, house.config, late + DAY)] == ["yes", "yes"]
    monkeypatch.setattr(proofs, "CHECKS", {"audit_chain": lambda _: proofs.Proof(False, "again")})
    found = look(house.settings, house.config, late + 2 * DAY)
    assert [statuses(one)["chain"] for one in found] == ["yes", "no"]  # a quarter that is past keeps its yes


def test_a_house_older_than_its_review_is_not_asked_for_the_time_before(house: House) -> None:
    at = began(house) + 200 * DAY
    (found,) = look(house.settings, house.config, at)
    assert (found.quarter.start, statuses(found)["chain"]) == (at, "yes")
    assert told(house) == []
    with pytest.raises(UsageError, match="the review began then"):
        checklists(house.settings, house.config, at, name_of(began(house)))


def test_without_a_check_the_review_begins_with_the_house(house: House) -> None:
    items = tuple(item for item in house.config.compliance.items if item.check is None)
    compliance = house.config.compliance.model_copy(update={"items": items})
    only = house.config.model_copy(update={"compliance": compliance})
    assert look(house.settings, only, began(house) + DAY)[0].quarter.start == began(house)


REFUSED: list[tuple[Given, type[GrownetError], str]] = [
    (Given("nothing", "yes", "why", "cleo"), NotFound, "one of"),
    (Given("chain", "yes", "why", "cleo"), UsageError, "check audit_chain answers"),
    (Given("restored", "yes", " \n ", "cleo"), UsageError, "--reason"),
    (Given("restored", "yes", "x" * 2001, "cleo"), UsageError, "2000 characters"),
    (Given("restored", "yes", "ok\n  yes      chain: it is", "cleo"), UsageError, "one line"),
    (Given("restored", "yes", "ok\x1b[2J", "cleo"), UsageError, "x1b"),
    (Given("restored", "yes", "ok\u202e", "cleo"), UsageError, "u202e"),
    (Given("restored", "yes", "why", "mallory"), NotFound, "a known operator"),
    (Given("restored", "yes", "why", "olga"), NotFound, "an enrolled reviewer"),
    (Given("restored", "yes", "why", "ben"), RoleRefused, "an answer of dev_ops, got ben, privacy_officer"),
    (Given("restored", "yes", "why", "cleo", "2019-Q1"), UsageError, "one that is open"),
    (Given("restored", "yes", "why", "cleo", "soon"), UsageError, "one that is open"),
]


@pytest.mark.parametrize(("given", "error", "match"), REFUSED)
def test_what_is_no_answer_is_refused(model_house: House, given: Given, error: type[GrownetError], match: str) -> None:
    at = began(model_house) + DAY
    with pytest.raises(error, match=match):
        answer(model_house.settings, model_house.config, given, at)
    assert all(line.answers == () for line in checklists(model_house.settings, model_house.config, at)[-1].lines)


def test_of_two_answers_at_once_one_wins_and_the_other_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    at = began(house) + MINUTE
    seen: Callable[..., object] = reviews.record

    def meanwhile(*arguments: object) -> object:
        monkeypatch.setattr(reviews, "record", seen)
        says(house, "restored", "no", "cleo", at)
        return seen(*arguments)

    monkeypatch.setattr(reviews, "record", meanwhile)  # somebody answers between what was read and what is written
    with pytest.raises(RevisionConflict, match="the last no of operator:cleo"):
        says(house, "restored", "yes", "cleo", at)
    (found,) = checklists(house.settings, house.config, at)
    assert statuses(found)["restored"] == "no"


def test_a_house_without_an_entry_has_nothing_to_review(tmp_path: Path) -> None:
    from configs.load import settings

    empty = settings({"GROWNET_HOME": str(tmp_path)})
    Ledger.open(empty.ledger_url, "flow").close()
    assert look(empty, load(), utc_now()) == []
    with pytest.raises(NotFound, match="begin to use it"):
        checklists(empty, load(), utc_now())


def test_the_page_and_the_artifact_escape_what_people_wrote(house: House) -> None:
    at = began(house) + DAY
    given = Given("restored", "no", "<script>alert(1)</script> | [x](http://evil)", "cleo")
    found = answer(house.settings, house.config, given, at)
    page = review_page.write(house.settings.home, house.config, found)
    assert page == house.settings.home / review.page_of(found.quarter.name)
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "http" not in text.replace("&lt;script&gt;alert(1)&lt;/script&gt; | [x](http://evil)", "")
    short = review_page.markdown(found, page)
    assert "<script" not in short.replace("\\<", "")
    assert "\\[x\\](" in short
    assert list(page.parent.glob(".*")) == []


def test_an_answer_from_before_they_were_refused_forges_no_line(house: House) -> None:
    (found,) = look(house.settings, house.config, began(house) + MINUTE)
    line = found.lines[0]
    forged = replace(line.answers[0], reason="ok\n  no       restored: it was\x1b[2J\u202e")
    shown = review_page.describe([found._replace(lines=(line._replace(answers=(forged, forged)),))])
    assert len(shown.splitlines()) == 4
    assert not {"\x1b", "\u202e"} & set(shown)


def test_the_commands_answer_and_show(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROWNET_HOME", str(house.settings.home))
    monkeypatch.setenv("GROWNET_CONFIGS", str(house.settings.configs))
    run = CliRunner()
    said = run.invoke(app, ["audit", "answer", "restored", "--no", "--reason", "no spare machine", "--as", "cleo"])
    assert said.exit_code == 0, said.output
    (warned,) = told(house)
    assert (house.settings.home / warned.body["link"]).is_file()
    shown = run.invoke(app, ["audit", "review"]).stdout
    assert "no       restored: Was it restored?" in shown
    assert "operator:cleo: no spare machine" in shown
    later = run.invoke(app, ["audit", "answer", "restored", "--yes", "--reason", "restored on b", "--as", "cleo"])
    assert "before: no, operator:cleo: no spare machine" in later.stdout
    facts = json.loads(run.invoke(app, ["audit", "review", "--json"]).stdout)
    (item,) = [one for one in facts[-1]["items"] if one["id"] == "restored"]
    assert (item["status"], [one["answer"] for one in item["answers"]]) == ("yes", ["no", "yes"])
    assert run.invoke(app, ["audit", "answer", "restored", "--reason", "?", "--as", "cleo"]).exit_code == 2
    assert json.loads(run.invoke(app, ["audit", "verify"]).stdout)["review_answers"] == 2
    assert facts[-1]["start"] == item["answers"][0]["at"]  # the review began with the first answer
    for quarter in ("0000-Q1", "9999-Q4", "２０２６-Q4"):
        assert isinstance(run.invoke(app, ["audit", "review", "--quarter", quarter]).exception, UsageError)


@pytest.mark.parametrize("command", [["audit", "start", "nosuch"], ["monitor", "nosuch"]])
def test_a_run_for_a_model_that_is_none_is_refused(command: list[str]) -> None:
    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, NotFound)
    assert "nosuch" in str(refused.exception)
