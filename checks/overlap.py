"""How alike two ranked lists are: shared items, the top, and rank-biased overlap. Pure; read by `checks.shadow`.

Lists are best first, of any two lengths; an item that stands in a list twice counts where it stands first. Two empty lists
are alike.
"""

from __future__ import annotations

from collections.abc import Sequence

TOP = 5
PERSISTENCE = 0.9  # of rank-biased overlap: the first ten places weigh 86 %, the first twenty 97 %


def jaccard(one: Sequence[str], other: Sequence[str]) -> float:
    """Items in both over items in either, whatever their places."""
    either = {*one, *other}
    return len({*one} & {*other}) / len(either) if either else 1.0


def at_top(one: Sequence[str], other: Sequence[str], k: int = TOP) -> float:
    """Share of the first k places that both fill with the same items, in whatever order; of fewer where both lists are shorter."""
    first, second = list(dict.fromkeys(one)), list(dict.fromkeys(other))
    places = min(k, max(len(first), len(second)))
    return len({*first[:k]} & {*second[:k]}) / places if places else 1.0


def rank_biased(one: Sequence[str], other: Sequence[str], p: float = PERSISTENCE) -> float:
    """Rank-biased overlap, extrapolated: what a reader who goes on to the next place with probability p is expected to see
    in both lists.

    RBO_EXT for lists of unequal length, equation 32 of Webber, Moffat and Zobel (2010), "A similarity measure for indefinite
    rankings", ACM TOIS 28(4). Beyond its end the shorter list is taken to agree as it did so far.
    """
    short, long = sorted((list(dict.fromkeys(one)), list(dict.fromkeys(other))), key=len)
    if not short:
        return float(not long)
    shared = _shared(short, long)
    ends, depth = len(short), len(long)
    at_end = shared[ends - 1]
    seen = sum(x / d * p**d for d, x in enumerate(shared, 1))
    missing = sum(at_end * (d - ends) / (ends * d) * p**d for d in range(ends + 1, depth + 1))
    beyond = ((shared[-1] - at_end) / depth + at_end / ends) * p**depth
    return (1 - p) / p * (seen + missing) + beyond


def _shared(short: Sequence[str], long: Sequence[str]) -> list[int]:
    """How many items the first d places have in common, for d from 1 to the end of the longer list."""
    counts, count = [], 0
    upper, lower = set[str](), set[str]()
    for at, item in enumerate(long):
        upper.add(item)
        if at < len(short):
            lower.add(short[at])
            count += short[at] in upper
        count += item in lower and not (at < len(short) and short[at] == item)
        counts.append(count)
    return counts
