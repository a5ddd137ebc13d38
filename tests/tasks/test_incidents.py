"""`grownet incident`: people look, note, explain and close, each with their own key, on a ledger the guard wrote to."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from configs.load import settings
from configs.schema import Settings
from errors import NotFound, RoleRefused, TamperError, UsageError
from grownet import app
from records import utc_now
from stores.ledger import incidents
from tasks.incidents import Close, close, listed, note, show
from tasks.operate import act, add_operator, opened, verify_audit
from tasks.postmortem import describe, overview
from tests.stores.ledger.test_incidents import DROP
from tests.stores.ledger.world import MODEL
from tests.tasks.test_operate import by_hand

CAUSE = Close(cause="the supplier sent a wrong price list", evidence="https://example.org/tickets/7")


@pytest.fixture
def house(tmp_path: Path) -> Settings:
    """Two operators, an incident that is over, and a verb that one of them used while it went on."""
    chosen = settings({"GROWNET_HOME": str(tmp_path)})
    for name in ("olga", "otto"):
        add_operator(chosen, name)
    began = utc_now() - timedelta(minutes=5)
    times = {"first_bad_at": began, "detected_at": began + timedelta(seconds=3)}
    with opened(chosen, "guard") as ledger:
        incidents.save(ledger, replace(DROP, **times, owner="sre@example.org"), "guard")
        act(chosen, "freeze", MODEL, "olga", "stop | until it is clear")
        with ledger.write("guard") as transaction:
            incidents.restored(transaction, "i1", began + timedelta(seconds=8))
    return chosen


def test_an_incident_is_explained_by_one_and_closed_by_another(house: Settings) -> None:
    assert [one["id"] for one in listed(house, MODEL)] == ["i1"]
    note(house, "i1", "called the supplier", "olga", utc_now())
    asked = close(house, "i1", CAUSE, "olga")
    assert (asked["status"], asked["cause"], asked["postmortem"]) == ("open", 2, "")
    assert "--agree 2 --as NAME" in describe(asked)
    done = close(house, "i1", Close(agree=2), "otto")
    assert done["status"] == "closed"
    assert [(one.number, one.kind, one.key) for one in done["entries"]] == [
        (1, "note", "operator:olga"),
        (2, "cause", "operator:olga"),
        (3, "agreed", "operator:otto"),
    ]
    assert listed(house) == []
    assert [one["status"] for one in listed(house, every=True)] == ["closed"]
    assert verify_audit(house)["incidents"] == 1
    page = Path(done["postmortem"]).read_text()
    assert Path(done["postmortem"]) == house.home / "incidents" / "i1.md"
    for said in (
        "the supplier sent a wrong price list",
        "Evidence: `https://example.org/tickets/7`",
        "Given by operator:olga",
        "agreed to by operator:otto",
        "| restored | ",
        " | 8.0 |",
        "called the supplier",
        "stop \\| until it is clear",
        "## What changes, who does it, until when",
    ):
        assert said in page


def test_what_people_wrote_into_a_postmortem_is_not_written_over(house: Settings) -> None:
    close(house, "i1", CAUSE, "olga")
    page = Path(close(house, "i1", Close(agree=1), "otto")["postmortem"])
    filled = page.read_text()
    page.write_text("ours")
    close(house, "i1", Close(), "")
    assert page.read_text() == "ours"
    page.unlink()
    close(house, "i1", Close(), "")
    assert page.read_text() == filled


def test_who_gave_the_cause_does_not_close(house: Settings) -> None:
    close(house, "i1", CAUSE, "olga")
    with pytest.raises(RoleRefused, match="operator:olga, who gave the cause"):
        close(house, "i1", Close(agree=1), "olga")
    assert not (house.home / "incidents").exists()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (Close(), "neither"),
        (Close(cause="x", evidence="https://example.org", agree=1), "both"),
        (Close(cause="x"), "--evidence"),
        (Close(evidence="https://example.org"), "--cause"),
        (Close(cause="x", evidence="trust me"), "an http"),
        (Close(cause="x", evidence="ftp://example.org"), "an http"),
        (Close(cause="x", evidence="../../../etc/hostname"), "an http"),
        (Close(cause="x", evidence="http://["), "an http"),
        (Close(cause="x", evidence="x" * 1000), "an http"),
        (Close(cause="a\nb", evidence="https://example.org"), "one line"),
        (Close(agree=1), "a root cause first"),
    ],
)
def test_what_closes_nothing_is_refused(house: Settings, given: Close, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        close(house, "i1", given, "otto")
    assert show(house, "i1")["entries"] == []


def test_evidence_may_be_a_page_of_the_house(house: Settings) -> None:
    (house.home / "pages").mkdir()
    (house.home / "pages" / "drift.html").write_text("x")
    assert close(house, "i1", Close("x", "pages/drift.html"), "olga")["cause"] == 1


def test_a_stranger_says_nothing(house: Settings) -> None:
    with pytest.raises(NotFound, match="mallory"):
        note(house, "i1", "x", "mallory", utc_now())
    with pytest.raises(NotFound, match="i2"):
        note(house, "i2", "x", "olga", utc_now())


def test_an_incident_tells_what_it_knows(house: Settings) -> None:
    found = show(house, "i1")
    assert (found["seconds_to_detect"], found["seconds_to_restore"], found["seconds_to_decide"]) == (3.0, 8.0, None)
    assert [(one["by"], one["revision"]) for one in found["plans"]] == [("operator:olga", 1)]
    text = describe(found)
    assert "first bad answer" in text
    assert "--cause ... --evidence ..." in text
    assert "restored after 8.0 s" in overview(listed(house))
    assert overview([]) == "no incident"


def test_a_note_that_was_changed_is_not_believed(house: Settings) -> None:
    note(house, "i1", "called the supplier", "olga", utc_now())
    by_hand(house, "UPDATE incident_entries SET payload = replace(payload, 'called', 'paid')")
    with pytest.raises(TamperError, match="entry i1/1"):
        show(house, "i1")
    with pytest.raises(TamperError, match="entry i1/1"):
        verify_audit(house)


def test_the_commands_show_note_and_close(house: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROWNET_HOME", str(house.home))

    def told(*words: str) -> str:
        done = CliRunner().invoke(app, ["incident", *words])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "i1  open, restored after 8.0 s  critical: kpi drop of recommendation" in told("list")
    assert "1. note by operator:olga" in told("note", "i1", "--text", "called the supplier", "--as", "olga")
    evidence = ["--evidence", CAUSE.evidence]
    assert "--agree 2" in told("close", "i1", "--cause", CAUSE.cause, *evidence, "--as", "olga")
    assert "next: " + str(house.home / "incidents" / "i1.md") in told("close", "i1", "--agree", "2", "--as", "otto")
    assert told("list").strip() == "no incident"
    facts = json.loads(told("show", "i1", "--json"))
    assert [one["kind"] for one in facts["entries"]] == ["note", "cause", "agreed"]
    again = CliRunner().invoke(app, ["incident", "close", "i1", "--agree", "2", "--as", "otto"])
    assert isinstance(again.exception, UsageError)
    assert again.exception.exit_code == 2
