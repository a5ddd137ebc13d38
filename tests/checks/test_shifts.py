"""Drift: how often it is said when nothing happened, how often when something did, and when it is not said at all."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace
from scipy.special import fdtrc

from checks import drift, profiles, shifts
from checks.profiles import EMPTY, Profile, References
from checks.shifts import Dispersion
from tests.checks.watched import config, reference, week


def windows(known: References, seed: int, count: int = 3, **more: float) -> list[Profile]:
    return [profiles.profile(known, week(seed + n, **more)) for n in range(count)]  # type: ignore[arg-type]  # rows or shares


@pytest.mark.parametrize(("apart", "rows"), [(0.0, 300), (0.15, 300), (0.15, 1000), (0.3, 300)])
def test_a_quiet_stretch_stays_quiet(apart: float, rows: int) -> None:
    """No floor, so that the test of chance stands alone: 60 windows, each like a week of its reference."""
    limits = config(floor_psi=0.0, alpha=0.05)
    said, alone = 0, []
    for home in range(5):
        known = reference(apart=apart, seed=1000 * home)
        for n in range(4):
            looked = windows(known, 1000 * home + 100 + 10 * n, apart=apart, rows=rows)
            said += shifts.drifted(known, looked, limits).answer == "yes"
            alone += [one.p_value <= 0.05 for window in looked for one in shifts.shifts(known, window, limits)]
    assert said <= 1
    assert np.mean(alone) < 0.08


def test_weeks_that_differ_make_a_bare_chi_square_cry_wolf() -> None:
    """What the calibration is for: the same windows, judged as if rows were all there is to chance."""
    known = reference(apart=0.3)
    bare = profiles.References(columns=tuple(replace(one, blocks=()) for one in known.columns), rows=1, anomalies=0)
    limits = config(floor_psi=0.0)
    looked = windows(known, 50, 12, apart=0.3, rows=1000)
    cried = [any(one.drifted for one in shifts.shifts(bare, window, limits)) for window in looked]
    quiet = [any(one.drifted for one in shifts.shifts(known, window, limits)) for window in looked]
    assert np.mean(cried) > 0.5
    assert np.mean(quiet) < 0.2


@pytest.mark.parametrize(("apart", "shift"), [(0.0, 0.7), (0.1, 0.9)])
def test_a_real_shift_is_seen_in_the_column_that_shifted(apart: float, shift: float) -> None:
    known, seen = reference(apart=apart), 0
    for n in range(10):
        looked = windows(known, 200 + 10 * n, apart=apart, shift=shift)
        said = shifts.drifted(known, looked, config())
        seen += said.answer == "yes" and said.figures["worst"]["column"] == "amount"
    assert seen >= 8


def test_a_small_shift_is_of_no_size_however_sure() -> None:
    known = reference()
    looked = windows(known, 300, rows=20_000, shift=0.28)
    amount = shifts.shifts(known, looked[-1], config())[0]
    assert amount.adjusted < 0.01
    assert amount.psi < 0.1
    assert not amount.drifted
    assert shifts.drifted(known, looked, config()).answer == "no"
    assert shifts.drifted(known, looked, config(floor_psi=0.01)).answer == "yes"


def test_the_same_column_must_shift_in_k_of_n_windows() -> None:
    known, limits = reference(), config()
    quiet, loud = windows(known, 400, 3), windows(known, 500, 3, shift=2.0)
    other = [profiles.profile(known, week(600).assign(place="d"))]
    assert shifts.drifted(known, [quiet[0], quiet[1], loud[0]], limits).answer == "no"
    assert shifts.drifted(known, [loud[0], quiet[1], loud[1]], limits).answer == "yes"
    assert shifts.drifted(known, [loud[0], quiet[0], *other], limits).answer == "no"  # each another column
    assert shifts.drifted(known, [*loud, *quiet], limits).answer == "no"  # those before the last three are over


def test_windows_nothing_is_known_of_leave_it_undecided() -> None:
    known, limits = reference(), config()
    quiet, loud = windows(known, 700, 3), windows(known, 800, 1, shift=2.0)
    few = profiles.profile(known, week(900, rows=99))
    assert shifts.drifted(known, [], limits).answer == "undecided"
    assert shifts.drifted(known, [EMPTY, EMPTY, EMPTY], limits).answer == "undecided"
    assert shifts.drifted(known, [few, few, few], limits).answer == "undecided"
    assert shifts.drifted(known, [EMPTY, EMPTY, quiet[0]], limits).answer == "undecided"
    assert shifts.drifted(known, [EMPTY, quiet[0], quiet[1]], limits).answer == "no"  # one could not make it two
    assert shifts.drifted(known, [EMPTY, loud[0], quiet[1]], limits).answer == "undecided"
    assert shifts.drifted(known, [few, few, quiet[0]], limits).figures["windows"][0] == {}


@pytest.mark.parametrize("value", [np.nan, 3.0, -49.0, 1e7])
def test_a_column_that_turns_null_constant_or_absurd_is_drift(value: float) -> None:
    known = reference()
    looked = [profiles.profile(known, week(n).assign(amount=value)) for n in range(3)]
    assert shifts.drifted(known, looked, config()).answer == "yes"


def test_one_absurd_value_and_one_new_name_are_not() -> None:
    known = reference()
    spoilt = [week(n) for n in range(3)]
    for frame in spoilt:
        frame.loc[0, ["amount", "place"]] = [1e7, "never seen"]
    assert shifts.drifted(known, [profiles.profile(known, one) for one in spoilt], config()).answer == "no"


def test_names_never_seen_are_drift() -> None:
    known = reference()
    looked = [profiles.profile(known, week(n).assign(place="elsewhere")) for n in range(3)]
    said = shifts.drifted(known, looked, config())
    assert said.answer == "yes"
    assert said.figures["worst"]["column"] == "place"


def test_the_answer_follows_from_the_figures_as_they_are_stored() -> None:
    known = reference()
    for looked in (windows(known, 1), windows(known, 2, shift=2.0), [EMPTY]):
        said = shifts.drifted(known, looked, config())
        assert shifts.answer_of(json.loads(json.dumps(said.figures))) == said.answer


def test_the_p_value_is_an_f_test_where_windows_are_like_blocks() -> None:
    """With all dispersion known to be one degree of freedom: psi / seen against F(1, blocks - 1)."""
    found = drift.Drift(psi=0.4, expected=0.0, limit=0.0, bins=2, reference_rows=10**9, rows=10**9)
    p_value = shifts._p_value(found, Dispersion(seen=0.05, chance=1e-12, blocks=12))
    assert p_value == pytest.approx(float(fdtrc(1, 11, 0.4 / 0.05)), rel=0.02)


def test_two_blocks_say_nothing_of_how_blocks_differ() -> None:
    assert shifts.dispersion(reference(weeks=2, apart=0.5).columns[0]).blocks == 0
    assert shifts.dispersion(reference(weeks=6, apart=0.5).columns[0]).excess > 0


def test_what_is_shown_beside_is_right_for_two_bins() -> None:
    frame = pd.DataFrame({"amount": [0.0] * 100 + [1.0] * 100})
    known = profiles.reference([frame], week_features(), 2)
    window = profiles.profile(known, pd.DataFrame({"amount": [0.0] * 50 + [1.0] * 150}))
    one = shifts.shifts(known, window, config())[0]
    assert one.ks == pytest.approx(0.25, abs=0.01)
    assert one.kl == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5), abs=0.02)
    assert 0 < one.js < one.kl
    assert (one.mean, one.reference_mean) == (0.75, 0.5)


def week_features() -> tuple[profiles.Watched, ...]:
    from tests.checks.watched import FEATURES

    return FEATURES[:1]


def test_other_windows_are_shown() -> None:
    known = reference()
    same, other = windows(known, 1, 1), windows(known, 5, 1, shift=2.0)
    shown = shifts.beside(known, other[0], same[0])
    assert shown is not None
    assert shown["column"] == "amount"
    assert shifts.beside(known, other[0], EMPTY) is None
