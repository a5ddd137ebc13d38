"""RFM scores by eye: fifths, ties, and the name each kind of customer gets."""

from __future__ import annotations

import numpy as np

from models.kit import rfm


def test_fifths_of_a_hundred_different_values() -> None:
    found = rfm.fifth(np.arange(100, dtype=np.float64))
    assert np.bincount(found.astype(int)).tolist() == [0, 20, 20, 20, 20, 20]
    assert (found[0], found[99]) == (1, 5)


def test_ties_share_the_middle_of_their_ranks() -> None:
    assert rfm.fifth(np.array([1.0, 1.0, 1.0, 1.0])).tolist() == [4, 4, 4, 4]  # rank 2.5 of 4 is 0.625
    assert rfm.fifth(np.array([1.0, 1.0, 1.0, 9.0])).tolist() == [3, 3, 3, 5]


def test_nobody_has_no_group() -> None:
    assert list(rfm.groups(np.zeros((0, 4)))) == []


def test_each_kind_of_customer_gets_its_name() -> None:
    kinds = {  # recency, orders, spend, tenure; twenty of each, so that each kind is a fifth
        rfm.LOYAL: (3, 20, 9000, 340),
        rfm.REGULAR: (20, 6, 2000, 300),
        rfm.NEW: (8, 1, 150, 8),
        rfm.LAPSING: (120, 3, 900, 250),
        rfm.LOST: (300, 1, 100, 300),
    }
    rows = [np.array(kind, dtype=np.float64) * (1 + at / 1000) for kind in kinds.values() for at in range(20)]
    found = rfm.groups(np.array(rows))
    assert list(found[::20]) == list(kinds)
    assert all(len(set(found[at : at + 20])) == 1 for at in range(0, 100, 20))
