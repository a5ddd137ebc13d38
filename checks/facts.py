"""What a ruling is made from, gathered by the guard: the findings about an arm, the judge's verdict, the plan, the history.

Pure. `about` and `clean_windows` choose among the ledger's findings; a `Facts` travels in the ruling's inputs, so that
`grownet replay` reads it back and derives the ruling again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal

from records import RULES, Finding, Record, ReleasePlan, Role

WATCHED = ("corruption", "drift", "kpi")  # the kinds that a monitor which runs writes each time
ABOUT_AN_ARM = ("drift", "kpi", "level")
WORST_FIRST = {"yes": 0, "undecided": 1, "no": 2}
Slot = Literal["answering", "canary"]  # champion and rules follow one another, a canary stands beside them
Handled = Mapping[tuple[str, int], datetime]  # (kind, version) -> end of the window on which a model was taken back


class Judged(Record, frozen=True, kw_only=True):
    """What the guard's sequential judge says of the arm against its concurrent control."""

    verdict: str  # id
    state: str  # of `checks.judge.state_of`; kpi_drop is what the table asks for
    kpi: Literal["drop", "pass", "inconclusive"]
    reason: str
    effect: float | None
    low: float | None
    high: float | None
    matured: int
    since: datetime | None = None  # wall clock, when its first answers matured


class Standing(Record, frozen=True, kw_only=True):
    """What of the release plan matters to a ruling."""

    mode: Literal["model", "rules"]
    frozen: bool
    frozen_for: str
    name: str  # of the arm the ruling is about
    previous: str  # name of the previous version, or empty
    canary: str
    control: str
    voting: bool = False  # a ballot is open: any change of plan would void it


class Limits(Record, frozen=True, kw_only=True):
    clean_windows: int
    cool_down_hours: float
    max_per_quarter: int


class Facts(Record, frozen=True, kw_only=True):
    """Everything that `checks.policy.rule` looks at besides the table."""

    model: str
    role: Role
    revision: int
    version: int  # of the arm in that role; RULES in rules mode
    findings: tuple[Finding, ...]  # the newest of each kind about it, of batches of each table, unexpired at `at`
    judged: Judged | None
    standing: Standing
    clean: tuple[datetime, ...]  # ends of the windows without drift since the last one with it
    requested: tuple[datetime, ...]  # when earlier rulings asked for a retraining
    silent: tuple[str, ...]  # kinds of finding that should come and do not
    before: str  # row of the last ruling that was not inconclusive, or empty
    limits: Limits
    at: datetime
    known: tuple[str, ...] = ()  # what went on already when people last lifted a freeze: drift, batch, kpi


def role_of(plan: ReleasePlan) -> Role:
    """Who answers: the champion, or the rules."""
    return "rules" if plan.mode == "rules" or plan.champion.is_rules else "champion"


def about(
    findings: Iterable[Finding], version: int, since: datetime, at: datetime, handled: Handled
) -> tuple[Finding, ...]:
    """The unexpired finding of each kind over the newest window that is about the arm as it answers now.

    Drift and KPI are about a version, and about its time since `since`. Corruption of stream or journal, and of a batch,
    are about what comes in, whoever answers; still an arm's own finding outranks another's, which may not be able to read
    what this one can. A model was taken back on some windows already: they do not count again, since whoever brought it
    back knew of them.

    Args:
        version: of the arm; RULES for the rules.
        since: when it began to answer (wall clock).
    """
    told = [one for one in findings if one.found_at <= at < one.expires_at]
    chosen: list[Finding] = []
    for kind in ("corruption", "batch", "drift", "kpi", "level"):
        mine = [one for one in told if one.kind == kind and _concerns(one, version, since, handled)]
        if kind == "batch":  # what one table lets in says nothing of another
            chosen += {str(one.figures.get("table", "")): one for one in sorted(mine, key=_age)}.values()
        elif mine:
            chosen.append(_worst(mine, version) if kind == "corruption" else max(mine, key=_age))
    return tuple(chosen)


def _worst(corruption: list[Finding], version: int) -> Finding:
    """What the arm itself found newest; before it found anything, the worst of what the others did."""
    last: dict[int, Finding] = {one.version: one for one in sorted(corruption, key=_age)}
    return last.get(version) or min(last.values(), key=lambda one: WORST_FIRST[one.answer])


def clean_windows(
    findings: Iterable[Finding], version: int, since: datetime, at: datetime, after: datetime | None = None
) -> tuple[datetime, ...]:
    """Ends of the windows without drift since the last one with it; an undecided one does not count.

    Args:
        since: the freeze, and when the arm began to answer (wall clock); what was found before does not count.
        after: end of the window that was frozen for (event time); a window that ended by then, looked at again, does not count.
    """
    ends: dict[datetime, None] = {}
    drift = [one for one in findings if one.kind == "drift" and one.version == version and since <= one.found_at <= at]
    for one in sorted(drift, key=_age):
        if one.answer == "yes":
            ends.clear()
        elif one.answer == "no" and (after is None or one.window_end > after):
            ends[one.window_end] = None
    return tuple(ends)


def silent_kinds(
    findings: Sequence[Finding], since: datetime, at: datetime, grace_seconds: float, before: Collection[str]
) -> tuple[str, ...]:
    """The kinds of finding that a running monitor would have renewed by now, about whichever version.

    Args:
        since: when the arm began to answer; for `grace_seconds` after it nothing is missed that was not missed `before`.
    """
    heard = {one.kind for one in findings if one.found_at <= at < one.expires_at}
    missing = [kind for kind in WATCHED if kind not in heard]
    early = (at - since).total_seconds() <= grace_seconds
    return tuple(kind for kind in missing if not early or kind in before)


def subject_of(one: Finding) -> tuple[str, int]:
    """(kind, version) that a finding is about; RULES for what comes in, whoever answers."""
    own = one.kind in ABOUT_AN_ARM or one.where == "snapshot"
    return one.kind, one.version if own else RULES


def _concerns(one: Finding, version: int, since: datetime, handled: Handled) -> bool:
    own = one.kind in ABOUT_AN_ARM or one.where == "snapshot"
    if own and (one.version != version or one.found_at < since):
        return False
    done = handled.get(subject_of(one))
    return version == RULES or one.answer != "yes" or done is None or one.window_end > done


def _age(one: Finding) -> tuple[datetime, datetime, int, str]:
    return one.window_end, one.found_at, -WORST_FIRST[one.answer], one.id
