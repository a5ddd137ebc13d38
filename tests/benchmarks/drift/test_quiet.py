"""Quiet quarters: what is counted as an alarm, and that weeks alike are quiet where the rules of thumb are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.drift import quiet
from benchmarks.drift.series import series, settings
from checks.profiles import profile, reference
from configs.load import load
from models.contract import Feature


def test_an_alarm_is_a_change_of_state() -> None:
    flags = np.zeros((20, quiet.WEEKS), dtype=np.bool_)
    flags[0, [0, 1, 5]] = True  # two alarms in one quarter
    found = quiet.figures({"rule": flags})["rule"]
    assert found["windows"] == 3 / 260
    assert found["alarms_per_quarter"] == 2 / 20
    assert found["quarters_with_alarm"] == 0.05
    assert found["quarters_upper_95"] == pytest.approx(0.2161, abs=1e-4)  # Clopper and Pearson, 1 of 20


def test_the_upper_end_without_an_alarm_and_with_nothing_else() -> None:
    none = quiet.figures({"rule": np.zeros((59, quiet.WEEKS), dtype=np.bool_)})["rule"]
    every = quiet.figures({"rule": np.ones((5, quiet.WEEKS), dtype=np.bool_)})["rule"]
    assert none["quarters_upper_95"] == pytest.approx(1 - 0.05 ** (1 / 59))
    assert (every["quarters_upper_95"], every["alarms_per_quarter"]) == (1.0, 1.0)


def pool(level: float) -> quiet.Pool:
    """Thirty weeks of 300 rows, each about a level of its own."""
    draw = np.random.default_rng(3)
    weeks = [pd.DataFrame({"x": draw.normal(level * draw.normal(), 1.0, 300)}) for _ in range(30)]
    watched = (Feature(name="x", dtype="float64", meaning="made up"),)
    return quiet.Pool("made up", tuple(weeks), watched, settings(series("bank_marketing"), load().defaults))


def test_weeks_with_a_level_of_their_own_are_quiet_for_us_only() -> None:
    told = quiet.figures(quiet.quarters(pool(level=0.7), 5))
    assert told[quiet.OURS]["quarters_with_alarm"] == 0
    assert told[quiet.FLAT]["windows"] > 0.3
    assert told[quiet.SINGLE]["windows"] > 0.6


def test_a_shift_is_not_lost_for_being_quiet() -> None:
    """The same weeks, the windows moved by three standard deviations of them: said in nearly every window from the second."""
    made = pool(level=0.1)
    moved = [frame + 3.0 for frame in made.weeks[12:25]]
    references = reference(list(made.weeks[:12]), made.watched, made.config.bins)
    said: dict[str, Any] = quiet._said(references, [profile(references, one) for one in moved], made.config)
    assert said[quiet.OURS] == [False] + [True] * 12
