"""Features are kept of all answers while they are few, and of so many a second when they are many."""

import pytest

from serving.sampling import Sampling


def kept(sampling: Sampling, second: int, rate: int) -> float:
    """The answers of a second whose features would be kept, on average."""
    return sum(sampling.share(1000 + second + n / rate) for n in range(rate))


def test_up_to_the_rate_all_are_kept() -> None:
    sampling = Sampling(100)
    assert [kept(sampling, second, 100) for second in range(5)] == [100] * 5


def test_above_it_so_many_a_second() -> None:
    sampling = Sampling(100)
    shares = [kept(sampling, second, 1000) for second in range(6)]
    assert 100 < shares[0] < 400  # the first second of a rush is not known to be one before it is
    assert shares[1:] == pytest.approx([100] * 5, rel=0.02)
    assert [kept(sampling, second, 10) for second in (6, 7, 8)][1:] == [10, 10]  # quiet again


def test_none_are_kept_where_none_are_wanted() -> None:
    assert kept(Sampling(0), 0, 50) == 0
