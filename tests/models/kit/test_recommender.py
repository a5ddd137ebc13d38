"""The value of a product by hand, and artifacts that do not fit together."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from errors import TamperError
from models.kit import neighbours, recommender
from models.kit.history import Catalogue, Index
from models.kit.recommender import Blend, Query

CODES = ("a", "b", "c")
BLEND = Blend(
    history_half_life_days=10.0,
    history_floor=0.2,
    trend_power=0.5,
    popularity_weight=0.01,
    repeat_weight=0.3,
    repeat_half_life_days=20.0,
)
WEIGHTS = np.array([[0, 0.5, 0.25], [0.5, 0, -0.5], [0, 0, 0]], dtype=np.float32)
TREND, ORDERS = np.array([1.5, 0.0, 3.5]), np.array([7.5, 3.5, 3.5])


def index() -> Index:
    """One customer, ada, who ordered a twice, the last time 10 days ago."""
    catalogue = Catalogue(
        codes=CODES,
        position={code: at for at, code in enumerate(CODES)},
        days=np.zeros(3),
        orders=ORDERS,
        trend=TREND,
        buyers=np.ones(3, dtype=np.int64),
    )
    return Index(
        catalogue=catalogue,
        subjects={"ada": 0},
        starts=np.array([0, 1]),
        items=np.array([0]),
        days=np.array([10.0]),
        orders=np.array([2.0]),
        spend=np.array([5.0]),
        countries=("France",),
    )


def model() -> recommender.Fitted:
    return recommender.fitted(index(), neighbours.strongest(WEIGHTS, 3), BLEND)


def values(**query: Any) -> dict[str, float]:
    asked = {"subject": None, "recent": (), "exclude_known": True, "count": 9, **query}
    (proposal,) = recommender.rank(model(), index(), [Query(**asked)])
    assert list(proposal.scores) == sorted(proposal.scores, reverse=True)
    return dict(zip(proposal.items, proposal.scores, strict=True))


LIFT = ((TREND + 0.5) / (ORDERS + 0.5)) ** 0.5  # 0.5, 0.354, 1


def test_history_fades_to_the_floor_and_is_lifted() -> None:
    strength = 0.2 + 0.8 * 0.5  # one half-life ago
    got = values(subject="ada")
    assert got == pytest.approx({"b": strength * 0.5 * LIFT[1], "c": strength * 0.25 * LIFT[2] + 0.01})


def test_a_basket_counts_in_full_and_negative_sums_count_as_nothing() -> None:
    assert values(recent=("b",)) == pytest.approx({"a": 0.5 * LIFT[0] + 0.01 * 1.5 / 3.5, "c": 0.01})


def test_habit_is_added_when_the_known_is_not_excluded() -> None:
    habit = 0.3 * 2 * 2 ** (-10 / 20)
    assert values(subject="ada", exclude_known=False)["a"] == pytest.approx(habit + 0.01 * 1.5 / 3.5)


def test_a_product_of_basket_and_history_is_counted_once_in_full() -> None:
    assert values(subject="ada", recent=("a",))["b"] == pytest.approx(0.5 * LIFT[1])


def test_nobody_gets_what_sells() -> None:
    assert list(values()) == ["c", "a", "b"]
    (plain,) = recommender.popular(index(), [Query(subject=None, recent=(), exclude_known=True, count=2)])
    assert (plain.items, plain.scores) == (("c", "a"), (3.5, 1.5))


def test_blocks_answer_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    queries = [
        Query(subject=name, recent=(), exclude_known=at % 2 == 0, count=2) for at, name in enumerate(["ada", None] * 4)
    ]
    whole = recommender.rank(model(), index(), queries)
    monkeypatch.setattr(recommender, "BLOCK", 3)
    assert recommender.rank(model(), index(), queries) == whole


def npy(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("starts", np.array([0, 2, 4], dtype=np.int64)),  # an item short
        ("starts", np.array([0, 4, 2, 4], dtype=np.int64)),  # runs backwards
        ("starts", np.array([1, 2, 3, 4], dtype=np.int64)),  # does not begin at 0
        ("columns", np.array([0, 1, 2, 3], dtype=np.uint32)),  # an item that is not there
        ("columns", np.array([0, 1, 2, 2], dtype=np.int64)),  # another type
        ("weights", np.array([0, 0, 0, np.nan], dtype=np.float16)),
        ("trend", np.array([1.0, 2.0, np.inf])),
        ("orders", np.array([[1.0, 2.0, 3.0]])),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name: str, array: np.ndarray[Any, Any]) -> None:
    files = recommender.dump(model())
    assert recommender.dump(recommender.load(files)) == files
    with pytest.raises(TamperError, match=name):
        recommender.load({**files, f"{name}.npy": npy(array)})


def test_an_object_array_is_not_unpickled() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(TamperError, match="allow_pickle"):
        recommender.load({**recommender.dump(model()), "trend.npy": buffer.getvalue()})
