"""Which findings count for an arm, which windows were clean, which monitors fell silent: each answer visible by eye."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from checks import plans as moves
from checks.facts import about, clean_windows, role_of, silent_kinds
from records import RULES, Finding
from tests.checks.test_judge import plan_at
from tests.stores.ledger.world import MODEL, NOON

HOUR = timedelta(hours=1)


def found(kind: str = "drift", answer: str = "yes", *, hours: float = 0, day: int = 1, **changes: Any) -> Finding:
    """A finding about version 2, made so many hours after noon, over one day, good for two hours."""
    at = NOON + timedelta(hours=hours)
    made = Finding(
        id=f"{kind}-{answer}-{hours}-{day}",
        model=MODEL,
        kind=kind,  # type: ignore[arg-type]  # one of the four
        answer=answer,  # type: ignore[arg-type]  # one of the three
        where="stream" if (kind, answer) == ("corruption", "yes") else "",
        version=2,
        window_start=NOON + timedelta(days=day - 1),
        window_end=NOON + timedelta(days=day),
        reason=f"{kind} {answer}",
        figures={},
        found_at=at,
        expires_at=at + 2 * HOUR,
    )
    return replace(made, **changes)


def chosen(*findings: Finding, version: int = 2, since: datetime = NOON, handled: Any = None) -> dict[str, str]:
    """Kind -> answer of what counts an hour after noon."""
    told = about(findings, version, since, NOON + HOUR, handled or {})
    return {one.kind: one.answer for one in told}


def test_the_newest_of_each_kind_counts() -> None:
    assert chosen(found(hours=0), found(answer="no", hours=0.5), found("kpi", "no")) == {"drift": "no", "kpi": "no"}


@pytest.mark.parametrize("kind", ["drift", "kpi", "corruption"])
def test_an_older_window_looked_at_later_outranks_no_newer_one(kind: str) -> None:
    newer, older = found(kind, "no", day=9), found(kind, day=1, hours=0.5)
    assert chosen(newer, older) == chosen(older, newer) == {kind: "no"}


def test_of_batches_the_newest_of_each_table_counts() -> None:
    def batch(table: str, answer: str, hours: float) -> Finding:
        return found("batch", answer, hours=hours, version=RULES, figures={"table": table, "batch": "monday"})

    told = [batch("a", "yes", 0), batch("b", "yes", 0.2), batch("b", "no", 0.4)]
    for order in (told, told[::-1]):
        kept = about(order, 2, NOON, NOON + HOUR, {})
        assert {one.figures["table"]: one.answer for one in kept} == {"a": "yes", "b": "no"}


def test_an_older_drift_found_later_does_not_undo_clean_windows() -> None:
    clean, old = found(answer="no", day=9), found(day=1, hours=0.5)
    assert clean_windows([clean, old], 2, NOON, NOON + HOUR) == (NOON + timedelta(days=9),)


@pytest.mark.parametrize(
    ("one", "counts"),
    [
        (found(hours=-1.001), False),
        (found(hours=-0.999), False),  # before the arm began to answer
        (found(hours=0), True),
        (found(hours=1), True),
        (found(hours=1.1), False),  # of the future: a clock that jumped
        (found(expires_at=NOON + HOUR), False),
        (found(version=1), False),
        (found("corruption", version=1), True),  # what comes in is not about a version
        (found("corruption", version=1, where="snapshot"), False),
        (found("corruption", hours=-0.5), True),
        (found("batch", version=RULES), True),
    ],
)
def test_what_counts(one: Finding, counts: bool) -> None:
    assert (one.kind in chosen(one)) is counts


def test_an_arms_own_corruption_counts_and_before_it_has_any_the_worst() -> None:
    stream, own = found("corruption", version=1), found("corruption", "no", hours=0.5)
    assert chosen(stream, own) == chosen(own, stream) == {"corruption": "no"}
    others = [stream, found("corruption", "no", version=3, hours=0.5)]
    assert chosen(*others) == chosen(*reversed(others)) == {"corruption": "yes"}
    assert chosen(found("corruption"), found("corruption", "no", hours=0.5)) == {"corruption": "no"}


def test_a_window_on_which_a_model_was_taken_back_does_not_count_again_for_a_model() -> None:
    handled = {("corruption", RULES): NOON + timedelta(days=1), ("kpi", 2): NOON + timedelta(days=1)}
    old = [found("corruption"), found("kpi"), found("drift")]
    assert chosen(*old, handled=handled) == {"drift": "yes"}
    assert chosen(found("corruption"), version=RULES, handled=handled) == {"corruption": "yes"}
    new = [found("corruption", day=2), found("kpi", day=2)]
    assert chosen(*new, handled=handled) == {"corruption": "yes", "kpi": "yes"}
    assert chosen(found("kpi", "no"), handled=handled) == {"kpi": "no"}


def test_clean_windows_are_counted_by_window_since_the_last_drift() -> None:
    run = [found(answer="no", day=1), found(day=2, hours=1), found(answer="no", day=3, hours=2)]
    again = found(answer="no", day=3, hours=3)
    unsure = found(answer="undecided", day=4, hours=4)
    last = found(answer="no", day=5, hours=5)
    ends = clean_windows([*run, again, unsure, last], 2, NOON, NOON + 6 * HOUR)
    assert ends == (NOON + timedelta(days=3), NOON + timedelta(days=5))
    after = NOON + timedelta(days=3)
    assert clean_windows([*run, last], 2, NOON, NOON + 6 * HOUR, after) == (NOON + timedelta(days=5),)
    assert clean_windows([last], 1, NOON, NOON + 6 * HOUR) == ()
    assert clean_windows([last], 2, NOON + 5.5 * HOUR, NOON + 6 * HOUR) == ()


def test_silence() -> None:
    late = NOON + 3 * HOUR
    none: tuple[str, ...] = ()
    assert silent_kinds([], NOON, late, 3600, none) == ("corruption", "drift", "kpi")
    assert silent_kinds([], NOON, late, 3 * 3600, none) == ()  # it has just begun to answer
    assert silent_kinds([], NOON, late, 3 * 3600, ("kpi",)) == ("kpi",)  # but was missed before
    heard = [found("drift", "undecided", hours=2, version=7), found("corruption", "no", hours=2), found("kpi", hours=0)]
    assert silent_kinds(heard, NOON, late, 3600, none) == ("kpi",)  # ran out


def test_who_answers() -> None:
    who: Any = {"at": NOON, "actor": "x", "reason": "r"}
    assert role_of(plan_at(1)) == "champion"
    assert role_of(moves.fallback(plan_at(1), **who)) == "rules"
    assert role_of(moves.initial(MODEL, NOON)) == "rules"
