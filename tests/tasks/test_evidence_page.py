from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from checks.plans import initial
from configs.load import load
from records import Candidate, Evidence, Gate
from tasks import evidence_page
from tests.stores.ledger.world import MODEL, NOON, arm


@pytest.fixture
def candidate() -> Candidate:
    made = arm(2)
    assert made.artifact
    assert made.features
    assert made.versions
    return Candidate(
        id="recommendation-v2-abc",
        model=MODEL,
        number=2,
        artifact=made.artifact,
        features=made.features,
        versions=made.versions,
        config_digest=made.config,
        commit="c" * 40,
        authors=("Ada <ada@example.org>",),
        run_id="run",
        reason="<b>monthly</b>",
        created_at=NOON,
        trained_until=NOON,
    )


def evidence(*gates: Gate, metrics: dict[str, float], intervals: dict[str, tuple[float, float]]) -> Evidence:
    return Evidence(
        candidate="recommendation-v2-abc",
        model=MODEL,
        artifact="a" * 64,
        gates=gates,
        metrics=metrics,
        intervals=intervals,
        created_at=NOON,
    )


PASSED = Gate(name="champion", outcome="pass", reason="better", figures={"low": 0.1})
FOUND = evidence(
    PASSED,
    metrics={
        "ndcg_at_20": 0.3,
        "hit_at_10": 0.5,
        "champion.ndcg_at_20": 0.2,
        "training.ndcg_at_20": 0.4,
        "item_item.ndcg_at_20": 0.1,
        "ndcg_at_20 - champion": 0.1,
        "ndcg_at_20 - item_item": -0.1,
        "subjects": 50.0,
    },
    intervals={"ndcg_at_20": (0.2, 0.4), "ndcg_at_20 - item_item": (-0.2, 0.0), "ndcg_at_20 - champion": (0.0, 0.2)},
)


def test_who_was_scored_and_on_what() -> None:
    assert evidence_page.scored(FOUND) == ["", "champion", "item_item", "training"]
    assert evidence_page.own_metrics(FOUND) == ["hit_at_10", "ndcg_at_20"]


def test_differences_are_drawn_on_one_scale_the_champion_first() -> None:
    first, second = evidence_page.bars(FOUND, "ndcg_at_20")
    assert (first.name, first.left, first.width, first.mean, first.zero) == ("ndcg_at_20 - champion", 50, 50, 75, 50)
    assert (second.left, second.width, second.mean) == (0, 50, 25)


def test_an_interval_of_no_width_can_be_drawn() -> None:
    flat = evidence(PASSED, metrics={}, intervals={"hit - champion": (0.0, 0.0)})
    assert [bar.width for bar in evidence_page.bars(flat, "hit")] == [0.0]


def test_the_page_escapes_what_people_wrote(candidate: Candidate) -> None:
    text = evidence_page.html(load(), candidate, FOUND, None)
    assert "&lt;b&gt;monthly&lt;/b&gt;" in text
    assert "<b>monthly" not in text


def test_a_discarded_candidate_says_who_goes_on_serving(candidate: Candidate, tmp_path: Path) -> None:
    failed = replace(FOUND, gates=(replace(PASSED, outcome="fail", reason="worse"),))
    plan = initial(MODEL, NOON)
    assert "The rules go on serving" in evidence_page.html(load(), candidate, failed, plan)
    served = evidence_page.html(load(), candidate, failed, replace(plan, champion=arm(1)))
    assert "recommendation-v1 goes on serving" in served
    page = evidence_page.write(tmp_path, load(), candidate, failed, plan)
    assert evidence_page.write(tmp_path, load(), candidate, failed, plan) == page
    assert [path.name for path in (tmp_path / "models").iterdir()] == [page.name]


def test_a_candidate_refused_at_once_has_a_page_too(candidate: Candidate) -> None:
    refused = evidence(replace(PASSED, name="new", outcome="fail", reason="is the champion"), metrics={}, intervals={})
    text = evidence_page.html(load(), candidate, refused, None)
    assert "is the champion" in text
    assert "All metrics" not in text
    assert "discarded" in evidence_page.markdown(candidate, refused, [Path("page.html")], load().models[MODEL])
