"""The search looks at nothing after the holdout's start, its grid holds the configuration, and what is chosen by eye."""

from __future__ import annotations

from benchmarks import bundled
from benchmarks.quality.spam import CUT
from benchmarks.search import spam as search
from configs.load import load
from models.kit import texts


def test_the_configuration_is_a_point_of_the_grid() -> None:
    params = load().models["spam"].params
    assert params["cost"] in search.COSTS
    assert params["least_texts"] in search.LEAST
    assert ("characters", "words") in search.LOOKS


def test_the_rarest_ngrams_go_where_scores_are_alike() -> None:
    def trial(brier: float, least: int, cost: float) -> dict[str, float]:
        return {"brier": brier, "least_texts": least, "cost": cost}

    assert search.choose([trial(0.0070, 2, 1.0), trial(0.00704, 5, 0.3), trial(0.00704, 5, 1.0)])["cost"] == 0.3
    assert search.choose([trial(0.0070, 2, 1.0), trial(0.0072, 5, 0.3)])["least_texts"] == 2


def test_it_sees_only_messages_before_the_holdout() -> None:
    table = bundled("spam")["messages"]
    earlier = set(table[table["received_at"] < CUT]["text"].map(texts.digest))
    later = set(table[table["received_at"] >= CUT]["text"].map(texts.digest))
    assert set(search.known()["subject"]) == earlier
    assert later - earlier
