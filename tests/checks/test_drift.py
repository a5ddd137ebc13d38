"""PSI over reference bins: by hand, without a shift, with one, and for values a reference has never seen."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from checks import drift
from errors import UsageError


def normal(rows: int, seed: int, shift: float = 0.0) -> pd.Series:
    return pd.Series(np.random.default_rng(seed).normal(shift, 1, rows))


def test_bins_of_numbers_have_open_ends_and_a_place_for_nulls() -> None:
    reference = drift.reference_of_numbers(pd.Series(range(1, 101)), bins=4)
    assert reference.edges == (25.0, 50.0, 75.0)
    assert reference.counts == (25, 25, 25, 25, 0)
    far = pd.Series([-1e300, 25, 25.1, 1e300, np.inf, -np.inf, np.nan, None])
    assert drift.count(reference, far).tolist() == [3, 1, 0, 2, 2]


def test_bins_of_names_have_a_place_for_the_unknown_and_for_nulls() -> None:
    reference = drift.reference_of_names(pd.Series(["b", "a", "b", None]))
    assert (reference.names, reference.counts) == (("a", "b"), (1, 2, 0, 1))
    assert drift.count(reference, pd.Series(["a", "new", None, "newer"])).tolist() == [1, 0, 2, 1]


def test_rare_names_count_as_unknown() -> None:
    reference = drift.reference_of_names(pd.Series(["a"] * 5 + ["b"] * 3 + ["c", "d"]), most=2)
    assert (reference.names, reference.counts) == (("a", "b"), (5, 3, 2, 0))


def test_psi_by_hand() -> None:
    reference = drift.Reference(kind="number", edges=(0.0,), counts=(60, 40, 0))
    got = drift.drift(reference, [30, 70, 0])
    p, q = 60.5 / 101, 30.5 / 101
    assert got.psi == pytest.approx((q - p) * math.log(q / p) + (p - q) * math.log((1 - q) / (1 - p)))
    assert got.bins == 2  # the bin of nulls is empty on both sides
    assert got.expected == pytest.approx(1 / 100 + 1 / 100)
    assert got.limit == pytest.approx(chi2.ppf(0.99, 1) * (1 / 100 + 1 / 100))


@pytest.mark.parametrize("rows", [200, 2000])
def test_without_a_shift_it_alarms_as_rarely_as_it_says(rows: int) -> None:
    reference = drift.reference_of_numbers(normal(5000, seed=1))
    found = [drift.drift(reference, drift.count(reference, normal(rows, seed))) for seed in range(2, 402)]
    assert np.mean([one.psi for one in found]) == pytest.approx(found[0].expected, rel=0.15)
    assert np.mean([one.exceeds(0.0) for one in found]) < 0.03


def test_it_sees_a_shift_that_a_flat_limit_misses() -> None:
    reference = drift.reference_of_numbers(normal(5000, seed=1))
    found = [drift.drift(reference, drift.count(reference, normal(500, seed, shift=0.2))) for seed in range(2, 102)]
    assert np.mean([one.exceeds(0.0) for one in found]) > 0.5
    assert not any(one.psi > 0.2 for one in found)
    assert not any(one.exceeds(floor=0.25) for one in found)


def test_one_absurd_value_hides_nothing() -> None:
    shifted = normal(2000, seed=3, shift=0.5)
    reference = drift.reference_of_numbers(normal(5000, seed=1))
    plain = drift.drift(reference, drift.count(reference, shifted)).psi
    shifted.iloc[0] = 1e7
    assert drift.drift(reference, drift.count(reference, shifted)).psi == pytest.approx(plain, rel=0.02)


def test_nulls_and_unknown_names_are_drift() -> None:
    reference = drift.reference_of_numbers(normal(5000, seed=1))
    window = normal(500, seed=2)
    window.iloc[:250] = np.nan
    assert drift.drift(reference, drift.count(reference, window)).exceeds(0.25)
    names = drift.reference_of_names(pd.Series(["a", "b"] * 500))
    assert drift.drift(names, drift.count(names, pd.Series(["a", "c"] * 100))).exceeds(0.25)


def test_windows_add_up() -> None:
    reference = drift.reference_of_numbers(normal(5000, seed=1))
    parts = [normal(300, seed) for seed in (5, 6)]
    together = drift.count(reference, pd.concat(parts))
    assert (together == sum(drift.count(reference, part) for part in parts)).all()


def test_a_value_as_frequent_as_a_bin_has_one_of_its_own() -> None:
    reference = drift.reference_of_numbers(pd.Series([1.0] * 90 + [2.0] * 10))
    assert drift.count(reference, pd.Series([0.5, 1.0, 1.5, 2.0, 2.5])).tolist() == [1, 1, 1, 1, 1, 0]
    assert reference.counts == (0, 90, 0, 10, 0, 0)
    again = msgspec.json.decode(msgspec.json.encode(reference), type=drift.Reference)
    assert again == reference  # the edge beside a value is the next number there is


def test_a_reference_that_piles_up_at_its_minimum_sees_what_falls_below_it() -> None:
    piled = pd.Series(np.maximum(normal(5000, seed=1), 0.0))  # half of it is exactly 0
    reference = drift.reference_of_numbers(piled)
    assert len(reference.edges) > 4  # the other half keeps its quantiles
    window = pd.Series(np.maximum(normal(500, seed=2), 0.0))
    assert not drift.drift(reference, drift.count(reference, window)).exceeds(0.1)
    assert drift.drift(reference, drift.count(reference, window.where(window > 0, -3.0))).exceeds(0.25)


def test_a_constant_reference_sees_another_value() -> None:
    reference = drift.reference_of_numbers(pd.Series([1.0] * 50))
    assert drift.drift(reference, drift.count(reference, pd.Series([1.0] * 20))).psi == 0.0
    assert drift.drift(reference, drift.count(reference, pd.Series([0.0] * 20))).exceeds(0.25)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(UsageError, match="finite values"):
        drift.reference_of_numbers(pd.Series([np.nan, np.inf]))
    reference = drift.reference_of_numbers(pd.Series([1.0, 2.0, 3.0]))
    with pytest.raises(UsageError, match="bins"):
        drift.drift(reference, [1, 2])
    with pytest.raises(UsageError, match="rows"):
        drift.drift(reference, [0] * reference.bins)
