"""Each policy rule wins over a proposal, whoever made it; no rule invents an answer."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from configs.load import load
from models.contract import Decided, Proposal
from models.kit import conduct
from models.kit.conduct import DISTRUSTED, REVIEW, TRUSTED, UNKNOWN, WATCH, Policy
from models.kit.contributors import NUMBERS, Index

POLICY = msgspec.convert(load().models["reputation"].policy, Policy)
STEADY = {
    "account_days": 60.0, "since_first_days": 40.0, "silent_days": 2.0, "unseen_days": 1.0, "posts": 12.0,
    "busiest_day": 2.0,
}  # fmt: skip


def row(**changes: float) -> Any:
    """A contributor that no rule objects to, but for the changes."""
    known = {**dict.fromkeys(NUMBERS, 0.0), **STEADY, **changes}
    return np.array([known[name] for name in NUMBERS])


def answer(value: float, **changes: float) -> Decided:
    return conduct.decided(conduct.proposed(value, 0.6, 0.05, 0.1), row(**changes), POLICY)


def said(decided: Decided) -> tuple[str, tuple[str, ...]]:
    return decided.items[0], decided.overruled


def test_a_score_leaves_as_it_is_when_no_rule_objects() -> None:
    assert answer(0.8) == Decided(items=(TRUSTED,), scores=(0.8,), value=0.8)
    assert answer(0.4) == Decided(items=(WATCH,), scores=(0.4,), value=0.4)


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("too_new", {"since_first_days": POLICY.min_days - 0.1}),
        ("too_little", {"posts": POLICY.min_posts - 1.0}),
    ],
)
def test_nobody_is_trusted_in_the_first_days_or_with_too_little(rule: str, changes: dict[str, float]) -> None:
    assert said(answer(0.99, **changes)) == (WATCH, (rule,))
    assert answer(0.99, **changes).value == 0.99


def test_nobody_is_trusted_on_a_small_probability() -> None:
    """Where few are good, the best twentieth need not be good enough."""
    proposal = conduct.proposed(0.2, trusted_from=0.1, distrusted_below=0.01, everyone=0.05)
    assert proposal.items[0] == TRUSTED
    assert said(conduct.decided(proposal, row(), POLICY)) == (WATCH, ("not_sure_enough",))


@pytest.mark.parametrize("value", [0.99, 0.4])
def test_a_burst_is_looked_at_by_a_person(value: float) -> None:
    assert said(answer(value, busiest_day=POLICY.max_posts_a_day + 1.0)) == (REVIEW, ("burst",))
    assert said(answer(value, busiest_day=float(POLICY.max_posts_a_day)))[1] == ()


def test_nobody_is_trusted_of_whom_nothing_is_known() -> None:
    proposal = conduct.proposed(0.9, 0.6, 0.05, 0.1)
    assert said(conduct.decided(proposal, None, POLICY)) == (WATCH, ("not_known",))


def test_no_answer_distrusts_anybody() -> None:
    assert conduct.proposed(0.01, 0.6, 0.05, 0.1).items[0] == DISTRUSTED
    assert said(answer(0.01)) == (REVIEW, ("a_person_decides",))
    assert said(conduct.decided(conduct.proposed(0.01, 0.6, 0.05, 0.1), None, POLICY))[0] == REVIEW


def test_a_person_is_not_sent_where_there_is_nothing_to_see() -> None:
    silent = answer(0.01, silent_days=POLICY.review_days + 1.0, unseen_days=1.0)
    assert said(silent) == (WATCH, ("a_person_decides", "nothing_to_review"))


@pytest.mark.parametrize("value", [0.99, 0.4, 0.01])
def test_of_somebody_unseen_for_long_nothing_is_known(value: float) -> None:
    stale = answer(value, unseen_days=POLICY.stale_days + 0.1, silent_days=POLICY.stale_days + 0.1)
    assert stale == Decided(items=(UNKNOWN,), scores=(0.1,), value=0.1, overruled=("stale",))


def test_a_rule_invents_nothing() -> None:
    only = Proposal(items=(DISTRUSTED,), scores=(0.01,), value=0.01)
    assert conduct.decided(only, row(), POLICY) == Decided(value=0.01, overruled=("a_person_decides",))
    assert said(conduct.decided(conduct.unknown(0.1), None, POLICY)) == (UNKNOWN, ())


def test_the_table_of_the_rules_rises_with_posts_and_never_with_the_age_of_the_account() -> None:
    cases = [(posts, days) for days in (5.0, 300.0) for posts in (1.0, 2.0, 3.0, 5.0, 10.0)]
    values = np.array([row(posts=posts, account_days=days) for posts, days in cases])
    found = conduct.by_table(Index(subjects={str(at): at for at in range(len(cases))}, values=values)).reshape(2, 5)
    assert (np.diff(found, axis=1) > 0).all()
    assert (found[0] >= found[1]).all()
