"""Boosted trees answered without walking them: what each input rules out is crossed off, and the first leaf left is the answer.

QuickScorer (Lucchese et al., SIGIR 2015): every split is kept by its input, thresholds ascending, with the leaves that it
cannot lead to when its answer is "right". The loop is compiled by numba, which nobody imports who has no trees to answer
with. `models.kit.trees` alone makes these, compares them with LightGBM's own answers, and has those as the way back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from models.kit import treetext

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
MOST_LEAVES = 64  # bits of a word
MOST_CROSSINGS = 2_000_000  # of categories: every one has a list of its own
NOTHING = float(np.float32(1e-35))  # LightGBM takes what is no further from 0 for 0
ONES = np.uint64(0xFFFFFFFFFFFFFFFF)
ONE = np.uint64(1)
_DE_BRUIJN, _SHIFT = np.uint64(0x03F79D71B4CB0A89), np.uint64(58)  # tells where the lowest bit of a word is
_PLACES = np.zeros(MOST_LEAVES, dtype=np.uint64)
_PLACES[[(((1 << at) * 0x03F79D71B4CB0A89) & (2**64 - 1)) >> 58 for at in range(MOST_LEAVES)]] = np.arange(MOST_LEAVES)
logging.getLogger("numba").setLevel(logging.WARNING)  # it tells every byte code at DEBUG


class Unfit(Exception):
    """These trees have something that is not done here."""


class Crossing(NamedTuple):
    """A split on its way into the lists."""

    tree: int
    crossed: int  # the leaves of its left side, as bits that are not set
    feature: int
    threshold: float
    categories: frozenset[int] | None  # that go left; None where the input is a number
    missing_right: bool

    def right(self, category: int) -> bool:
        return self.categories is None or category not in self.categories


class Lists(NamedTuple):
    """The compiled loop's arguments. A list of crossings is [starts[n], starts[n + 1]) of `trees` and `crossed`.

    Input f has its splits by threshold in list f, those that a missing value sends right in list `inputs + f`, and, when it
    is one of categories, those of category c in list `categories[f] + c` (while c < `counts[f]`).
    """

    starts: Counts
    limits: Floats
    trees: npt.NDArray[np.uint32]
    crossed: Words
    categories: Counts
    counts: Counts  # 0 for an input that is a number
    first: Words  # leaf of each tree
    leaves: Floats


def lists(text: treetext.Text) -> Lists:
    """Trees as lists.

    Raises:
        Unfit: for trees with more leaves than a word has bits, with zeros that are missing, with models in their leaves, for
            more than one score or an average of the trees, and for too many categories.
    """
    if not text.one_sum:
        raise Unfit("one score, the sum of all trees")
    by_input: list[list[Crossing]] = [[] for _ in range(text.inputs)]
    leaves: list[list[float]] = []
    for number, tree in enumerate(text.trees()):
        if len(tree.leaves) > MOST_LEAVES:
            raise Unfit(f"{MOST_LEAVES} leaves")
        if tree.linear:
            raise Unfit("a number in every leaf")
        leaves.append([])
        for one in _crossings(tree, 0 if tree.features else -1, number, leaves[-1]):
            by_input[one.feature].append(one)
    return _arranged(by_input, leaves)


def answers(made: Lists, rows: Floats) -> Floats:
    """The sum of the leaves each row falls into, trees in their order. `rows` are (rows x inputs), without gaps in memory."""
    found = np.empty(len(rows))
    _answer(rows, *made, found)
    return found


def trials(made: Lists, seed: int = 0, count: int = 256) -> Floats:
    """Rows to compare on: (count x inputs) of values at, just below and just above thresholds, categories known and
    unknown, missing, endless and zero."""
    draw = np.random.default_rng(seed)
    columns = [_trial(made, at, count, draw) for at in range(len(made.counts))]
    return np.ascontiguousarray(np.column_stack(columns))


def _trial(made: Lists, at: int, count: int, draw: np.random.Generator) -> Floats:
    limits = made.limits[made.starts[at] : made.starts[at + 1]]
    near = [limits, np.nextafter(limits, -np.inf), np.nextafter(limits, np.inf)] if len(limits) else []
    known = np.arange(-1.0, float(made.counts[at]) + 2.0)
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, -1.5, 1e-40, 2.5])
    if made.counts[at]:  # LightGBM turns a category into an int, which endless ones are not
        return np.asarray(draw.choice(np.concatenate([known, [np.nan, 0.5]]), count))
    drawn = draw.choice(np.concatenate([*near, draw.normal(size=16)]), count)
    return np.where(draw.random(count) < 0.1, draw.choice(odd, count), drawn)


def _crossings(tree: treetext.Tree, node: int, number: int, leaves: list[float]) -> Iterator[Crossing]:
    """The splits below a node; its leaves are added from left to right."""
    if node < 0:
        leaves.append(tree.leaves[-node - 1])
        return
    begin = len(leaves)
    yield from _crossings(tree, tree.left[node], number, leaves)
    left = ((1 << (len(leaves) - begin)) - 1) << begin
    yield _crossing(tree, node, number, ~left & (2**64 - 1))
    yield from _crossings(tree, tree.right[node], number, leaves)


def _crossing(tree: treetext.Tree, node: int, number: int, crossed: int) -> Crossing:
    feature, threshold, missing = tree.features[node], tree.thresholds[node], tree.missing(node)
    if tree.categorical(node):  # what is missing is none of those that go left
        return Crossing(number, crossed, feature, 0.0, tree.categories[int(threshold)], True)
    if missing == "zero":
        raise Unfit("zeros that are values")
    right = not tree.default_left(node) if missing == "nan" else threshold < 0.0
    return Crossing(number, crossed, feature, threshold, None, right)


def _arranged(by_input: Sequence[list[Crossing]], leaves: Sequence[Sequence[float]]) -> Lists:
    kinds = [bool(found) and found[0].categories is not None for found in by_input]
    counts = [_categories(found) if kind else 0 for found, kind in zip(by_input, kinds, strict=True)]
    if sum(len(found) * count for found, count in zip(by_input, counts, strict=True)) > MOST_CROSSINGS:
        raise Unfit("fewer categories")
    ordered = [
        [] if kind else sorted(found, key=attrgetter("threshold")) for found, kind in zip(by_input, kinds, strict=True)
    ]
    known = [[one for one in found if one.missing_right] for found in by_input]
    categories: list[int] = []
    of_categories: list[list[Crossing]] = []
    for found, count in zip(by_input, counts, strict=True):
        categories.append(2 * len(by_input) + len(of_categories))
        of_categories += [[one for one in found if one.right(value)] for value in range(count)]
    every = [*ordered, *known, *of_categories]
    flat = [one for some in every for one in some]
    return Lists(
        starts=np.cumsum([0, *map(len, every)], dtype=np.int64),
        limits=np.array([one.threshold for some in ordered for one in some], dtype=np.float64),
        trees=np.array([one.tree for one in flat], dtype=np.uint32),
        crossed=np.array([one.crossed for one in flat], dtype=np.uint64),
        categories=np.array(categories, dtype=np.int64),
        counts=np.array(counts, dtype=np.int64),
        first=np.cumsum([0, *map(len, leaves)], dtype=np.uint64)[:-1],
        leaves=np.array([value for some in leaves for value in some], dtype=np.float64),
    )


def _categories(found: Sequence[Crossing]) -> int:
    """One more than the largest category that a split names."""
    return 1 + max(value for one in found for value in one.categories or ())


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _answer(  # noqa: PLR0917 - the fields of Lists: a tuple of them would cost more to hand over than to answer from
    rows: Floats, starts: Counts, limits: Floats, trees: npt.NDArray[np.uint32], crossed: Words,
    categories: Counts, counts: Counts, first: Words, leaves: Floats, found: Floats,
) -> None:  # fmt: skip
    """Unsigned places spare the compiled code a look at every one whether it counts from the end."""
    inputs, left = len(counts), np.empty(len(first), np.uint64)
    for row in range(len(rows)):
        left[:] = ONES
        for at in range(inputs):
            value = rows[row, at]
            if abs(value) <= NOTHING:
                value = 0.0
            chosen = inputs + at
            if counts[at] > 0 and -1.0 < value < counts[at]:
                chosen = categories[at] + int(value)
            begin, end = starts[chosen], starts[chosen + 1]
            if counts[at] == 0 and not np.isnan(value):
                begin, end = starts[at], starts[at] + np.searchsorted(limits[starts[at] : starts[at + 1]], value)
            for place in range(np.uint64(begin), np.uint64(end)):
                left[trees[place]] &= crossed[place]
        total = 0.0
        for tree in range(np.uint64(len(first))):
            lowest = left[tree] & (~left[tree] + ONE)
            total += leaves[first[tree] + _PLACES[(lowest * _DE_BRUIJN) >> _SHIFT]]
        found[row] = total
