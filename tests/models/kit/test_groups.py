"""Groups on clouds of customers whose answer is visible by eye; names, stability, files that were changed."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest

from errors import ModelError, TamperError
from models.kit import groups, rfm
from models.kit.groups import Recipe, Seen

PLACES = {  # recency in days, orders, spend, tenure
    rfm.LOYAL: (6.0, 16.0, 7000.0, 330.0),
    rfm.REGULAR: (20.0, 5.0, 1700.0, 250.0),
    rfm.NEW: (12.0, 1.0, 300.0, 20.0),
    rfm.LAPSING: (90.0, 2.0, 650.0, 220.0),
    rfm.LOST: (220.0, 1.0, 160.0, 220.0),
}
RATES = (0.8, 0.4, 0.2, 0.25, 0.1)


def crowd(each: int = 60, seed: int = 3) -> Seen:
    """Customers around the five places, who bought again as RATES say."""
    draw = np.random.default_rng(seed)
    values = np.concatenate([np.array(place) * np.exp(draw.normal(0, 0.12, (each, 4))) for place in PLACES.values()])
    bought = np.concatenate([np.arange(each) < round(rate * each) for rate in RATES])
    return Seen(now=values, before=values, bought=bought)


SEEN = crowd()
FITTED = groups.learn(SEEN, Recipe(groups=5, min_share=0.05, resamples=3), seed=1)


def test_the_clouds_are_found_and_named_by_where_they_lie() -> None:
    found = [FITTED.names[at] for at in groups.ranked(FITTED, SEEN.now)[:, 0]]
    assert found == [name for name in PLACES for _ in range(60)]
    assert FITTED.shares == pytest.approx([0.2] * 5)
    rates = dict(zip(FITTED.names, FITTED.rates, strict=True))
    assert rates == pytest.approx(dict(zip(PLACES, RATES, strict=True)), abs=0.04)
    assert FITTED.stability == 1.0


@pytest.mark.parametrize("seed", [1, 2, 99, 2**40])
def test_another_seed_or_another_crowd_keeps_the_names(seed: int) -> None:
    again = groups.learn(crowd(seed=seed % 1000), Recipe(groups=5), seed=seed)
    assert again.names == FITTED.names
    assert np.abs(np.array(again.centres) - np.array(FITTED.centres)).max() < 0.2


def test_row_order_changes_no_byte() -> None:
    turned = np.random.default_rng(0).permutation(len(SEEN.now))
    again = groups.learn(
        Seen(now=SEEN.now, before=SEEN.before[turned], bought=SEEN.bought[turned]),
        Recipe(groups=5, min_share=0.05, resamples=3),
        seed=1,
    )
    assert groups.dump(again) == groups.dump(FITTED)


def test_names_are_different_whatever_the_centres() -> None:
    draw = np.random.default_rng(4)
    for count in range(1, 7):
        for _ in range(5):
            found = groups.named(draw.normal(0, 1, (count, 3)))
            assert len(set(found)) == count
            assert set(found) <= set(groups.PLACES)
    assert len(set(groups.named(np.zeros((6, 3))))) == 6  # even where all are in one place


def test_names_follow_the_centres_not_their_order() -> None:
    centres = np.array(FITTED.centres)
    by_place = dict(zip(map(tuple, centres), groups.named(centres), strict=True))
    for order in itertools.islice(itertools.permutations(range(5)), 0, 120, 17):
        assert groups.named(centres[list(order)]) == [by_place[tuple(centres[at])] for at in order]


def test_each_place_bears_its_own_name() -> None:
    assert groups.named(np.array(list(groups.PLACES.values()))) == list(groups.PLACES)


def test_space_has_no_infinity_for_nothing_and_less() -> None:
    values = np.array([[0.0, 0.0, 0.0, 0.0], [-5.0, -1.0, -250.0, 0.0], [7.0, 1.0, np.e - 1, 0.0]])
    found = groups.space(values)
    assert np.isfinite(found).all()
    assert found[0].tolist() == found[1].tolist() == [0, 0, 0]
    assert found[2] == pytest.approx([np.log(2), np.log(2), 1.0])
    assert groups.ranked(FITTED, values).shape == (3, 5)


def test_a_group_too_small_for_a_name_is_not_made() -> None:
    few = Seen(now=SEEN.now[:184], before=SEEN.before, bought=SEEN.bought)  # four customers of "lapsing", none lost
    assert min(groups.learn(few, Recipe(groups=4), seed=1).shares) < 0.05
    fewer = groups.learn(few, Recipe(groups=4, min_share=0.05), seed=1)
    assert len(fewer.names) == 3
    assert min(fewer.shares) >= 0.05


def test_raw_values_isolate_a_few_large_ones() -> None:
    """The trap: one customer of a million and the groups are "him" and "the rest"."""
    whale = np.concatenate([SEEN.now, [[1.0, 200.0, 1e6, 300.0]]])
    seen = Seen(now=whale, before=SEEN.before, bought=SEEN.bought)
    raw = groups.learn(seen, Recipe(groups=2, logs=False, named=False), seed=1)
    assert min(raw.shares) < 0.01
    assert min(groups.learn(seen, Recipe(groups=2, named=False), seed=1).shares) > 0.2


def test_noise_is_less_stable_than_clouds() -> None:
    draw = np.random.default_rng(5)
    noise = np.exp(draw.normal(3, 0.5, (300, 4)))
    unsteady = groups.learn(Seen(now=noise, before=noise, bought=SEEN.bought), Recipe(groups=5, resamples=3), seed=1)
    assert unsteady.stability is not None
    assert unsteady.stability < 0.8


def test_silhouettes_of_one_group_are_missing() -> None:
    assert np.isnan(groups.silhouettes(np.zeros((4, 3)), np.zeros(4, dtype=np.int64))).all()
    assert np.isnan(groups.silhouettes(np.zeros((1, 3)), np.zeros(1, dtype=np.int64))).all()


@pytest.mark.parametrize("seen", [Seen(now=SEEN.now[:0], before=SEEN.before, bought=SEEN.bought),
                                  Seen(now=SEEN.now, before=SEEN.before[:0], bought=SEEN.bought[:0]),
                                  Seen(now=SEEN.now[[0] * 50], before=SEEN.before, bought=SEEN.bought)])  # fmt: skip
def test_too_little_to_learn_from_is_an_error(seen: Seen) -> None:
    with pytest.raises(ModelError, match="take more history in"):
        groups.learn(seen, Recipe(groups=5), seed=1)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"scale": [0.0, 1.0, 1.0]}, "scale"),
        ({"mean": [0.0, 1.0]}, "mean"),
        ({"centres": [[0.0, 0.0, 0.0]]}, "centres"),
        ({"centres": [[0.0, 0.0]] * 5}, "centres"),
        ({"names": ["new"] * 5}, "names"),
        ({"names": []}, "names"),
        ({"rates": [1.5, 0.0, 0.0, 0.0, 0.0]}, "rates"),
        ({"everyone": -0.1}, "rates"),
        ({"shares": [1.0]}, "shares"),
        ({"axes": [0, 1, 3]}, "axes"),
        ({"axes": []}, "axes"),
        ({"logs": "yes"}, "logs"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_changed_file_is_refused(change: dict[str, object], named: str) -> None:
    file = groups.dump(FITTED)["groups.json"]
    changed = msgspec.json.encode({**msgspec.json.decode(file), **change})
    with pytest.raises(TamperError, match=named):
        groups.load({"groups.json": changed})
    assert groups.load({"groups.json": file}) == FITTED
