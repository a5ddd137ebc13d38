"""The rate test: quiet at its limit however often one looks, quick above it, also after many good answers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from checks import rates

Ints = npt.NDArray[np.int64]


def alarm_after(bad: Ints, answers: int, limit: float) -> int | None:
    """The look at which the rate test alarms; each look has `answers` more answers."""
    scores: tuple[float, ...] = ()
    for look, count in enumerate(bad, start=1):
        scores = rates.carry_on(scores, int(count), answers, limit)
        if rates.alarms(scores):
            return look
    return None


def test_the_rate_test_is_quiet_at_the_limit_itself() -> None:
    """With one false alarm in 3.2e7 looks, 60,000 looks should have none; at a threshold of one in 100 they do."""
    rng = np.random.default_rng(6)
    bad = rng.binomial(5, 0.01, (30, 2000))
    assert [alarm_after(row, 5, 0.01) for row in bad] == [None] * 30
    loose = 0
    for row in bad:
        scores: tuple[float, ...] = ()
        for count in row:
            scores = rates.carry_on(scores, int(count), 5, 0.01)
            loose += max(scores) > np.log(100)
    assert loose > 0


@pytest.mark.parametrize(("rate", "answers"), [(1.0, 6), (0.5, 16), (0.2, 80), (0.1, 300), (0.03, 4000)])
def test_the_rate_test_is_quick_above_the_limit(rate: float, answers: int) -> None:
    rng = np.random.default_rng(3)
    looks_needed = [alarm_after(rng.binomial(1, rate, 20_000), 1, 0.01) for _ in range(20)]
    assert np.median([look or 20_000 for look in looks_needed]) <= answers


def test_a_break_after_many_good_answers_is_found_as_quickly() -> None:
    all_bad = np.ones(10, dtype=np.int64)
    at_once = alarm_after(all_bad, 1, 0.01)
    scores: tuple[float, ...] = ()
    for _ in range(100):
        scores = rates.carry_on(scores, 0, 10_000, 0.01)
    after = 0
    while not rates.alarms(scores):
        scores = rates.carry_on(scores, 1, 1, 0.01)
        after += 1
    assert after == at_once == 5


def test_what_is_over_does_not_sound_for_as_long_as_it_lasted() -> None:
    """However many bad answers there were, an hour of them or a day."""
    ended = []
    for bad in (1_000, 1_000_000):
        scores = rates.carry_on((), bad, bad, 0.01)
        assert rates.alarms(scores)
        good = 0
        while rates.alarms(scores):
            scores, good = rates.carry_on(scores, 0, 10, 0.01), good + 10
        ended.append(good)
    assert ended[0] == ended[1] <= 300


def test_rate_limits_at_the_edges() -> None:
    never = rates.carry_on((), 10, 10, 1.0)
    assert not rates.alarms(never)
    none = rates.carry_on((), 0, 10, 0.0)
    assert not rates.alarms(none)
    one = rates.carry_on(none, 1, 10, 0.0)
    assert rates.alarms(one)
    assert rates.alarms(rates.carry_on(one, 0, 10**6, 0.0))  # it stays broken
    assert rates.alarms(rates.carry_on((), 90, 100, 0.6))
    assert not rates.alarms(rates.carry_on((), 50, 100, 0.6))


@pytest.mark.parametrize(
    ("bad", "answers", "rate", "better"),
    [
        (0, 0, 0.6, False),
        (0, 3, 0.6, False),
        (0, 4, 0.6, True),
        (0, 50, 0.05, False),
        (0, 80, 0.05, True),
        (1, 5, 0.6, False),
        (5, 5, 0.99, False),
        (0, 1, 0.998, True),
        (0, 100, 0.01, False),  # the limit itself is no failure
        (0, 100, 1.0, False),
    ],
)
def test_who_fails_less(bad: int, answers: int, rate: float, better: bool) -> None:
    assert rates.fails_less(bad, answers, rate, 0.01) is better


def test_at_a_limit_of_nothing_one_bad_answer_is_too_many() -> None:
    assert rates.fails_less(0, 10, 0.5, 0.0)
    assert not rates.fails_less(1, 1000, 0.5, 0.0)


def test_one_that_fails_as_often_is_rarely_called_better_at_any_look() -> None:
    draw = np.random.default_rng(1)
    for rate in (0.1, 0.5, 0.9):
        failed = np.cumsum(draw.random((300, 100)) < rate, axis=1)
        wrong = [any(rates.fails_less(int(bad), at + 1, rate, 0.01) for at, bad in enumerate(run)) for run in failed]
        assert np.mean(wrong) <= rates.DOUBT
