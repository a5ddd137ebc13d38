"""The shadow report over a real service: a candidate that agrees, one that fails on everything, one that left; and its page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from checks import plans as moves
from checks.shadow import Figures, Kpi, Move
from errors import NotFound
from grownet import app, main
from records import utc_now
from tasks import ballot_page
from tasks.shadow import Report, report
from tasks.shadow_page import describe, kept, rows, shown, write
from tests.serving.inside import BOOM, Inside, hostile, inside
from tests.serving.town import NAME, Town, wait_for


@pytest.fixture(scope="module")
def shadowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 2, which is version 1 by another name, shadows 40 requests, 30 of them with an outcome."""
    home = tmp_path_factory.mktemp("shadowed") / "home"
    town = Town(home)
    town.released()
    with inside(town) as service:
        begun(town, service)
        replies = asked(service, 40)
        wait_for(lambda: scores(service) == 40)
        for reply in replies[:30]:
            bought = {"purchased": [reply["decision"]["items"][0]]}
            service.ask({"prediction_id": reply["prediction_id"], "outcome": bought}, "feedback")
    town.close()
    return home


@pytest.fixture
def town(shadowed: Path, tmp_path: Path) -> Iterator[Town]:
    shutil.copytree(shadowed, tmp_path / "home")
    made = Town(tmp_path / "home")
    yield made
    made.close()


def begun(town: Town, service: Inside) -> None:
    plan = town.begin(town.candidate(2))
    service.revision(plan.revision)


def asked(service: Inside, count: int, basket: str = "") -> list[dict[str, Any]]:
    """Requests of slates of different length."""
    recent = [basket] if basket else []
    return [service.ask({"customer": str(2 * (at % 30)), "recent": recent, "k": 5 + at % 3}) for at in range(count)]


def scores(service: Inside) -> int:
    return sum(bool(one.paired_with) for one in service.answers())


def found(town: Town) -> Report:
    return report(town.settings, town.config, NAME, utc_now())


def test_a_candidate_that_says_the_same(town: Town) -> None:
    told = found(town)
    assert (told.candidate, told.champion, told.standing) == (f"{NAME}-v2", f"{NAME}-v1", "in the shadow")
    assert (told.counted.answers, told.counted.scored, told.counted.unscored) == (40, 40, 0)
    assert (told.compared.pairs, told.compared.seen, told.compared.outcomes) == (40, 40, 30)
    every = told.overall
    assert (every.pairs, every.subjects, every.enough) == (40, 30, False)
    assert (every.flips, every.same, every.jaccard, every.top) == (0.0, 1.0, 1.0, 1.0)
    assert every.rank_biased == pytest.approx(1.0)
    assert every.score is not None
    assert (every.score.difference, every.score.shifted) == (0.0, False)
    assert every.kpi is not None
    assert (every.kpi.matured, every.kpi.champion, every.kpi.candidate) == (30, 1.0, 1.0)
    assert told.guard is not None
    assert (told.guard.matured, told.guard.champion, told.guard.candidate) == (30, 1.0, 1.0)
    assert Report.from_json(told.to_json()) == told


