"""Trees as LightGBM writes them down (`Booster.model_to_string`), read as arrays: its format v4, a block of `name=values` a tree.

Reading the text takes a tenth of what `dump_model` does, and never keeps the interpreter to itself for long: the JSON of that
is parsed in one go, while nobody else answers. Read by `models.kit.quick`, whose answers are compared with LightGBM's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

CATEGORICAL, DEFAULT_LEFT, MISSING_SHIFT = 1, 2, 2  # bits of decision_type
MISSING = ("none", "zero", "nan")  # what counts as missing
WORD = 32  # bits of cat_threshold's numbers


class Tree(NamedTuple):
    """One tree. Node n asks about input `features[n]`; a child below zero is leaf -child - 1."""

    features: list[int]
    thresholds: list[float]  # of a category: which of `categories`
    decisions: list[int]
    left: list[int]
    right: list[int]
    leaves: list[float]
    categories: list[frozenset[int]]  # that go left
    linear: bool

    def categorical(self, node: int) -> bool:
        return bool(self.decisions[node] & CATEGORICAL)

    def default_left(self, node: int) -> bool:
        return bool(self.decisions[node] & DEFAULT_LEFT)

    def missing(self, node: int) -> str:
        return MISSING[self.decisions[node] >> MISSING_SHIFT & 3]


class Text(NamedTuple):
    """The head of a text and its trees."""

    head: dict[str, str]
    blocks: list[str]

    @property
    def inputs(self) -> int:
        return int(self.head["max_feature_idx"]) + 1

    @property
    def objective(self) -> str:
        return self.head.get("objective", "")

    @property
    def one_sum(self) -> bool:
        """One score a row, and it is the sum of the trees."""
        return self.head["num_tree_per_iteration"] == "1" and "average_output" not in self.head

    def trees(self) -> Iterator[Tree]:
        for block in self.blocks:
            yield _tree(_lines(block))


def read(text: str) -> Text:
    """The parts of a text that LightGBM has read already. Raises ValueError or KeyError for another form."""
    head, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
    return Text(_lines(head), blocks)


def _lines(block: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in block.splitlines())}


def _tree(lines: dict[str, str]) -> Tree:
    def whole(name: str) -> list[int]:
        return list(map(int, lines.get(name, "").split()))

    def real(name: str) -> list[float]:
        return list(map(float, lines.get(name, "").split()))

    bounds, words = whole("cat_boundaries"), whole("cat_threshold")
    return Tree(
        features=whole("split_feature"),
        thresholds=real("threshold"),
        decisions=whole("decision_type"),
        left=whole("left_child"),
        right=whole("right_child"),
        leaves=real("leaf_value"),
        categories=[_bits(words[begin:end]) for begin, end in pairwise(bounds)],
        linear=lines.get("is_linear", "0") != "0",
    )


def _bits(words: list[int]) -> frozenset[int]:
    return frozenset(at * WORD + bit for at, word in enumerate(words) for bit in range(WORD) if word >> bit & 1)
