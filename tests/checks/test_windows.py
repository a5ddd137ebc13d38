from __future__ import annotations

from datetime import UTC, datetime, timedelta

from checks.windows import ORIGIN, Grid, Heard, event_now

NOW = datetime(2026, 11, 11, 12, tzinfo=UTC)  # a Wednesday
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def test_windows_of_a_week_are_calendar_weeks() -> None:
    grid = Grid(168)
    number = grid.number(NOW)
    assert grid.start(number) == datetime(2026, 11, 9, tzinfo=UTC)
    assert grid.end(number) == datetime(2026, 11, 16, tzinfo=UTC)
    assert grid.number(grid.start(number)) == number
    assert grid.number(grid.end(number)) == number + 1
    assert Grid(24).number(ORIGIN - HOUR) == -1


def test_live_traffic_goes_by_the_wall_clock_and_time_goes_on_without_any() -> None:
    heard = [Heard(NOW - back * HOUR, NOW - back * HOUR, 50) for back in range(1, 5)]
    assert event_now(heard, NOW, 100) == NOW
    assert event_now(heard, NOW + DAY, 100) == NOW + DAY
    assert event_now([], NOW, 100) is None


def test_a_replay_goes_by_its_own_clock() -> None:
    then = datetime(2011, 9, 1, tzinfo=UTC)
    heard = [Heard(NOW - timedelta(seconds=10 - n), then + n * HOUR, 50) for n in range(10)]
    assert then + 7 * HOUR < (event_now(heard, NOW, 100) or NOW) < then + 10 * HOUR


def test_a_stray_time_moves_nothing() -> None:
    heard = [Heard(NOW - HOUR, NOW - HOUR, 150), Heard(NOW, NOW - 4000 * DAY, 1), Heard(NOW, NOW + 50 * DAY, 1)]
    assert event_now(heard, NOW, 100) == NOW
