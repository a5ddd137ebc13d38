"""The bias audit of what really serves: a gap planted in the newest rows, in what was answered, and in who gets an answer."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from checks import plans as moves
from checks.bias import STRANGER
from errors import StackError
from grownet import app
from records import Artifact, BiasAudit, SegmentFigure
from stores.ledger import audit as chain
from stores.ledger import bias, plans
from tasks import bias_page
from tasks.bias import audit, describe, newest_audits, news
from tests.serving.town import NAME
from tests.tasks.abroad import ABROAD, DAY, HOME, TRAINED, Abroad, shop
from tests.tasks.observatory import NOW


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("abroad") / "home"
    made = Abroad(folder)
    made.serve()
    made.close()
    return folder


@pytest.fixture
def town(served: Path, tmp_path: Path) -> Iterator[Abroad]:
    shutil.copytree(served, tmp_path / "home")
    made = Abroad(tmp_path / "home")
    made.prepare()
    yield made
    made.close()


def figures(one: BiasAudit, kind: str = "country") -> dict[str, tuple[str, int]]:
    return {row.name: (row.answer, row.count) for row in one.segments if row.kind == kind}


def test_a_gap_on_the_newest_rows_is_found_and_told_to_the_owner_of_validate(town: Abroad) -> None:
    town.take_in(shop(odd=True))
    found = town.audit()["history"]
    assert (found.answer, found.metric, found.version) == ("yes", "ndcg_at_20", 1)
    assert figures(found) == {"abroad": ("yes", 15), "home": ("no", 15)}
    assert found.window_end - found.window_start == 5 * DAY  # outcome_days, all of them after it was trained
    (warned,) = town.told()
    assert (warned.level, warned.model) == ("warning", NAME)
    assert warned.body["owner"] == town.config.defaults.owners.validate_
    assert warned.body["evidence"]["country=abroad"].startswith("-100 % [-100, -100], 15 of 30")
    assert "--segment country=abroad`" in warned.body["next"]
    assert warned.body["link"] == found.report
    assert town.plan() == plans.current(town.ledgers["reader"], NAME).plan  # type: ignore[union-attr]  # it serves
    assert [one.action for one in chain.entries(town.ledgers["reader"], NAME)][-2:] == ["bias.audited"] * 2


def test_the_same_rows_without_the_gap_are_fine(town: Abroad) -> None:
    town.take_in(shop())
    assert town.audit()["history"].answer == "no"
    assert town.told() == []


def test_what_was_answered_is_audited_by_the_kpi_and_strangers_are_a_segment(town: Abroad) -> None:
    strangers = [str(number) for number in range(9000, 9030)]
    town.say(HOME, hit=True, count=120)
    town.say(ABROAD, hit=True, count=120)
    town.say(strangers, hit=False, count=200)
    found = town.audit()["live"]
    assert found.answer == "yes"
    rows = figures(found)
    assert rows[STRANGER][0] == "yes"
    assert {name: answer for name, (answer, _) in rows.items() if name != STRANGER} == {"home": "no", "abroad": "no"}
    assert all(count <= 30 for _, count in rows.values())  # people, not answers
    assert "440 of 440 answers have an outcome" in found.reason
    assert f"country={STRANGER}" in town.told()[0].body["evidence"]
    assert "--segment" not in town.told()[0].body["next"]  # nothing can be trained for who is not there


def test_who_the_snapshot_hardly_knows_is_told_apart_by_what_was_asked(town: Abroad) -> None:
    strangers = [str(number) for number in range(9000, 9400)]
    for size, hit in ((3, False), (20, True)):
        lines = town.answers(NOW - DAY, 60, customers=strangers, k=size)
        bought = [line.decision.items[:1] if hit else ("1",) for line in lines]
        town.journal().append(*lines, *(town.feedback(line, one) for line, one in zip(lines, bought, strict=True)))
    found = town.audit()["live"]
    assert (found.answer, found.subjects) == ("yes", 120)
    assert figures(found, "k") == {"lowest third": ("yes", 60), "highest third": ("no", 60)}
    assert figures(found) == {"missing": ("no", 120)}  # nobody knows where they live


def test_it_is_told_on_change_of_state_only(town: Abroad) -> None:
    town.say(HOME, hit=True, start=NOW - 20 * DAY, count=120)
    town.say(ABROAD, hit=False, start=NOW - 20 * DAY, count=120)
    for day in range(3):
        assert town.audit(NOW + day * DAY)["live"].answer == "yes"
    assert [one.level for one in town.told()] == ["warning"]
    assert town.audit(NOW + 15 * DAY)["live"].answer == "undecided"  # too long ago: nothing is known, nothing is told
    town.say(HOME, hit=True, start=NOW + 14 * DAY, count=120)
    town.say(ABROAD, hit=True, start=NOW + 14 * DAY, count=120)
    assert town.audit(NOW + 16 * DAY)["live"].answer == "no"
    assert [one.level for one in town.told()] == ["warning", "ok"]
    assert town.told()[1].body["what"].startswith("hit_rate of version 1, live: ")


def test_who_gets_a_certain_answer_is_compared_without_any_outcome(town: Abroad) -> None:
    lines = town.say(HOME, hit=None, count=60) + town.say(ABROAD, hit=None, count=60)
    town.recipe(chosen=sorted({line.decision.items[0] for line in lines[:60]}))
    found = town.audit()
    assert found["live"].answer == "undecided"
    assert found["live"].reason.endswith("0 of 120 answers have an outcome")
    assert found["chosen"].metric.startswith("share of answers ")
    assert found["chosen"].overall is not None
    assert all(row.mean is not None and 0 <= row.mean <= 1 for row in found["chosen"].segments if row.gap is not None)
    town.recipe(chosen=[])
    assert set(town.audit(NOW + DAY)) == {"history", "live"}


def test_without_rows_and_journal_everything_is_undecided_and_says_why(town: Abroad) -> None:
    found = town.audit()
    assert {one.answer for one in found.values()} == {"undecided"}
    assert "run ingest first" in found["history"].reason
    assert "0 of 0 answers" in found["live"].reason
    assert town.told() == []
    assert bias.newest(town.ledgers["reader"], NAME)


def test_rows_from_before_the_training_are_no_evidence(town: Abroad) -> None:
    old = shop()
    town.take_in(old[old["invoice_date"] < pd.Timestamp(TRAINED)])
    found = town.audit()["history"]
    assert (found.answer, found.reason) == ("undecided", "there are no rows since it was trained")


def test_the_rules_are_audited_when_they_answer(town: Abroad) -> None:
    town.take_in(shop(odd=True))
    lines = town.say(HOME, hit=True, count=60) + town.say(ABROAD, hit=True, count=60)
    town.journal().append(*map(town.by_rules, lines))
    town.guard(moves.fallback)
    found = town.audit()
    assert {one.version for one in found.values()} == {0}
    assert found["history"].answer == "yes"
    assert found["live"].reason.endswith("0 of 120 answers have an outcome")  # those of version 1 are not the rules'
    assert "the rules" in town.told()[0].body["what"]


def test_odd_lines_are_counted_and_blind_nothing(town: Abroad) -> None:
    lines = town.say(HOME, hit=None, count=60) + town.say(ABROAD, hit=None, count=60)
    odd = [replace(town.feedback(lines[0]), outcome={"nonsense": 1}), *map(town.feedback, lines[1:])]
    town.journal().append(*odd, *odd)  # the second time counts for nothing
    beside = town.answers(NOW - DAY, 20)
    town.journal().append(*(replace(line, paired_with=lines[0].prediction_id) for line in beside))
    found = town.audit()["live"]
    assert found.reason.endswith("119 of 119 answers have an outcome, 1 could not be read")


def test_an_artifact_that_cannot_be_read_is_undecided(town: Abroad) -> None:
    artifact = town.plan().champion.artifact
    assert isinstance(artifact, Artifact)
    (path,) = [one for one in (town.folder / "artifacts").rglob(f"{artifact.content}*") if one.is_file()]
    path.write_bytes(b"something else")
    (found,) = town.audit().values()
    assert (found.source, found.answer) == ("history", "undecided")
    assert "cannot be read" in found.reason
    town.audit(NOW + DAY)
    (warned,) = town.told()  # once
    assert (warned.level, "cannot be read" in warned.title) == ("warning", True)
    assert (town.folder / warned.body["link"]).is_file()


def test_an_alert_is_not_told_before_its_page_is_there(town: Abroad) -> None:
    town.take_in(shop(odd=True))

    def away(*_: object) -> None:
        raise StackError("page", got="a full disk")

    with pytest.raises(StackError):
        audit(town.settings, town.config, NAME, NOW, away)
    assert town.told() == []
    town.audit(NOW + timedelta(minutes=1))  # the second try, at another moment
    (warned,) = town.told()
    assert (town.folder / warned.body["link"]).is_file()


def test_a_segment_name_from_data_runs_nothing_in_a_shell(town: Abroad) -> None:
    rude = SegmentFigure(kind="country", name="O'Brien $(touch x)", count=9, mean=0.1, gap=-0.9, answer="yes")
    town.take_in(shop(odd=True))
    found = replace(town.audit()["history"], segments=(rude,))
    warned = news(found, None, town.config)
    assert warned is not None
    command = warned.body["next"].split("`")[1]
    assert shlex.split(command)[-2:] == ["--segment", "country=O'Brien $(touch x)"]
    hidden = news(replace(found, segments=(replace(rude, name="a\nb"),)), None, town.config)
    assert hidden is not None
    assert "--segment" not in hidden.body["next"]
    assert describe({NAME: [replace(found, reason="so\n  live: no\x1b[2J\u202e")]}).count("\n") == 2


def test_nothing_is_audited_while_nothing_serves(tmp_path: Path) -> None:
    made = Abroad(tmp_path / "home")
    made.enrol()
    assert made.audit() == {}
    assert describe(newest_audits(made.settings, made.config)) == f"{NAME}: never audited"
    made.close()


def test_the_page_shows_each_segment_and_escapes_its_name(town: Abroad, monkeypatch: pytest.MonkeyPatch) -> None:
    town.take_in(shop(odd=True))
    found = list(town.audit().values())
    rude = replace(found[0].segments[0], name="<script>alert(1)</script>|x", answer="yes")
    audits = [replace(found[0], segments=(rude, *found[0].segments)), *found[1:]]
    page = bias_page.write(town.folder, town.config, audits, earlier=found)
    assert page == town.folder / found[0].report
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "http" not in text
    assert "country: abroad" in text
    assert text.index("alert(1)") < text.index("country: home")  # those beyond the limit first
    assert "Audits before this one" in text
    short = bias_page.markdown(audits, page)
    assert "\\<script\\>" in short
    assert "| country: abroad | history | -100 % [-100, -100] | 15 |" in short
    monkeypatch.setenv("GROWNET_HOME", str(town.folder))
    monkeypatch.setenv("GROWNET_CONFIGS", str(town.configs))
    said = CliRunner().invoke(app, ["audit", "bias"])
    assert f"{NAME}\n  history (ndcg_at_20, v1, 2026-11-10): yes. country 'abroad' -100 %" in said.stdout
