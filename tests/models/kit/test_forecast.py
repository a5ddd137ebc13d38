"""Forecasts on sales whose rule is visible by eye: what is learned, what a short history gives, what a file must hold."""

from __future__ import annotations

import msgspec
import numpy as np
import pandas as pd
import pytest

from errors import DataError, TamperError
from models.kit import forecast, levels
from models.kit.forecast import HORIZONS, Fitted, Learner
from models.kit.weekly import Index

LEARNER = Learner(
    trees=200, leaves=4, learning_rate=0.1, min_rows=5, input_share=1.0, row_share=1.0, ridge=0.0, max_ratio=10.0,
    step_days=7, trust_weeks=1e-6,
)  # fmt: skip
WEEKS = 30


def sawtooth(week: int, category: int) -> float:
    """Every fourth week sells four times as much."""
    return (category + 1) * (400.0 if week % 4 == 0 else 100.0)


def cells() -> pd.DataFrame:
    """Three categories sold on the first day of each week; known at once."""
    rows = [(c, -7 * w, -7 * w, sawtooth(w, c), 2 * sawtooth(w, c), 5.0) for w in range(1, WEEKS + 1) for c in range(3)]
    frame = pd.DataFrame(rows, columns=["category", "sold", "known", "units", "spend", "lines"])
    return frame.sort_values("known", kind="stable")


def known() -> Index:
    units = np.array([[sawtooth(week, c) for week in range(WEEKS, 0, -1)] for c in range(3)])
    position = {"a": 0, "b": 1, "c": 2}
    return Index(categories=("a", "b", "c"), position=position, units=units, spend=units * 2, lines=units * 0 + 5)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return forecast.fit(cells(), 3, LEARNER, seed=1)


def test_trees_learn_what_medians_do_not_see(fitted: Fitted) -> None:
    """The week before the first of the index was week 1, so week 0, one ahead, is the large one."""
    for horizon in HORIZONS:
        expected = [sawtooth(horizon - 1, category) for category in range(3)]
        np.testing.assert_allclose(forecast.forecast(fitted, known(), horizon), expected, rtol=0.05)
    median = forecast.forecast(Fitted(kind="median"), known(), 1)
    assert median.tolist() == [100, 200, 300]


def test_naive_is_the_week_four_earlier() -> None:
    for horizon in HORIZONS:
        found = forecast.forecast(Fitted(kind="four_weeks_earlier"), known(), horizon)
        assert found.tolist() == known().units[:, WEEKS - 5 + horizon].tolist()


def test_trust_grows_with_what_was_learned_from(fitted: Fitted) -> None:
    careful = forecast.fit(cells(), 3, msgspec.structs.replace(LEARNER, trust_weeks=22.0), seed=1)
    assert careful.trust == pytest.approx(0.5)  # 30 weeks, of which 8 are looked back on
    assert fitted.trust == pytest.approx(1.0)
    level = levels.level(known().units)
    halfway = (level + forecast.forecast(fitted, known(), 1)) / 2
    np.testing.assert_allclose(forecast.forecast(careful, known(), 1), halfway)


def test_the_sum_goes_part_of_the_way_to_the_week_four_earlier(fitted: Fitted) -> None:
    """All by one factor, so that shares between categories stay what the trees said."""
    pulled = msgspec.structs.replace(fitted, cycle_share=0.25)
    for horizon in HORIZONS:
        plain, found = forecast.forecast(fitted, known(), horizon), forecast.forecast(pulled, known(), horizon)
        earlier = forecast.forecast(Fitted(kind="four_weeks_earlier"), known(), horizon).sum()
        assert found.sum() == pytest.approx(0.75 * plain.sum() + 0.25 * earlier)
        np.testing.assert_allclose(found / found.sum(), plain / plain.sum())
    assert forecast.load(forecast.dump(pulled)).cycle_share == 0.25
    learner = msgspec.structs.replace(LEARNER, cycle_share=0.5, trees=1)
    assert forecast.fit(cells(), 3, learner, seed=1).cycle_share == 0.5


