"""What leaves about a contributor: proposals made from a probability, the table of the rules, and the policy over both.

A model may propose "distrusted"; no answer ever says so. A low score is a reason for a person to look, and only if there
is something to look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from models.contract import Decided, Proposal
from models.kit.contributors import NUMBERS, Index

TRUSTED, WATCH, REVIEW, UNKNOWN = "trusted", "watch", "review", "unknown"
DISTRUSTED = "distrusted"  # proposed, never answered
YOUNG_DAYS = 30  # account age of the rules' table
# Least posts, and the probability with a young and with an older account: shares of the cohorts of benchmarks/search,
# rounded to 0.05 where few are in a cell.
TABLE = ((10, 0.80, 0.80), (5, 0.70, 0.45), (3, 0.45, 0.30), (2, 0.35, 0.20), (0, 0.13, 0.07))
RULES_TRUST_FROM, RULES_EVERYONE = 0.45, 0.15
Days = Annotated[int, msgspec.Meta(ge=1, le=366)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the site decided, whatever a score says."""

    min_days: Days  # since the first contribution; younger nobody is trusted
    min_posts: Count  # with fewer nobody is trusted
    min_value: Share  # with a smaller probability nobody is trusted, however few are better
    max_posts_a_day: Count  # whoever posted more on a day is looked at by a person
    review_days: Days  # a person has something to look at only if there was a contribution within these
    stale_days: Days  # unseen for longer: what is known is too old to say anything


def proposed(value: float, trusted_from: float, distrusted_below: float, everyone: float) -> Proposal:
    """What a score proposes first, and what rules may put in its place. Unknown has the probability of all."""
    items: tuple[str, ...] = (WATCH, REVIEW, UNKNOWN)
    if value >= trusted_from:
        items = (TRUSTED, *items)
    elif value < distrusted_below:
        items = (DISTRUSTED, REVIEW, WATCH, UNKNOWN)
    return Proposal(items=items, scores=(*(value for _ in items[:-1]), everyone), value=value)


def unknown(everyone: float) -> Proposal:
    """For somebody who is not new, or never seen."""
    return Proposal(items=(UNKNOWN,), scores=(everyone,), value=everyone)


def by_table(index: Index) -> npt.NDArray[np.float64]:
    """The rules' probability of each contributor: account age and number of posts."""
    posts, young = index.column("posts"), index.column("account_days") <= YOUNG_DAYS
    fresh = np.select([posts >= least for least, _, _ in TABLE], [high for _, high, _ in TABLE])
    older = np.select([posts >= least for least, _, _ in TABLE], [low for _, _, low in TABLE])
    return np.where(young, fresh, older).astype(np.float64)


def decided(proposal: Proposal, row: npt.NDArray[np.float64] | None, policy: Policy) -> Decided:
    """The first item that no rule forbids, naming the rules that kept better ones out.

    Args:
        row: NUMBERS of the contributor; None for one who is not known.
    """
    forbidden = _forbidden(proposal, row, policy)
    allowed = [at for at, name in enumerate(proposal.items) if name not in forbidden]
    if not allowed:  # a rule invents no item
        return Decided(
            items=(),
            scores=(),
            value=proposal.value,
            overruled=tuple(sorted({forbidden[name] for name in proposal.items})),
        )
    at = allowed[0]
    value = proposal.value if proposal.items[at] != UNKNOWN else proposal.scores[at]
    overruled = tuple(sorted({forbidden[name] for name in proposal.items[:at]}))
    return Decided(items=(proposal.items[at],), scores=(proposal.scores[at],), value=value, overruled=overruled)


def _forbidden(proposal: Proposal, row: npt.NDArray[np.float64] | None, policy: Policy) -> Mapping[str, str]:
    """The items that a rule keeps from this contributor, each with the rule."""
    found = {DISTRUSTED: "a_person_decides"}
    if row is None:  # nobody is trusted on a score alone
        return found | {TRUSTED: "not_known"}
    known = dict(zip(NUMBERS, row.tolist(), strict=True))
    if known["unseen_days"] > policy.stale_days:
        return dict.fromkeys((TRUSTED, WATCH, REVIEW, DISTRUSTED), "stale")
    value = proposal.value if proposal.value is not None else 0.0
    if known["since_first_days"] < policy.min_days:
        found[TRUSTED] = "too_new"
    elif known["posts"] < policy.min_posts:
        found[TRUSTED] = "too_little"
    elif value < policy.min_value:
        found[TRUSTED] = "not_sure_enough"
    if known["busiest_day"] > policy.max_posts_a_day:
        return found | dict.fromkeys((TRUSTED, WATCH), "burst")
    if known["silent_days"] > policy.review_days:
        found[REVIEW] = "nothing_to_review"
    return found
