"""Slates of products: filling one under policy rules, and what of a slate was bought later.

Read by the recommending models; the policy rules themselves are each model's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from checks import metrics
from models.contract import Decided, Proposal
from models.kit.history import Index

Floats = npt.NDArray[np.float64]
Worth = Mapping[str, float]  # item -> revenue
DEPTH = 20  # ranks that are scored
MIN_BUYERS = 5  # an item with fewer buyers is not part of the scored truth (the reference protocol)


def fill(
    proposal: Proposal, size: int, broken: Callable[[str], str], family: Callable[[str], str], most: int
) -> Decided:
    """The first `size` items of a proposal that no rule forbids, naming each rule that kept one out.

    Args:
        broken: the name of the rule an item breaks by itself, or empty.
        family: what an item is a variant of; a slate holds at most `most` of one family (rule `max_per_family`).
    """
    kept: list[int] = []
    overruled: set[str] = set()
    families: dict[str, int] = {}
    for at, item in enumerate(proposal.items):
        if len(kept) == size:
            break
        kin = family(item)
        rule = broken(item) or ("max_per_family" if families.get(kin, 0) >= most else "")
        if rule:
            overruled.add(rule)
            continue
        families[kin] = families.get(kin, 0) + 1
        kept.append(at)
    return Decided(
        items=tuple(proposal.items[at] for at in kept),
        scores=tuple(proposal.scores[at] for at in kept),
        overruled=tuple(sorted(overruled)),
    )


def capped(slate: Decided, size: int, asked: int) -> Decided:
    """Names the rule `max_items` where it is what ended a slate: `size` items, and more were asked for."""
    if not len(slate.items) == size < asked:
        return slate
    return msgspec.structs.replace(slate, overruled=tuple(sorted({*slate.overruled, "max_items"})))


def truths(index: Index, outcomes: pd.DataFrame) -> tuple[list[str], list[Worth], list[Worth]]:
    """Customers of the index who bought something in `outcomes`, and what each bought for the first time and again.

    Counted are items of the catalogue with at least MIN_BUYERS buyers: nothing can be said of others.
    """
    catalogue = index.catalogue
    common = {code for code, buyers in zip(catalogue.codes, catalogue.buyers, strict=True) if buyers >= MIN_BUYERS}
    counted = outcomes[outcomes["item"].isin(common) & outcomes["subject"].isin(set(index.subjects))]
    revenue = counted.groupby(["subject", "item"], sort=True)["revenue"].sum().reset_index()
    new: dict[str, dict[str, float]] = {subject: {} for subject in revenue["subject"].unique()}
    again: dict[str, dict[str, float]] = {subject: {} for subject in new}
    had = {subject: set(index.items[index.rows(subject)].tolist()) for subject in new}
    columns = (revenue[name].tolist() for name in ("subject", "item", "revenue"))
    for subject, item, worth in zip(*columns, strict=True):
        side = again if catalogue.position[item] in had[subject] else new
        side[subject][item] = worth
    return list(new), list(new.values()), list(again.values())


def discovery(proposals: Sequence[Proposal], new: Sequence[Worth]) -> dict[str, Floats]:
    """Metrics of what was bought for the first time, one value per customer, missing for one who bought nothing new."""
    gains = _gains(proposals, new)
    relevant = np.array([len(worth) for worth in new], dtype=np.int64)
    totals = np.array([sum(worth.values()) for worth in new], dtype=np.float64)
    return {
        "hit_at_10": np.where(relevant > 0, metrics.hit_at(gains > 0, 10), np.nan),
        "recall_at_20": metrics.recall_at(gains > 0, relevant, DEPTH),
        "ndcg_at_20": metrics.ndcg_at(gains > 0, relevant, DEPTH),
        "revenue_recall_at_20": metrics.weighted_recall_at(gains, totals, DEPTH),
    }


def repeats(proposals: Sequence[Proposal], again: Sequence[Worth]) -> dict[str, Floats]:
    """Whether anything bought again was among the first ten; missing for a customer who bought nothing again."""
    some = np.array([bool(worth) for worth in again], dtype=np.bool_)
    return {"repeat_hit_at_10": np.where(some, metrics.hit_at(_gains(proposals, again) > 0, 10), np.nan)}


def _gains(proposals: Sequence[Proposal], worth: Sequence[Worth]) -> Floats:
    """What each place of each proposal was worth to its customer, 0 for nothing. Shape (proposals, DEPTH)."""
    table = np.zeros((len(worth), DEPTH))
    for row, (proposal, values) in enumerate(zip(proposals, worth, strict=True)):
        found = [values.get(item, 0.0) for item in proposal.items[:DEPTH]]
        table[row, : len(found)] = found
    return table