def test_absolute_loss_learns_the_middle_and_squares_the_mean() -> None:
    """Each fifth week sells ten times as much: a mean over the others is dragged up, a median is not."""
    rows = cells().assign(units=lambda frame: np.where(frame["sold"] % 35 == 0, 1000.0, 100.0))
    lone = msgspec.structs.replace(
        LEARNER, trees=40, leaves=2, min_rows=200
    )  # too few rows to split: one value for all
    flat = Index(categories=("a",), position={"a": 0}, units=np.full((1, 12), 100.0), spend=np.full((1, 12), 200.0), lines=np.full((1, 12), 5.0))  # fmt: skip
    units = {
        loss: float(forecast.forecast(forecast.fit(rows, 3, msgspec.structs.replace(lone, loss=loss), 1), flat, 1)[0])
        for loss in ("squares", "absolute")
    }
    assert units["absolute"] == pytest.approx(100, rel=0.1)
    assert units["squares"] > 180


def test_other_inputs_may_be_seen() -> None:
    """The level alone: nothing tells a large week, so all horizons of a category are alike but for the horizon."""
    see = lambda known: np.log(levels.level(known.units))[:, None]  # noqa: E731 - one line says what is seen
    fitted = forecast.fit(cells(), 3, LEARNER, 1, see)
    assert fitted.trees.inputs == 2
    assert len(forecast.forecast(fitted, known(), 1, see)) == 3


def test_what_was_known_only_later_is_not_learned_from() -> None:
    """Sales that are taken back in the last week: at every past moment they were still there."""
    taken = cells().assign(units=lambda frame: -frame["units"] / 2, known=-1, lines=0.0, spend=0.0)
    both = pd.concat([cells(), taken]).sort_values("known", kind="stable")
    found = forecast.fit(both, 3, LEARNER, seed=1)
    np.testing.assert_allclose(forecast.forecast(found, known(), 1), [200, 400, 600], rtol=0.05)


@pytest.mark.parametrize("weeks", [0, 1, 8])
def test_a_history_too_short_to_learn_from_says_how_long_it_must_be(weeks: int) -> None:
    short = cells()
    with pytest.raises(DataError, match="at least 9 weeks"):
        forecast.fit(short[short["sold"] >= -7 * weeks], 3, LEARNER, seed=1)


def test_an_index_without_weeks_forecasts_nothing_sold(fitted: Fitted) -> None:
    empty = msgspec.structs.replace(known(), units=np.zeros((3, 0)), spend=np.zeros((3, 0)), lines=np.zeros((3, 0)))
    for one in (fitted, Fitted(kind="median"), Fitted(kind="four_weeks_earlier")):
        assert forecast.forecast(one, empty, 1).tolist() == [0, 0, 0]


@pytest.mark.parametrize("weeks", [1, 3, 7])
def test_a_young_shop_gets_finite_forecasts(fitted: Fitted, weeks: int) -> None:
    young = {name: getattr(known(), name)[:, -weeks:] for name in ("units", "spend", "lines")}
    found = msgspec.structs.replace(known(), **young)
    for one in (fitted, Fitted(kind="median"), Fitted(kind="four_weeks_earlier")):
        assert np.isfinite(forecast.forecast(one, found, 1)).all()


def test_trees_of_another_file_are_refused(fitted: Fitted) -> None:
    other = forecast.fit(cells(), 3, msgspec.structs.replace(LEARNER, trees=5), seed=1)
    with pytest.raises(TamperError, match="digest"):
        forecast.load({**forecast.dump(fitted), "trees.txt": forecast.dump(other)["trees.txt"]})


def test_inputs_this_code_does_not_make_are_refused(fitted: Fitted) -> None:
    files = forecast.dump(fitted)
    head = msgspec.json.decode(files["model.json"])
    head["inputs"][0] = "weather"
    with pytest.raises(TamperError, match="weather"):
        forecast.load({**files, "model.json": msgspec.json.encode(head)})


def test_rules_of_thumb_travel_too() -> None:
    median = Fitted(kind="median")
    assert forecast.load(forecast.dump(median)) == median
