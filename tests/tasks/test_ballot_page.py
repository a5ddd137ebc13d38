import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from msgspec.structs import replace

from checks import tallies
from checks.plans import RULES_ARM, initial
from configs.load import load
from records import Vote
from stores.ledger.ballots import Question
from tasks import ballot_page, escape
from tasks.questions import rollout_of
from tests.stores.ledger.world import MODEL, NOON, subject
from tests.tasks.papers import BIAS
from tests.tasks.release_world import House


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def about(house: House) -> ballot_page.Promotion:
    candidate = house.candidate(1)
    rollout = rollout_of(house.config.models[MODEL])
    plan = initial(MODEL, NOON)
    return ballot_page.Promotion(candidate, house.prove(candidate), plan, rollout, False, "http://cards")


def test_the_page_has_everything_a_reviewer_asks_for(house: House, about: ballot_page.Promotion) -> None:
    shown = ballot_page.promotion(about, house.config)
    for title in (
        "What changed",
        "Champion against candidate",
        "Gates",
        "Bias",
        "Drift",
        "Privacy",
        "Rollout and limits",
    ):
        assert f"### {title}" in shown, title
    assert "[+0.02, +0.06]" in shown.replace("\\", "")
    assert "customer\\_id" in shown
    for step in about.rollout.steps:
        assert f"| {step.min_answers} |" in shown


def test_the_sample_is_known_before_the_vote(house: House, about: ballot_page.Promotion) -> None:
    """By the champion's rate on the holdout: the steps ask for fewer answers than the interval will."""
    unknown = ballot_page.promotion(about, house.config)
    assert "the holdout has no hit\\_rate between 0 and 1" in unknown
    known = replace(about.evidence, metrics={**about.evidence.metrics, "hit_rate": 0.5, "champion.hit_rate": 0.3})
    shown = ballot_page.promotion(dataclasses.replace(about, evidence=known), house.config)
    need = tallies.sample_needed(about.rollout, 0.3, 0.9)
    assert need is not None
    assert f"needs about {need:,} (hits that correlate by 0.9) or " in shown
    assert "the steps ask for 3,700 in all" in shown
    assert "waits for more, or for a vote" in shown


def test_the_card_is_named(house: House, about: ballot_page.Promotion) -> None:
    here = dataclasses.replace(about, card="cards/shop/shop-v1.html")
    assert "known failure modes: `cards/shop/shop-v1.html` below home" in ballot_page.promotion(here, house.config)


def test_segments_are_shown_with_their_size_worst_first(house: House, about: ballot_page.Promotion) -> None:
    gates = [replace(gate, figures=BIAS) if gate.name == "bias" else gate for gate in about.evidence.gates]
    told = dataclasses.replace(about, evidence=replace(about.evidence, gates=tuple(gates)))
    lines = [line for line in ballot_page.promotion(told, house.config).splitlines() if line.startswith("| country:")]
    assert lines == [
        "| country: home | 40 | 0.45 | -10.0% [-20.0%, +5.0%] |",
        "| country: moon | 3 | - | too few to judge |",
    ]


def test_every_table_is_one(house: House, about: ballot_page.Promotion) -> None:
    shown = ballot_page.promotion(about, house.config)
    html = MarkdownIt().enable("table").render(shown)
    assert html.count("<table>") == sum(line.startswith("|---") for line in shown.splitlines()) > 3


def test_a_gate_that_is_missing_is_said_to_be(house: House, about: ballot_page.Promotion) -> None:
    evidence = replace(about.evidence, gates=about.evidence.gates[:1])
    bare = ballot_page.Promotion(about.candidate, evidence, about.plan, about.rollout, False, "http://cards")
    assert ballot_page.promotion(bare, house.config).count("Not measured") == 2


def test_the_freeze_is_named(house: House, about: ballot_page.Promotion) -> None:
    frozen = ballot_page.Promotion(about.candidate, about.evidence, about.plan, about.rollout, True, "http://cards")
    assert "is frozen" in ballot_page.promotion(frozen, house.config)
    assert "is frozen" not in ballot_page.promotion(about, house.config)


def test_what_asked_for_the_training_is_named(house: House, about: ballot_page.Promotion) -> None:
    asked = replace(about.candidate, verdict="ruling-1", segment="country=home")
    shown = ballot_page.promotion(dataclasses.replace(about, candidate=asked), house.config)
    assert "Asked for by the guard's verdict ruling-1" in shown
    assert "for the sake of country=home" in shown
    assert "Asked for" not in ballot_page.promotion(about, house.config)


def test_what_people_write_stays_text() -> None:
    until = datetime(2026, 11, 24, 12, tzinfo=UTC)
    vote = Vote(
        ballot="b",
        subject="s",
        reviewer="ada",
        role="dev_ops",
        decision="yes",
        reason="fine | no\n# Approved by all [here](http://evil) <img src=x>",
        cast_at=NOON,
    )
    question = Question(
        subject=subject(RULES_ARM, 0),
        page="## Release?\n\nbody",
        required_roles=("dev_ops", "privacy_officer"),
        opened_by="release",
        opened_at=NOON,
        expires_at=until,
    )
    shown = ballot_page.standing(question.page, [vote], question, "a `code` | b", "http://page")
    html = MarkdownIt().enable("table").render(shown)
    assert html.count("<h1>") == 0
    assert html.count("<a ") == 1  # ours
    assert "<img" not in html
    assert html.count("<li>") == 2
    assert "still missing" in html
    assert shown.endswith("body")


def test_long_texts_are_cut() -> None:
    assert len(escape.plain("x" * 10_000)) == escape.LONGEST


def test_the_shipped_configuration_makes_a_rollout() -> None:
    config = load(Path(__file__).resolve().parents[2] / "configs")
    rollout = rollout_of(config.models[MODEL])
    assert rollout.steps[-1].percent == 100
    assert rollout.gates.kpi == config.models[MODEL].kpi