def test_the_command_prints_it_writes_the_page_and_is_named_where_models_stand(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROWNET_HOME", str(town.folder))
    monkeypatch.setenv("GROWNET_CONFIGS", str(town.configs))
    run = CliRunner()
    assert f"`grownet shadow {NAME}`" in run.invoke(app, ["models"]).stdout
    said = run.invoke(app, ["shadow", NAME])
    assert said.exit_code == 0, said.output
    assert "\n    k=lowest third: 14 pairs of 14 subjects, too few to judge\n" in said.stdout
    for part in (
        f"{NAME}-v2 beside {NAME}-v1: in the shadow",
        "40 of 40 answers scored by the candidate, 0 failed, 0 late; 0 not scored",
        "too few to judge by (30 subjects): another decision on 0.0% of the requests",
        "rank overlap: rank-biased 1.00",
        "1 against 1 on 30 outcomes: too few for an interval",
        f"page: pages/shadow/{NAME}/{NAME}-v2.html",
    ):
        assert part in said.stdout, said.stdout
    text = (town.folder / "pages" / "shadow" / NAME / f"{NAME}-v2.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "http" not in text
    facts = json.loads(run.invoke(app, ["shadow", NAME, "--json"]).stdout)
    assert facts["overall"]["pairs"] == 40


def test_its_segments_are_those_of_the_bias_audit(town: Town) -> None:
    gates = {"gates": {"bias_min_rows": 10}}
    town.decide({f"{NAME}.yaml": gates})
    told = found(town)
    assert told.by == "the subjects of the candidate's features"
    assert {one.kind for one in told.segments} == {"country", "products", "recency"}
    home = next(one for one in told.segments if (one.kind, one.name) == ("country", "home"))
    assert (home.pairs, home.enough, home.flips) == (40, True, 0.0)
    town.decide({f"{NAME}.yaml": {"gates": {"bias_min_rows": 31}}})  # more than are known: by what was asked
    told = found(town)
    assert told.by == "what was asked, an answer at a time"
    assert "; k up to 5, up to 6, over" in told.edges
    assert {(one.kind, one.name, one.pairs) for one in told.segments if one.kind == "customer"} == {
        ("customer", "known", 40)
    }


def test_a_candidate_that_fails_on_everything(tmp_path: Path, shadowed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(shadowed, tmp_path / "home")
    town = Town(tmp_path / "home")
    town.guard(moves.take_back)
    hostile(monkeypatch, [2])
    with inside(town) as service:
        plan = town.begin(town.candidate(3))
        service.revision(plan.revision)
        asked(service, 5, BOOM)
        wait_for(lambda: service.desk.view and service.desk.view.tripped)
        asked(service, 2)
    told = found(town)
    town.close()
    assert (told.candidate, told.overall.pairs, told.compared.failed) == (f"{NAME}-v3", 0, 5)
    assert (told.counted.answers, told.counted.scored, told.counted.failed, told.counted.unscored) == (7, 5, 5, 2)
    (trip,) = told.trips
    assert ", dropped: 5 errors within 10 s" in trip
    said = describe(told, kept(town.folder, told))
    assert "nothing to compare: the candidate failed on every one of 5 requests" in said
    assert "dropped by a replica" in said


def test_what_became_of_it_is_said(town: Town) -> None:
    plan = town.guard(moves.advance)
    assert found(town).standing == f"answers {plan.canary_percent:g} %"
    assert found(town).counted.unscored is None
    town.guard(moves.take_back)
    gone = found(town)
    assert (gone.standing, gone.overall.pairs) == ("was taken back, for good", 40)


def test_the_champion_of_today_shadowed_once(town: Town) -> None:
    town.finish()
    told = found(town)
    assert (told.candidate, told.standing, told.overall.pairs) == (f"{NAME}-v2", "is the champion now", 40)


def test_journals_that_are_elsewhere_are_said_to_be(town: Town) -> None:
    shutil.rmtree(town.folder / "journal")
    said = describe(found(town), "")
    assert "nothing to compare: it scored, and the journals that tell of it are not on this disk" in said


def test_without_a_candidate_there_is_nothing_to_ask_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Town(tmp_path / "home")
    made.enrol()
    with pytest.raises(NotFound, match="nothing was released yet"):
        found(made)
    made.close()
    monkeypatch.setenv("GROWNET_HOME", str(made.folder))
    monkeypatch.setenv("GROWNET_CONFIGS", str(made.configs))
    for model, told in ((NAME, "expected a candidate beside the champion"), ("nonsense", "model 'nonsense'")):
        monkeypatch.setattr("sys.argv", ["grownet", "shadow", model])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 2
        assert told in capsys.readouterr().err


def test_an_artifact_that_cannot_be_read_costs_the_segments_only(town: Town) -> None:
    arm = town.plan().canary
    assert arm is not None
    assert arm.artifact is not None
    (path,) = [one for one in (town.folder / "artifacts").rglob(f"{arm.artifact.content}*") if one.is_file()]
    path.write_bytes(b"something else")
    told = found(town)
    assert (told.overall.pairs, told.segments) == (40, ())
    assert "cannot be read" in told.by


def test_people_who_vote_on_the_next_step_are_told_of_it(town: Town) -> None:
    page = ballot_page.undoing("advance", town.plan(), "undecided for days")
    assert f"`grownet shadow {NAME}`" in page
    assert "grownet shadow" not in ballot_page.undoing("resume", town.plan(), "all is well")


# ---- the page and its words ----------------------------------------------------------------------


def figures(name: str, flips: float | None, effect: float | None = None) -> Figures:
    ends = {} if effect is None else {"low": effect - 0.1, "high": effect + 0.1}
    kpi = Kpi(matured=500, champion=0.4, candidate=0.3, effect=effect, **ends)
    return Figures(kind="k", name=name, pairs=900, subjects=100, enough=flips is not None, flips=flips, kpi=kpi)


def test_the_page_escapes_what_comes_from_data_and_shows_where_effects_lie(town: Town) -> None:
    rude = "<script>alert(1)</script>"
    parts = (figures("calm", 0.0, 0.1), figures("few", None), figures(rude, 0.5, -0.3), figures("open", 0.2))
    told = replace(
        found(town),
        segments=parts,
        moves=(Move(champion="ham", candidate=rude, count=3),),
        trips=("replica \x1b[2J fell",),
    )
    text = write(town.folder, told).read_text(encoding="utf-8")
    assert "<script" not in text
    assert text.index("alert(1)") < text.index("k: open") < text.index("k: calm") < text.index("k: few")
    assert text.count('class="track"') == 2
    tracks = {one.figures.name: one.effect for one in rows(told)}
    assert tracks["few"] is None
    assert tracks["open"] is None
    for name in ("calm", rude):
        track = tracks[name]
        assert track is not None
        assert track.low is not None
        assert 0 <= track.low < track.gap < track.low + track.width <= 100
    said = describe(told, "page")
    assert "\x1b" not in said
    assert f"    k={rude}: 900 pairs, another decision 50.0%, hit_rate -30.0% [-40.0%, -20.0%]" in said
    assert "    k=few: 900 pairs of 100 subjects, too few to judge" in said


def test_where_only_the_champions_outcome_is_known_that_is_said(town: Town) -> None:
    told = found(town)
    kpi = Kpi(matured=200, champion=0.3, where_same=0.25, where_other=0.4)
    told = replace(told, judge="split", guard=None, overall=replace(told.overall, kpi=kpi))
    said = describe(told, "page")
    assert "not identifiable in the shadow" in said
    assert "0.25 where the candidate says the same; 0.4 where the candidate says something else (200 outcomes)" in said
    assert "not identifiable" in write(town.folder, told).read_text(encoding="utf-8")


@pytest.mark.parametrize(("champion", "said"), [(0.4, "too few for an interval"), (-3.5, "has no relative effect")])
def test_why_there_is_no_effect_is_said(champion: float, said: str) -> None:
    assert shown(Kpi(matured=4000, champion=champion, candidate=0.3), "paired").endswith(said)


def test_a_page_that_cannot_be_written_is_said_and_no_more(town: Town) -> None:
    told = found(town)
    (town.folder / "pages").write_text("in the way")
    assert kept(town.folder, told).startswith("not written: ")
